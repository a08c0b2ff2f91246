"""The picture of top in README and docs: taken of the real program. RDAGENTD_WRITE_IMAGES=1 writes docs/images/top.svg."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.harness import LiveDaemon
from tests.picture import COLOURS, svg
from tests.rdagentctl.top.agents import CONFIG, RUNNING, begin
from tests.rdagentctl.top.conftest import Top

PLACE = Path(__file__).parents[3] / "docs" / "images" / "top.svg"
DOWN = "\x1b[B"


def _flows(line: str, cell: int, wanted: float) -> bool:
    """Whether a rate is known, and more than nothing where it is to be more."""
    cells = line.split()
    return len(cells) > cell and cells[cell] not in ("-", "0" if wanted else "-")


@pytest.mark.slow
def test_the_picture_is_what_is_seen(daemon: LiveDaemon, top: Top, tmp_path: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text(CONFIG)
    client = daemon.start("--config", str(config))
    assert client is not None
    begin(client, tmp_path)
    seen = top("--interval", "2", columns=124, rows=22)
    seen.see("queue    2 waiting: 2 for a slot of batch", "1 failed   1 backoff   1 paused", "nightly-backup")
    seen.until(
        lambda: all(
            _flows(seen.line(name), 7, lines) and _flows(seen.line(name), 6, written)
            for name, _, (_, _, lines, written) in RUNNING
        ),
        "what all of them write",
    )
    seen.type(DOWN * 6)
    seen.see("s stop   p pause")
    seen.type("q")
    assert seen.end() == 0
    text = svg(seen.screen, "rdagentctl top")

    drawn = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    said = ["".join((part.text or "").split()) for part in drawn.iter(f"{space}text")]
    for line in filter(None, seen.lines):
        assert "".join(line.replace("█", "").replace("░", "").split()) in "".join(said)
    fills = {part.get("fill") for part in drawn.iter(f"{space}text")}
    assert {COLOURS["red"], COLOURS["green"], COLOURS["cyan"], COLOURS["brown"]} <= fills
    if os.environ.get("RDAGENTD_WRITE_IMAGES") == "1":
        PLACE.parent.mkdir(exist_ok=True)
        PLACE.write_text(text)
