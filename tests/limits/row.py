"""A limit that somebody tries to exceed, and the story of how that went, as a line of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

TOLD_OF_EVERY_END = ("Its last words: ", "To start it anew: ", "Nothing of it was executed. ")
"""How sentences of `why` begin that are the same for every limit: the page says so once."""


@frozen
class Story:
    """What became of a worker. run: as `show` has it, with a key `exit`; refused: why the spec was not taken, or ""."""

    run: Mapping[str, Any]
    output: str = ""
    sentences: tuple[str, ...] = ()
    refused: str = ""

    @property
    def end(self) -> str:
        """A signal, an exit code, or a kind of end that tells more than both."""
        if self.refused:
            return "refused"
        ended = self.run["exit"]
        plain = ended["kind"] in ("code", "signal")
        return str(ended["kind"] if not plain else ended["code"] if ended["signal"] is None else ended["signal"])

    @property
    def took(self) -> float:
        """Seconds."""
        return float(self.run["ended_at"] - self.run["started_at"])

    @property
    def cpu(self) -> float:
        """Seconds of CPU."""
        return float(self.run["usage"]["user"] + self.run["usage"]["system"])


def nothing_more(_: Story) -> str:
    """There is nothing to measure."""
    return ""


@frozen
class Row:
    """One limit. asked: lines of a spec in TOML. tried: what `command` does, in words. end: as `Story.end`.

    measured: asserts what the output does not tell, and says it in words that are the same on every host. needs: what a place
    may lack. alone: tried when the others are over, as what they leave of the CPUs may bound it sooner, or let it begin after
    its time. In all texts /srv/open, /srv/own, /opt/open and the ports 443 and 7777 stand for what a place has for them.
    """

    name: str
    asked: tuple[str, ...]
    tried: str
    command: tuple[str, ...]
    end: str
    measured: Callable[[Story], str] = nothing_more
    needs: tuple[str, ...] = ()
    alone: bool = False

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self.name.replace(",", "").replace(" ", "-")

    def line(self, story: Story) -> str:
        """The row of the page. AssertionError if the limit did not hold."""
        assert story.end == self.end, story
        output = [" ".join(_SHELL.sub("", line).split()) for line in story.output.splitlines()]
        got = [*output, self.measured(story), _IN_WORDS.get(story.end, "")]
        if not story.refused and story.run["exit"]["signal"]:
            got.append(f"ended by {story.run['exit']['signal']}")
        asked = "<br>".join(f"`{line}`" for line in self.asked)
        cells = (self.name, asked, self.tried, "; ".join(filter(None, got)), self._why(story))
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def _why(self, story: Story) -> str:
        if story.refused:
            return re.sub(r".*cannot read worker \S+ in [^:]*: ", "", story.refused)
        first, *others = story.sentences
        first = first.removeprefix(f"{self.worker} has failed: ").removeprefix(f"{self.worker} has completed: ")
        first = first.replace("; its policy is never to restart", "")
        text = " ".join([first, *(one for one in others if not one.startswith(TOLD_OF_EVERY_END))])
        return _VARIES.sub(r"\1 …\2", text)


_SHELL = re.compile(r"^sh: (line \d+: )?")

_VARIES = re.compile(r"(held up for|directory holds) .*?( in all|, its)")
"""What is another number each time: how long, and how much it had when it was looked at."""

_IN_WORDS = {
    "refused": "not taken",
    "out_of_memory": "out of memory",
    "over_quota": "over its quota",
    "timed_out": "out of time",
}
