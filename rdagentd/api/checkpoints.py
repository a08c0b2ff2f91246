"""Operations about checkpoints and snapshots."""

from __future__ import annotations

from typing import Any

from rdagentd.api import commands
from rdagentd.api.context import Context
from rdagentd.core.checkpoints import choose
from rdagentd.model.worker import LIVE, Worker
from rdagentd.protocol.errors import CONFLICT, UNAVAILABLE, ProtocolError
from rdagentd.supervisor import looks

_VERIFIED = 20
"""Newest checkpoints that are looked into for a list."""


async def checkpoints(context: Context, args: dict[str, Any]) -> Any:
    """The checkpoints of a worker, the newest first, and what is wrong with them; the one that it would go on from."""
    worker = _one(context, args["name"])
    if worker.spec.checkpoints is None:
        raise ProtocolError(CONFLICT, f"cannot list checkpoints of {worker.name}: its spec has no [checkpoints]")
    found, problem = await looks.checkpoints(context.daemon.supervisor.driver, worker, whole=_VERIFIED)
    if problem:
        raise ProtocolError(UNAVAILABLE, f"cannot list checkpoints of {worker.name}: {problem}")
    present = [one for one in found if one.checkpoint.at >= looks.since(worker)]
    chosen = choose(present, worker.setbacks).checkpoint
    rows = [
        {
            "path": one.checkpoint.path,
            "at": one.checkpoint.at / 1e9,
            "size": one.checkpoint.size,
            "problem": one.problem,
            "failures": worker.setbacks.count(one.checkpoint),
            "present": one in present,
        }
        for one in found
    ]
    return {"name": worker.name, "checkpoints": rows, "next": chosen and chosen.path}


async def resume(context: Context, args: dict[str, Any]) -> Any:
    """Lets paused workers go on; those at rest start from their newest checkpoint, or from the one that is named."""
    path = args["checkpoint"]
    for worker in context.select(args["select"]) if path is not None else ():
        if worker.spec.checkpoints is None or worker.state in LIVE or context.operate(worker) is not None:
            continue  # the core says what is wrong
        found, problem = await looks.checkpoints(context.daemon.supervisor.driver, worker, whole=1, one=path)
        why = problem or (found[0].problem if found else "there is no such checkpoint")
        if why:
            raise ProtocolError(CONFLICT, f"cannot resume {worker.name} from {path[:200]}: {why}")
    return await commands.resume(context, args)


async def restore_workspace(context: Context, args: dict[str, Any]) -> Any:
    """Makes the git work tree of a worker that does not run what it was before a run."""
    worker = _one(context, args["name"])
    if worker.state in LIVE:
        raise ProtocolError(
            CONFLICT, f"cannot restore the workspace of {worker.name}: it is {worker.state}; stop it first"
        )
    if not worker.spec.directory:
        raise ProtocolError(CONFLICT, f"cannot restore the workspace of {worker.name}: its spec has no directory")
    context.asked([worker.name], run=args["run"])
    wanted = {"directory": worker.spec.directory, "run": args["run"]}
    looked = await looks.look(context.daemon.supervisor.driver, worker, "restore", wanted, snapshots=True)
    if looked.problem:
        raise ProtocolError(CONFLICT, f"cannot restore the workspace of {worker.name}: {looked.problem}")
    return {"name": worker.name, **{key: looked.seen[key] for key in ("run", "branch", "commit", "directory")}}


def _one(context: Context, name: str) -> Worker:
    (worker,) = context.select({"names": [name]})[:1]
    refused = context.operate(worker)
    if refused is not None:
        context.refused(refused)
        raise refused
    return worker
