"""What the daemon may ask for: one table of operations, their fields, and what is done."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from rdagentd import __version__
from rdagentd.executor import assist, handover
from rdagentd.executor.cgroup import FILES
from rdagentd.executor.directories import KINDS, SNAPSHOTS
from rdagentd.executor.evict import LENGTH, evict
from rdagentd.executor.executor import Executor, note
from rdagentd.executor.failpoint import reach
from rdagentd.executor.files import read
from rdagentd.executor.run import Notice, Run, exited
from rdagentd.protocol.segments import STREAMS

MAX_LINGER = 86400.0
"""Longest linger, in seconds."""

Check = Callable[[Any], bool]

MAX_CLASS = 128
"""Longest name of a class of egress: sixteen ports."""

MAX_NAME = 64
"""Longest name of a worker or run; it becomes a file name."""


class RefusedError(Exception):
    """What was asked for is not possible; the text says why."""


def handle(executor: Executor, message: Notice) -> None:
    """Does one request, or answers `refused`; whatever goes wrong in it must not end the executor."""
    op = message.pop("op", None)
    try:
        if type(op) is not str or op not in OPERATIONS:
            raise RefusedError(f"cannot do {op!r}: no such operation")
        fields, do = OPERATIONS[op]
        if op == "assist":
            message = {"cgroup": {}, "sandbox": [], "egress": "", "directories": []} | message
        if op == "spawn":
            message = {field: kind() for field, kind in _LATER.items()} | message
            if type(message.get("log")) is dict:
                message["log"].setdefault("redact", True)
        _check(op, fields, message)
        do(executor, message)
    except Exception as error:
        if not isinstance(error, RefusedError):
            note(f"cannot do {op}: {error!r}")
        about = {key: value for key in ("run", "worker", "id") if type(value := message.get(key)) is str}
        executor.link.send({"notice": "refused", "op": str(op), "reason": str(error), **about})


def _check(op: str, fields: dict[str, Check], message: Notice) -> None:
    for field in fields.keys() ^ message.keys():
        raise RefusedError(f"cannot do {op}: field {field!r} is {'missing' if field in fields else 'unknown'}")
    for field, check in fields.items():
        if not check(message[field]):
            raise RefusedError(
                f"cannot do {op}: {field} is wrong: {str(message[field])[:80] if field != 'env' else '…'}"
            )


def _name(value: Any) -> bool:
    return (
        type(value) is str
        and 0 < len(value) <= MAX_NAME
        and value[0] != "."
        and value.isprintable()
        and "/" not in value
    )


def _class(value: Any) -> bool:
    """Name of a cgroup that is made for some ports; "" for none."""
    return value == "" or (
        _text(value) and value.startswith("egress-") and "/" not in value and len(value) <= MAX_CLASS
    )


def _text(value: Any) -> bool:
    return type(value) is str


def _integer(value: Any) -> bool:
    return type(value) is int


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _container(value: Any) -> bool:
    return _text(value) and len(value) == LENGTH and set(value) <= set("0123456789abcdef")


def _id(value: Any) -> bool:
    return _natural(value) and value < 0xFFFF_FFFF  # that one means "leave it as it is"; setresuid(2)


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _map(check: Check) -> Check:
    return lambda value: type(value) is dict and all(map(_text, value)) and all(map(check, value.values()))


def _log(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"cap", "segment", "separate", "redact"}
        and _natural(value["cap"])
        and _natural(value["segment"])
        and type(value["separate"]) is bool
        and type(value["redact"]) is bool
    )


def _cache(value: Any) -> bool:
    """size in bytes, age in seconds; None: no limit."""
    return type(value) is dict and value.keys() == {"size", "age"} and all(map(_maybe(_amount), value.values()))


def _amount(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def _hello(executor: Executor, _: Notice) -> None:
    executor.link.send(
        {
            "notice": "hello",
            "epoch": executor.journal.epoch,
            "pid": os.getpid(),
            "version": __version__,
            "cgroup": executor.tree.enforces(),
            "workers": executor.spawner.directories.home,
            "notify": True,
            "runs": [run.started() | {"frozen": run.frozen, "told": run.told_last()} for run in executor.runs.values()],
            "exits": list(executor.journal.exits.values()),
        }
    )


def _spawn(executor: Executor, request: Notice) -> None:
    name = request["run"]
    run = executor.runs.get(name)
    if run is not None:
        if run.report < 0:
            executor.link.send(run.started())
    elif name in executor.journal.exits:
        executor.link.send(executor.journal.exits[name])
    elif executor.journal.seen(name):
        reason = f"cannot start: run {name} has ended before, and its end was acknowledged"
        executor.link.send(exited(name, request["worker"], time.time(), reason=reason))
    elif executor.leaving:
        raise RefusedError("cannot do spawn: the executor is leaving")
    else:
        executor.spawn(request)


def _run(executor: Executor, op: str, request: Notice) -> Run:
    run = executor.runs.get(request["run"])
    if run is None:
        raise RefusedError(f"cannot do {op}: no live run {request['run']}")
    return run


def _signal(executor: Executor, request: Notice) -> None:
    run, number = _run(executor, "signal", request), request["signal"]
    if run.report >= 0:  # where much happens at once, nobody may have heard that the exec is past
        executor.reported(run)
    if request["scope"] != "main" or run.report >= 0:  # before the exec it is what becomes the main process, all of it
        executor.tree.signal((run,), number, group=request["scope"] == "group")
    elif run.status is None:
        os.kill(run.pid, number)


def _freeze(executor: Executor, request: Notice) -> None:
    run = _run(executor, "freeze", request)
    executor.tree.freeze(run)
    run.frozen = True
    executor.link.send({"notice": "frozen", "run": run.id})


def _thaw(executor: Executor, request: Notice) -> None:
    run = _run(executor, "thaw", request)
    executor.tree.thaw(run)
    run.frozen = False
    executor.link.send({"notice": "thawed", "run": run.id})


def _kill(executor: Executor, request: Notice) -> None:
    executor.kill(_run(executor, "kill", request))


def _usage(executor: Executor, request: Notice) -> None:
    runs = [run for name in request["runs"] if (run := executor.runs.get(name))]
    used = {
        run.id: counted
        | {
            "log": {stream.name: stream.log.end for stream in run.streams},
            "active": max((stream.log.at for stream in run.streams), default=0) / 1e6,
        }
        for run, counted in executor.tree.usage(runs).items()
    }
    executor.link.send({"notice": "usage", "runs": used})


def _ack(executor: Executor, request: Notice) -> None:
    reach("before-ack")
    executor.journal.ack(request["run"])
    reach("after-ack")


def _watch(executor: Executor, request: Notice) -> None:
    worker, stream = request["worker"], request["stream"]
    executor.watches[worker, stream] = request["offset"]
    executor.grew(worker, stream, executor.pipes.log(worker, stream).end)


def _pressure(executor: Executor, request: Notice) -> None:
    try:
        executor.pressure.watch(request["stalls"])
    except OSError as error:
        raise RefusedError(f"cannot do pressure: {error.strerror}") from None


def _forget(executor: Executor, request: Notice) -> None:
    worker = request["worker"]
    if any(run.worker == worker for run in executor.runs.values()):
        raise RefusedError(f"cannot do forget: a run of {worker} is alive")
    try:
        executor.pipes.home.forget(worker)
    except OSError as error:
        raise RefusedError(
            f"cannot do forget: the log of {worker} stays: {os.strerror(error.errno or 0).lower()}"
        ) from None
    for stream in STREAMS:
        executor.watches.pop((worker, stream), None)
    executor.link.send({"notice": "forgotten", "worker": worker})


def _tend(executor: Executor, request: Notice) -> None:
    executor.tend(request["worker"], request["cache"])


def _assist(executor: Executor, request: Notice) -> None:
    if executor.leaving:
        raise RefusedError("cannot do assist: the executor is leaving")
    if len(executor.assistants.live) >= assist.MOST:
        raise RefusedError(f"cannot do assist: {assist.MOST} are at work; ask again later")
    if f".{request['id']}" in executor.assistants.live:
        raise RefusedError(f"cannot do assist: {request['id']} is at work")
    executor.assist(request)


def _evict(executor: Executor, request: Notice) -> None:
    executor.link.send({"notice": "evicted", "found": evict(request["container"])})


def _channels(executor: Executor, request: Notice) -> None:
    try:
        channels = executor.channels.contain(request["runs"])
    except OSError as error:
        raise RefusedError(f"cannot do channels: {error.strerror}") from None
    runs = {run: {"path": channel.place, "told": channel.told()} for run, channel in channels.items()}
    executor.link.send({"notice": "channels", "runs": runs})


def _reexec(executor: Executor, _: Notice) -> None:
    try:
        handover.replace(executor)
    except OSError as error:
        note(f"cannot replace itself: {error}")
        raise RefusedError(f"cannot do reexec: {error}") from None


def _leave(executor: Executor, _: Notice) -> None:
    if executor.runs:
        raise RefusedError(f"cannot do leave: {len(executor.runs)} runs are alive")
    executor.leaving = True
    executor.assistants.dismiss()


def _ping(executor: Executor, _: Notice) -> None:
    memory = int(read("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    executor.link.send({"notice": "pong", "cpu": time.process_time(), "memory": memory})


_RUN: dict[str, Check] = {"run": _name}
_SPAWN: dict[str, Check] = {
    "run": _name,
    "worker": _name,
    "argv": lambda value: _list(_text)(value) and bool(value) and bool(value[0]),
    "cwd": _text,
    "env": _map(_text),
    "env_files": _list(_text),
    "env_defaults": _list(_text),
    "credentials": lambda value: _map(_name)(value) and all(map(_name, value)),
    "secret_environment": _map(_name),
    "uid": _maybe(_id),
    "gid": _maybe(_id),
    "groups": _maybe(_list(_id)),
    "umask": _natural,
    "nice": _maybe(_integer),
    "cgroup": lambda value: _map(_text)(value) and value.keys() <= FILES,
    "sandbox": _list(_text),
    "egress": _class,
    "directories": lambda value: _list(_text)(value) and set(value) <= set(KINDS),
    "rlimits": _map(lambda value: _list(_integer)(value) and len(value) == 2),
    "log": _log,
    "linger": lambda value: type(value) in (int, float) and 0 <= value <= MAX_LINGER,
}
_LATER = {
    "credentials": dict,
    "cgroup": dict,
    "secret_environment": dict,
    "sandbox": list,
    "directories": list,
    "egress": str,
    "env_defaults": list,
}
"""Fields that a daemon of 0.1.0 does not know: empty."""

_ASSIST: dict[str, Check] = {
    "id": lambda value: _name(value) and len(value) < MAX_NAME,
    "run": _maybe(_name),
    **{
        field: _SPAWN[field]
        for field in ("worker", "argv", "cwd", "env", "uid", "gid", "groups", "cgroup", "sandbox", "egress")
    },
    "directories": lambda value: value in ([], [SNAPSHOTS]),
    "timeout": lambda value: _amount(value) and value <= assist.MAX_TIMEOUT,
    "most": lambda value: _natural(value) and value <= assist.MAX_OUTPUT,
}

_SIGNAL: dict[str, Check] = {
    **_RUN,
    "signal": lambda value: _natural(value) and 0 < value < signal.NSIG,
    "scope": lambda value: value in ("main", "group", "tree"),
}

OPERATIONS: dict[str, tuple[dict[str, Check], Callable[[Executor, Notice], None]]] = {
    "hello": ({}, _hello),
    "spawn": (_SPAWN, _spawn),
    "signal": (_SIGNAL, _signal),
    "freeze": (_RUN, _freeze),
    "thaw": (_RUN, _thaw),
    "kill": (_RUN, _kill),
    "usage": ({"runs": _list(_name)}, _usage),
    "ack": (_RUN, _ack),
    "watch": ({"worker": _name, "stream": lambda value: value in STREAMS, "offset": _natural}, _watch),
    "pressure": (
        {"stalls": lambda value: _map(_natural)(value) and value.keys() <= {"cpu", "io", "memory"}},
        _pressure,
    ),
    "forget": ({"worker": _name}, _forget),
    "tend": ({"worker": _name, "cache": _maybe(_cache)}, _tend),
    "evict": ({"container": _container}, _evict),
    "assist": (_ASSIST, _assist),
    "channels": ({"runs": lambda value: _map(_name)(value) and all(map(_name, value))}, _channels),
    "reexec": ({}, _reexec),
    "leave": ({}, _leave),
    "ping": ({}, _ping),
}
