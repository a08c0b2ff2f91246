"""Error codes of the control socket, and the exit codes that the client makes of them."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than all else that the client needs; mypy knows this idiom
if TYPE_CHECKING:
    from typing import Any

INVALID = "invalid"
NOT_FOUND = "not_found"
CONFLICT = "conflict"
FORBIDDEN = "forbidden"
OVER_CAPACITY = "over_capacity"
UNAVAILABLE = "unavailable"
INTERNAL = "internal"

CODES = (INVALID, NOT_FOUND, CONFLICT, FORBIDDEN, OVER_CAPACITY, UNAVAILABLE, INTERNAL)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
EXIT_NO_SUCH_WORKER = 4
EXIT_FORBIDDEN = 5
EXIT_UNREACHABLE = 69
"""EX_UNAVAILABLE of sysexits.h."""

EXIT_OF_CODE = {
    INVALID: EXIT_USAGE,
    NOT_FOUND: EXIT_NO_SUCH_WORKER,
    FORBIDDEN: EXIT_FORBIDDEN,
    UNAVAILABLE: EXIT_UNREACHABLE,
}
"""What the client exits with for an error code; EXIT_FAILED for those not named."""


class ProtocolError(Exception):
    """An error as it stands on the wire: a code of CODES, a sentence, and details for programs."""

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}

    def to_wire(self) -> dict[str, Any]:
        """The `error` map of a reply."""
        return {"code": self.code, "message": self.message, "details": self.details}
