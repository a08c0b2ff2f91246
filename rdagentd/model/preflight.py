"""What must be there before a run starts."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, field, frozen

DEFAULT_PASSWORDS = ("admin", "tradingagents123", "change-me-in-production")
"""Those that the agents' own documentation hands out."""


@frozen
class Preflight:
    """environment, secrets: names of variables, "A | B" where one is enough; a secret may be a credential, too.

    keys: shape of a variable by name, `*` is any text, `?` any character. refuse: values that no password, key, secret or
    token may have.
    programs: least version by name, "" for any. ports: TCP ports nobody may listen on. disk, memory: bytes that must be free.
    """

    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default=Factory(dict), hash=False)
    refuse: tuple[str, ...] = DEFAULT_PASSWORDS
    programs: Mapping[str, str] = field(default=Factory(dict), hash=False)
    ports: tuple[int, ...] = ()
    disk: int | None = None
    memory: int | None = None
