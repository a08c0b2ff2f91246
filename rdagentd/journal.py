"""The daemon's own log: for a person at a terminal, or for systemd's journal with priorities and the worker's name."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping

TEXT = "%(asctime)s [%(levelname)s] %(name)s: %(message)s"
"""A line for a person."""

_SOCKET = "/run/systemd/journal/socket"
_LONGEST = 48 << 10
"""Characters of a message in one datagram: what the kernel takes by default (net.core.wmem_max) holds four bytes for each."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Least level for a priority of syslog(3); below all of them it is 7."""


def priority(level: int) -> int:
    """The priority of syslog(3) for a level of logging."""
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def to_journal(environ: Mapping[str, str] = os.environ, descriptor: int = 2) -> bool:
    """Whether stderr goes to the journal: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def start_logging(program: str = "rdagentd") -> None:
    """Everything from `info` on goes to the journal if stderr does, there as of `program`, else to stderr."""
    journal = to_journal()
    handler: logging.Handler = JournalHandler(program=program) if journal else logging.StreamHandler()
    handler.setFormatter(journal_formatter() if journal else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def journal_formatter() -> logging.Formatter:
    """The message alone: the journal has the rest as fields."""
    return logging.Formatter("%(message)s")


def complain(text: str) -> None:
    """A sentence about why there is no going on, on stderr: an error for the journal, plain for a person."""
    mark = f"<{priority(logging.ERROR)}>" if to_journal() else ""
    print("\n".join(f"{mark}rdagentd: {line}" for line in text.splitlines()), file=sys.stderr, flush=True)  # noqa: T201


class JournalHandler(logging.Handler):
    """Sends each record as one datagram of journald's native protocol; where that fails, as `<N>text` on stderr.

    Fields, besides what journald adds: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, CODE_FILE, CODE_LINE, CODE_FUNC, LOGGER, and
    WORKER if the record has an attribute `worker`. See systemd.journal-fields(7) and systemd's page "Native Journal Protocol".
    """

    def __init__(self, path: str = _SOCKET, program: str = "rdagentd") -> None:
        super().__init__()
        self._program = program
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message, number = self.format(record)[:_LONGEST], priority(record.levelno)
            fields = {
                "MESSAGE": message,
                "PRIORITY": str(number),
                "SYSLOG_IDENTIFIER": self._program,
                "CODE_FILE": record.pathname,
                "CODE_LINE": str(record.lineno),
                "CODE_FUNC": record.funcName or "",
                "LOGGER": record.name,
                "WORKER": getattr(record, "worker", None) or "",
            }
            try:
                self._socket.sendto(b"".join(_field(key, text) for key, text in fields.items() if text), self._path)
            except OSError:  # journald is being restarted, or far behind: stderr is kept by systemd
                text = "".join(f"<{number}>{line}\n" for line in message.splitlines())
                os.write(
                    2, text.encode("utf-8", "backslashreplace")
                )  # not sys.stderr: a thread that is stuck would hold its lock
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _field(name: str, value: str) -> bytes:
    """A field with its length in front, because a value may have more than one line."""
    data = value.encode("utf-8", "replace")
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
