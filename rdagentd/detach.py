"""`rdagentd up --detach`: a daemon that leaves the terminal, and a parent that waits until it is ready or says why not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

Ended = tuple[int, str]
"""An exit code, and a sentence for whoever started it, which may be empty."""

LOG = "daemon.log"
"""In the state directory: what the daemon writes on standard output and standard error."""


def detached(state: Path, serve: Callable[[Callable[[], None]], Ended]) -> Ended:
    """Runs `serve(ready)` in a process of its own, without terminal, in a new session, in /, umask 027.

    Returns in the caller once `ready` was called or the daemon has ended. Does not return in the daemon.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _daemon(state, serve, write)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:  # ends when the daemon is ready, or is gone
        code, _, text = pipe.read().decode(errors="replace").partition("\n")
    if not code:
        return 1, f"cannot start: the daemon ended before it was ready; {state / LOG} tells more"
    return int(code), text


def _daemon(state: Path, serve: Callable[[Callable[[], None]], Ended], write: int) -> None:
    """The daemon's life. Never returns."""
    told = False

    def tell(code: int, text: str) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(write, f"{code}\n{text}".encode(errors="replace"))
            os.close(write)

    code = 1
    try:
        _leave_terminal(state, write)
        code, text = serve(lambda: tell(0, ""))
        tell(code, text)
    except Exception as error:
        tell(1, f"cannot start: {error}")
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def _leave_terminal(state: Path, keep: int) -> None:
    import daemon.daemon  # type: ignore[import-untyped]

    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    log = os.fdopen(os.open(state / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "ab")
    context = daemon.DaemonContext(
        detach_process=True,  # else it looks whether init or inetd started it, and believes so in a container
        working_directory="/",
        umask=0o027,
        prevent_core=False,  # a limit that the workers would inherit
        signal_map={},  # asyncio's business
        files_preserve=[keep],
        stdout=log,
        stderr=log,
    )
    context.open()
    log.close()
    # Version 2.3.2 keeps a set of all descriptors that there could be: 64 MiB where there may be a million.
    getattr(daemon.daemon, "_total_file_descriptor_set", set()).clear()
