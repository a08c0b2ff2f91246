"""The daemon's table as the gateway keeps it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rdagentd.gateway.access import Role
from rdagentd.gateway.operations import Operations
from rdagentd.protocol.errors import ProtocolError
from tests.gateway.client import FakeLink


def row(op: str, access: str = "view", **more: Any) -> dict[str, Any]:
    return {"op": op, "text": "Does it.", "access": access, "stream": False, "lasts": False, "args": {}, **more}


def test_the_table_is_asked_for_once_and_again_for_a_name_that_is_not_in_it() -> None:
    link = FakeLink(describe=[row("look"), row("change", "operate"), row("end", "admin")])
    operations = Operations(link)

    async def run() -> None:
        assert (await operations.get("look")).role is Role.VIEW
        assert (await operations.get("change")).role is (await operations.get("end")).role is Role.OPERATE
        assert len(link.calls) == 1
        link.answers["describe"] = [row("look"), row("new")]
        assert (await operations.get("new")).op == "new"
        with pytest.raises(ProtocolError, match="cannot find operation 'change'"):
            await operations.get("change")

    asyncio.run(run())


def test_a_daemon_that_tells_more_is_understood() -> None:
    operations = Operations(FakeLink(describe=[row("look", since="9.0")]))
    assert [operation.op for operation in asyncio.run(operations.all())] == ["look"]
