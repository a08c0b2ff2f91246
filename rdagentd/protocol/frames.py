"""Frames: a 4-byte big-endian length, then one msgpack map. No I/O here: bytes in, messages out."""

from __future__ import annotations

import msgpack

TYPE_CHECKING = False  # typing takes longer to import than all else that the client needs; mypy knows this idiom
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

MAX_REQUEST = 1 << 20
"""Largest frame that the daemon accepts from a client, in bytes."""

MAX_FRAME = 64 << 20
"""Largest frame that our own programs accept from each other (a list of thousands of runs), in bytes."""

MAX_DEPTH = 32
"""Deepest nesting accepted. Deep input costs stack in whoever walks it."""

MAX_ITEMS = 16384
"""Most elements accepted in one array or map of a request: small bytes must not become large memory."""

CONTAINERS_PER_ITEM = 8
"""A frame may hold this many times `items` arrays and maps: an empty one takes 1 byte on the wire and 64 in memory."""

_HEADER = 4


class FrameError(ValueError):
    """Bytes that are no frame. The connection that sent them cannot be trusted any further."""


def pack(message: dict[str, Any]) -> bytes:
    """One message as a frame, ready to send."""
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(_HEADER, "big") + body


class Decoder:
    """Collects bytes and hands out the messages in them.

    `limit` is the largest body accepted in bytes; `items` bounds every array and map, and so how many there are in all; None
    is for peers of our own, whose frames are taken without a look at items and depth (that look costs as much as the rest).
    Raises FrameError from `feed` on a bad length, bad msgpack, an extension type, something that is not a map, a key that is
    not text, or nesting deeper than MAX_DEPTH. Messages before the bad frame in the same `data` are not handed out.
    """

    __slots__ = ("_buffer", "_items", "_limit")

    def __init__(self, limit: int = MAX_REQUEST, items: int | None = MAX_ITEMS) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._items = items

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame that are waiting for the rest."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Adds bytes; returns the messages that are now complete, in order."""
        buffer = self._buffer
        buffer += data
        messages = []
        start = 0
        while len(buffer) - start >= _HEADER:
            size = int.from_bytes(buffer[start : start + _HEADER], "big")
            if size > self._limit:
                raise FrameError(f"cannot read frame: {size} bytes announced, at most {self._limit} are accepted")
            end = start + _HEADER + size
            if len(buffer) < end:
                break
            messages.append(self._unpack(buffer[start + _HEADER : end]))
            start = end
        if start:
            del buffer[:start]
        return messages

    def _unpack(self, body: bytearray) -> dict[str, Any]:
        items = self._items
        if items is not None:
            return _unpack_strangers(body, items)
        try:
            message = msgpack.unpackb(body)
        except Exception as error:
            raise _not_msgpack(error) from None
        return _map(message)


def _unpack_strangers(body: bytearray, items: int) -> dict[str, Any]:
    # An element takes a byte at least, so a short body needs no counting; msgpack allocates what is announced.
    most = items if len(body) > items else len(body)
    budget = items * CONTAINERS_PER_ITEM
    hook = _counter(budget) if len(body) > budget else None
    try:
        unpacked = msgpack.unpackb(
            body,
            strict_map_key=True,
            object_hook=hook,
            list_hook=hook,
            ext_hook=_refuse_ext,
            max_array_len=most,
            max_map_len=most,
            max_ext_len=0,
        )
    except FrameError:
        raise
    except Exception as error:  # msgpack raises a dozen unrelated types for bad bytes
        raise _not_msgpack(error) from None
    message = _map(unpacked)
    # strict_map_key lets bytes pass; there are none where none of the three marks of bytes stands
    _check(message, b"\xc4" in body or b"\xc5" in body or b"\xc6" in body)
    return message


def _not_msgpack(error: Exception) -> FrameError:
    return FrameError(f"cannot read frame: not msgpack ({type(error).__name__})")


def _map(message: Any) -> dict[str, Any]:
    if type(message) is not dict:
        raise FrameError(f"cannot read frame: a map is expected, not {type(message).__name__}")
    return message


def _counter(budget: int) -> Callable[[Any], Any]:
    left = iter(range(budget))

    def count(container: Any) -> Any:
        if next(left, None) is None:
            raise FrameError(f"cannot read frame: more than {budget} arrays and maps")
        return container

    return count


def _refuse_ext(code: int, _data: bytes) -> NoReturn:
    raise FrameError(f"cannot read frame: extension type {code} is not used")


def _check(message: dict[str, Any], keys: bool) -> None:
    level: list[Any] = [message]
    for _ in range(MAX_DEPTH):
        if keys and any(type(node) is dict and not all(type(key) is str for key in node) for node in level):
            raise FrameError("cannot read frame: a key is not text")
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise FrameError(f"cannot read frame: nested deeper than {MAX_DEPTH}")
