"""Preflight: what a worker's run would lack, looked for with the worker's own eyes; and a start that waits for the answer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import asdict, evolve, frozen

from rdagentd.core import events as ev
from rdagentd.drivers.base import Driver, Errand
from rdagentd.look.preflight import variables
from rdagentd.model.container import DriverName
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker

_PATIENCE = 60.0
"""Seconds that all of it may take; the programs that are asked for their versions have ten each."""

STAGE = "preflight"


@frozen
class Findings:
    """problems: a sentence for each. unmade: why nobody could look; "": somebody did."""

    problems: tuple[str, ...] = ()
    unmade: str = ""


async def look(driver: Driver, worker: Worker) -> Findings:
    """What a run of this worker would lack. Of a container only its variables are looked at."""
    spec = worker.spec
    if spec.preflight is None:
        return Findings()
    wanted = _wanted(spec)
    if spec.driver is DriverName.DOCKER:
        return Findings(tuple(variables(wanted, spec.environment)))
    command = (sys.executable, "-I", "-m", "rdagentd.look", "preflight", json.dumps(wanted))
    anywhere = evolve(worker, spec=evolve(spec, directory=None))  # its own may not be there before the first run
    told = await driver.assist(anywhere, Errand(command, _PATIENCE))
    if told.code != 0:
        return Findings(unmade=told.reason or f"the look ended with {told.code or told.signal}: {told.output[-200:]!r}")
    try:
        problems = json.loads(told.output)
        return Findings(tuple(map(str, problems)))
    except (ValueError, TypeError):
        return Findings(unmade=f"the look said {told.output[-200:]!r}")


def _wanted(spec: Spec) -> dict[str, Any]:
    assert spec.preflight is not None
    return {
        **asdict(spec.preflight),
        "given": [*spec.secret_environment, *spec.credentials],
        "directory": spec.directory or "/",
        "files": list(spec.environment_file),
        "fixed": list(spec.environment),
    }


class Starts:
    """Asks the driver for runs, of those with a preflight once nothing is found. find: the worker as it is now."""

    def __init__(self, driver: Driver, find: Callable[[str], Worker | None], post: Callable[[ev.Event], None]) -> None:
        self._driver = driver
        self._find = find
        self._post = post
        self._looking: dict[str, asyncio.Task[Findings]] = {}

    def spawn(self, worker: Worker) -> None:
        """Starts `worker.run`, now or later; asked twice for the same it looks once."""
        assert worker.run is not None
        run = worker.run.id
        if worker.spec.preflight is None:
            self._driver.spawn(worker)
        elif run not in self._looking:
            self._looking[run] = asyncio.ensure_future(look(self._driver, worker))
            self._looking[run].add_done_callback(partial(self._looked, worker.name, run))

    def _looked(self, name: str, run: str, done: asyncio.Task[Findings]) -> None:
        del self._looking[run]
        worker = self._find(name)
        if done.cancelled() or worker is None or worker.run is None or worker.run.id != run or worker.run.exit:
            return
        found = done.result()
        if found.unmade:
            self._post(ev.Noted(name, "unlooked", f"its preflight could not be made: {found.unmade}", None))
        if worker.state is State.STOPPING:
            self._refuse(name, run, "it was asked to stop before it had begun")
        elif found.problems:
            self._refuse(name, run, "; ".join(found.problems))
        else:
            self._driver.spawn(worker)

    def _refuse(self, name: str, run: str, why: str) -> None:
        ended = Exit(ExitKind.COULD_NOT_START, stage=STAGE, reason=f"could not start: {why}")
        self._post(ev.RunExited(name, run, ended))
