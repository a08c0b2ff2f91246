"""`rdagentd gateway`: reads its settings, listens, serves until it is asked to leave."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

import sdnotify  # type: ignore[import-untyped]
from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError

from rdagentd.config.gateway import Gateway
from rdagentd.gateway.app import application
from rdagentd.gateway.connections import Connections, is_local
from rdagentd.gateway.link import SocketLink
from rdagentd.gateway.listening import ListenError, listen, tell, untell, urls
from rdagentd.gateway.settings import Settings

log = logging.getLogger(__name__)

LEAVE = 5.0
"""Seconds that requests under way have when it leaves."""

HANDSHAKE = 10.0
"""Seconds that a client may take for the handshake of TLS."""


def main(settings: Settings, *, until_eof: bool = False) -> None:
    """Serves until a signal, or (until_eof) the end of standard input. Raises ListenError."""
    asyncio.run(serve(settings, until_eof=until_eof))


async def serve(settings: Settings, *, until_eof: bool) -> None:
    """From the first socket to the last answer."""
    notify, asked_to_leave = _notifier(), _asked_to_leave(until_eof=until_eof)
    listeners = listen(settings.config.addresses, settings.config.port)
    tls = _tls(settings.config)
    where = urls(listeners, tls=tls is not None)
    link, connections = SocketLink(settings.socket), Connections(settings.config)
    _quiet()
    # What comes compressed is refused: few bytes must not become many.
    runner = web.AppRunner(application(link, settings, connections), access_log=None, auto_decompress=False)
    await runner.setup()
    connections.server = cast(web.Server, runner.server)
    loop = asyncio.get_running_loop()
    more: Any = {"ssl": tls, "ssl_handshake_timeout": HANDSHAKE} if tls is not None else {}
    servers = [await loop.create_server(connections, sock=listener, **more) for listener in listeners]
    try:
        tell(settings.runtime, where)
        _warn(settings, tls=tls is not None)
        log.info("listening on %s", ", ".join(where))
        notify(f"READY=1\nSTATUS={', '.join(where)}")
        _watch(notify, os.environ)
        await asked_to_leave.wait()
        notify("STOPPING=1")
    finally:
        untell(settings.runtime)
        for server in servers:
            server.close()
        await runner.app.shutdown()  # ends the streams
        await link.close()  # and whoever waits for an answer
        await connections.server.shutdown(LEAVE)
        await runner.cleanup()


def _tls(config: Gateway) -> ssl.SSLContext | None:
    """Raises ListenError for a certificate that cannot be used."""
    if config.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"cannot use certificate {config.certificate} with key {config.key}: {error}") from None
    return context


def _quiet() -> None:
    """aiohttp logs a traceback for each request that is none, and tells its version to whoever sends one."""
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    web_response.SERVER_SOFTWARE = "rdagentd"  # type: ignore[attr-defined]


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is about a defect of ours, and not about what a stranger sent."""
    error = record.exc_info[1] if record.exc_info else None
    return not (
        str(record.msg).startswith("Error handling request") or isinstance(error, HttpProcessingError | OSError)
    )


def _warn(settings: Settings, *, tls: bool) -> None:
    """What whoever configured it ought to know."""
    open_ = [address for address in settings.config.addresses if not is_local(address)]
    if open_ and not tls:
        log.warning("the token goes over the network in the clear: %s has no certificate", ", ".join(open_))


def _notifier() -> Callable[[str], None]:
    notifier = sdnotify.SystemdNotifier()
    return notifier.notify if "NOTIFY_SOCKET" in os.environ else lambda state: None


def _watch(notify: Callable[[str], None], environ: Mapping[str, str]) -> None:
    """Tells systemd, twice in the time that it waits, that the loop turns (sd_watchdog_enabled(3))."""
    usec = environ.get("WATCHDOG_USEC", "")
    if usec.isdecimal() and int(usec) and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
        notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(int(usec) / 2e6, _watch, notify, environ)


def _asked_to_leave(*, until_eof: bool) -> asyncio.Event:
    """Set by a signal, or by the end of standard input."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)

    def ended() -> None:
        loop.remove_reader(0)  # it would be told for ever
        asked.set()

    if until_eof:  # a pipe into which nothing is ever written
        loop.add_reader(0, ended)
    return asked
