"""What a run came to: the rules of a spec against what was found. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, evolve, frozen

from rdagentd.model.result import Outcome, Result, Rule
from rdagentd.model.run import Exit, ExitKind

Place = tuple[str, str]
"""A glob, and a path in the file."""


@frozen
class Found:
    """output: the end of what the run wrote. values: what stands in its files, by place; missing where there is nothing."""

    output: bytes = b""
    values: Mapping[Place, object] = Factory(dict)


def places(result: Result) -> list[Place]:
    """Where must be looked."""
    return list(
        {(rule.file, rule.path): None for rule in result.rules if rule.file is not None and rule.path is not None}
    )


def is_asked(result: Result | None, ended: Exit) -> bool:
    """Whether the rules count for such an end: only an exit code can mean something else than it says."""
    return result is not None and ended.kind is ExitKind.CODE


def judged(result: Result, ended: Exit, found: Found) -> Exit:
    """The end with its outcome and the reason; as it is, if no rule holds."""
    rule = next((rule for rule in result.rules if _holds(rule, found)), None)
    outcome = rule.outcome if rule else result.otherwise
    if outcome is None:
        return ended
    says = (rule.says or _why(rule)) if rule else "nothing says that it completed"
    if not rule and outcome is Outcome.COMPLETED:
        says = "nothing says that it failed"
    return evolve(ended, outcome=outcome, reason=f"{ended.reason}, {_VERBS[outcome]}: {says}")


def _holds(rule: Rule, found: Found) -> bool:
    if rule.pattern is not None:
        return rule.pattern.encode() in found.output
    place = (rule.file or "", rule.path or "")
    return place in found.values and _same(found.values[place], rule.equals)


def _same(value: object, wanted: object) -> bool:
    """1 and 1.0 are the same, 1 and true are not."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _why(rule: Rule) -> str:
    return (
        f"its output says {rule.pattern!r}"
        if rule.pattern is not None
        else f"{rule.path} is {rule.equals} in {rule.file}"
    )


_VERBS = {Outcome.COMPLETED: "and completed", Outcome.FAILED: "but failed"}
