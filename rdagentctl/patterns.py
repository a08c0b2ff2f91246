"""What is recognised in a line of a log: errors, durations, costs, tokens, timestamps. Pure, in linear time."""

from __future__ import annotations

import re
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1000
"""Characters of a line that are looked at."""

ERROR, DURATION, MONEY = 1, 2, 4
"""What a line may have."""

_MARKS = {
    ERROR: (b"rror", b"RROR", b"xception", b"FATAL", b"fatal", b"CRITICAL", b"critical", b"panic"),
    DURATION: (
        *(b"took", b"Took", b"takes ", b"Takes ", b"lapsed", b"uration", b"atency", b"lasted", b"Lasted", b"aited"),
        *(b"an for ", b"ed in ", b"one in ", b"ime:", b"ime =", b"ime=", b"ime :", b"ime_", b"ime taken"),
        *(b'ime"', b"ime'", b"ime)", b"ime]"),
    ),
    MONEY: (b"cost", b"Cost", b"oken"),
}
"""Whatever is recognised below has one of these, else a line is not looked at. To find them one by one is faster
than one expression for all."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])|\r")
_LEVEL = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL)\b|\blevel[\"']?\s*[:=]\s*[\"']?(?:error|critical|fatal)\b|\[(?:error|critical|fatal) *\]"
)
_BEGINS = re.compile(r"\s*(?:(?:error|fatal|panic)(?:\[\w+\])?:|(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception)(?=:|\s*$))")

_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)"
_AMOUNT = rf"[0-9]+(?:\.[0-9]+)? ?{_UNIT}(?![A-Za-z])"
_PHRASE = re.compile(
    r"(?:\b(?:[Tt]ook|[Tt]akes|[Ee]lapsed|[Dd]uration|[Ll]atency|[Ll]asted|[Ww]aited|[Rr]an for)\b"
    r"|(?:[Ff]inished|[Cc]ompleted|[Dd]one|[Ss]ucceeded|[Ff]ailed|[Ee]nded|[Ee]xecuted|[Ll]oaded|[Tt]rained) in\b"
    r"|\b[Tt]ime(?: taken)?[\"')\]]{0,2} ?[:=])"
    rf"[^0-9\n]{{0,24}}?({_AMOUNT}(?: ?{_AMOUNT})*)"
)
_KEY = re.compile(rf"(?:took|elapsed|duration|latency|time)_({_UNIT})[\"']?\s*[:=]\s*([0-9]+(?:\.[0-9]+)?)")
_PART = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?({_UNIT})")

_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]{1,2})?)"
_COST = re.compile(
    r"\b(?:([Cc]urrent|[Cc]all|[Rr]equest)|([Aa]ccumulated|[Tt]otal|[Ss]ession))[ _](?:accumulated )?[Cc]ost(?:_usd)?"
    rf"[\"']?\s*[:=]\s*\$?\s*{_NUMBER}"
    rf"|\b[Cc]ost(?:_usd[\"']?\s*[:=]\s*|[\"']?\s*[:=]\s*\$\s*){_NUMBER}"
)
_COUNT = r"([0-9]{1,15}(?:,[0-9]{3}){0,4})"
_KIND = r"([Pp]rompt|[Cc]ompletion|[Ii]nput|[Oo]utput|[Tt]otal)"
_TOKENS = re.compile(rf"(?<![A-Za-z]){_KIND}[ _-]?[Tt]okens?[\"']?\s*[:=]\s*{_COUNT}|{_COUNT} {_KIND}[ _-]tokens\b")

_STAMP = re.compile(
    rb"^[^\n]{0,30}?([0-9]{4}-[0-9]{2}-[0-9]{2})[T _]([0-9]{2}):([0-9]{2}):([0-9]{2}(?:[.,][0-9]{1,6})?)", re.M
)

_VARIABLE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T _]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?|\b\d\d:\d\d:\d\d(?:[.,]\d+)?)"
    r"|(?P<id>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|\b0x[0-9a-fA-F]+|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b)"
    r"|(?P<path>(?<![\w.])~?(?:/[\w.@%+~:-]+){2,}/?)"
    r"|(?P<n>\d+(?:[.,]\d+)*)"
)


def interesting(block: bytes) -> list[tuple[int, int, int]]:
    """Begin and end of the lines that may have something, in order, and what: ERROR, DURATION and MONEY, added."""
    found: dict[int, tuple[int, int]] = {}
    for what, marks in _MARKS.items():
        for mark in marks:
            position = block.find(mark)
            while position >= 0:
                end = block.find(b"\n", position)
                end = len(block) if end < 0 else end
                start = block.rfind(b"\n", 0, position) + 1
                found[start] = (end, found.get(start, (end, 0))[1] | what)
                position = block.find(mark, end)
    return [(start, *found[start]) for start in sorted(found)]


def clean(line: bytes) -> str:
    """The line as text without colours, at most LONGEST characters of it."""
    return _ESCAPES.sub("", line[: 4 * LONGEST].decode("utf-8", "replace"))[:LONGEST]


def is_error(line: str) -> bool:
    """A line with the level ERROR, CRITICAL or FATAL, one that begins with an exception's name, or with `error:`."""
    return _LEVEL.search(line) is not None or _BEGINS.match(line) is not None


def signature(line: str) -> str:
    """The line with <time>, <id>, <path> and <n> in the place of what differs from one such line to the next."""
    return _VARIABLE.sub(lambda match: f"<{match.lastgroup}>", line.strip())


def durations(line: str) -> Iterator[float]:
    """Seconds of "took 12.3 s", "Running time: 95 seconds", "completed in 1m 30s", "duration_ms=12000" and their kin."""
    for match in _PHRASE.finditer(line):
        yield sum(float(count) * _seconds(unit) for count, unit in _PART.findall(match[1]))
    for match in _KEY.finditer(line):
        yield float(match[2]) * _seconds(match[1])


def _seconds(unit: str) -> float:
    unit = unit.lower()
    if unit.startswith(("ms", "milli")):
        return 0.001
    return {"s": 1.0, "m": 60.0, "h": 3600.0}[unit[0]]


def costs(line: str) -> Iterator[tuple[bool, float]]:
    """Whether it is a running total, and dollars: "Current Cost: $0.01", "Accumulated Cost: $1.2", "total_cost_usd": 0.3."""
    for match in _COST.finditer(line):
        yield bool(match[2]), float(match[3] or match[4])


def tokens(line: str) -> Iterator[tuple[str, int]]:
    """Kind and number: "prompt_tokens": 12, completion tokens: 1,200, 30 output tokens."""
    for match in _TOKENS.finditer(line):
        yield (match[1] or match[4]).lower(), int((match[2] or match[3]).replace(",", ""))


def stamps(block: bytes) -> Iterator[tuple[int, float]]:
    """Where lines begin that have a date and a time near their beginning, and that time in seconds; of no zone."""
    for match in _STAMP.finditer(block):
        seconds = _stamp(match)
        if seconds is not None:
            yield match.start(), seconds


def _stamp(match: re.Match[bytes]) -> float | None:
    date, hours, minutes, seconds = match.groups()
    try:
        day = datetime.fromisoformat(date.decode()).toordinal()
    except ValueError:
        return None
    return day * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(b",", b"."))
