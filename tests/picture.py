"""A terminal's screen as a picture: SVG, which a browser shows and a text search finds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from xml.sax.saxutils import escape

import pyte
from pyte.screens import Char

WIDTH, HEIGHT, SIZE = 8.43, 19, 14
"""Of a cell, in pixels; of the letters."""

PAD, BAR, FLOOR = 18, 34, 14.4

BACKGROUND, FOREGROUND, FRAME, FAINT = "#16181d", "#d5d8de", "#23262e", "#7d8594"

COLOURS = {
    "default": FOREGROUND, "red": "#ff6b6b", "green": "#7bd88f", "brown": "#f2c55c", "cyan": "#5fd0e0",
    "blue": "#6aa6f8", "magenta": "#c792ea", "white": "#ffffff", "black": "#000000",
}  # fmt: skip
"""pyte's names of the eight; it calls yellow brown."""

_BLOCKS = {"█": 1.0, "░": 0.22}
"""Drawn as areas, because fonts leave gaps between them; value: how opaque."""


def svg(screen: pyte.Screen, title: str) -> str:
    """The whole screen in a window."""
    width, height = screen.columns * WIDTH + 2 * PAD, screen.lines * HEIGHT + BAR + PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{SIZE}">',
        f'<rect width="100%" height="100%" rx="10" fill="{BACKGROUND}"/>',
        f'<path d="M0 {BAR - 6}V10a10 10 0 0 1 10-10H{width - 10:.0f}a10 10 0 0 1 10 10v{BAR - 16}z" fill="{FRAME}"/>',
        *(
            f'<circle cx="{20 + at * 20}" cy="14" r="6" fill="{colour}"/>'
            for at, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
        ),
        f'<text x="{width / 2:.0f}" y="18.5" fill="{FAINT}" font-size="12.5" text-anchor="middle">{escape(title)}</text>',
    ]
    for row in range(screen.lines):
        parts += _line(screen, row)
    return "\n".join([*parts, "</svg>", ""])


def _line(screen: pyte.Screen, row: int) -> Iterator[str]:
    """Areas behind, then the letters, run by run of what looks the same."""
    line = screen.buffer[row]
    y = BAR + row * HEIGHT
    cells = [(at, line[at]) for at in range(screen.columns)]
    for look, run in groupby(cells, key=lambda cell: _look(cell[1])):
        chars = list(run)
        at, text = chars[0][0], "".join(char.data for _, char in chars)
        x, wide = PAD + at * WIDTH, len(chars) * WIDTH
        colour, behind, bold, under, opaque = look
        if behind != BACKGROUND:
            yield f'<rect x="{x:.2f}" y="{y}" width="{wide:.2f}" height="{HEIGHT}" fill="{behind}"/>'
        if opaque:
            yield (
                f'<rect x="{x:.2f}" y="{y + 4}" width="{wide:.2f}" height="{HEIGHT - 8}" fill="{colour}" '
                f'opacity="{opaque}"/>'
            )
        elif text.strip():
            style = (' font-weight="bold"' if bold else "") + (' text-decoration="underline"' if under else "")
            yield (
                f'<text x="{x:.2f}" y="{y + FLOOR}" fill="{colour}" textLength="{wide:.2f}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve"{style}>{escape(text)}</text>'
            )


# pyte knows no dim; nobody blinks
pyte.graphics.TEXT[2] = "+blink"


def _look(char: Char) -> tuple[str, str, bool, bool, float]:
    front, back = COLOURS.get(char.fg, FOREGROUND), COLOURS.get(char.bg, FOREGROUND)
    back = BACKGROUND if char.bg == "default" else back
    if char.blink and char.fg == "default":
        front = FAINT
    if char.reverse:
        front, back = back, front
    return front, back, char.bold, char.underscore, _BLOCKS.get(char.data, 0.0)
