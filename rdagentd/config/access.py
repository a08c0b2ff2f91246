"""Who may do what over the control socket, as the configuration grants it."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from rdagentd.config.kinds import Kind, each
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.section import Section

_PRINCIPAL = re.compile(r"@?[A-Za-z0-9_][A-Za-z0-9_.\\-]{0,254}\$?")


@frozen
class Grants:
    """Users, by name or number, and groups, as "@name" or "@number". Of several roles a person has the highest."""

    admins: tuple[str, ...] = ("@rdagentd-admin",)
    operators: tuple[str, ...] = ("@rdagentd",)
    viewers: tuple[str, ...] = ()


def _principal(value: Any) -> str:
    if type(value) is int and 0 <= value < 2**32 - 1:
        return str(value)
    if type(value) is not str:
        raise wrong_type("a user or an @group", value)
    if not _PRINCIPAL.fullmatch(value):
        raise refused(
            f"{show(value)} is not a name", "a user, such as alice or 1000, or a group, such as @staff", value
        )
    return value


PRINCIPALS = each(Kind("user or @group", _principal), 256)

ACCESS = Section(
    Grants,
    {
        "admins": (PRINCIPALS, "May do everything; so may root and rdagentd's own user, always."),
        "operators": (PRINCIPALS, "See all workers, submit their own and operate those."),
        "viewers": (PRINCIPALS, "See all workers and their logs."),
    },
)
