"""Calls to the Docker engine: blocking docker-py in threads, each call with a deadline, each failure one of two kinds.

EngineAwayError: nobody knows whether the engine did what it was asked. EngineRefusedError: it did not, and says why.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from rdagentd.drivers.docker_options import HOST
from rdagentd.protocol import labels

T = TypeVar("T")

_CALLS = 16
"""Threads for calls. A stuck engine holds each for at most `patience`."""

_PULLS = 4
"""Images fetched at one time."""

_SILENCE = 120.0
"""Seconds without a word after which fetching an image is given up."""

_REMEMBERED = 256
"""Events that an engine keeps in memory (moby, daemon/events)."""

_EXECUTIONS = 32
"""Commands in containers at one time; each takes a thread, at most as long as it may last."""

_PIECE = 64 << 10

_SOON = 0.02
"""Seconds between two looks whether a command that has closed its output has ended."""

_HEADER = 8
"""Bytes before each piece of output, of which the last four are its length (POST /containers/ID/attach)."""

_FOLLOWED = 64
"""Containers whose output is followed at one time; each takes a thread."""


class EngineAwayError(Exception):
    """The engine did not answer. stuck: it listens, and says nothing."""

    def __init__(self, text: str, stuck: bool = False) -> None:
        super().__init__(text)
        self.stuck = stuck


class EngineRefusedError(Exception):
    """The engine said no. status: as in HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Engine:
    """One connection to an engine. Made by `connect`; when a call has failed with EngineAwayError another one is to be made.

    facts: what /info says. patience: seconds that a call may take.
    """

    def __init__(self, client: Any, facts: Mapping[str, Any], patience: float) -> None:
        self.facts = facts
        self._client = client
        self._patience = patience
        self._calls = ThreadPoolExecutor(_CALLS, "docker")
        self._pulls = ThreadPoolExecutor(_PULLS, "docker-pull")
        self._follow = ThreadPoolExecutor(_FOLLOWED, "docker-log")
        self._executions = ThreadPoolExecutor(_EXECUTIONS, "docker-exec")
        self._events: Any = None
        self._closed = False

    # --- containers ---------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Whether it answers."""
        await self._call(self._client.ping)

    async def containers(self, identity: str) -> list[str]:
        """Ids of all containers of this daemon's own runs, whatever their state."""
        found = await self._call(lambda: self._client.containers(all=True, filters={"label": [f"{HOST}={identity}"]}))
        return [one["Id"] for one in found if labels.ORIGIN not in (one.get("Labels") or {})]

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """All about a container, by id or name; None if there is none."""
        try:
            return await self._call(lambda: self._client.inspect_container(container))
        except EngineRefusedError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        """Makes a container: {Id, Warnings}."""
        return await self._call(lambda: self._client.create_container_from_config(config, name))

    async def start(self, container: str) -> None:
        """Starts what was made. Starting what runs does nothing; starting what has ended runs it again: look first."""
        await self._call(lambda: self._client.start(container))

    async def kill(self, container: str, signal: str) -> None:
        """A signal to the first process."""
        await self._call(lambda: self._client.kill(container, signal))

    async def pause(self, container: str) -> None:
        """Freezes all of it."""
        await self._call(lambda: self._client.pause(container))

    async def unpause(self, container: str) -> None:
        """Lets it go on."""
        await self._call(lambda: self._client.unpause(container))

    async def remove(self, container: str) -> None:
        """Ends and removes it with its anonymous volumes; one that is not there, or on its way out, is no error."""
        try:
            await self._call(lambda: self._client.remove_container(container, v=True, force=True))
        except EngineRefusedError as error:
            if error.status not in (404, 409):
                raise

    async def saw(self, action: str, container: str) -> bool:
        """Whether something has happened to a container since the engine was started: then the engine remembers it, unless so
        much has happened that it may have forgotten.
        """

        def ask() -> bool:
            events = list(self._client.events(since="1", until=now_cursor(), decode=True))
            found = {event.get("Actor", {}).get("ID") for event in events if event.get("Action") == action}
            return len(events) >= _REMEMBERED or container in found

        return await self._call(ask)

    async def stats(self, container: str) -> dict[str, Any]:
        """What a container uses now."""
        url = f"{self._client.base_url}/v{self._client.api_version}/containers/{container}/stats"

        def ask() -> dict[str, Any]:
            reply = self._client.get(url, params={"stream": 0, "one-shot": 1}, timeout=self._patience)
            if reply.status_code >= 400:
                raise EngineRefusedError(reply.status_code, _message(reply.text))
            return dict(reply.json())

        return await self._call(ask)

    async def execute(
        self, container: str, command: Sequence[str], environment: Mapping[str, str], timeout: float, most: int
    ) -> tuple[str, int | None, bytes]:
        """Runs a command in a container: its id, its exit code, and the first `most` bytes of its output.

        No code: it did not end within `timeout` seconds. The engine has no way to end it, so it may be there for ever.
        """
        what = partial(self._execute, container, list(command), dict(environment), timeout, most)
        return await self._threaded(self._executions, what, timeout + 2 * self._patience)

    def _execute(
        self, container: str, command: list[str], environment: dict[str, str], timeout: float, most: int
    ) -> tuple[str, int | None, bytes]:
        client, deadline = self._client, time.monotonic() + timeout
        made: str = client.exec_create(container, command, environment=environment)["Id"]
        url = f"{client.base_url}/v{client.api_version}/exec/{made}/start"
        output = b""
        try:
            with client.post(url, json={"Detach": False, "Tty": False}, stream=True, timeout=timeout) as reply:
                if reply.status_code >= 400:
                    raise EngineRefusedError(reply.status_code, _message(reply.text))
                for data in reply.raw.stream(_HEADER):  # no more than surely comes: it waits for as much
                    output += data
                    if len(output) >= 2 * most or time.monotonic() > deadline:
                        break
        except Exception as error:
            if "timed out" not in str(error):
                raise
        while (told := client.exec_inspect(made))["Running"] and time.monotonic() < deadline:
            time.sleep(_SOON)  # it has closed its output, and tells its end by no event that says whose it is
        return made, None if told["Running"] else told["ExitCode"], _joined(output)[:most]

    async def is_executing(self, execution: str) -> bool:
        """Whether a command goes on."""
        try:
            told = await self._call(lambda: self._client.exec_inspect(execution))
        except EngineRefusedError:
            return False
        return bool(told["Running"])

    # --- images -------------------------------------------------------------------------------------------------------

    async def has_image(self, image: str) -> bool:
        """Whether the image is here."""
        try:
            await self._call(lambda: self._client.inspect_image(image))
        except EngineRefusedError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def pull(self, image: str, tell: Callable[[Mapping[str, Any]], Any]) -> None:
        """Fetches an image; `tell` gets the engine's progress, in another thread. Cancelled: the engine stops fetching."""
        cancelled = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._pulls, self._pull, image, tell, cancelled)
        finally:
            cancelled.set()

    def _pull(self, image: str, tell: Callable[[Mapping[str, Any]], Any], cancelled: threading.Event) -> None:
        name, tag = _reference(image)
        url = f"{self._client.base_url}/v{self._client.api_version}/images/create"
        headers = _credentials(self._client, name)

        def fetch() -> None:
            params = {"fromImage": name, "tag": tag}
            with self._client.post(url, params=params, headers=headers, stream=True, timeout=_SILENCE) as reply:
                if reply.status_code >= 400:
                    raise EngineRefusedError(reply.status_code, _message(reply.text))
                for line in reply.iter_lines(chunk_size=1024):
                    if cancelled.is_set():
                        return
                    progress = json.loads(line) if line else {}
                    if "error" in progress:
                        raise EngineRefusedError(404, str(progress["error"]))
                    tell(progress)

        _understood(fetch)

    # --- output -------------------------------------------------------------------------------------------------------

    async def read_log(self, container: str, since: int, take: Callable[[Iterator[bytes]], None]) -> None:
        """What a container has written since that second; `take` gets the engine's stream, in another thread."""
        await self._threaded(self._calls, lambda: self._log(container, since, False, take))

    async def follow_log(self, container: str, since: int, take: Callable[[Iterator[bytes]], None]) -> None:
        """The same, and what it writes until it ends."""
        await self._threaded(self._follow, lambda: self._log(container, since, True, take))

    def _log(self, container: str, since: int, follow: bool, take: Callable[[Iterator[bytes]], None]) -> None:
        url = f"{self._client.base_url}/v{self._client.api_version}/containers/{container}/logs"
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow), "since": since}
        timeout = None if follow else self._patience
        with self._client.get(url, params=params, stream=True, timeout=timeout) as reply:
            if reply.status_code >= 400:
                raise EngineRefusedError(reply.status_code, _message(reply.text))
            raw = reply.raw  # by pieces as they come, or by large ones: each line is a chunk of its own in HTTP
            take(raw.stream(_PIECE) if follow else iter(lambda: raw.read(_PIECE), b""))

    # --- events -------------------------------------------------------------------------------------------------------

    async def listen(
        self, identity: str, since: str, tell: Callable[[dict[str, Any]], Any], ended: Callable[[str], Any]
    ) -> None:
        """Subscribes to what happens to this daemon's containers; done once it is subscribed. In the one events thread:
        `tell` for each, `ended` when there are no more.
        """
        filters = {"type": ["container"], "label": [f"{HOST}={identity}"]}
        self._events = await self._call(lambda: self._client.events(since=since, filters=filters, decode=True))
        threading.Thread(target=self._hear, args=(tell, ended), name="docker-events", daemon=True).start()

    def _hear(self, tell: Callable[[dict[str, Any]], Any], ended: Callable[[str], Any]) -> None:
        reason = "it closed the connection"
        try:
            for event in self._events:
                tell(event)
        except Exception as error:  # whatever a half-dead connection makes of requests and urllib3
            reason = str(error) or type(error).__name__
        with suppress(RuntimeError):  # the loop is closed
            ended(reason)

    # --- calling ------------------------------------------------------------------------------------------------------

    async def _call(self, what: Callable[[], T]) -> T:
        return await self._threaded(self._calls, what, self._patience * 2)

    async def _threaded(self, pool: ThreadPoolExecutor, what: Callable[[], T], deadline: float | None = None) -> T:
        if self._closed:
            raise EngineAwayError("the connection was closed")
        future = asyncio.get_running_loop().run_in_executor(pool, _understood, what)
        try:
            async with asyncio.timeout(deadline):
                return await future
        except TimeoutError:
            raise EngineAwayError(f"no answer within {deadline:g} s", stuck=True) from None

    def close(self) -> None:
        """Lets go; what is under way in threads ends by its own deadline."""
        self._closed = True
        for pool in (self._calls, self._pulls, self._follow, self._executions):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._events is not None:
            threading.Thread(
                target=_close, args=(self._events,), daemon=True
            ).start()  # it may wait for the reader's lock


async def connect(socket: str, patience: float) -> Engine:
    """A connection to the engine at a Unix socket. Raises EngineAwayError."""
    pool = ThreadPoolExecutor(1, "docker-connect")
    try:
        future = asyncio.get_running_loop().run_in_executor(pool, _understood, lambda: _connect(socket, patience))
        async with asyncio.timeout(patience * 2):
            return await future
    except TimeoutError:
        raise EngineAwayError(f"no answer within {patience * 2:g} s", stuck=True) from None
    except EngineRefusedError as error:
        raise EngineAwayError(str(error)) from None
    finally:
        pool.shutdown(wait=False)


def _connect(socket: str, patience: float) -> Engine:
    import docker  # type: ignore[import-untyped] # takes a quarter of a second and 20 MB: only where Docker is used

    _probe(socket)
    client = docker.APIClient(f"unix://{socket}", version="auto", timeout=patience, num_pools=_CALLS + _FOLLOWED)
    return Engine(client, client.info(), patience)


def _probe(path: str) -> None:
    """Raises the plain OSError that docker-py would wrap in four others."""
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(path)


def _understood(what: Callable[[], T]) -> T:
    """Calls; every failure becomes one of the two kinds."""
    from docker.errors import APIError, DockerException  # type: ignore[import-untyped]
    from requests.exceptions import RequestException, Timeout
    from urllib3.exceptions import HTTPError

    try:
        return what()
    except APIError as error:
        raise EngineRefusedError(error.status_code or 500, str(error.explanation or error)) from None
    except Timeout as error:
        raise EngineAwayError(f"no answer: {_innermost(error)}", stuck=True) from None
    except TimeoutError:
        raise EngineAwayError("no answer", stuck=True) from None
    except PermissionError as error:
        raise EngineAwayError(
            f"{error.strerror}: put our user into its group, usually docker, and restart us"
        ) from None
    except (RequestException, HTTPError, DockerException, OSError, ValueError) as error:
        raise EngineAwayError(_innermost(error), stuck="timed out" in str(error)) from None


def _innermost(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _close(stream: Any) -> None:
    with suppress(Exception):
        stream.close()


def _joined(stream: bytes) -> bytes:
    """The output in a stream of pieces; of the last one what is there."""
    output = b""
    while len(stream) > _HEADER:
        end = _HEADER + int.from_bytes(stream[4:_HEADER], "big")
        output, stream = output + stream[_HEADER:end], stream[end:]
    return output


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()


def _reference(image: str) -> tuple[str, str]:
    """Name, and tag or digest, of an image; without either it is the tag latest."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (image, "latest")


def _credentials(client: Any, name: str) -> dict[str, str]:
    """The header with which docker-py logs in to the registry of an image, if its configuration has one."""
    from docker import auth

    registry, _ = auth.resolve_repository_name(name)
    header = auth.get_config_header(client, registry)
    return {"X-Registry-Auth": header.decode() if isinstance(header, bytes) else header} if header else {}


def now_cursor() -> str:
    """A place in the engine's stream of events: this moment."""
    return cursor(time.time_ns())


def cursor(nanoseconds: int) -> str:
    """A place in the engine's stream of events, as /events takes it."""
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09d}"
