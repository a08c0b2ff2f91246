"""Where the daemon logs to: the section [logging]."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from attrs import frozen

from rdagentd.config.kinds import Kind, choice, collect, size, whole
from rdagentd.config.problems import key_name, refused, show, wrong_type
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import PATH
from rdagentd.config.texts import text as text_of
from rdagentd.model.size import UNLIMITED

LOGROTATED = "/var/log/rdagentd-daemon"
"""Here the package's /etc/logrotate.d/rdagentd rotates."""

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})")
_LOGGER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")


class LogLevel(StrEnum):
    """How much the daemon tells about itself, by the names of logging."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Main(StrEnum):
    """What stderr gets. AUTO: JOURNAL where stderr is systemd's, else TEXT."""

    AUTO = "auto"
    JOURNAL = "journal"
    TEXT = "text"
    JSON = "json"
    OFF = "off"


class Format(StrEnum):
    """How a record becomes a line."""

    TEXT = "text"
    JSON = "json"


@frozen
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class File:
    """A file of lines. size: bytes after which a new one is begun, None: somebody else rotates; files: old ones kept."""

    path: str
    format: Format = Format.TEXT
    size: int | None = 10 << 20
    files: int = 5

    def __str__(self) -> str:
        return self.path


@frozen
class Syslog:
    """A syslog server: the path of a Unix socket, or an address for UDP."""

    address: str | Address = "/dev/log"

    def __str__(self) -> str:
        return f"syslog at {self.address}"


@frozen
class Tcp:
    """A server that takes lines of JSON."""

    address: Address

    def __str__(self) -> str:
        return str(self.address)


@frozen
class Logging:
    """levels: of single loggers and all below them, by name. file, syslog, tcp: places besides the output."""

    output: Main = Main.AUTO
    levels: tuple[tuple[str, LogLevel], ...] = ()
    file: File | None = None
    syslog: Syslog | None = None
    tcp: Tcp | None = None


def _address(value: Any) -> Address:
    found = _ADDRESS.fullmatch(text_of(value))
    if found is None or not 0 < int(found[3]) < 65536:
        raise refused(f"{show(value)} is not an address", 'write "127.0.0.1:5959" or "[::1]:5959"', value)
    return Address(found[1] or found[2], int(found[3]))


def _socket_or_address(value: Any) -> str | Address:
    return value if type(value) is str and value.startswith("/") and PATH.parse(value) else _address(value)


def _rotation(value: Any) -> int | None:
    return None if value == UNLIMITED else _SIZE.parse(value)


def _levels(value: Any) -> tuple[tuple[str, LogLevel], ...]:
    if type(value) is not dict:
        raise wrong_type("a table of loggers and levels", value)
    return tuple(collect(_level, sorted(value.items(), key=str)))


def _level(pair: tuple[Any, Any]) -> tuple[str, LogLevel]:
    name, level = pair
    if type(name) is not str or not _LOGGER.fullmatch(name):
        raise refused(f"{key_name(name)} is not the name of a logger", 'such as "rdagentd.drivers"')
    if type(level) is dict:
        raise wrong_type(f"a level for {name}", level, "a name with dots is written in quotes")
    return name, _LEVEL.parse(level)


def _rotated_twice(file: File) -> str:
    below = file.path.startswith(f"{LOGROTATED}/")
    return f'logrotate rotates what is in {LOGROTATED}; write "{UNLIMITED}"' if below and file.size is not None else ""


def _derive_size(values: dict[str, Any]) -> None:
    if "size" not in values and values.get("path", "").startswith(f"{LOGROTATED}/"):
        values["size"] = None


_LEVEL = choice(LogLevel)
_SIZE = size(4096)
_ADDRESS_SAYS = '"host:port"'

LOGGING = Section(
    Logging,
    {
        "output": (
            choice(Main),
            "What goes to stderr: lines of text or of JSON, or nothing; `journal`: to journald by itself, with fields. "
            "`auto`: `journal` where stderr is systemd's, else `text`.",
        ),
        "levels": (Kind("levels by logger", _levels), "Levels of single loggers, and of all below them."),
        "file": (
            Section(
                File,
                {
                    "path": (PATH, "The file; its directory must be there."),
                    "format": (choice(Format), "Lines of text or of JSON."),
                    "size": (
                        Kind(f'{_SIZE.says}, or "{UNLIMITED}"', _rotation),
                        f"Size at which a new one is begun; unlimited: logrotate does it, as in {LOGROTATED}.",
                    ),
                    "files": (whole(1, 1000), "Old ones that are kept."),
                },
                derive=_derive_size,
                conflicts=(Conflict("size", ("path", "size"), _rotated_twice),),
                optional=True,
            ),
            "A file besides.",
        ),
        "syslog": (
            Section(
                Syslog,
                {"address": (Kind(f"path or {_ADDRESS_SAYS}", _socket_or_address), "Unix socket, or host for UDP.")},
                optional=True,
            ),
            "A syslog server besides.",
        ),
        "tcp": (
            Section(Tcp, {"address": (Kind(_ADDRESS_SAYS, _address), "Where lines of JSON are taken.")}, optional=True),
            "A server besides that takes lines of JSON, such as logstash.",
        ),
    },
    hints={"level": "did you mean log_level, outside of [logging]?", "path": "did you mean file.path?"},
)
