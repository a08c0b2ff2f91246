"""rdagentctl: reads the command line, hands over to commands/<verb>.py, and turns what went wrong into an exit code."""

from __future__ import annotations

import os
import sys

from rdagentctl.client import Client
from rdagentctl.failure import Failure, UsageError
from rdagentctl.parse import parse
from rdagentd import __version__
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE

DEFAULT_SOCKET = "/run/rdagentd/rdagentd.sock"

_INTERRUPTED = 128 + 2
_BROKEN_PIPE = 128 + 13
"""What a shell says of a program that SIGINT or SIGPIPE ended."""


def main(argv: list[str] | None = None) -> int:
    """Carries out one command line; the exit code, see protocol/errors.py.

    Without `argv` it is the program itself: it takes sys.argv and never returns, because taking the interpreter down in
    good order costs as much as a quarter of its start.
    """
    code = _answer(sys.argv[1:] if argv is None else argv)
    if argv is None:
        os._exit(code)
    return code


def _answer(argv: list[str]) -> int:
    """The exit code; both outputs are flushed."""
    _prepare_outputs()
    try:
        code = _main(argv)
        sys.stdout.flush()
    except Failure as failure:
        _complain(str(failure))
        code = failure.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        code = _BROKEN_PIPE
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:  # a full disk behind standard output, a working directory that is gone
        _complain(f"cannot go on: {(error.strerror or str(error)).lower()}")
        code = EXIT_FAILED
    return code


def _prepare_outputs() -> None:
    """Closed ones (>&-) become the null device; one that is not UTF-8 gets question marks for what it cannot show."""
    for name in ("stdout", "stderr"):
        file = getattr(sys, name)
        if file is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 -- open until the end
        elif (file.encoding or "").lower() != "utf-8":
            file.reconfigure(errors="replace")


def _main(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"rdagentctl {__version__}")
        return EXIT_OK
    arguments = parse(argv)
    if arguments is None or arguments.flag("help"):
        from rdagentctl.manual import overview, page

        print(page(arguments.command) if arguments else overview(), end="", file=sys.stdout if argv else sys.stderr)
        return EXIT_OK if argv else EXIT_USAGE
    client = Client(arguments.text("socket") or os.environ.get("RDAGENTD_SOCKET") or DEFAULT_SOCKET)
    command = __import__(f"rdagentctl.commands.{arguments.command.name.replace('-', '_')}", fromlist=["run"])
    try:
        code: int = command.run(client, arguments)
    except TimeoutError:
        raise Failure(f"cannot reach rdagentd at {client.path}: it does not answer", EXIT_UNREACHABLE) from None
    except UnicodeEncodeError as error:
        raise UsageError(f"cannot {arguments.command.name}: {error.object!r} is not UTF-8") from None
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if not client.received:  # then it is a defect of ours
            raise
        raise Failure(
            f"cannot understand the answer of rdagentd at {client.path}: {type(error).__name__}: {error}"
        ) from None
    return code


def _complain(message: str) -> None:
    """What the daemon says may hold what others wrote: line breaks are kept, other control characters are shown."""
    from rdagentctl.render import plain

    told = "\n".join(map(plain, message.splitlines()))
    try:
        print(told, file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
