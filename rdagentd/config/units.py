"""Sizes, durations, signals and umasks as people write them, and back. All parsers raise InvalidError (a ValueError)."""

from __future__ import annotations

import re
from math import isfinite
from signal import Signals
from typing import Any

from rdagentd.config.problems import nearest, refused, show, wrong_type
from rdagentd.model.size import UNITS, UNLIMITED

MAX_SIZE = 2**63 - 1
"""Largest size in bytes: RLIM_INFINITY and off_t end there."""

MAX_DURATION = 10 * 365 * 86400.0
"""Longest duration in seconds: ten years. Beyond that it is a slip of the pen."""

_SIZE = re.compile(r"([0-9]{1,20})(\.[0-9]{1,9})?\s*(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE)
_SIZE_HINT = 'write bytes, or "64K", "4G", "1.5T"'

_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(
    r"\s*".join(f"(?:{_NUMBER}\\s*{unit})?" for unit in ("w", "d", "h", "(?:min|m)", "s", "ms")), re.IGNORECASE
)
_DURATION_UNITS = (7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)
_SECONDS = re.compile(_NUMBER)
_DURATION_HINT = 'write seconds, or "500ms", "10s", "1h30m", "7d"'

_PEOPLE_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SIGNAL_NAMES = tuple(signal.name for signal in Signals)


def parse_size(value: Any) -> int | None:
    """Bytes from 4096, "4096", "4G", "1.5 GiB"; None from "unlimited". Units are binary: 1K is 1024. At most 2**63 - 1."""
    if type(value) is int:
        size = value
    elif type(value) is not str:
        raise wrong_type("a size", value, _SIZE_HINT)
    elif value == UNLIMITED:
        return None
    else:
        match = _SIZE.fullmatch(value)
        if match is None or (match[2] and not match[3]):
            raise refused(f"{show(value)} is not a size", _SIZE_HINT, value)
        factor = UNITS[match[3].upper()] if match[3] else 1
        size = int(match[1]) * factor + (int(float(match[2]) * factor) if match[2] else 0)
    if not 0 <= size <= MAX_SIZE:
        raise refused(f"{show(value)} is out of range", "a size is 0 to 2**63 - 1 bytes", value)
    return size


def parse_duration(value: Any) -> float | None:
    """Seconds from 90, 1.5, "90", "500ms", "1h30m", "2 h 5 min"; None from "unlimited". 0 to ten years."""
    if type(value) is int or type(value) is float:
        seconds = value
    elif type(value) is not str:
        raise wrong_type("a duration", value, _DURATION_HINT)
    elif value == UNLIMITED:
        return None
    else:
        seconds = _parse_duration_text(value)
    if not 0 <= seconds <= MAX_DURATION:  # false for NaN too
        raise refused(f"{show(value)} is out of range", "a duration is 0 to 10 years", value)
    return float(seconds) + 0.0  # -0.0 becomes 0.0


def _parse_duration_text(text: str) -> float:
    if len(text) <= 80:
        if _SECONDS.fullmatch(text):
            return float(text)
        match = _DURATION.fullmatch(text)
        if match and any(match.groups()):
            # rounded to microseconds: 0.001 has no exact binary form, and 1 s 500 ms should equal 1.5
            return round(sum(float(n) * unit for n, unit in zip(match.groups(), _DURATION_UNITS, strict=True) if n), 6)
    raise refused(f"{show(text)} is not a duration", _DURATION_HINT, text)


def parse_signal(value: Any) -> str:
    """The name of a signal, "SIGTERM", from "SIGTERM", "TERM", "term", "15" or 15. See signal(7)."""
    if type(value) is int or (type(value) is str and value.isdecimal() and len(value) <= 3):
        try:
            return Signals(int(value)).name
        except ValueError:
            raise refused(f"{show(value)} is not a signal", "signals are 1 to 31", value) from None
    if type(value) is not str:
        raise wrong_type("the name of a signal", value, 'write "SIGTERM"')
    name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
    if name in Signals.__members__:
        return Signals[name].name
    near = nearest(name, _SIGNAL_NAMES)
    raise refused(f"{show(value)} is not a signal", f"did you mean {near}?" if near else "see signal(7)", value)


def parse_umask(value: Any) -> int:
    """A umask, 0 to 0o777, from "022", "0o022" (octal) or an integer as it is (in TOML: 0o022)."""
    if type(value) is int:
        mask = value
    elif type(value) is not str:
        raise wrong_type("a umask", value, 'write "022"')
    else:
        digits = value.removeprefix("0o")
        if not re.fullmatch("[0-7]{1,6}", digits):
            raise refused(f"{show(value)} is not a umask", 'write it in octal: "022"', value)
        mask = int(digits, 8)
    if not 0 <= mask <= 0o777:
        raise refused(f"{show(value)} is out of range", "a umask is 000 to 777, octal", value)
    return mask


def format_duration(seconds: float | None) -> str:
    """A duration for a sentence, its two largest units: "500 ms", "10 s", "1 h 30 min", "2 d", "unlimited"."""
    if seconds is None or not isfinite(seconds):
        return UNLIMITED
    milliseconds = round(seconds * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g} s"
    left = round(seconds)
    parts = []
    for size, unit in _PEOPLE_UNITS:
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
