"""What a handler gets: the daemon's parts, and who asks."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen

from rdagentd.api.audit import Audit
from rdagentd.api.peer import Peer
from rdagentd.config.docker import Docker
from rdagentd.config.profiles import Profiles
from rdagentd.config.rd_agent import RdAgent
from rdagentd.model.container import DriverName
from rdagentd.model.worker import Worker
from rdagentd.protocol.errors import FORBIDDEN, INVALID, NOT_FOUND, ProtocolError
from rdagentd.supervisor.rows import Rows
from rdagentd.supervisor.supervisor import Supervisor
from rdagentd.supervisor.traffic import Traffic

_MOST_GLOBS = 64
_LONGEST_GLOB = 256
"""Each pattern is compiled, and compared with every name: bounded, so that no request holds up the others."""


async def _nothing() -> list[bytes]:
    return []


@frozen
class Daemon:
    """What the operations work on.

    logs: directories of captured output, by driver. docker: what the configuration says about Docker at the moment.
    reload reads the configuration again and returns the changes; drain stops all workers, then daemon and executor leave.
    rd_agent: what it says about RD-Agent; workers: where the workers' directories are, once the executor has said so;
    one_user: daemon and executor are one user, who is not root.
    profiles: those that a spec may name; state: the daemon's own directory. scrape: the families of metrics, packed.
    """

    supervisor: Supervisor
    rows: Rows
    logs: Mapping[DriverName, Path]
    reload: Callable[[int], Any]
    drain: Callable[[], Any]
    docker: Callable[[], Docker] = Docker
    traffic: Traffic = Factory(Traffic)
    scrape: Callable[[], Awaitable[list[bytes]]] = _nothing
    rd_agent: Callable[[], RdAgent] = RdAgent
    workers: Callable[[], str | None] = lambda: None
    profiles: Callable[[], Profiles] = Profiles
    one_user: bool = False
    state: Path = Path("/")
    audit: Audit = field(init=False, default=Factory(lambda self: Audit(self.supervisor), takes_self=True))


@frozen
class Context:
    """One request's surroundings. op: what is asked for. begun: when, by perf_counter."""

    daemon: Daemon
    peer: Peer
    request: Any
    op: str = "operate"
    begun: float = Factory(time.perf_counter)

    def select(self, select: Mapping[str, Any]) -> list[Worker]:
        """Workers chosen by name, glob, @group and label, by name. Raises ProtocolError(not_found) for what matches nothing."""
        workers = self.daemon.supervisor.engine.workers
        names, labels = checked(select)
        if not names:
            chosen: Sequence[Worker] = list(workers.values())
        else:
            chosen = [workers[name] for name in _matching(names, workers)]
        if labels:
            chosen = [worker for worker in chosen if labels.items() <= worker.spec.labels.items()]
            if not chosen:
                said = ", ".join(f"{key}={value}" for key, value in labels.items())
                raise ProtocolError(NOT_FOUND, f"cannot find worker: none has the label {said}")
        return sorted(chosen, key=lambda worker: worker.name)

    def operate(self, worker: Worker) -> ProtocolError | None:
        """Why this person may not operate the worker; None if so."""
        if self.peer.owns(worker.owner):
            return None
        text = f"cannot {self.op} {worker.name}: it belongs to uid {worker.owner}, you are uid {self.peer.uid}"
        text += "; ask its owner or an administrator (group rdagentd-admin)"
        return ProtocolError(FORBIDDEN, text, {"worker": worker.name})

    def asked(self, names: Sequence[str] = (), **data: Any) -> None:
        """Notes in the event log that this is asked for, and is allowed."""
        self.daemon.audit.asked(self.peer, self.op, names, **data)

    def refused(self, error: ProtocolError) -> None:
        """Notes in the event log that this was asked for by somebody who may not."""
        self.daemon.audit.refused(self.peer, self.op, error.message, error.details.get("worker"))


def checked(select: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Its names and labels. Raises ProtocolError(invalid)."""
    names, labels = select.get("names", []), select.get("labels", {})
    known = set(select) <= {"names", "labels"}
    typed = type(names) is list and type(labels) is dict and all(type(name) is str for name in names)
    if not known or not typed or not all(type(value) is str for value in labels.values()):
        raise ProtocolError(INVALID, "cannot select workers: select must be {names: [text], labels: {text: text}}")
    globs = [name for name in names if is_pattern(name)]
    if len(globs) > _MOST_GLOBS or any(len(glob) > _LONGEST_GLOB for glob in globs):
        text = f"cannot select workers: at most {_MOST_GLOBS} patterns of {_LONGEST_GLOB} characters each"
        raise ProtocolError(INVALID, text)
    return names, labels


def is_pattern(name: str) -> bool:
    """Whether a name stands for any number of workers: a glob of names, or @ and the name of a group or a glob of such."""
    return name.startswith("@") or any(c in name for c in "*?[")


def matches(worker: Worker, pattern: str) -> bool:
    """Whether a worker is one of those."""
    if pattern.startswith("@"):
        return fnmatch.fnmatchcase(worker.spec.queue.group, pattern[1:])
    return fnmatch.fnmatchcase(worker.name, pattern)


def _matching(names: Sequence[str], workers: Mapping[str, Worker]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        if name in workers:
            found[name] = None
            continue
        matching = _of_pattern(name, workers) if is_pattern(name) else []
        if not matching:
            kind = "is in the group" if name.startswith("@") else "matches" if is_pattern(name) else "is called"
            shown = name.removeprefix("@")[:64]
            raise ProtocolError(NOT_FOUND, f"cannot find worker: none {kind} {shown}", {"name": name[:64]})
        found.update(dict.fromkeys(matching))
    return list(found)


def _of_pattern(pattern: str, workers: Mapping[str, Worker]) -> list[str]:
    if pattern.startswith("@"):
        groups = {worker.spec.queue.group for worker in workers.values()}
        wanted = set(fnmatch.filter(groups, pattern[1:]))
        return [name for name, worker in workers.items() if worker.spec.queue.group in wanted]
    return fnmatch.filter(workers, pattern)
