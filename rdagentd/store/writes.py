"""What is to be kept, as values: the caller names it, the writer thread carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker


@frozen
class SaveWorker:
    """The newest value of a worker. Of its spec only the revision is kept here, of its run only the id."""

    worker: Worker


@frozen
class SaveSpec:
    """A revision of a spec. at: seconds since the epoch; by: uid. Old revisions beyond the bound go."""

    name: str
    revision: int
    spec: Spec
    at: float
    by: int


@frozen
class SaveRun:
    """The newest value of a run. Ended runs of the worker beyond the bound go; live ones never."""

    run: Run


@frozen
class AddEvent:
    """A line of the event log. at: seconds since the epoch; by: uid; data: what msgpack can hold."""

    at: float
    worker: str | None
    run: str | None
    kind: str
    text: str
    by: int | None
    data: Mapping[str, Any]


@frozen
class ForgetWorker:
    """The worker, its specs and its runs go; its events stay."""

    name: str


@frozen
class SetMeta:
    """A small fact: the executor's epoch, the boot id, the last run id."""

    key: str
    value: str


Write = SaveWorker | SaveSpec | SaveRun | AddEvent | ForgetWorker | SetMeta
