"""What the executor must still know after it died: which run ids it has seen, and exits that nobody has taken yet.

Records are msgpack arrays, appended with one write(2) each. There is no fsync: what was written survives the death of the
process, and when the machine dies the runs die too, the boot id tells, and the epoch changes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import ENOSPC
from typing import Any

import msgpack

from rdagentd.executor.proc import boot_id

KEPT = 10_000
"""Acknowledged run ids that are still refused, the newest ones."""

SLACK = 1 << 20
"""Bytes appended before the journal is written anew."""

VERSION = 1

_UNBORN: tuple[Any, ...] = (0, 0, 0.0, {})


class Journal:
    """Appends to the file, and holds what has to stay in it.

    epoch: random; changes with the boot, and whenever something in the file was unreadable, so that "never seen" is only
    said of a complete record. live: run id → [worker, pid, ticks, at, log starts], those without an exit; pid 0
    while not known. exits: run id → notice, not acknowledged. acked: run ids, oldest first. pending: run id → record not yet
    written. stale: whether `live` is of an earlier boot. places: run id → where its processes are to be found (Tree.where).
    """

    def __init__(self, directory: str, fd: int = -1) -> None:
        """Reads the journal; with `fd`, goes on with an open one. Raises OSError, ValueError for a newer version."""
        self._path = os.path.join(directory, "journal")
        self.live: dict[str, list[Any]] = {}
        self.exits: dict[str, dict[str, Any]] = {}
        self.acked: dict[str, None] = {}
        self.pending: dict[str, list[Any]] = {}
        self.places: dict[str, str] = {}
        self.epoch, self.boot, self.stale = "", boot_id(), False
        self.fd = fd if fd >= 0 else os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self._size = os.fstat(self.fd).st_size
        whole = self._replay(os.pread(self.fd, self._size, 0))
        if not whole or not self.epoch or self.stale:
            self.epoch = os.urandom(16).hex()
        self._limit = self._size + SLACK
        if fd < 0 or not whole:
            self._renew(must=not whole or self.stale or not self._size)

    def seen(self, run: str) -> bool:
        """Whether the run was asked for before, as far back as KEPT."""
        return run in self.live or run in self.exits or run in self.acked

    def spawned(self, run: str, worker: str, place: str = "") -> None:
        """Before the fork. Raises OSError if it cannot be kept: then the run must not be started."""
        self._flush()
        self._append(["spawned", run, worker, place])
        self._take("spawned", run, worker, place)

    def born(self, run: str, pid: int, ticks: int, at: float, log: dict[str, int]) -> None:
        """After the fork. Should it be missing, the run's place or tag finds the process."""
        self.live[run][1:] = pid, ticks, at, log
        self._later(run, ["born", run, pid, ticks, at, log])

    def exited(self, notice: dict[str, Any]) -> None:
        """Keeps an exit until it is acknowledged; what cannot be written now is written with a later record."""
        run = notice["run"]
        self._take("exited", notice)
        self._later(run, ["exited", notice])

    def ack(self, run: str) -> None:
        """Drops an exit. Nothing happens if there is none."""
        if self.exits.pop(run, None) is not None:
            self._remember(run)
            self._later(run, ["acked", run])

    def take(self, pending: dict[str, list[Any]]) -> None:
        """Goes on with records that could not be written before."""
        for run, record in pending.items():
            self._take(*record)
            self._later(run, record)

    def rewrite(self) -> None:
        """Writes a new file with what is still needed, in the old one's place. Raises OSError; the old one stays then."""
        records: list[list[Any]] = [["epoch", VERSION, self.epoch, self.boot], ["seen", list(self.acked)]]
        for run, (worker, *birth) in self.live.items():
            records += [["spawned", run, worker, self.places[run]], ["born", run, *birth]]
        records += [["exited", notice] for notice in self.exits.values()]
        text = b"".join(map(msgpack.packb, records))
        new = os.open(self._path + ".new", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(new, text) != len(text):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            os.rename(self._path + ".new", self._path)
        except OSError:
            os.close(new)
            raise
        os.close(self.fd)
        self.fd, self._size, self._limit = new, len(text), 2 * len(text) + SLACK
        self.pending.clear()

    def _renew(self, must: bool) -> None:
        try:
            self.rewrite()
        except OSError:
            if must:
                raise
            self._limit += SLACK  # on a full disk the old one still serves

    def _later(self, run: str, record: list[Any]) -> None:
        self.pending[run] = record
        with suppress(OSError):
            self._flush()

    def _flush(self) -> None:
        if self._size > self._limit:
            self._renew(must=False)
        for run in list(self.pending):
            self._append(self.pending[run])
            del self.pending[run]

    def _append(self, record: list[Any]) -> None:
        text: bytes = msgpack.packb(record)
        written = os.write(self.fd, text)
        if written != len(text):
            os.ftruncate(self.fd, self._size)
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._size += written

    def _remember(self, run: str) -> None:
        self.acked[run] = None
        if len(self.acked) > KEPT:
            del self.acked[next(iter(self.acked))]

    def _replay(self, text: bytes) -> bool:
        """Takes in every record up to the first that is torn or damaged; False if there was one."""
        unpacker = msgpack.Unpacker(max_buffer_size=len(text) + 1)
        unpacker.feed(text)
        good = 0
        try:
            for record in unpacker:
                self._take(*record)
                good = unpacker.tell()
        except NewerError:
            raise
        except Exception:  # damaged bytes make msgpack, and whoever uses what it read, raise anything
            return False
        return good == len(text)

    def _take(self, kind: str, *fields: Any) -> None:
        if kind == "epoch":
            version, self.epoch, boot = fields
            if version > VERSION:
                raise NewerError(f"cannot read {self._path}: version {version} is newer than this program ({VERSION})")
            self.stale = boot != self.boot
        elif kind == "seen":
            self.acked = dict.fromkeys(fields[0])
        elif kind == "spawned":
            self.live[fields[0]] = [fields[1], *_UNBORN]
            self.places[fields[0]] = fields[2] if len(fields) > 2 else ""  # an earlier version wrote none
        elif kind == "born":
            self.live[fields[0]][1:] = fields[1:]
        elif kind == "exited":
            self.live.pop(fields[0]["run"], None)
            self.places.pop(fields[0]["run"], None)
            self.exits[fields[0]["run"]] = fields[0]
        elif kind == "acked":
            self.live.pop(fields[0], None)
            self.places.pop(fields[0], None)
            self.exits.pop(fields[0], None)
            self._remember(fields[0])
        else:
            raise ValueError(kind)


class NewerError(ValueError):
    """The journal was written by a newer version."""
