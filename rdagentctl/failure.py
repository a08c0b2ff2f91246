"""What can go wrong in the client: a sentence for a person and the exit code that goes with it."""

from __future__ import annotations

from rdagentd.protocol.errors import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE


class Failure(Exception):  # noqa: N818 -- the client's one user-facing exception; everything else is a defect
    """Ends the command: the message goes to standard error, `exit_code` to the caller."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(Failure):
    """What was typed cannot be understood."""

    exit_code = EXIT_USAGE


class UnreachableError(Failure):
    """The daemon is not there, or went away. Worth another try where a command can go on from where it was."""

    exit_code = EXIT_UNREACHABLE
