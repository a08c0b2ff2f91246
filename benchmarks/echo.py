"""The bare limit of a request: an asyncio server that sends each msgpack frame back. `python -m benchmarks.echo SOCKET`."""

from __future__ import annotations

import asyncio
import sys

from rdagentd.protocol.frames import Decoder, pack


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._decoder = Decoder()

    def data_received(self, data: bytes) -> None:
        """It sent something."""
        for message in self._decoder.feed(data):
            self._transport.write(pack(message))


async def serve(path: str) -> None:
    """Serves for ever."""
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
