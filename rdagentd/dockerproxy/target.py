"""The target of a request: version, path and query, read in the one way there is. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from rdagentd.dockerproxy.refusal import invalid

MINIMUM = (1, 24)
"""Before it a container's HostConfig could be given again at start."""

_VERSION = re.compile(r"v(1)\.([1-9][0-9])")
_SEGMENT = re.compile(r"[A-Za-z0-9_.:@+-]+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Target:
    """version: "/v1.41" or nothing; path: without it; query: each value of each name, decoded."""

    version: str
    path: str
    query: Mapping[str, list[str]]


def parse_target(text: str) -> Target:
    """Reads the target of a request line, which begins with "/". Raises RefusedError."""
    path, mark, query = text.partition("?")
    if "#" in text:
        raise invalid("cannot read request: there is a # in the target")
    segments = _decode(path, "path").split("/")[1:]
    for segment in segments:
        if _SEGMENT.fullmatch(segment) is None or segment in (".", ".."):
            raise invalid(f"cannot read request: {segment[:80]!r} is no part of a path of the engine")
    if path.lower().count("%2f"):
        raise invalid("cannot read request: there is an encoded / in the path")
    version = ""
    if re.fullmatch(r"v[0-9].*", segments[0]):
        found = _VERSION.fullmatch(segments[0])
        if found is None or (int(found[1]), int(found[2])) < MINIMUM:
            raise invalid(f"cannot speak version {segments[0][1:][:20]}: v1.{MINIMUM[1]} and above are known")
        version, segments = f"/{segments[0]}", segments[1:]
    if not segments:
        raise invalid("cannot read request: there is no path behind the version")
    return Target(version, "/" + "/".join(segments), _query(query) if mark else {})


def write_target(version: str, path: str, query: Mapping[str, list[str]]) -> str:
    """A target as the engine is to read it."""
    pairs = "&".join(f"{name}={quote(value, safe='')}" for name, values in query.items() for value in values)
    return f"{version}{path}?{pairs}" if pairs else f"{version}{path}"


def _query(text: str) -> dict[str, list[str]]:
    query: dict[str, list[str]] = {}
    for pair in text.split("&") if text else []:
        name, _, value = pair.partition("=")
        if _NAME.fullmatch(name) is None:
            raise invalid(f"cannot read request: {name[:80]!r} is no name in a query")
        query.setdefault(name, []).append(_decode(value.replace("+", " "), f"query {name}"))
    return query


def _decode(text: str, where: str) -> str:
    """Takes the percent encoding away, once. Raises RefusedError for a broken one, not UTF-8, control characters."""
    if text.count("%") != len(_ESCAPE.findall(text)) or ";" in text:
        raise invalid(f"cannot read request: the {where} is not well encoded")
    raw = re.sub(rb"%(..)", lambda found: bytes.fromhex(found[1].decode()), text.encode("ascii"))
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise invalid(f"cannot read request: the {where} is not UTF-8") from None
    if any(ord(letter) < 32 and letter not in "\t\r\n" for letter in decoded):
        raise invalid(f"cannot read request: a control character is in the {where}")
    return decoded
