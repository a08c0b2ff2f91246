"""The table, in Markdown."""

# ruff: noqa: RUF001 -- typography

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.row import BARE, RDAGENTD, Row, Values

Results = Mapping[str, Values]
"""What was found, by subject: the bare limit, rdagentd, a peer."""


def table(
    rows: Sequence[Row], subjects: Mapping[str, str], results: Results, failures: Mapping[tuple[str, str], str]
) -> str:
    """One line a row; medians, and in brackets from the 10th to the 90th percentile. subjects: heading by name.

    failures: by subject and key of the row, why there is no number.
    """
    head = ["measure", subjects[RDAGENTD], BARE, *(title for name, title in subjects.items() if name != RDAGENTD)]
    lines = [[*head, "to reach", "reached"], ["---"] * (len(head) + 2)]
    lines += [_line(row, subjects, results, failures) for row in rows]
    notes = [f"- {name}, {key}: {reason}" for (name, key), reason in failures.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "".join(
        f"\n{note}" for note in ["", *notes] if notes
    )


def _line(
    row: Row, subjects: Mapping[str, str], results: Results, failures: Mapping[tuple[str, str], str]
) -> list[str]:
    bare = results.get(BARE, {})
    cells = [f"{row.title}, {row.unit}", _cell(row, RDAGENTD, results, failures), _cell(row, BARE, results, failures)]
    if row.bare and row.key in bare:
        cells[2] += f" ({row.bare})"
    cells += [_cell(row, name, results, failures) for name in subjects if name != RDAGENTD]
    if row.target is None:
        return [*cells, "", ""]
    sign = "≥" if row.more_is_better else "≤"
    goal = f"{sign} {_number(row.target)}" + (" × bare" if row.over_bare else "")
    found = results.get(RDAGENTD, {})
    if row.key not in found or (row.over_bare and row.key not in bare):
        return [*cells, goal, "not measured"]
    answer = "yes" if row.reached(found, bare) else "**no**"
    return [*cells, goal, answer + (f" ({_number(row.judged(found, bare))} ×)" if row.over_bare else "")]


def _cell(row: Row, subject: str, results: Results, failures: Mapping[tuple[str, str], str]) -> str:
    found = results.get(subject, {})
    if row.key not in found:
        return "not measured" if (subject, row.key) in failures else ""
    sample = found[row.key]
    text = _number(row.value(found))
    if len(sample) > 2 and row.quantile == 0.5:
        text += f" ({_number(sample.quantile(0.1) * row.scale)}–{_number(sample.quantile(0.9) * row.scale)})"
    bare = results.get(BARE, {})
    if row.over_bare and subject != BARE and row.key in bare:
        text += f" = {_number(row.judged(found, bare))} ×"
    return text


def _number(value: float) -> str:
    """Three digits that mean something, and no more than two after the point."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
