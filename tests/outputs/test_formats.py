"""Lines in the formats that are promised."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from rdagentd.config.outputs import Format
from rdagentd.outputs.formats import FORMATTERS, JsonFormatter, SyslogFormatter


def record(message: str = "%d things", *args: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("rdagentd.x", logging.WARNING, "/a/mod.py", 7, message, args, exc_info, "func")  # type: ignore[arg-type]


def failure() -> object:
    try:
        raise ValueError("odd \udcff")
    except ValueError:
        return sys.exc_info()


def test_text() -> None:
    line = FORMATTERS[Format.TEXT]().format(record("%d things", 3))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[WARNING\] rdagentd\.x: 3 things", line)


def test_json_has_these_keys_and_no_others() -> None:
    made = record("%d things\nmore", 3)
    told = json.loads(JsonFormatter().format(made))
    at = datetime.fromisoformat(told.pop("timestamp"))
    assert abs(at.timestamp() - made.created) < 1e-3 and at.utcoffset() is not None
    assert told == {
        "level": "WARNING",
        "logger": "rdagentd.x",
        "message": "3 things\nmore",
        "module": "mod",
        "function": "func",
        "line": 7,
    }


def test_json_has_the_exception_if_there_is_one() -> None:
    told = json.loads(JsonFormatter().format(record("defect", exc_info=failure())))
    assert told["message"] == "defect"
    assert told["exception"].startswith("Traceback (most recent") and told["exception"].endswith(
        "ValueError: odd \udcff"
    )


@given(st.text())
def test_whatever_is_said_is_one_line_of_json(text: str) -> None:
    line = JsonFormatter().format(record("%s", text))
    assert line.isascii() and "\n" not in line
    assert json.loads(line)["message"] == text


@given(st.text())
def test_whatever_is_said_is_utf8_for_syslog(text: str) -> None:
    assert SyslogFormatter().format(record("%s", text)).encode().startswith(b"rdagentd.x: ")
