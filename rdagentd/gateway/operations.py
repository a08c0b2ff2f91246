"""What the daemon can be asked for, by its own word: the gateway has no table of operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import fields, frozen

from rdagentd.gateway.access import Role
from rdagentd.gateway.link import Link
from rdagentd.protocol.errors import NOT_FOUND, ProtocolError


@frozen
class Operation:
    """One of them. access: the least role, "view", "operate" or "admin". lasts: the answer comes when something has come about.

    args: name → `{kind, schema, required, default}`.
    """

    op: str
    text: str
    access: str
    stream: bool
    lasts: bool
    args: Mapping[str, Mapping[str, Any]]

    @property
    def looks(self) -> bool:
        """Whether it changes nothing, so that it may be asked for by GET."""
        return self.access == "view"

    @property
    def role(self) -> Role:
        """What it takes of whoever asks over HTTP."""
        return Role.VIEW if self.looks else Role.OPERATE


_FIELDS = [field.name for field in fields(Operation)]
"""What a newer daemon tells besides is of no use here."""


class Operations:
    """The table of the daemon, kept until somebody asks for what is not in it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, Operation] = {}

    async def all(self) -> list[Operation]:
        """As they are now, in the daemon's order."""
        told = [Operation(**{name: row[name] for name in _FIELDS}) for row in await self._link.call("describe")]
        self._known = {operation.op: operation for operation in told}
        return told

    async def get(self, op: str) -> Operation:
        """One by name. Raises ProtocolError(not_found)."""
        if op not in self._known:
            await self.all()
        if op not in self._known:
            text = f"cannot find operation {op[:64]!r}: GET /api/v1/openapi.json tells of all"
            raise ProtocolError(NOT_FOUND, text, {"op": op[:64]})
        return self._known[op]
