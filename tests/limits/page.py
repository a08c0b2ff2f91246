"""docs/limits.md: what stands there is what happened, or a test fails. RDAGENTD_WRITE_LIMITS=1 writes it instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.limits.row import Row, Story

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
HEAD = ("| limit | asked | tried | got | `why` says |", "|---|---|---|---|---|")


def table(title: str) -> list[str]:
    """The lines of the table below a heading, without its head."""
    _, _, rest = PAGE.read_text().partition(f"\n## {title}\n")
    return [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]


def told(title: str, rows: Sequence[Row], row: Row, story: Story) -> None:
    """The row is in the page as it happened. AssertionError."""
    line = row.line(story)
    if os.environ.get("RDAGENTD_WRITE_LIMITS"):
        _write(title, rows, row, line)
    assert line in table(title), (
        f"docs/limits.md does not say what happened (RDAGENTD_WRITE_LIMITS=1 writes it):\n{line}"
    )


def _write(title: str, rows: Sequence[Row], row: Row, line: str) -> None:
    known = {old.split(" | ")[0].removeprefix("| "): old for old in table(title)} | {row.name: line}
    before, heading, rest = PAGE.read_text().partition(f"\n## {title}\n")
    text, next_heading, after = rest.partition("\n## ")
    kept = "\n".join(one for one in text.splitlines() if not one.startswith("|")).strip()
    lines = [*HEAD, *(known[one.name] for one in rows if one.name in known)]
    body = "\n".join(["", kept, "", *lines, ""]) if kept else "\n".join(["", *lines, ""])
    PAGE.write_text(before + heading + body + next_heading + after)
