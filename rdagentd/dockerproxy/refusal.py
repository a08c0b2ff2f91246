"""What is not done, as the engine itself would say it."""

from __future__ import annotations

import http
import json


class RefusedError(Exception):
    """A request that goes no further. status: an HTTP status; the text begins "cannot "."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def forbidden(text: str) -> RefusedError:
    """The rules say no."""
    return RefusedError(403, text)


def invalid(text: str) -> RefusedError:
    """It is not understood, or could be understood in two ways."""
    return RefusedError(400, text)


def reply(status: int, body: bytes, kind: str = "application/json", head: bool = False) -> bytes:
    """A whole reply that ends the connection; head: to a HEAD request."""
    phrase = http.HTTPStatus(status).phrase
    lines = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return lines.encode() + (b"" if head else body)


def error_reply(refused: RefusedError, head: bool = False) -> bytes:
    """The reply in the engine's own format: {"message": text}."""
    return reply(refused.status, json.dumps({"message": refused.text}).encode() + b"\n", head=head)
