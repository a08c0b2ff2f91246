"""The output of containers, copied from the engine into segments as in protocol/segments.py, so that offsets never change.

The engine's own file is the durable one: whatever a container writes is there, with or without a daemon. It is copied when
somebody reads it, while somebody follows it, and when the container has ended, before it is removed. Beside the segments lies
`copied`: how far they are good, and which record of the engine's log comes next. It is replaced now and then, so after a
crash what was written and not noted is cut off and copied again, to the same offsets. Nothing is noted where a secret may
have begun, so that what takes secrets out can begin anew there.

A record is known by its time: each of the two streams of a container has times that never fall, and the pieces of a long line
have one time.
"""

from __future__ import annotations

import calendar
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
from attrs import define, field

from rdagentd.model.spec import Log
from rdagentd.protocol.redaction import Redactor
from rdagentd.protocol.segments import INDEX_INTERVAL, INDEX_RECORD, base_of, index_name, log_name

_HEADER = struct.Struct(">BxxxL")
"""Of each record in the engine's stream: 1 or 2 for standard output or error, length."""

_STAMP = len("2026-01-02T03:04:05.000000000Z ")
"""Length of the time that the engine puts before each record when it is asked for times."""

_SLACK = 5
"""Seconds before the last record from which on records are asked for again: two streams are not in order to the nanosecond."""

_NOTED = 0.1
"""Least seconds between two notes of how far it is: the engine sends each line by itself, and a note takes longer than that."""

_STREAM = {1: "out", 2: "err"}


class LogHome:
    """The directory of all logs of containers."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def forget(self, worker: str) -> None:
        """Removes a worker's log: at once by its name, then from the disk."""
        trash = self.root / f".{worker}.{time.monotonic_ns()}"
        try:
            (self.root / worker).rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what a crash left half removed. Names of workers do not begin with a full stop."""
        for left in self.root.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def open(self, worker: str, run: str, kept: Log, secrets: Sequence[tuple[str, bytes]] | None = None) -> RunLog:
        """Where the output of a run goes. secrets: what is taken out beside what looks like a key; None: nothing is.

        Raises OSError.
        """
        return RunLog(self.root / worker, run, kept, secrets)


@define(eq=False)
class RunLog:
    """The output of one run. `begin` and `ends`: offsets by stream."""

    directory: Path
    run: str
    kept: Log
    secrets: Sequence[tuple[str, bytes]] | None = field(default=None, repr=False)
    lock: threading.Lock = field(factory=threading.Lock)
    begin: dict[str, int] = field(factory=dict)
    _last: int = 0
    _seen: dict[int, tuple[int, int]] = field(factory=dict)
    _streams: dict[str, _Stream] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        names = ("out", "err") if self.kept.separate else ("out",)
        self._streams = {name: _Stream(self.directory / name, self.kept, self.secrets) for name in names}
        noted = self._noted()
        if noted.get("run") == self.run:
            self.begin, self._last = noted["begin"], noted["last"]
            self._seen = {int(number): (at, count) for number, (at, count) in noted["seen"].items()}
            for name, end in noted["ends"].items():
                self._streams[name].cut(end)
        else:
            self.begin = self.ends()
            self._note()  # or what is written before the next note would count as an earlier run's

    def _noted(self) -> dict[str, Any]:
        try:
            noted = msgpack.unpackb((self.directory / "copied").read_bytes(), strict_map_key=False)
            sound = set(noted.get("ends", ())) == set(self._streams) and all(
                self._streams[name].end >= end for name, end in noted["ends"].items()
            )
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}
        return noted if sound else {}  # else the machine lost power, or somebody was here: all of it once more

    def ends(self) -> dict[str, int]:
        """Where each stream ends."""
        return {name: stream.end for name, stream in self._streams.items()}

    @property
    def since(self) -> int:
        """From which second on records are to be asked for; 0: all."""
        return max(0, self._last // 1_000_000_000 - _SLACK)

    def copy(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """Takes what is new of the engine's stream; yields after each piece with something new. Raises OSError."""
        buffer = bytearray()
        met: dict[int, tuple[int, int]] = {}
        noted = 0.0
        for chunk in chunks:
            buffer += chunk
            with self.lock:  # one thread may follow while another one catches up
                if not self._take(buffer, met):
                    continue
                self._flush()
                if time.monotonic() - noted > _NOTED:
                    self._note()
                    noted = time.monotonic()
            yield
        with self.lock:
            if noted:
                self._note()

    def _take(self, buffer: bytearray, met: dict[int, tuple[int, int]]) -> bool:
        """Writes the whole records of the buffer and takes them out of it."""
        place, wrote = 0, False
        while len(buffer) - place >= _HEADER.size:
            number, length = _HEADER.unpack_from(buffer, place)
            end = place + _HEADER.size + length
            if len(buffer) < end:
                break
            record = bytes(buffer[place + _HEADER.size : end])
            wrote |= self._record(number, _nanoseconds(record[:_STAMP]), record[_STAMP:], met)
            place = end
        del buffer[:place]
        return wrote

    def _record(self, number: int, at: int, data: bytes, met: dict[int, tuple[int, int]]) -> bool:
        """Writes a record unless it was written before. met: the time of the latest of each stream, how many had it so far."""
        before = met.get(number, (0, 0))
        met[number] = (at, before[1] + 1 if before[0] == at else 1)
        if met[number] <= self._seen.get(number, (0, 0)):
            return False
        self._seen[number], self._last = met[number], max(self._last, at)
        self._streams[_STREAM.get(number, "out") if self.kept.separate else "out"].write(at // 1000, data)
        return True

    def _flush(self) -> None:
        for stream in self._streams.values():
            stream.flush()

    def _note(self) -> None:
        if not all(stream.clean for stream in self._streams.values()):
            return
        noted = {
            "run": self.run, "begin": self.begin, "ends": self.ends(), "last": self._last,
            "seen": {number: list(seen) for number, seen in self._seen.items()},
        }  # fmt: skip
        new = self.directory / "copied.new"
        new.write_bytes(msgpack.packb(noted))
        new.replace(self.directory / "copied")

    def finish(self) -> None:
        """Nothing more comes: what may have been the beginning of a secret was none. Raises OSError."""
        with self.lock:
            for stream in self._streams.values():
                stream.finish()

    def close(self) -> None:
        """Lets go of the files."""
        for stream in self._streams.values():
            stream.close()


class _Stream:
    """One stream's segments, the newest open. cap, segment: bytes; the oldest segments go first."""

    def __init__(self, directory: Path, kept: Log, secrets: Sequence[tuple[str, bytes]] | None) -> None:
        self._redactor = None if secrets is None else Redactor(secrets)
        self._directory = directory
        self._kept = kept
        self._fd = self._index = -1
        self._stamp = 0
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        bases = self._bases()
        self._base = bases[-1] if bases else 0
        self.end = self._base + (directory.joinpath(log_name(self._base)).stat().st_size if bases else 0)
        self._pending: list[bytes] = []

    def _bases(self) -> list[int]:
        return sorted(base for base in (base_of(entry.name) for entry in self._directory.iterdir()) if base is not None)

    def cut(self, end: int) -> None:
        """Forgets what stands beyond `end`: it was not noted, and comes again."""
        for base in reversed(self._bases()):
            if base > end:
                self._remove(base)
            else:
                os.truncate(self._directory / log_name(base), end - base)
                _cut_index(self._directory / index_name(base), end)
                self._base = base
                break
        self.end = end

    @property
    def clean(self) -> bool:
        """Whether everything that came was written."""
        return self._redactor is None or self._redactor.clean

    def write(self, micros: int, data: bytes) -> None:
        """Appends bytes that arrived then, in microseconds since the epoch, without the secrets in them."""
        self._append(micros, data if self._redactor is None else self._redactor.feed(data))

    def finish(self) -> None:
        """Writes what was held back."""
        if self._redactor is not None:
            self._append(self._stamp, self._redactor.close())
            self.flush()

    def _append(self, micros: int, data: bytes) -> None:
        if not data:
            return
        if self.end - self._base >= self._kept.segment:
            self._next()
        if self._fd < 0:
            self._open()
        if micros - self._stamp >= INDEX_INTERVAL:
            os.write(self._index, INDEX_RECORD.pack(self.end, micros))
            self._stamp = micros
        self._pending.append(data)
        self.end += len(data)

    def flush(self) -> None:
        """Everything is in the file."""
        data, self._pending = memoryview(b"".join(self._pending)), []
        while data:
            data = data[os.write(self._fd, data) :]

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._fd = os.open(self._directory / log_name(self._base), flags, 0o640)
        self._index = os.open(self._directory / index_name(self._base), flags, 0o640)
        self._stamp = 0

    def _next(self) -> None:
        self.flush()
        self.close()
        self._base = self.end
        for base in self._bases():
            if self.end - base <= self._kept.cap:
                break
            self._remove(base)

    def _remove(self, base: int) -> None:
        for name in (index_name(base), log_name(base)):
            with suppress(FileNotFoundError):
                (self._directory / name).unlink()

    def close(self) -> None:
        for fd in (self._fd, self._index):
            if fd >= 0:
                os.close(fd)
        self._fd = self._index = -1


def _cut_index(path: Path, end: int) -> None:
    """Takes the records of what is not there any more out of an index."""
    with suppress(FileNotFoundError):
        raw = path.read_bytes()
        whole = raw[: len(raw) - len(raw) % INDEX_RECORD.size]
        kept = [record for record in INDEX_RECORD.iter_unpack(whole) if record[0] < end]
        os.truncate(path, len(kept) * INDEX_RECORD.size)


def _nanoseconds(stamp: bytes) -> int:
    """Nanoseconds since the epoch of "2026-01-02T03:04:05.000000006Z ", which the engine writes in UTC with nine digits."""
    date = stamp[:19]
    if date not in _SECONDS:
        _SECONDS.clear()
        _SECONDS[date] = calendar.timegm(time.strptime(date.decode(), "%Y-%m-%dT%H:%M:%S"))
    return _SECONDS[date] * 1_000_000_000 + int(stamp[20:29])


_SECONDS: dict[bytes, int] = {}
"""The second that was met last: strptime is slow, and a thousand records share one."""
