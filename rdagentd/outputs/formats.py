"""How a record becomes text. Pure."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from rdagentd.config.outputs import Format
from rdagentd.journal import TEXT


class JsonFormatter(logging.Formatter):
    """An object on one line: timestamp (ISO 8601, UTC), level, logger, message, module, function, line, exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
        }
        exception = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else None)
        return json.dumps(told if exception is None else {**told, "exception": exception})


class SyslogFormatter(logging.Formatter):
    """As syslog wants it: without time and level, which it has of its own; UTF-8 whatever the message holds."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).encode("utf-8", "replace").decode()


FORMATTERS = {Format.TEXT: lambda: logging.Formatter(TEXT), Format.JSON: JsonFormatter}
