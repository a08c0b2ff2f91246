"""The operation `preflight`: what the runs of workers would lack now."""

from __future__ import annotations

import asyncio
from typing import Any

from rdagentd.api.commands import decoded, may_run_as
from rdagentd.api.context import Context
from rdagentd.config.spec import decode_spec
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.protocol.errors import INVALID, OVER_CAPACITY, ProtocolError
from rdagentd.supervisor.preflight import look

_MOST = 64
"""Workers that are looked at by one request: each takes a process."""


async def preflight(context: Context, args: dict[str, Any]) -> Any:
    """What runs of the chosen workers would lack now, or those of a worker with this spec, which need not be there."""
    chosen = [_imagined(context, args["spec"])] if args["spec"] is not None else _chosen(context, args["select"])
    found = await asyncio.gather(*(look(context.daemon.supervisor.driver, worker) for worker in chosen))
    return [
        {
            "name": worker.name,
            "asked": worker.spec.preflight is not None,
            "problems": list(one.problems),
            "unmade": one.unmade or None,
        }
        for worker, one in zip(chosen, found, strict=True)
    ]


def _imagined(context: Context, raw: dict[str, Any]) -> Worker:
    raw = {"name": "preflight", **raw}
    spec: Spec = decoded(lambda: decode_spec(raw, profiles=context.daemon.profiles()))
    may_run_as(context, spec)
    return Worker(spec.name, spec, context.peer.uid)


def _chosen(context: Context, select: dict[str, Any]) -> list[Worker]:
    if not select:
        raise ProtocolError(INVALID, "cannot preflight: neither select nor spec is given")
    chosen = context.select(select)
    if len(chosen) > _MOST:
        raise ProtocolError(OVER_CAPACITY, f"cannot preflight {len(chosen)} workers at once: {_MOST} are the most")
    for worker in chosen:
        refused = context.operate(worker)
        if refused is not None:
            raise refused
    return chosen
