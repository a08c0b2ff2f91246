"""A connection on which much is asked at once and nothing is waited for: `top`, and bars beside what lasts."""

from __future__ import annotations

from rdagentctl.client import PROTOCOL, connect
from rdagentctl.failure import Failure, UnreachableError
from rdagentd.protocol.frames import MAX_FRAME, Decoder, FrameError, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Hashable
    from typing import Any

RESULT, ITEM, END, ERROR = "result", "item", "end", "error"

_CHUNK = 1 << 18
_PATIENCE = 0.2
"""Seconds that connecting may take: a person watches."""


class Link:
    """Requests have a tag of the caller's choice, by which what comes back is known."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket: _socket.socket | None = None
        self._decoder = Decoder(MAX_FRAME, None)
        self._tags: dict[int, Hashable] = {}
        self._last = 0
        self._unsent = b""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    def fileno(self) -> int:
        """To wait on, while connected."""
        assert self._socket is not None
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Whether requests wait for room, so that `flush` is to be called when there is some."""
        return bool(self._unsent)

    def connect(self) -> None:
        """Makes the connection. Raises UnreachableError."""
        self.close()
        self._socket = connect(self.path, _PATIENCE)
        self._socket.setblocking(False)

    def close(self) -> None:
        """Hangs up; what was asked is not answered any more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._decoder = Decoder(MAX_FRAME, None)
        self._tags.clear()
        self._unsent = b""

    def asked(self, tag: Hashable) -> bool:
        """Whether something with this tag is not answered yet, or streams."""
        return tag in self._tags.values()

    def ask(self, tag: Hashable, op: str, args: dict[str, Any] | None = None) -> None:
        """Sends a request. Raises UnreachableError."""
        self._last += 1
        self._tags[self._last] = tag
        self._unsent += pack({"v": PROTOCOL, "id": self._last, "op": op, "args": args or {}})
        self.flush()

    def cancel(self, tag: Hashable) -> None:
        """Ends a stream, of which nothing is heard any more; raises UnreachableError."""
        for number in [number for number, known in self._tags.items() if known == tag]:
            del self._tags[number]
            self.ask("cancel", "cancel", {"id": number})

    def flush(self) -> None:
        """Sends what there is room for. Raises UnreachableError."""
        assert self._socket is not None
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from None

    def receive(self) -> list[tuple[Hashable, str, Any]]:
        """(tag, kind, value) of all that has come: a result, an item, an end, or an error (its value: {code, message}).

        Raises UnreachableError when the connection is over.
        """
        assert self._socket is not None
        try:
            data = self._socket.recv(_CHUNK)
            messages = self._decoder.feed(data)
        except BlockingIOError:
            return []
        except FrameError as error:
            self.close()
            raise Failure(f"cannot understand what answers at {self.path}: {error}. Is it rdagentd?") from None
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from None
        if not data:
            raise self._lost("it closed the connection")
        return [heard for message in messages if (heard := self._heard(message)) is not None]

    def _heard(self, message: dict[str, Any]) -> tuple[Hashable, str, Any] | None:
        number = message.get("id")
        tag = self._tags.get(number) if isinstance(number, int) else None
        if tag is None:
            if "error" in message and number not in range(1, self._last + 1):  # it is about the connection
                raise self._lost(str(message["error"].get("message")))
            return None  # cancelled
        if "item" in message:
            return tag, ITEM, message["item"]
        del self._tags[number]  # type: ignore[arg-type]
        if "error" in message:
            return tag, ERROR, message["error"]
        return (tag, END, None) if message.get("end") else (tag, RESULT, message.get("result"))

    def _lost(self, reason: str) -> UnreachableError:
        self.close()
        return UnreachableError(f"cannot reach rdagentd at {self.path}: {reason.lower()}")
