"""Reporting by hand, by a script, or by the gateway for RD-Agent: what a run has done, told from outside."""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from rdagentd.api.context import Context
from rdagentd.config.problems import InvalidError
from rdagentd.config.reporters import measure
from rdagentd.core import events as ev
from rdagentd.model.measures import told
from rdagentd.model.reporters import Source
from rdagentd.model.run import Run
from rdagentd.model.worker import LIVE, Worker
from rdagentd.protocol.errors import CONFLICT, INVALID, ProtocolError

T = TypeVar("T")

GATEWAY = "rdagentd-gateway"
"""The user of rdagentd-gateway.service."""

RECEIVED = Source.RECEIVE.value


async def report(context: Context, args: dict[str, Any]) -> Any:
    """Tells what a run has done: totals of the run in `values`, and in `added` what comes on top.

    source `receive`: what RD-Agent posted; only what the worker's reporters want of it counts, and each `number` once.
    """
    worker = context.select({"names": [args["name"]]})[0]
    received = args["source"] == RECEIVED
    refused = context.operate(worker)
    if refused is not None and not (received and _is_gateway(context.peer.uid) and _wanted(worker)):
        context.refused(refused)
        raise refused
    run = _live(worker, args["run"])
    values, added = _named(args["values"]), {name: _number(name, more) for name, more in _named(args["added"]).items()}
    log: dict[str, int] = {}
    if received:
        values, added = _chosen(values, worker), _chosen(added, worker)
        if args["number"] is not None:
            if args["number"] < run.reading.log.get(RECEIVED, 0):
                return {"measures": {}}
            log = {RECEIVED: args["number"] + 1}
    else:
        context.asked([worker.name], **values, **{f"+{name}": more for name, more in added.items()})
    wrong = told(run.measures, values, added)[1]
    if wrong:
        raise ProtocolError(INVALID, f"cannot report for {worker.name}: {wrong[0]}")
    if values or added:
        await context.daemon.supervisor.ask(ev.Reported(worker.name, run.id, values, args["source"], added, log))
    return {"measures": {**values, **added}}


def _live(worker: Worker, wanted: str | None) -> Run:
    """Its run. Raises ProtocolError if there is none, or another than was meant."""
    run = worker.run
    if run is None or worker.state not in LIVE:
        text = f"cannot report for {worker.name}: it is {worker.state}; only what runs can tell of itself"
        raise ProtocolError(CONFLICT, text)
    if wanted is not None and wanted != run.id:
        raise ProtocolError(CONFLICT, f"cannot report for {worker.name}: its run {wanted[:64]} is over")
    return run


def _named(values: Mapping[Any, Any]) -> dict[str, float | str]:
    """Measures and numbers or words. Raises ProtocolError."""
    for name, value in values.items():
        try:
            measure(name)
        except InvalidError as error:
            raise ProtocolError(INVALID, f"cannot report: {error}") from None
        if type(value) not in (int, float, str):
            raise ProtocolError(INVALID, f"cannot report {name}: its value must be a number or text")
    return dict(values)


def _wanted(worker: Worker) -> set[str]:
    return {reporter.measure for reporter in worker.spec.reporters if reporter.source is Source.RECEIVE}


def _chosen(values: dict[str, T], worker: Worker) -> dict[str, T]:
    wanted = _wanted(worker)
    return {name: value for name, value in values.items() if name in wanted}


def _number(name: str, value: float | str) -> float:
    if isinstance(value, str):
        raise ProtocolError(INVALID, f"cannot report {name}: only a number can be added")
    return value


@cache
def _gateway() -> int | None:
    try:
        return pwd.getpwnam(GATEWAY).pw_uid
    except KeyError:
        return None


def _is_gateway(uid: int) -> bool:
    return uid == _gateway()
