"""A proxy between a daemon and its Docker engine that passes requests and answers late, and loses answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class Between:
    """Listens at `socket`. delay: seconds before each answer; swallow: a request, by its first line, whose answer is lost once:
    it reaches the engine, and the connection is closed. changed: what is something else in an answer, as long as it is."""

    def __init__(self, directory: Path, engine: Path) -> None:
        self.socket = directory / "between.sock"
        self.delay = 0.0
        self.swallow = b""
        self.swallowed = 0
        self.changed: dict[bytes, bytes] = {}
        self._engine = engine

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            source, sink = await asyncio.open_unix_connection(self._engine)
        except OSError:  # nobody is there
            writer.close()
            return
        lost = asyncio.Event()
        with contextlib.suppress(asyncio.CancelledError):  # the test is over
            await asyncio.gather(self._there(reader, sink, lost), self._back(source, writer, lost))

    async def _there(self, reader: asyncio.StreamReader, sink: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.is_lost(data):
                    self.swallowed += 1
                    lost.set()
                await self.held_there(data)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def _back(self, source: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if lost.is_set():
                    break
                await asyncio.sleep(self.late_back())
                for said, instead in self.changed.items():
                    data = data.replace(said, instead)
                writer.write(data)
                await writer.drain()
        writer.close()

    # --- what is done to them -----------------------------------------------------------------------------------------

    def is_lost(self, request: bytes) -> bool:
        """Whether the answer to a request is to be lost."""
        found = bool(self.swallow) and self.swallow in request.split(b"\r\n", 1)[0]
        if found:
            self.swallow = b""
        return found

    async def held_there(self, request: bytes) -> None:
        """Returns when a request may go on."""
        await asyncio.sleep(self.late_there(request))

    def late_there(self, request: bytes) -> float:
        """Seconds by which a request is late."""
        return 0.0

    def late_back(self) -> float:
        """Seconds by which an answer is late."""
        return self.delay


class Capricious(Between):
    """While `troubled`, each piece is late by up to `LONGEST` seconds, most of them by much less, and one answer in `ONE_IN` is
    lost. In a thread of its own, with `with`."""

    LONGEST = 2.5
    ONE_IN = 6

    def __init__(self, directory: Path, engine: Path, rng: random.Random) -> None:
        super().__init__(directory, engine)
        self.troubled = False
        self.longest = 0.0
        self._rng = rng
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="between")

    def is_lost(self, request: bytes) -> bool:
        return self.troubled and self._rng.randrange(self.ONE_IN) == 0

    def late_there(self, request: bytes) -> float:
        return self.late_back()

    def late_back(self) -> float:
        late: float = self.LONGEST * self._rng.random() ** 4 if self.troubled else 0.0
        self.longest = max(self.longest, late)
        return late

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _leave(self) -> None:
        await self.__aexit__()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
