"""What comes in while an upload is being launched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application

from rdagentd.gateway.rdagent.messages import Messages
from rdagentd.gateway.rdagent.reports import Reports
from rdagentd.gateway.rdagent.traces import Traces
from rdagentd.gateway.rdagent.upload import Uploads
from tests.gateway.rdagent.site import form
from tests.gateway.rdagent.test_traces import row

MESSAGE = {"tag": "research.hypothesis", "timestamp": "", "content": {}}


class Daemon:
    """A link to one whose workers speak as soon as they are launched. answer: to the first message; late: seconds until
    the daemon tells who they are."""

    def __init__(self, late: float) -> None:
        self.client: TestClient[Any, Any] | None = None
        self.answer: asyncio.Task[ClientResponse] | None = None
        self._late = late

    async def call(self, op: str, args: dict[str, Any]) -> Any:
        if op == "launch":
            assert self.client is not None
            said = self.client.post("/receive", json={"id": "/t/w", "msg": MESSAGE})
            self.answer = asyncio.ensure_future(said)
            return {"name": "w", "id": "Data Science/w"}
        assert op == "status" and self.answer is not None
        await asyncio.wait({self.answer}, timeout=self._late)
        assert not self.answer.done()
        return [row("w", **{"rd-agent-id": "Data Science/w"})]


def test_a_message_that_comes_before_it_is_known_whose_it_is_is_not_lost(tmp_path: Path) -> None:
    async def test() -> None:
        daemon, traces = Daemon(0.5), Traces(tmp_path / "traces")
        traces.load()
        uploads = Uploads(daemon, traces, tmp_path / "uploads", 1 << 20)  # type: ignore[arg-type]
        messages = Messages(traces, Reports(daemon))  # type: ignore[arg-type]
        app = Application()
        app.add_routes([*uploads.routes(), *messages.routes()])
        async with TestClient(TestServer(app)) as daemon.client:
            body, headers = form({"scenario": "Data Science", "competition": "MLE-Bench:toy"})
            launched = await daemon.client.post("/upload", data=body, headers=headers)
            assert (launched.status, await launched.json()) == (200, {"id": "Data Science/w"})
            assert daemon.answer is not None and (await daemon.answer).status == 200
            other = await daemon.client.post("/receive", json={"id": "/t/other", "msg": MESSAGE})
            assert other.status == 404
        trace = traces.find("Data Science/w")
        assert trace is not None and trace.journal.tags == [MESSAGE["tag"]]
        await traces.close()

    asyncio.run(test())
