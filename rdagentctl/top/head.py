"""The lines above the table: daemon, host, workers by state, and what the queue waits for."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.commands.status import RANK
from rdagentctl.render import BOLD, COLOUR_OF_STATE, CYAN, DIM, GREEN, RED, YELLOW
from rdagentctl.top.columns import per_cent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rdagentctl.top.columns import Row
    from rdagentctl.top.glyphs import Glyphs
    from rdagentctl.top.scene import Scene

    Line = list[tuple[str, str]]

BAR = 16
"""Columns of a bar."""

_WARM, _HOT = 0.7, 0.9
"""Shares from which a bar is yellow, and red."""

_WAITS = {"slot": "for a slot", "never": "can never start", "pressure": "held by pressure"}
"""Reason code of a queued worker → what is said of them together; other codes are resources."""

_MARGIN = 9


def lines(scene: Scene, now: float, glyphs: Glyphs) -> list[Line]:
    """now: monotonic."""
    found = [_daemon(scene, now), _host(scene.host, glyphs), _workers(scene.board.rows)]
    queue = _queue(scene.board.rows)
    if queue:
        found.append(queue)
    problem = scene.told.get("problem")
    if problem and not scene.gone:
        found.append([_title("problem"), (f"cannot keep what it promises: {problem}", RED)])
    return found


def _title(word: str) -> tuple[str, str]:
    return (f"{word:<{_MARGIN}}", BOLD)


def _daemon(scene: Scene, now: float) -> Line:
    if scene.gone:
        waits = f" does not answer since {render.ago(now - scene.since)}; waiting for it: {scene.gone}"
        return [("rdagentd", f"{BOLD};{RED}"), (waits, RED)]
    told, programs = scene.told, scene.host.get("programs", {})
    if not told:
        return [("rdagentd", BOLD)]
    line = [_title("rdagentd"), (f"{render.plain(told['version'])}, up {render.ago(told['uptime'])}", "")]
    for name, used in programs.items():
        cpu = "-" if used["cpu"] is None else f"{per_cent(used['cpu'])}%"
        line += [(f"   {name} ", DIM), (f"{cpu} {render.size(used['memory'])}", "")]
    return line


def _host(host: dict[str, Any], glyphs: Glyphs) -> Line:
    line = [_title("host")]
    if host.get("cpus"):
        cpu = host["cpu"]
        line += [("cpu ", DIM), *_bar(cpu or 0.0, glyphs)]
        line.append((f" {'-' if cpu is None else f'{cpu * 100:.0f}%':>4} of {render.count(host['cpus'], 'CPU')}", ""))
    if host.get("memory"):
        used, total = host["memory"]
        line += [("   memory ", DIM), *_bar(used / total if total else 0.0, glyphs)]
        line.append((f" {render.size(used)} of {render.size(total)}", ""))
    if host.get("load"):
        line += [("   load ", DIM), (" ".join(f"{load:.2f}" for load in host["load"]), "")]
    return line


def _bar(share: float, glyphs: Glyphs) -> Line:
    full = round(min(1.0, max(0.0, share)) * BAR)
    colour = RED if share >= _HOT else YELLOW if share >= _WARM else GREEN
    return [(glyphs.full * full, colour), (glyphs.empty * (BAR - full), DIM)]


def _workers(rows: list[Row]) -> Line:
    line: Line = [_title("workers"), (str(len(rows)), BOLD)]
    states = _counted(row["state"] for row in rows)
    for state in sorted(states, key=lambda state: RANK.get(state, 0)):
        line += [("   ", ""), (f"{states[state]} {render.plain(state)}", COLOUR_OF_STATE.get(state, ""))]
    return line


def _queue(rows: list[Row]) -> Line:
    """Nothing where nobody waits."""
    queued = [row for row in rows if row["state"] == "queued"]
    if not queued:
        return []
    slots = _counted(row["group"] for row in queued if _code(row) == "slot")
    others = _counted(_code(row) for row in queued if _code(row) != "slot")
    parts = [f"{number} for a slot of {render.plain(group)}" for group, number in slots.items()]
    parts += [f"{number} {_WAITS.get(code, f'for {render.plain(code)}')}" for code, number in others.items()]
    return [_title("queue"), (str(len(queued)), BOLD), (f" waiting: {', '.join(parts)}", CYAN)]


def _code(row: Row) -> str:
    return row["reason"]["code"] if row["reason"] else "a turn"


def _counted(words: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for word in words:
        numbers[word] = numbers.get(word, 0) + 1
    return numbers
