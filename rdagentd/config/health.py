"""Health checks as people write them: one of six questions, how often, and what follows."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from rdagentd.config.kinds import FLAG, Kind, choice, duration, each, whole
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import COMMAND, text
from rdagentd.config.units import parse_duration
from rdagentd.model.container import Network
from rdagentd.model.health import WAYS, HealthCheck, OnFailure, Probe
from rdagentd.model.spec import Spec

LOOPBACK = "127.0.0.1"

_URL_HINT = 'write "http://127.0.0.1:8000/health"'
_TCP_HINT = 'write a port, or "127.0.0.1:6379"'
_TARGET = re.compile(r"[!-~]*")
"""What may stand in a request line: printable ASCII without blanks (RFC 9112, section 3)."""

_SHORTEST = 0.1
_LONGEST_TIMEOUT = 300.0
"""Seconds; a probe that lasts holds one of the places that all share."""


def _seconds(least: float, most: float) -> Kind:
    def parse(value: Any) -> float:
        seconds = parse_duration(value)
        if seconds is None or not least <= seconds <= most:
            raise refused(f"{show(value)} is out of range", f"{least:g} s to {most:g} s", value)
        return seconds

    return Kind(f"duration, {least:g} to {most:g} s", parse)


def _host(host: str, value: Any) -> str:
    """An address of this host: others are nobody's worker here, and a name would have to be looked up.

    "localhost" is 127.0.0.1: it may also mean ::1, where most servers do not listen, and then a check fails for ever.
    """
    if host == "localhost":
        return LOOPBACK
    try:
        address = ip_address(host)
    except ValueError:
        raise refused(f"{show(value)} names no address", f"write {LOOPBACK} or [::1]", value) from None
    if not address.is_loopback:
        raise refused(
            f"{show(value)} is not on this host's loopback", f"{LOOPBACK} or [::1]; exec can ask elsewhere", value
        )
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def _url(value: Any) -> str:
    url = text(value, 2048)
    if not _TARGET.fullmatch(url):
        raise refused(f"{show(value)} has blanks or letters that a URL cannot have", "write them as %20", value)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise refused(f"{show(value)} is not a URL", _URL_HINT, value) from None
    if parts.scheme == "https":
        raise refused("https is not spoken", 'write http, or ask with exec = ["curl", "-fsk", …]')
    if parts.scheme != "http" or parts.username is not None or parts.fragment:
        raise refused(f"{show(value)} is not a plain http URL", _URL_HINT, value)
    query = f"?{parts.query}" if parts.query else ""
    return f"http://{_host(host, value)}:{port}{parts.path or '/'}{query}"


def _tcp(value: Any) -> str:
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise wrong_type("a port, or address and port", value, _TCP_HINT)
    host, _, port = value.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise refused(f"{show(value)} has no port", _TCP_HINT, value)
    return f"{_host(host.removeprefix('[').removesuffix(']') or LOOPBACK, value)}:{int(port)}"


def _or(nothing: Any, kind: Kind) -> Kind:
    """The same, or what stands for none."""
    return Kind(kind.says, lambda value: nothing if value in (None, []) else kind.parse(value))


def _progress(value: Any) -> float | None:
    return None if value is None else duration(zero=False).parse(value)


def _one_way(probe: Probe) -> str:
    given = [way for way in WAYS if getattr(probe, way)]
    if len(given) > 1:
        return f"{' and '.join(given)} are given; one is asked"
    if not given and not (isinstance(probe, HealthCheck) and probe.ready):
        return f"asks nothing: give one of {', '.join(WAYS)}"
    return ""


def _expect(probe: Probe) -> str:
    return "is for http" if probe.expect and probe.http is None else ""


def _derive(values: dict[str, Any]) -> None:
    """The engine has counted retries of its own before it says unhealthy."""
    if values.get("docker") and "retries" not in values:
        values["retries"] = 1


_ROWS: dict[str, tuple[Kind | Section, str]] = {
    "http": (
        _or(None, Kind("URL", _url)),
        f"GET this; 200 to 399 is well. `localhost` is taken for {LOOPBACK}. Redirects are not followed.",
    ),
    "expect": (each(whole(100, 599), 64), "HTTP status codes that are well."),
    "tcp": (_or(None, Kind('port, or "127.0.0.1:6379"', _tcp)), "Somebody accepts a connection there."),
    "exec": (
        _or((), COMMAND),
        "This program exits with 0, run as the worker is: its user, directory, `environment`, limits; in its container.",
    ),
    "notify": (FLAG, "It has said READY=1 to $NOTIFY_SOCKET. Signs of life after that: `watchdog`, beside [health]."),
    "docker": (FLAG, "What the engine says about the HEALTHCHECK of the image."),
    "progress": (_or(None, Kind("duration", _progress)), "It has written output or reported within so long."),
    "interval": (
        _seconds(_SHORTEST, 86400),
        "How often it is asked; every 5 s, if that is less, until it is first well.",
    ),
    "timeout": (_seconds(_SHORTEST, _LONGEST_TIMEOUT), "No answer within this time is a failure."),
    "retries": (whole(1, 100), "So many failures in a row are one too many. Not given with `docker`: 1."),
    "start_period": (duration(), "Failures before the first success do not count in it, nor within one `interval`."),
}
_HINTS = {
    "url": "did you mean http?",
    "cmd": "did you mean exec?",
    "command": "did you mean exec?",
    "test": "did you mean exec?",
    "port": "did you mean tcp?",
    "type": "write the question itself: http, tcp, exec, notify, docker or progress",
    "status": "did you mean expect?",
    "stall": "did you mean progress?",
    "action": "did you mean on_failure?",
    "initial_delay": "did you mean start_period?",
    "failures": "did you mean retries?",
}
_WAY = Conflict("", WAYS, _one_way)
_EXPECT = Conflict("expect", ("expect", "http"), _expect)

READY = Section(Probe, _ROWS, shorthand="http", hints=_HINTS, derive=_derive, conflicts=(_WAY, _EXPECT), optional=True)
HEALTH = Section(
    HealthCheck,
    {
        **_ROWS,
        "on_failure": (
            choice(OnFailure),
            "When it is unhealthy: `restart` ends the run and leaves the rest to its restart policy, `stop` ends it for good.",
        ),
        "ready": (
            READY,
            "The same, for whether it can be used; a failure ends nothing. Not given: it is ready when healthy.",
        ),
    },
    shorthand="http",
    hints=_HINTS,
    derive=_derive,
    conflicts=(Conflict("", (*WAYS, "ready"), _one_way), _EXPECT),
    optional=True,
)


# --- together with the rest of the spec -------------------------------------------------------------------------------


def _docker(spec: Spec, probe: Probe) -> str:
    return (
        "docker is for containers; a process has http, tcp or exec" if probe.docker and spec.container is None else ""
    )


def port_of(probe: Probe) -> int | None:
    """The port that is asked."""
    if probe.http is not None:
        return urlsplit(probe.http).port
    return None if probe.tcp is None else int(probe.tcp.rpartition(":")[2])


def _reachable(spec: Spec, probe: Probe) -> str:
    port = port_of(probe)
    if port is None:
        return ""
    if spec.container is None:
        return "" if spec.isolation.network else "its isolation leaves it no network that could be asked; use exec"
    network = spec.container.network
    if network is Network.NONE:
        return "its container has no network that could be asked; use exec"
    if network is Network.BRIDGE and f"{port}/tcp" not in spec.container.ports:
        return f"port {port} of the container cannot be reached: name it in container.ports"
    return ""


def _each(found: Callable[[Spec, Probe], str]) -> Callable[[Spec], str]:
    def of(spec: Spec) -> str:
        if spec.health is None:
            return ""
        probes = [probe for probe in (spec.health, spec.health.ready) if probe is not None]
        return next((told for probe in probes if (told := found(spec, probe))), "")

    return of


CONFLICTS = (
    Conflict("health", ("health", "driver", "container"), _each(_docker)),
    Conflict("health", ("health", "isolation", "container", "driver"), _each(_reachable)),
)
"""What is wrong with a whole spec because of its checks."""
