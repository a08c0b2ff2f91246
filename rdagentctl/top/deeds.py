"""What a key does: to the scene, and what is to be asked of the daemon. One table for the table of workers, one for panes."""

from __future__ import annotations

from rdagentctl.render import BOLD, DIM, RED
from rdagentctl.selection import LIVE
from rdagentctl.top.columns import COLUMNS
from rdagentctl.top.pane import LogPane, Pane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rdagentctl.top.columns import Row
    from rdagentctl.top.scene import Scene

    Deed = tuple[str, str]

QUIT, REDRAW, LOGS, WHY, CLOSE = "quit", "redraw", "logs", "why", "close"
"""Deeds that are no verb of the daemon: (deed, name of a worker or "")."""

FAR = 1 << 20
"""Lines: to the very end."""

AT_REST = ("stopped", "completed", "failed")

KEYS = (
    ("↑ ↓", "choose a worker; PgUp, PgDn, Home, End; Esc: none"),
    ("s", "stop it; start it, if it is at rest"),
    ("p", "pause it; let it go on, if it is paused"),
    ("r", "restart it"),
    ("k", "kill it and all its processes"),
    ("l Enter", "its output, live"),
    ("w", "why it is where it is"),
    ("/", "show only what has these words in name, state, group, labels or detail; Esc: all"),
    ("< >", "sort by the column to the left, to the right"),
    ("".join(column.key for column in COLUMNS), "sort by the column with this letter; again: the other way round"),
    ("Ctrl-L", "draw everything anew"),
    ("? h", "this list"),
    ("q", "leave"),
)
"""What the help says."""

_VERBS: dict[str, Callable[[Row], str]] = {
    "s": lambda row: "start" if row["state"] in AT_REST else "stop",
    "p": lambda row: "resume" if row["state"] == "paused" else "pause",
    "r": lambda row: "restart",
    "k": lambda row: "kill",
}

_SORTS = {column.key: column for column in COLUMNS}


def press(scene: Scene, key: str, page: int) -> Deed | None:
    """Does what the key means where it was pressed. page: lines of the window."""
    if key == "redraw":
        return (REDRAW, "")
    if scene.question is not None:
        return _answer(scene, key)
    scene.said = None
    if scene.typing:
        _type(scene, key)
        return None
    if scene.pane is not None:
        return _read(scene, scene.pane, key, page)
    return _watch(scene, key, page)


def verb_of(row: Row, key: str) -> str:
    """What this key asks of this worker."""
    return _VERBS[key](row)


def _answer(scene: Scene, key: str) -> Deed | None:
    deed, scene.question = scene.question, None
    if key in ("y", "Y"):
        assert deed is not None
        scene.said = (f"{deed[0]} {deed[1]} …", DIM)
        return deed
    scene.said = ("nothing was done", DIM)
    return None


def _type(scene: Scene, key: str) -> None:
    board = scene.board
    if key in ("enter", "up", "down"):
        scene.typing = False
    elif key == "escape":
        scene.typing = False
        board.filter("")
    elif key == "backspace":
        board.filter(board.words[:-1])
    elif key == "clear":
        board.filter("")
    elif len(key) == 1:
        board.filter(board.words + key)


def _read(scene: Scene, pane: Pane, key: str, page: int) -> Deed | None:
    by = _steps(page).get(key)
    if by is not None:
        pane.scroll(-by)
    elif key in ("q", "escape", "left", "enter") or (key, pane.kind) in (("l", LOGS), ("w", WHY), ("h", "help")):
        scene.pane = None
        return (CLOSE, pane.name)
    elif key in ("l", "w") and pane.name:
        return _open(scene, LOGS if key == "l" else WHY, pane.name)
    return None


def _watch(scene: Scene, key: str, page: int) -> Deed | None:
    board = scene.board
    by = _steps(page).get(key)
    if by is not None:
        board.move(by)
    elif key in ("<", ">", "left", "right"):
        board.shift_sort(-1 if key in ("<", "left") else 1)
    elif key in _SORTS:
        board.sort_by(_SORTS[key])
    elif key == "/":
        scene.typing = True
    elif key == "escape":
        board.chosen = None
        board.filter("")
    elif key == "q":
        return (QUIT, "")
    elif key in ("?", "h"):
        scene.pane = Pane("help", "", [(f"{keys:<12} {says}", "") for keys, says in KEYS])
        scene.pane.back = FAR
    else:
        return _of_chosen(scene, key)
    return None


def _of_chosen(scene: Scene, key: str) -> Deed | None:
    if key not in _VERBS and key not in ("l", "enter", "w"):
        return None
    row = scene.board.row()
    if row is None:
        scene.said = ("choose a worker first: ↑ ↓", BOLD)
        return None
    if scene.gone:
        scene.said = ("rdagentd does not answer", RED)
        return None
    if key not in _VERBS:
        return _open(scene, WHY if key == "w" else LOGS, row["name"])
    scene.question = (verb_of(row, key), row["name"])
    return None


def _open(scene: Scene, kind: str, name: str) -> Deed:
    scene.pane = LogPane(name) if kind == LOGS else Pane(kind, name)
    if kind != LOGS:
        scene.pane.back = FAR
    return (kind, name)


def _steps(page: int) -> dict[str, int]:
    return {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -FAR, "end": FAR}


def is_live(row: Row | None) -> bool:
    """Whether it has, or may soon have, more to say."""
    return row is not None and (row["state"] in LIVE or row["due_in"] is not None or row["state"] == "queued")
