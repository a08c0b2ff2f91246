"""The store: specs, workers, runs and events in SQLite. What a commit's future confirmed is on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any

from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.store.errors import Damaged, NewerSchema, StoreError
from rdagentd.store.loading import BadRow, Loaded
from rdagentd.store.opening import open_database
from rdagentd.store.reads import Reader
from rdagentd.store.tables import Keep
from rdagentd.store.writer import Writer
from rdagentd.store.writes import Write

__all__ = ["BadRow", "Damaged", "Loaded", "NewerSchema", "Store", "StoreError"]


class Store:
    """One database file, mode 0600, and a thread that writes to it.

    keep_runs: ended runs kept per worker; keep_revisions: specs kept per worker; keep_events: events kept in all, give or
    take 0.4 %. `failpoint` is called in the writer thread at "before-commit" and "after-commit".
    """

    def __init__(
        self,
        path: str,
        keep_runs: int = 100,
        keep_events: int = 100_000,
        keep_revisions: int = 50,
        failpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._path = path
        self._keep = Keep(keep_runs, keep_events, keep_revisions)
        self._failpoint = failpoint
        self._writer: Writer | None = None
        self._reader: Reader | None = None

    def open(self) -> Loaded:
        """Open or make the database and read what is in it; blocks. Raises Damaged, NewerSchema, StoreError."""
        opened = open_database(self._path)
        self._reader = Reader(opened.reader)
        self._writer = Writer(opened.writer, self._keep, self._failpoint)
        return opened.loaded

    def commit(self, writes: Sequence[Write]) -> Future[list[int]]:
        """Keep all of `writes` or none. From any thread; calls that wait at once share a transaction, in their order.

        The future gives, once they are on disk, the numbers of the events among them, or raises StoreError.
        """
        return self._open_writer().commit(writes)

    def close(self) -> None:
        """Wait for pending commits and close. May be called twice."""
        if self._reader:
            self._reader.close()
        if self._writer:
            self._writer.close()

    @property
    def error(self) -> str | None:
        """Why the last commit failed; None once one has succeeded again."""
        return self._writer.error if self._writer else None

    def alive(self) -> bool:
        """Whether the writer thread lives: commits are answered, if perhaps with an error."""
        return self._writer is not None and self._writer.alive

    def healthy(self) -> bool:
        """Whether the writer thread lives and its last commit succeeded."""
        return self._writer is not None and self._writer.alive and self._writer.error is None

    def runs(self, worker: str, limit: int = 100) -> list[Run]:
        """Runs of a worker, newest first."""
        return self._open_reader().runs(worker, limit)

    def run(self, run_id: str) -> Run | None:
        """One run, None if it is not kept."""
        return self._open_reader().run(run_id)

    def revisions(self, name: str) -> list[tuple[int, float, int]]:
        """Revision, time (seconds since the epoch) and uid of each spec that is kept, oldest first."""
        return self._open_reader().revisions(name)

    def spec(self, name: str, revision: int) -> Spec | None:
        """One revision of a spec, None if it is not kept."""
        return self._open_reader().spec(name, revision)

    def events(  # noqa: PLR0913 -- what can be asked
        self,
        workers: Collection[str] | None,
        since: int = 0,
        limit: int = 1000,
        tail: int | None = None,
        *,
        kinds: Collection[str] = (),
        after: float | None = None,
    ) -> list[dict[str, Any]]:
        """Events numbered above `since`, of these workers or of all (None), ascending: the first `limit` or the last `tail`.

        kinds: of these only, where there are any; after: not before that time, in seconds since the epoch.
        """
        return self._open_reader().events(workers, since, limit, tail, kinds=kinds, after=after)

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise StoreError("cannot write to the state database: it is not open; open it first")
        return self._writer

    def _open_reader(self) -> Reader:
        if self._reader is None:
            raise StoreError("cannot read the state database: it is not open; open it first")
        return self._reader
