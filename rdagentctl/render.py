"""What a person reads: columns, durations, colours. Nothing from the daemon reaches a terminal unescaped."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

COLOUR_OF_STATE = {
    "failed": RED,
    "backoff": YELLOW,
    "stopping": YELLOW,
    "paused": CYAN,
    "starting": CYAN,
    "queued": CYAN,
    "running": GREEN,
    "stopped": DIM,
    "completed": DIM,
}

GAP = 2
"""Spaces between columns."""


def coloured() -> bool:
    """Whether standard output wants colours: a terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """The text in a colour."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def screen() -> tuple[int, int] | None:
    """Columns and lines of the terminal; None if standard output is none."""
    try:
        return tuple(os.get_terminal_size(sys.stdout.fileno()))  # type: ignore[return-value]
    except (OSError, ValueError):
        return None


def plain(text: object) -> str:
    """The text on one line without control characters: names and reasons come from others."""
    line = str(text)
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def width_of(text: str) -> int:
    """Columns that the text takes; wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum((east_asian_width(char) in "WF") + (category(char) not in ("Mn", "Me")) for char in text)


def fit(text: str, width: int, mark: str = "…") -> str:
    """The text in at most `width` columns; its end is cut, which `mark`, one column, shows."""
    if width_of(text) <= width:
        return text
    text = text[: max(0, width)]  # no character takes less than a column but those that combine
    while text and width_of(text) >= width:
        text = text[: max(0, width - 1)] if text.isascii() else text[:-1]
    return text + mark if width > 0 else ""


def table(
    rows: Sequence[Sequence[str]], width: int | None, colours: Sequence[str] = (), drop: Sequence[int] = ()
) -> str:
    """Aligned columns, the first row being the heading. The last column takes what is left of `width` (None: all).

    colours: of each row after the heading, for its second column. drop: columns to leave out, in this order, while the
    last one would get less than 20 columns.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(width_of if not "".join(column).isascii() else len, column)) for column in columns]
    shown = list(range(len(columns)))
    last = len(columns) - 1
    left = None
    for victim in (None, *drop):
        if victim is not None:
            shown.remove(victim)
        left = None if width is None else width - sum(widths[i] + GAP for i in shown if i != last)
        if left is None or left >= min(20, widths[last]):
            break
    lines = []
    for number, row in enumerate(rows):
        cells = [_pad(row[i], widths[i]) for i in shown if i != last]
        if number and colours and colours[number - 1]:
            cells[1] = paint(cells[1], colours[number - 1])
        tail = row[last] if left is None else fit(row[last], max(left, 10))
        line = "  ".join((*cells, tail)).rstrip()
        lines.append(paint(line, BOLD) if colours and not number else line)
    return "\n".join(lines) + "\n"


def _pad(text: str, width: int) -> str:
    return text.ljust(width) if text.isascii() else text + " " * (width - width_of(text))


def ago(seconds: float) -> str:
    """A duration in at most two units: "12s", "5m12s", "2h05m", "3d4h"."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def lasts(run: dict[str, Any], now: float) -> float:
    """Seconds since a live run began, by the clock that nobody sets; without it by `now`, seconds since the epoch."""
    began: float | None = run.get("since_boot")
    if began is None:
        return now - float(run["started_at"])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def clock(at: float | None) -> str:
    """Local date and time of seconds since the epoch."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def size(count: int | None) -> str:
    """Bytes in at most four digits and a unit: "512", "1.5K", "64M"; "-" for what nobody knows."""
    if count is None:
        return "-"
    number, unit = float(count), ""
    for unit in ("", "K", "M", "G", "T"):
        if number < 1000 or unit == "T":
            break
        number /= 1024
    return f"{number:.1f}{unit}" if unit and number < 10 else f"{number:.0f}{unit}"


def seconds(*parts: float | None) -> str:
    """CPU time: "0.25s", "1m05s"."""
    whole = sum(part or 0.0 for part in parts)
    return f"{whole:.2f}s" if whole < 60 else ago(whole)


def warn(texts: Sequence[str]) -> None:
    """Says on standard error what does not hold as it was asked for."""
    for text in texts:
        print(f"rdagentctl: warning: {plain(text)}", file=sys.stderr)


def ending(ended: dict[str, Any] | None) -> str:
    """How a run ended, in a few words."""
    if not ended:
        return ""
    return plain(ended.get("reason") or _bare_ending(ended))


def _bare_ending(ended: dict[str, Any]) -> str:
    if ended.get("signal"):
        return f"ended by {ended['signal']}"
    if ended.get("code") is not None:
        return f"exit code {ended['code']}"
    return str(ended.get("kind", "ended")).replace("_", " ")


def count(number: int, noun: str) -> str:
    """The number and its noun: "1 worker", "2 workers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def value(thing: object) -> str:
    """A value of a spec as one would write it in TOML."""
    if thing is None:
        return "-"
    if isinstance(thing, bool):
        return "true" if thing else "false"
    if isinstance(thing, dict):
        return "{" + ", ".join(f"{plain(key)} = {value(one)}" for key, one in thing.items()) + "}"
    if isinstance(thing, list | tuple):
        return "[" + ", ".join(map(value, thing)) + "]"
    if isinstance(thing, float):
        return f"{thing:g}"
    return f'"{plain(thing)}"' if isinstance(thing, str) else plain(thing)


def show_json(thing: object, *, stream: bool = False) -> None:
    """Prints it as JSON: indented for a terminal, on one line otherwise and in a stream."""
    import json

    indent = 2 if not stream and sys.stdout.isatty() else None
    print(json.dumps(thing, ensure_ascii=False, indent=indent, default=_not_json), flush=stream)


def _not_json(thing: object) -> str:
    return thing.decode("utf-8", "backslashreplace") if isinstance(thing, bytes) else str(thing)


def user(uid: object) -> str:
    """The name of a uid, or the number if it has none."""
    if not isinstance(uid, int):
        return plain(uid)
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"
