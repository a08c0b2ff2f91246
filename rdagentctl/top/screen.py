"""The terminal: its modes, its size, and lines on it, of which only those are sent that changed."""

from __future__ import annotations

import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdagentctl.top.glyphs import Glyphs
    from rdagentctl.top.head import Line

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The alternate screen, the cursor, wrapping at the right edge: xterm's private modes, which all emulators know."""

_CLEAR = b"\x1b[0m\x1b[2J"


class Screen:
    """Keys come from `keys`, pictures go to `out`: descriptors of one terminal. `leave` may be called at any time and again."""

    def __init__(self, keys: int, out: int, glyphs: Glyphs) -> None:
        self.keys = keys
        self._out = out
        self._glyphs = glyphs
        self._before = termios.tcgetattr(keys)
        self._shown: list[bytes] | None = None

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 by 24 where the terminal does not know, as a serial line."""
        columns, rows = os.get_terminal_size(self._out)
        return columns or 80, rows or 24

    def enter(self) -> None:
        """Keys come one by one and unseen, ctrl-S does not hold us up; ctrl-C and ctrl-Z are signals as ever."""
        modes = termios.tcgetattr(self.keys)
        modes[0] &= ~(termios.IXON | termios.ICRNL)
        modes[3] &= ~(termios.ICANON | termios.ECHO)
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.keys, termios.TCSADRAIN, modes)
        self._send(_ENTER)
        self._shown = None

    def leave(self) -> None:
        """As it was before. A terminal that is gone needs nothing."""
        try:
            self._send(_LEAVE)
            termios.tcsetattr(self.keys, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            return

    def anew(self) -> None:
        """The next picture is drawn in full."""
        self._shown = None

    def show(self, lines: Sequence[Line]) -> int:
        """Brings these lines to the screen; the number of bytes that it took."""
        wanted = [encode(line, self._glyphs) for line in lines]
        before = self._shown
        parts = [] if before is not None else [_CLEAR]
        for at, line in enumerate(wanted):
            if before is None or at >= len(before) or before[at] != line:
                parts.append(
                    b"\x1b[%dH\x1b[2K%b\x1b[0m" % (at + 1, line)
                )  # erased before: behind a full line that takes its end
        data = b"".join(parts)
        self._shown = wanted
        self._send(data)
        return len(data)

    def _send(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._out, data) :]
            except BlockingIOError:  # another program has made this terminal so
                select.select([], [self._out], [])


def encode(line: Line, glyphs: Glyphs) -> bytes:
    """The line for a terminal. Behind what is not ASCII the column is said: emulators differ on how wide some of it is."""
    from rdagentctl.render import width_of

    parts, column, styled = [], 1, ""
    for text, wanted in line:
        style = glyphs.style(wanted)
        if style != styled:
            parts.append(f"\x1b[0;{style}m" if style else "\x1b[0m")
            styled = style
        parts.append(text)
        column += width_of(text)
        if not text.isascii():
            parts.append(f"\x1b[{column}G")
    return "".join(parts).encode(glyphs.encoding, "replace")
