"""A scene and the size of a screen make lines of (text, style). A style is the parameters of SGR, ECMA-48: "1;31"."""

from __future__ import annotations

from rdagentctl.render import BOLD, COLOUR_OF_STATE, CYAN, DIM, GAP, YELLOW, fit, width_of
from rdagentctl.selection import LIVE
from rdagentctl.top import head
from rdagentctl.top.columns import COLUMNS, DROP
from rdagentctl.top.deeds import AT_REST, verb_of
from rdagentctl.top.pane import Pane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdagentctl.top.columns import Column, Seen
    from rdagentctl.top.glyphs import Glyphs
    from rdagentctl.top.head import Line
    from rdagentctl.top.scene import Scene

UNDERLINE, REVERSE = "4", "7"

WIDE = 1 << 16
"""Columns of what has no edge: a file, a pipe."""

_LEAST_DETAIL = 16
_WIDEST_NAME = 32
_QUIET = frozenset({"-", "0", "0.0"})
"""Cells that are shown dim: there is nothing to see in them."""

_FEW_LINES = 10
"""A screen lower than this has no head but the first line."""

_HINTS = (("l", "logs"), ("w", "why"), ("/", "filter"), ("< >", "sort"), ("?", "keys"), ("q", "leave"))


def picture(scene: Scene, columns: int, rows: int, now: float, glyphs: Glyphs) -> list[Line]:
    """Exactly `rows` lines, none wider than `columns`. now: monotonic."""
    above = above_window(scene, rows, now, glyphs)
    height = max(0, rows - len(above) - 1)
    if scene.pane is not None:
        body = [[span] for span in scene.pane.window(columns, height)]
        body = body or [[("nothing yet", DIM)]][:height]
    else:
        body = table(scene, scene.board.window(max(0, height - 1)), columns, glyphs)[:height]
        if height > 1 and not scene.board.view():
            body.append([(_nothing(scene), DIM)])
    body += [[] for _ in range(height - len(body))]
    shown = [*above, *body, _last(scene)][-rows:] if rows > 0 else []
    return [_cut(line, columns, glyphs) for line in shown]


def above_window(scene: Scene, rows: int, now: float, glyphs: Glyphs) -> list[Line]:
    """The lines above the table, or above what is read in its place."""
    whole = head.lines(scene, now, glyphs)
    if scene.pane is not None:
        return [*whole[: bool(scene.gone)], _title(scene, scene.pane), []][: max(0, rows - 2)]
    if rows < _FEW_LINES:
        return whole[: int(bool(scene.gone) and rows > 3)]
    return [*whole, []]


def window_height(scene: Scene, rows: int, glyphs: Glyphs) -> int:
    """Lines of the window: workers of the table, or lines of a pane."""
    return max(1, rows - len(above_window(scene, rows, 0.0, glyphs)) - 1 - (scene.pane is None))


def batch(scene: Scene, columns: int | None, now: float, glyphs: Glyphs) -> list[Line]:
    """Everything, for a file or a printer: as many lines as it takes."""
    wide = columns or WIDE
    body = table(scene, scene.board.view(), wide, glyphs)
    return [_cut(line, wide, glyphs) for line in (*head.lines(scene, now, glyphs), [], *body)]


def table(scene: Scene, window: Sequence[Seen], columns: int, glyphs: Glyphs) -> list[Line]:
    """The heading and a line for each worker; the chosen one in reverse, from edge to edge."""
    cells = {column.name: [glyphs.text(column.cell(seen)) for seen in window] for column in COLUMNS}
    shown = _shown(cells, columns)
    lines = [_heading(scene, shown)]
    for at, (row, *_) in enumerate(window):
        chosen = row["name"] == scene.board.chosen
        line: Line = []
        for column, width in shown:
            text = fit(cells[column.name][at], width, glyphs.cut)
            style = _style(column, text.strip(), row["state"]) if not chosen else REVERSE
            line += [(_pad(text, 0 if width >= WIDE else width, right=column.right), style), ("  ", style)]
        lines.append(line if chosen and columns < WIDE else line[:-1])
    return lines


def _shown(cells: dict[str, list[str]], columns: int) -> list[tuple[Column, int]]:
    """Which columns there is room for, and how wide each is; the last one takes what is left."""
    widths = {
        column.name: max([column.least, len(column.title), *map(width_of, cells[column.name])]) for column in COLUMNS
    }
    widths["name"] = min(widths["name"], _WIDEST_NAME) if columns < WIDE else widths["name"]
    names = [column.name for column in COLUMNS if not column.told or any(cells[column.name])]
    left = columns
    for victim in (None, *DROP):
        if victim in names:
            names.remove(victim)
        left = columns - sum(widths[name] + GAP for name in names if name != "detail")
        if left >= (min(widths["detail"], _LEAST_DETAIL) if "detail" in names else -GAP):
            break
    widths["detail"] = max(0, left)
    return [(column, widths[column.name]) for column in COLUMNS if column.name in names]


def _heading(scene: Scene, shown: list[tuple[Column, int]]) -> Line:
    """Titles; the letter that sorts by a column is underlined, the column that it is sorted by is in reverse."""
    line: Line = []
    for column, width in shown:
        title = column.title
        style = f"{BOLD};{REVERSE}" if column is scene.board.column else BOLD
        blank = (" " * (max(0, width - len(title)) if width < WIDE else 0), "")
        before, letter, after = title.partition(column.key)
        spans = [(before, style), (letter, f"{style};{UNDERLINE}"), (after, style)]
        line += [blank, *spans, ("  ", "")] if column.right else [*spans, blank, ("  ", "")]
    return line[:-1]


def _style(column: Column, text: str, state: str) -> str:
    if column.name == "state":
        return COLOUR_OF_STATE.get(state, "")
    return DIM if text in _QUIET or (column.name == "detail" and state in ("running", "completed", "stopped")) else ""


def _pad(text: str, width: int, *, right: bool) -> str:
    blank = " " * (width - width_of(text))
    return blank + text if right else text + blank


def _title(scene: Scene, pane: Pane) -> Line:
    if pane.kind == "help":
        return [("keys", BOLD)]
    seen = next((seen for seen in scene.board.view() if seen[0]["name"] == pane.name), None)
    line: Line = [(f"{pane.kind} ", BOLD), (pane.name, f"{BOLD};{CYAN}")]
    if seen is not None:
        cells = {column.name: column.cell(seen) for column in COLUMNS}
        line += [("  ", ""), (cells["state"], COLOUR_OF_STATE.get(seen[0]["state"], ""))]
        line.append((f"  {cells['time']}", DIM))
        if seen[0]["state"] in LIVE:
            line.append((f"  cpu {cells['cpu']}%  memory {cells['memory']}  log {cells['log']}/s", DIM))
    return line


def _nothing(scene: Scene) -> str:
    if scene.board.words:
        return "no worker has these words"
    return "no workers yet. Begin with: rdagentctl submit -- COMMAND" if scene.told else ""


def _last(scene: Scene) -> Line:
    """What is asked, said or typed; else what the keys do."""
    if scene.question is not None:
        verb, name = scene.question
        return [(f"{verb} {name}? ", f"{BOLD};{YELLOW}"), ("y: yes, any other key: no", "")]
    if scene.typing:
        return [*_filter(scene), (" ", REVERSE), ("   Enter: keep it, Esc: all", DIM)]
    if scene.said is not None:
        return [scene.said]
    if scene.pane is not None:
        tail = f"{scene.pane.back} lines below; End: to the end" if scene.pane.back else "the end"
        return _hints((("↑ ↓", "scroll"), ("Esc", "back"), ("", tail if scene.pane.kind == "logs" else "")))
    return [*([*_filter(scene), ("   ", "")] if scene.board.words else []), *_keys(scene)]


def _filter(scene: Scene) -> Line:
    found = f"  {len(scene.board.view())} of {len(scene.board.rows)}" if not scene.typing else ""
    return [("/", BOLD), (scene.board.words, f"{BOLD};{YELLOW}"), (found, "")]


def _keys(scene: Scene) -> Line:
    row = scene.board.row()
    if row is None:
        return _hints((("↑ ↓", "choose"), *_HINTS[2:]))
    keys = "s" if row["state"] in AT_REST else "sprk"
    return _hints((*((key, verb_of(row, key)) for key in keys), *_HINTS))


def _hints(pairs: Sequence[tuple[str, str]]) -> Line:
    return [span for key, says in pairs for span in ((key, BOLD), (f" {says}   ", DIM))]


def _cut(line: Line, columns: int, glyphs: Glyphs) -> Line:
    """The line in characters that can be shown, in at most so many columns."""
    cut: Line = []
    left = columns
    for text, style in line:
        if not text:
            continue
        fitting = fit(glyphs.text(text), left, glyphs.cut)
        left -= width_of(fitting)
        if fitting:
            cut.append((fitting, style))
    return cut
