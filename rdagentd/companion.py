"""The gateway beside a daemon of `rdagentd up`: started when the daemon serves, ended with it, and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence

log = logging.getLogger(__name__)

AGAIN = 5.0
"""Seconds until one that was killed is started again."""

_LEAVE = 10.0
"""Seconds that it has to leave."""


async def accompany(command: Sequence[str]) -> None:
    """Runs the gateway until cancelled; then ends it. One that ends by itself has said why, and is left so.

    Its standard input is ours to hold: when that ends, be it that we are killed, it leaves (`--until-eof`). It has a session of
    its own, so that ^C on the terminal reaches it through us, when the workers have been stopped.
    """
    environ = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}  # we are the unit
    while True:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, env=environ, start_new_session=True, cwd="/"
            )
        except OSError as error:
            log.warning("there is no gateway: cannot start %s: %s", command[0], error.strerror)
            return
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        if code >= 0:
            log.warning("there is no gateway: it ended with code %d", code)
            return
        log.warning("the gateway was ended by signal %d; it is started again in %g s", -code, AGAIN)
        await asyncio.sleep(AGAIN)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_LEAVE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
