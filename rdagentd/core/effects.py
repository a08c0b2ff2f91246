"""What to do about an event. The first group is kept on disk before any of the second is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, frozen

from rdagentd.core.events import Timer
from rdagentd.model.budgets import Tally
from rdagentd.model.container import DriverName
from rdagentd.model.health import Check
from rdagentd.model.provider import Circuit
from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker

# --- kept -------------------------------------------------------------------------------------------------------------


@frozen
class Save:
    """The worker as it is now."""

    worker: Worker


@frozen
class SaveSpec:
    """A new revision of a worker's spec."""

    worker: str
    revision: int
    spec: Spec
    by: int | None


@frozen
class SaveRun:
    """A run as it is now."""

    run: Run


@frozen
class SaveCircuits:
    """The breakers of all providers as they are now, by name."""

    circuits: Mapping[str, Circuit]


@frozen
class Story:
    """One sentence of a worker's story; worker None: of the daemon's own."""

    worker: str | None
    run: str | None
    kind: str
    text: str
    by: int | None = None
    data: Mapping[str, Any] = Factory(dict)


@frozen
class SaveTally:
    """What was spent of a shared budget, as it is now."""

    tally: Tally


@frozen
class Forget:
    """The worker is gone: its row, runs and specs, and then its log."""

    worker: str


# --- done afterwards --------------------------------------------------------------------------------------------------


@frozen
class Ready:
    """What a driver told when it connected is settled. One follows each `ExecutorConnected`, in order; a Spawn that was
    decided before it must not go out on that connection: its run may have been called lost, and what lives is said again.
    """

    driver: DriverName = DriverName.PROCESS


@frozen
class Spawn:
    """Start `worker.run`. Repeating it is harmless: the executor starts a run id once."""

    worker: Worker


@frozen
class Prepare:
    """Do what must come before `worker.run`: keep its work tree, look for its checkpoints. `Prepared` follows."""

    worker: Worker


@frozen
class Signal:
    """signal: a name; scope: main, group or tree."""

    run: str
    signal: str
    scope: str = "main"


@frozen
class Kill:
    """SIGKILL to the whole tree until nothing is left."""

    run: str


@frozen
class Freeze:
    run: str


@frozen
class Thaw:
    run: str


@frozen
class Ack:
    """The end of this run is on disk; the executor may forget it."""

    run: str


@frozen
class Arm:
    """Make `Due(worker, timer, at)` at monotonic time `at`; replaces the timer of the same name."""

    worker: str
    timer: Timer
    at: float


@frozen
class Disarm:
    worker: str
    timer: Timer


@frozen
class Probe:
    """Ask the worker's run, unless it is being asked; the answer is a `Checked`."""

    worker: Worker
    check: Check


@frozen
class Look:
    """Read the pressure on the host again at monotonic time `at`; replaces the time that was to be."""

    at: float


@frozen
class Examine:
    """Find out what a run has done lately; `Examined` tells it."""

    worker: Worker


@frozen
class Picture:
    """Find out what a run that is stalled looks like; `Pictured` tells it."""

    worker: Worker


@frozen
class Refused:
    """The request cannot be done: a code of the control protocol and a sentence."""

    code: str
    text: str


Kept = Save | SaveSpec | SaveRun | SaveCircuits | SaveTally | Story | Forget
Asked = Ready | Spawn | Prepare | Signal | Kill | Freeze | Thaw | Ack | Arm | Disarm | Probe | Look | Examine | Picture
Effect = Kept | Asked | Refused
KEPT = (Save, SaveSpec, SaveRun, SaveCircuits, SaveTally, Story, Forget)
