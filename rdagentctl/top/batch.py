"""Pictures one after the other as plain text or JSON, for scripts and files."""

from __future__ import annotations

import sys
import time

from rdagentctl import render
from rdagentctl.client import resume
from rdagentctl.selection import LIVE
from rdagentctl.top.draw import batch
from rdagentctl.top.host import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.top.glyphs import Glyphs
    from rdagentctl.top.scene import Scene


def run(  # noqa: PLR0913 -- what was typed
    client: Client, chosen: dict[str, Any], scene: Scene, glyphs: Glyphs, *, number: int | None, as_json: bool
) -> int:
    """The exit code, after so many pictures (None: never). Rates are those of the interval before a picture."""
    host, board, printed = Host(), scene.board, 0

    def look() -> None:
        scene.told = client.call("ping")
        executor = (client.call("version")["executor"] or {}).get("pid")
        board.put(client.call("status", {"select": chosen}))
        if any(row["state"] in LIVE for row in board.rows):
            told = client.call("usage", {"select": chosen})
            board.use(time.monotonic(), told)
        scene.host = host.look({"daemon": scene.told["pid"], "executor": executor})

    resume(client, look)
    while number is None or printed < number:
        time.sleep(scene.interval)
        resume(client, look)
        if as_json:
            render.show_json(document(scene), stream=True)
        else:
            size = render.screen()
            lines = batch(scene, size and size[0], time.monotonic(), glyphs)
            text = ["".join(part for part, _ in line).rstrip() for line in lines]
            print("\n".join([*([""] if printed else []), *text]))
        sys.stdout.flush()
        printed += 1
    return 0


def document(scene: Scene) -> dict[str, Any]:
    """The picture for a program: rows as `status` has them, each with `usage` and `rates`, in the order of the table."""
    workers = []
    for row, use, _ in scene.board.view():
        live = use is not None and row["state"] in LIVE
        workers.append(
            {**row, "usage": use.sample if live and use else None, "rates": use.rates if live and use else None}
        )
    return {"at": time.time(), "daemon": scene.told, "host": scene.host, "workers": workers}
