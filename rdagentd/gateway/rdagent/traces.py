"""The traces that are known: those of workers, and those whose messages are kept. Messages and ends of all go through here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import define, field

from rdagentd.gateway.rdagent.ends import end_of, is_at_rest
from rdagentd.gateway.rdagent.journal import END, Journal
from rdagentd.gateway.rdagent.pointers import Pointers

log = logging.getLogger(__name__)

MOST_TRACES = 500
MOST_BYTES = 1 << 30
"""Of all journals together; beyond, that of the trace that ended first goes, never that of one that has not."""

_SYNC_AFTER = 1.0
"""Seconds after a message by which the disk is asked to keep it: what a power failure may take."""


@define(eq=False)
class Trace:
    """id: as clients call it; path: as its RD-Agent calls itself; worker: its name. row: as last seen, None if it is gone.

    lived: whether it was seen before it was over.
    """

    id: str
    path: str
    worker: str
    journal: Journal
    row: Mapping[str, Any] | None = None
    lived: bool = False
    pointers: Pointers = field(factory=Pointers)

    @property
    def over(self) -> bool:
        """Whether there is no process any more, and none will follow by itself."""
        return self.row is None or is_at_rest(self.row)

    @property
    def numbers(self) -> range:
        """Of the messages that are there."""
        return range(self.journal.first, self.journal.end)


class Traces:
    """All of them, by id and by path. seen: whether the daemon has told of its workers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._by_id: dict[str, Trace] = {}
        self._by_path: dict[str, Trace] = {}
        self._by_worker: dict[str, Trace] = {}
        self._kept: set[Trace] = set()
        self._unsynced: set[Trace] = set()
        self._sync: asyncio.Task[None] | None = None
        self._launches = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self.seen = False

    def __iter__(self) -> Iterator[Trace]:
        return iter(self._by_id.values())

    def find(self, called: object) -> Trace | None:
        """By its id, or by its path."""
        if not isinstance(called, str) or not called:
            return None
        name = _plain(called)
        return self._by_id.get(name) or self._by_path.get(name)

    @contextlib.contextmanager
    def launching(self) -> Iterator[None]:
        """Meanwhile a worker may already speak whose trace is not known yet."""
        self._launches += 1
        self._settled.clear()
        try:
            yield
        finally:
            self._launches -= 1
            if not self._launches:
                self._settled.set()

    async def await_launch(self, called: Iterable[object]) -> None:
        """Returns once those of these are known that may be launched at this moment."""
        if not all(map(self.find, called)):
            await self._settled.wait()

    def of_worker(self, name: str) -> Trace | None:
        """That of a worker."""
        return self._by_worker.get(name)

    # --- workers ------------------------------------------------------------------------------------------------------

    def saw(self, row: Mapping[str, Any]) -> None:
        """A worker as it is now. One with a label `trace` takes part; of two with the same, the first."""
        path, name = row["labels"].get("trace"), row["name"]
        trace = self._by_worker.get(name)
        if trace is not None and trace.path != path:  # its labels were changed: the old one is over
            self.gone(name)
            trace = None
        if not path:
            return
        if trace is None:
            called = row["labels"].get("rd-agent-id") or f"{row['labels'].get('scenario') or 'Workers'}/{name}"
            trace = self._by_path.get(_plain(path))
            if trace is None and _plain(called) not in self._by_id:
                trace = self._add(Trace(called, path, name, Journal(self._place(path))))
            if trace is None or (trace.row is not None and trace.worker != name):
                log.warning(
                    "worker %s is called %s or logs to %s, as another one does; it is not shown", name, called, path
                )
                return
            trace.worker = name
            self._by_worker[name] = trace
        trace.row = row
        trace.lived = trace.lived or not trace.over
        self._end(trace)

    def gone(self, name: str) -> None:
        """A worker is there no more. Its messages are kept."""
        trace = self._by_worker.pop(name, None)
        if trace is not None:
            trace.row = None
            self._end(trace)

    def all_seen(self, rows: list[Mapping[str, Any]]) -> None:
        """These workers are there, and no others."""
        for row in rows:
            self.saw(row)
        for name in self._by_worker.keys() - {row["name"] for row in rows}:
            self.gone(name)
        for trace in self:
            if trace.row is None:
                self._end(trace)
        self.seen = True

    def _add(self, trace: Trace) -> Trace:
        self._by_id[_plain(trace.id)] = trace
        self._by_path[_plain(trace.path)] = trace
        return trace

    def settle(self, trace: Trace) -> None:
        """Says that it is over, if it is and that could not be kept when it came to be."""
        if self.knows(trace):
            self._end(trace)

    def knows(self, trace: Trace) -> bool:
        """Whether it is known what its worker does: not before the daemon has told."""
        return self.seen or trace.row is not None

    def _end(self, trace: Trace) -> None:
        """Says once that it is over. A run that ended is known by its time; what had none, by an END that nothing followed."""
        message = end_of(trace.row, time.time())
        if message is None:
            return
        timed = trace.row is not None and trace.row["run"] is not None and trace.row["run"]["ended_at"] is not None
        known = trace.journal.ended == message["timestamp"] if timed else trace.journal.tags[-1:] == [END]
        if known or (
            not trace.journal.end and not trace.lived and (trace.row is None or len(self._kept) >= MOST_TRACES)
        ):
            return  # of what was over long ago and never sent anything, nothing else is thrown away
        try:
            self.append(trace, message)
        except OSError as error:
            log.error("cannot keep the end of %s: %s; it is said when somebody asks for it", trace.id, error)

    # --- messages -----------------------------------------------------------------------------------------------------

    def append(self, trace: Trace, message: dict[str, Any]) -> None:
        """Keeps a message. Raises OSError."""
        if not trace.journal.end:
            self._begin(trace)
        trace.journal.append(message)
        self._unsynced.add(trace)
        if self._sync is None:
            self._sync = asyncio.get_running_loop().create_task(self._sync_soon())

    def _begin(self, trace: Trace) -> None:
        """Makes room, and writes down whose messages these are."""
        size = sum(one.journal.size for one in self._kept)
        for old in sorted((one for one in self._kept if one.over), key=lambda one: one.journal.ended or ""):
            if len(self._kept) < MOST_TRACES and size < MOST_BYTES:
                break
            size -= old.journal.size
            self._drop(old)
        trace.journal.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = {"id": trace.id, "path": trace.path, "worker": trace.worker}
        written = trace.journal.directory / "trace.json.new"
        written.write_text(json.dumps(about))
        written.rename(trace.journal.directory / "trace.json")
        self._kept.add(trace)

    def _drop(self, trace: Trace) -> None:
        """Forgets its messages; itself too, if its worker is gone."""
        shutil.rmtree(trace.journal.directory, ignore_errors=True)
        self._unsynced.discard(trace)
        self._kept.discard(trace)
        if trace.row is None:
            self._by_id.pop(_plain(trace.id), None)
            self._by_path.pop(_plain(trace.path), None)
        else:
            trace.journal, trace.pointers, trace.lived = Journal(trace.journal.directory), Pointers(), False

    async def _sync_soon(self) -> None:
        while self._unsynced:
            await asyncio.sleep(_SYNC_AFTER)
            await self._sync_now()
        self._sync = None

    async def _sync_now(self) -> None:
        batch, self._unsynced = self._unsynced, set()
        try:
            for trace in batch:
                await asyncio.to_thread(trace.journal.sync)
        except OSError as error:
            log.error("cannot have the disk keep messages: %s", error)

    async def close(self) -> None:
        """Has the disk keep everything."""
        if self._sync is not None:
            self._sync.cancel()
        await self._sync_now()

    # --- disk ---------------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> Path:
        return self._directory / hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:32]

    def load(self) -> None:
        """Takes up what is on disk; what cannot be read is left there and told. Blocks."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in sorted(self._directory.iterdir()):
            try:
                about = json.loads((directory / "trace.json").read_text())
                trace = Trace(str(about["id"]), str(about["path"]), str(about["worker"]), Journal(directory))
                trace.journal.load()
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("cannot read the messages in %s: %s; remove it, or mend it", directory, error)
                continue
            if _plain(trace.id) not in self._by_id:
                self._kept.add(self._add(trace))


def _plain(path: str) -> str:
    """As RD-Agent's server compares ids and paths: as paths, of which ".." is no special part."""
    return str(PurePosixPath(path))
