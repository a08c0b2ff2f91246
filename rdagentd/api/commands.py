"""Operations that change something. Each is on disk before it is answered."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal as signals
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from rdagentd.api.containers import may_not
from rdagentd.api.context import Context
from rdagentd.api.peer import Access
from rdagentd.config.problems import SpecError
from rdagentd.config.spec import decode_spec, diff_specs
from rdagentd.config.workers import decode_document
from rdagentd.core import dependencies
from rdagentd.core import events as ev
from rdagentd.core.changes import is_new_beginning, needs_restart
from rdagentd.core.engine import Engine
from rdagentd.model.spec import Spec
from rdagentd.model.worker import AT_REST, LIVE, Worker
from rdagentd.protocol.errors import CONFLICT, FORBIDDEN, INVALID, OVER_CAPACITY, ProtocolError
from rdagentd.supervisor.preflight import look

SIGNALS = frozenset(name for name in dir(signals) if name.startswith("SIG") and not name.startswith("SIG_"))

Handler = Callable[[Context, dict[str, Any]], Coroutine[Any, Any, Any]]

_Planned = tuple[dict[str, Any], list[ev.Event]]
"""A change as it is told, and the events that make it."""


def _standing(worker: Worker | None, name: str) -> dict[str, Any]:
    if worker is None:
        return {"name": name, "state": "removed", "want": "down", "reason": None}
    reason = worker.reason
    return {
        "name": name,
        "state": worker.state.value,
        "want": worker.want.value,
        "reason": reason and {"code": reason.code, "text": reason.text},
    }


# --- one verb for many workers ----------------------------------------------------------------------------------------


Spread = Callable[[Engine, list[str]], list[str]]
"""From the workers that were chosen to those that are asked, in order."""


def _as_chosen(engine: Engine, names: list[str]) -> list[str]:
    return names


def _ends(engine: Engine, names: list[str]) -> list[str]:
    """Those that depend on others first, so that others can wait for them."""
    return engine.dependents.ends_of(names)


def _with_needed(engine: Engine, names: list[str]) -> list[str]:
    """Whom they depend on is started for them, as by systemd's Requires= and by docker compose."""
    return dependencies.to_start(names, engine.workers)


def _again(engine: Engine, names: list[str]) -> list[str]:
    """Those that run end in the order of a stop; then those that rest begin in the order of a start."""
    order = _with_needed(engine, names)
    live = {name for name in order if engine.workers[name].state in LIVE}
    return [*_ends(engine, [name for name in names if name in live]), *(name for name in order if name not in live)]


def _with_needing(engine: Engine, names: list[str]) -> list[str]:
    """Who runs on what they give is stopped with them, and before, as by systemd's Requires=."""
    return engine.dependents.to_stop(names)


def verb(text: str, make: Callable[[Worker, int, dict[str, Any]], ev.Request], spread: Spread = _as_chosen) -> Handler:
    """A handler that makes one event for each chosen worker and tells how each fared. text: its docstring.

    spread: who is asked with them. Of workers that this person may not operate only those that were chosen are told of.
    """

    async def handler(context: Context, args: dict[str, Any]) -> Any:
        chosen = _asked(context, args, spread)
        names = [worker.name for worker in chosen if context.operate(worker) is None]
        if names:
            context.asked(names, **{key: value for key, value in args.items() if key != "select"})
        asked = [(worker, _ask(context, worker, make(worker, context.peer.uid, args))) for worker in chosen]
        return {"workers": [await _fared(context, worker, answer) for worker, answer in asked]}

    handler.__doc__ = text
    return handler


def _asked(context: Context, args: dict[str, Any], spread: Spread) -> list[Worker]:
    engine = context.daemon.supervisor.engine
    named = {worker.name: worker for worker in context.select(args["select"])}
    also = (engine.workers[name] for name in spread(engine, list(named)))
    return [worker for worker in also if worker.name in named or context.operate(worker) is None]


def _ask(context: Context, worker: Worker, event: ev.Request) -> asyncio.Future[None]:
    refused = context.operate(worker)
    if refused is None:
        return context.daemon.supervisor.ask(event)
    context.refused(refused)
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    answer.set_exception(refused)
    return answer


async def _fared(context: Context, before: Worker, answer: asyncio.Future[None]) -> dict[str, Any]:
    error = None
    try:
        await answer
    except ProtocolError as refused:
        error = {"code": refused.code, "message": refused.message}
    after = context.daemon.supervisor.engine.workers.get(before.name)
    return {**_standing(after, before.name), "changed": after is not before, "error": error}


start = verb(
    "Wants the chosen workers to run, and what they depend on.",
    lambda worker, by, args: ev.StartRequested(worker.name, by),
    _with_needed,
)
stop = verb(
    "Has the chosen workers end, gracefully, and before them those that run on what they give.",
    lambda worker, by, args: ev.StopRequested(worker.name, by),
    _with_needing,
)
restart = verb(
    "Stops the chosen workers, then starts them.", lambda worker, by, args: ev.RestartRequested(worker.name, by), _again
)
pause = verb("Freezes the chosen workers, whole trees.", lambda worker, by, args: ev.PauseRequested(worker.name, by))
resume = verb(
    "Lets paused workers go on; those at rest start from their newest checkpoint, or from the one that is named.",
    lambda worker, by, args: ev.ResumeRequested(worker.name, by, args["checkpoint"]),
)
kill = verb("Ends the chosen workers at once, whole trees.", lambda worker, by, args: ev.KillRequested(worker.name, by))
remove = verb(
    "Forgets the chosen workers, their history and their logs; with force also those that run.",
    lambda worker, by, args: ev.RemoveRequested(worker.name, by, args["force"]),
    _ends,
)
signal = verb(
    "Sends a signal to the chosen workers.",
    lambda worker, by, args: ev.SignalRequested(worker.name, by, args["signal"], args["scope"]),
)


# --- specs ------------------------------------------------------------------------------------------------------------


async def submit(context: Context, args: dict[str, Any]) -> Any:
    """A new worker; without a name it gets one after its command."""
    raw = dict(args["spec"])
    unnamed = not raw.get("name")
    while True:
        if unnamed:
            raw["name"] = _free_name(context, raw.get("command") or [raw.get("profile")])
        spec = decoded(lambda: decode_spec(raw, profiles=context.daemon.profiles()))
        may_run_as(context, spec)
        try:
            return await submitted(context, spec, args["start"])
        except ProtocolError as error:
            if not unnamed or error.code != CONFLICT:  # somebody took the name in the same moment: the next one
                raise


async def submitted(context: Context, spec: Spec, start: bool) -> dict[str, Any]:
    """Keeps a new worker of the peer's; whether it may be that one was looked at before. Raises ProtocolError."""
    _could_run(context, spec)
    context.asked([spec.name])
    await context.daemon.supervisor.ask(ev.SubmitRequested(spec, context.peer.uid, start))
    if start:
        await _start_needed(context, [spec.name])
    worker = context.daemon.supervisor.engine.workers.get(spec.name)
    return {
        **_standing(worker, spec.name),
        "revision": worker.revision if worker else 1,
        "warnings": [*_warnings(context, spec), *await _lacking(context, spec)],
    }


async def _lacking(context: Context, spec: Spec) -> list[str]:
    """What a run would not be started without."""
    found = await look(context.daemon.supervisor.driver, Worker(spec.name, spec, context.peer.uid))
    return [f"does not start as things are: {problem}" for problem in found.problems]


async def _start_needed(context: Context, names: Sequence[str]) -> None:
    """Starts what these depend on and what rests, of the workers that this person may operate."""
    engine = context.daemon.supervisor.engine
    needed = [name for name in dependencies.to_start(names, engine.workers) if name not in names]
    needed = [name for name in needed if context.operate(engine.workers[name]) is None]
    await _make(context, [({"name": name}, [ev.StartRequested(name, context.peer.uid)]) for name in needed])


def _warnings(context: Context, spec: Spec) -> list[str]:
    """Which limits will not hold as things are, and what the host can never give."""
    supervisor = context.daemon.supervisor
    never = supervisor.engine.queue.ledger.never(spec.requests)
    return [limit.text for limit in supervisor.driver.unmet(spec)] + ([f"cannot ever start: {never}"] if never else [])


def _could_run(context: Context, spec: Spec) -> None:
    """Raises ProtocolError for what would wait for ever. What stands in workers.d is taken up all the same: it may be the
    configuration that is wrong, and `why` tells."""
    never = context.daemon.supervisor.engine.queue.ledger.never(spec.requests)
    if never:
        text = f"cannot {context.op} {spec.name}: {never}; ask for less, or see [host] in rdagentd.toml"
        raise ProtocolError(OVER_CAPACITY, text, {"worker": spec.name})


def _free_name(context: Context, command: Any) -> str:
    first = command[0] if isinstance(command, list) and command and isinstance(command[0], str) else "worker"
    base = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in os.path.basename(first))  # noqa: PTH119
    base = base.lstrip("._-")[:48] or "worker"
    workers = context.daemon.supervisor.engine.workers
    return next(name for number in itertools.count(1) if (name := f"{base}-{number}") not in workers)


def decoded(decode: Callable[[], Any]) -> Any:
    """What `decode` gives; a spec that cannot be read is told as a ProtocolError with all its problems."""
    try:
        return decode()
    except SpecError as error:
        problems = [{"path": p.path, "message": str(p)} for p in error.problems]
        raise ProtocolError(INVALID, str(error), {"problems": problems}) from None


def may_run_as(context: Context, spec: Spec) -> None:
    """Raises ProtocolError for what the submitter could not do alone: be somebody else, or go before the others."""
    chosen = [key for key, is_chosen in _FOR_ADMINS.items() if is_chosen(spec)]
    if chosen and context.peer.role is not Access.ADMIN:
        text = f"cannot {context.op} {spec.name}: only administrators may set {', '.join(chosen)}; leave that out"
        raise ProtocolError(FORBIDDEN, text, {"worker": spec.name})
    reason = None if context.peer.role is Access.ADMIN else may_not(spec, context.daemon.docker(), context.peer.uid)
    if reason is not None:
        raise ProtocolError(FORBIDDEN, f"cannot {context.op} {spec.name}: {reason}", {"worker": spec.name})


_FOR_ADMINS: dict[str, Callable[[Spec], bool]] = {
    "user": lambda spec: spec.user is not None,
    "group": lambda spec: spec.group is not None,
    "credentials": lambda spec: bool(spec.credentials),
    "secret_environment": lambda spec: bool(spec.secret_environment),
    "nice below 0": lambda spec: spec.nice < 0,
    "limits.nice": lambda spec: spec.limits.nice is not None,
    "limits.rtprio": lambda spec: spec.limits.rtprio is not None,
    "limits.cpu_weight above 100": lambda spec: (spec.limits.cpu_weight or 0) > 100,
    "limits.io_weight above 100": lambda spec: (spec.limits.io_weight or 0) > 100,
}
"""The executor would do these as root, and credentials are the machine's."""


# --- apply ------------------------------------------------------------------------------------------------------------


async def apply(context: Context, args: dict[str, Any]) -> Any:
    """Makes the workers as the documents say; what did not change is not touched."""
    specs: list[Spec] = []
    profiles = context.daemon.profiles()
    for document in args["documents"]:
        where, base = document.get("where"), document.get("base")
        if type(where) is not str or type(document.get("document")) is not dict or not isinstance(base, str | None):
            raise ProtocolError(INVALID, "cannot apply: each document must be {where: text, base: text, document: map}")
        specs += decoded(lambda: decode_document(document["document"], where, base, profiles))  # noqa: B023
    names = [spec.name for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ProtocolError(CONFLICT, f"cannot apply: worker {twice} stands in it twice")
    return {"changes": await apply_specs(context, specs, args["dry_run"], args["prune"])}


async def apply_specs(context: Context, specs: Sequence[Spec], dry_run: bool, prune: bool) -> list[dict[str, Any]]:
    """The changes that lead to these specs, made unless `dry_run`. All are allowed before any is made."""
    engine = context.daemon.supervisor.engine
    workers, named = engine.workers, {spec.name: spec for spec in specs}
    for spec in specs:
        _could_run(context, spec)
    order = _order(context, named, {} if prune else workers)
    planned = {name: _plan(context, workers.get(name), named[name]) for name in order}
    if prune:
        gone = _ends(engine, sorted(workers.keys() - named.keys()))
        planned |= {name: _removal(context, workers[name]) for name in gone}
    if not dry_run:
        await _make(context, list(planned.values()))
        started = [name for name, (change, _) in planned.items() if change["action"] in ("create", "restart")]
        await _start_needed(context, started)
    return [planned[name][0] for name in (*named, *sorted(planned.keys() - named.keys()))]


def _order(context: Context, specs: Mapping[str, Spec], others: Mapping[str, Worker]) -> list[str]:
    """The names of these specs, each behind those that it depends on. Raises ProtocolError for what cannot be put in order."""
    depends_of = dependencies.depends_with(specs, others)
    wrong = dependencies.problem(specs, depends_of)
    if wrong is not None:
        raise ProtocolError(INVALID, f"cannot {context.op}: {wrong}")
    return dependencies.ordered(specs, lambda name: depends_of(name) or {})


async def declare(context: Context, found: Sequence[tuple[str, Spec]]) -> list[dict[str, Any]]:
    """Makes the workers as the files of workers.d say; stops those whose file is gone. found: each spec with its file."""
    engine = context.daemon.supervisor.engine
    workers, named = engine.workers, {spec.name: (file, spec) for file, spec in found}
    order = _order(context, {name: spec for name, (_, spec) in named.items()}, workers)
    planned = [_declared(context, workers.get(name), *named[name]) for name in order]
    orphans = [name for name, worker in sorted(workers.items()) if _declares(worker) and name not in named]
    orphans = _ends(engine, orphans)
    planned += [({"name": name, "action": "stop", "fields": []}, [_orphaned(context, name)]) for name in orphans]
    await _make(context, planned)
    return [change for change, _ in planned]


def _declares(worker: Worker) -> bool:
    return worker.source is not None and not worker.orphaned


def _orphaned(context: Context, name: str) -> ev.Event:
    return ev.Declared(name, None, context.peer.uid)


def _declared(context: Context, worker: Worker | None, file: str, spec: Spec) -> _Planned:
    change, events = _plan(context, worker, spec)
    if worker is None:
        return change, [ev.SubmitRequested(spec, context.peer.uid, source=file)]
    if worker.orphaned:
        change["action"] = "start"
    if worker.orphaned or worker.source not in (None, file):  # None: somebody submitted it, and it stays theirs
        events.append(ev.Declared(spec.name, file, context.peer.uid))
    return change, events


async def _make(context: Context, planned: Sequence[_Planned]) -> None:
    changed = [change["name"] for change, events in planned if events]
    if changed:
        context.asked(changed)
    await asyncio.gather(*(context.daemon.supervisor.ask(event) for _, events in planned for event in events))


def _plan(context: Context, worker: Worker | None, spec: Spec) -> _Planned:
    may_run_as(context, spec)
    if worker is None:
        change: dict[str, Any] = {
            "name": spec.name,
            "action": "create",
            "fields": [],
            "warnings": _warnings(context, spec),
        }
        return change, [ev.SubmitRequested(spec, context.peer.uid)]
    refused = context.operate(worker)
    if refused is not None:
        raise refused
    if worker.spec.driver is not spec.driver:
        text = f"cannot change the driver of {spec.name} from {worker.spec.driver.value} to {spec.driver.value}"
        raise ProtocolError(CONFLICT, f"{text}: its log and its runs lie elsewhere; remove it, then submit it again")
    fields = [{"field": path, "old": old, "new": new} for path, old, new in diff_specs(worker.spec, spec)]
    if not fields:
        return {"name": spec.name, "action": "none", "fields": []}, []
    again = (worker.state in LIVE and needs_restart(worker.spec, spec)) or (
        worker.state in AT_REST and is_new_beginning(worker, worker.spec, spec)
    )
    action, warnings = "restart" if again else "update", _warnings(context, spec)
    change = {"name": spec.name, "action": action, "fields": fields, "warnings": warnings}
    return change, [ev.SpecChanged(spec.name, spec, context.peer.uid)]


def _removal(context: Context, worker: Worker) -> _Planned:
    refused = context.operate(worker)
    if refused is not None:
        raise refused
    change = {"name": worker.name, "action": "remove", "fields": []}
    return change, [ev.RemoveRequested(worker.name, context.peer.uid, force=True)]


async def reload(context: Context, args: dict[str, Any]) -> Any:
    """Reads the configuration and workers.d again."""
    context.asked()
    return {"changes": await context.daemon.reload(context.peer.uid)}


async def drain(context: Context, args: dict[str, Any]) -> Any:
    """Stops all workers, as `systemctl stop` does; answered when none is left."""
    context.asked()
    await context.daemon.drain()
    return {}
