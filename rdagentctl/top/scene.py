"""All that a picture shows: the board, what is known of daemon and host, and what person and program are saying."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.top.board import Board
    from rdagentctl.top.pane import Pane


class Scene:
    """pane: read in place of the table. question: (verb, name) that waits for y. typing: the filter is being typed.

    said: (text, style) for the last line. gone: why the daemon does not answer, "" if it does; since: monotonic time of that.
    told: what `ping` said; host: what Host.look found.
    """

    def __init__(self, board: Board, interval: float) -> None:
        self.board = board
        self.interval = interval
        self.pane: Pane | None = None
        self.question: tuple[str, str] | None = None
        self.typing = False
        self.said: tuple[str, str] | None = None
        self.gone = ""
        self.since = 0.0
        self.told: dict[str, Any] = {}
        self.host: dict[str, Any] = {}
