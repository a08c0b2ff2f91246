"""Names of the cgroups whose processes may connect to certain ports only."""

from __future__ import annotations

import re
from collections.abc import Iterable

CLASS = re.compile(r"egress(-[1-9][0-9]{0,4}){1,16}")
"""A class: egress-22-443."""


def class_of(ports: Iterable[int]) -> str:
    """The class of these ports, in whatever order they are said."""
    return "-".join(("egress", *map(str, sorted(set(ports)))))


def ports_of(name: str) -> list[int]:
    """The ports of a class."""
    return [int(port) for port in name.split("-")[1:]]
