"""What a terminal can show: its encoding and whether it has colours."""

from __future__ import annotations

import os
import sys

from rdagentctl.render import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_COLOURS = frozenset(str(number) for number in (*range(30, 38), *range(90, 98)))

_ASCII = str.maketrans({"↑": "^", "↓": "v", "…": "~", "·": "-"})


class Glyphs:
    """encoding: of the terminal; what it lacks is replaced. full, empty: of a bar; cut: where a text goes on."""

    def __init__(self, encoding: str = "utf-8", *, colour: bool = True) -> None:
        self.encoding = encoding
        self.colour = colour
        rich = encoding == "utf-8"
        self.full, self.empty, self.cut = ("█", "░", "…") if rich else ("#", ".", "~")

    def text(self, text: str) -> str:
        """The text on one line, in characters that can be shown."""
        text = plain(text)
        if text.isascii() or self.encoding == "utf-8":
            return text
        return text.translate(_ASCII).encode(self.encoding, "replace").decode(self.encoding)

    def style(self, style: str) -> str:
        """The style, without its colours where there are to be none: bold and reverse stay."""
        return style if self.colour else ";".join(code for code in style.split(";") if code not in _COLOURS)


def encoding(environment: Mapping[str, str]) -> str:
    """By locale(7): the first of these variables that is set. Of "C" Python makes UTF-8, which the terminal may not have."""
    said = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "C"
    if said.partition("@")[0].lower().replace("-", "").endswith(".utf8"):
        return "utf-8"
    known = (sys.stdout.encoding or "ascii").lower()
    return "ascii" if known == "utf-8" else known


def of_terminal() -> Glyphs:
    """As the environment says: locale(7), no-color.org."""
    return Glyphs(encoding(os.environ), colour=not os.environ.get("NO_COLOR"))
