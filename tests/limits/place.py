"""Where rows are tried: what the names in a row are there, and what there is not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from attrs import Factory, evolve, frozen

from tests.limits.row import Row, Story


@frozen
class Place:
    """names: text of a row → what it is here. added: lines of each worker's spec. lacks: need of a row → why it is not here."""

    names: Mapping[str, str] = Factory(dict)
    added: tuple[str, ...] = ()
    lacks: Mapping[str, str] = Factory(dict)

    def document(self, row: Row) -> str:
        """The worker, as a file has it."""
        command = f"command = {json.dumps(row.command)}"
        return (
            "\n".join([f"[worker.{row.worker}]", self._here(command), *map(self._here, row.asked), *self.added]) + "\n"
        )

    def lack(self, row: Row) -> str | None:
        """Why a row cannot be tried here."""
        return next((self.lacks[need] for need in row.needs if need in self.lacks), None)

    def told(self, story: Story) -> Story:
        """The same in the words of the rows."""
        back = {here: name for name, here in self.names.items()}
        return evolve(
            story,
            output=_replaced(story.output, back),
            sentences=tuple(_replaced(one, back) for one in story.sentences),
            refused=_replaced(story.refused, back),
        )

    def _here(self, text: str) -> str:
        return _replaced(text, self.names)


def _replaced(text: str, names: Mapping[str, str]) -> str:
    if not names:
        return text
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)
