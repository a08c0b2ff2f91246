"""Looks at what belongs to a worker: the program `rdagentd.look`, as the worker's user."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen

from rdagentd.drivers.base import Driver, Errand
from rdagentd.model.checkpoints import Checkpoint, Found
from rdagentd.model.worker import Worker

PATIENCE = 600.0
"""Seconds that a look, or a snapshot, may take."""

MOST = 200
"""Checkpoints that are told of."""

_GLANCE = 20.0
"""Seconds for a look that is made again and again."""

_ANSWER = 1 << 18


@frozen
class Looked:
    """What was seen, or why nothing could be."""

    seen: Any = None
    problem: str = ""


async def look(  # noqa: PLR0913
    driver: Driver,
    worker: Worker,
    what: str,
    wanted: Mapping[str, Any],
    *,
    snapshots: bool = False,
    patience: float = PATIENCE,
) -> Looked:
    """One look, of so many seconds at most. Raises nothing."""
    command = (sys.executable, "-I", "-m", "rdagentd.look", what, json.dumps(wanted))
    told = await driver.assist(worker, Errand(command, patience, most=_ANSWER, snapshots=snapshots))
    text = told.output.decode("utf-8", "replace").strip()
    if told.code is None or told.reason:
        return Looked(problem=told.reason or f"what looked was killed by {told.signal}")
    if told.code:
        return Looked(problem=text.splitlines()[-1][:1000] if text else f"what looked ended with code {told.code}")
    try:
        return Looked(json.loads(text))
    except ValueError:
        return Looked(problem=f"what looked said {text[-200:]!r}")


async def checkpoints(
    driver: Driver, worker: Worker, *, whole: int, one: str | None = None, most: int = MOST
) -> tuple[list[Found], str]:
    """The checkpoints of a worker, the newest first, as many looked into as it takes to find so many whole; or why not."""
    seen = await look(driver, worker, "checkpoints", {**_wanted(worker), "whole": whole, "one": one, "most": most})
    if seen.problem:
        return [], seen.problem
    return [Found(Checkpoint(f["path"], f["at"], f["size"]), f["problem"]) for f in seen.seen["found"]], ""


async def last_written(driver: Driver, worker: Worker) -> float | None:
    """When it last wrote a checkpoint, in seconds since the epoch, whatever it is worth; None: never, or nobody can look."""
    wanted = {**_wanted(worker), "order": ("mtime",), "whole": 0, "one": None, "most": 1}
    seen = await look(driver, worker, "checkpoints", wanted, patience=_GLANCE)
    return None if seen.problem or not seen.seen["found"] else float(seen.seen["found"][0]["at"]) / 1e9


async def prune(driver: Driver, worker: Worker) -> Looked:
    """Has old checkpoints removed; never the one that the run of this worker began from."""
    assert worker.spec.checkpoints is not None
    began = worker.run.checkpoint.path if worker.run and worker.run.checkpoint else None
    return await look(
        driver, worker, "prune", {**_wanted(worker), "keep": worker.spec.checkpoints.keep, "spare": began}
    )


def _wanted(worker: Worker) -> dict[str, Any]:
    assert worker.spec.checkpoints is not None
    asked = asdict(worker.spec.checkpoints)
    return {
        "directory": worker.spec.directory or "/",
        "since": since(worker),
        **{name: asked[name] for name in ("files", "order", "verify", "key")},
    }


def since(worker: Worker) -> int:
    """When its present life began: nanoseconds since the epoch."""
    return int((worker.life or 0.0) * 1e9)
