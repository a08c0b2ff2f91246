"""What HTTP may do and where it listens, as the configuration says. Read by `rdagentd gateway`."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Any

from attrs import frozen

from rdagentd.config.kinds import FLAG, Kind, choice, each, whole
from rdagentd.config.problems import refused, show
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import OPTIONAL_PATH, text
from rdagentd.config.units import parse_size

PORT = 19899
"""Where RD-Agent's front end and its workers look for a server."""

MOST_BODY = 100 << 20

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)(:[0-9]{1,5})?")


class Anonymous(StrEnum):
    """What somebody on this host may do who has shown no token."""

    NONE = "none"
    VIEW = "view"
    OPERATE = "operate"


@frozen
class Gateway:
    """up: whether `rdagentd up` starts one. port: the first of ten that are tried; 0 is any. body: bytes of a request."""

    up: bool = True
    addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    port: int = PORT
    anonymous: Anonymous = Anonymous.VIEW
    token_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    body: int = 20 << 20
    connections: int = 512
    connections_per_peer: int = 64


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(text(value, 45)))
    except ValueError:
        raise refused(f"{show(value)} is not an address", 'write "127.0.0.1", "::1" or "0.0.0.0"', value) from None


def _host(value: Any) -> str:
    name = text(value, 253).lower()
    if not _HOST.fullmatch(name):
        raise refused(f"{show(value)} is not the name of a host", "write it without scheme and port", value)
    return name


def _origin(value: Any) -> str:
    origin = text(value, 300).lower()
    if not _ORIGIN.fullmatch(origin):
        raise refused(f"{show(value)} is not an origin", 'write "https://host" or "http://host:port"', value)
    return origin


def _body(value: Any) -> int:
    size = parse_size(value)
    if size is None or not 1 << 20 <= size <= MOST_BODY:
        raise refused(f"{show(value)} is out of range", "1M to 100M", value)
    return size


def _half_tls(gateway: Gateway) -> str:
    return "certificate and key belong together" if (gateway.certificate is None) != (gateway.key is None) else ""


GATEWAY = Section(
    Gateway,
    {
        "up": (FLAG, "Whether `rdagentd up` starts a gateway; under systemd rdagentd-gateway.service is it."),
        "addresses": (
            each(Kind("address", _address), 16),
            "Addresses to listen on. Any that is not of this host alone needs a token.",
        ),
        "port": (
            whole(0, 65526),
            "The first port that is tried; if it is taken, the nine after it. 0: any that is free.",
        ),
        "anonymous": (
            choice(Anonymous),
            "What programs on this host may do without the token: nothing, see everything, or all that the gateway may.",
        ),
        "token_file": (
            OPTIONAL_PATH,
            "File with the token, or several, one a line; without it the credential `gateway-token` of the unit.",
        ),
        "certificate": (OPTIONAL_PATH, "Certificate chain for TLS, PEM."),
        "key": (OPTIONAL_PATH, "Its private key, PEM."),
        "hosts": (
            each(Kind("name of a host", _host), 64),
            "Names by which browsers may ask for it, besides localhost and its addresses.",
        ),
        "origins": (
            each(Kind('origin, as "https://host:port"', _origin), 64),
            "Pages of other servers that browsers may let use it (CORS).",
        ),
        "body": (Kind("size, 1M to 100M", _body), "Largest body of a request."),
        "connections": (whole(16, 10_000), "Most connections at a time; beyond, who has been idle longest is closed."),
        "connections_per_peer": (whole(4, 10_000), "Most connections of one address that is not of this host."),
    },
    conflicts=(Conflict("certificate", ("certificate", "key"), _half_tls),),
)
