"""Help pages, made from the table."""

from __future__ import annotations

from rdagentctl import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rdagentctl.table import Command, Option


def overview() -> str:
    """What `rdagentctl` alone prints: every command on a line."""
    lines = ["usage: rdagentctl COMMAND …: start, watch and steer the workers of rdagentd"]
    for title, names in table.GROUPS:
        lines += ["", f"{title}:"]
        lines += [f"  {name:<11} {found.says}" for name in names if (found := table.find(name))]
    lines += [
        "",
        "NAME may be a glob ('agent-*'); --label KEY=VALUE selects by label. --json answers in JSON.",
        "Exit codes: 0 ok, 1 failed, 2 usage, 3 not running (status NAME), 4 no such worker, 5 not permitted,",
        "69 daemon unreachable; run and wait exit as the worker did. More: rdagentctl COMMAND --help",
        "",
    ]
    return "\n".join(lines)


def usage(command: Command) -> str:
    """The usage line of one command."""
    parts = ["rdagentctl", command.name, "[OPTION…]" if command.options else ""]
    parts += [command.words, "-- COMMAND [ARGUMENT…]" if command.rest else ""]
    return " ".join(part for part in parts if part)


def page(command: Command) -> str:
    """What `rdagentctl COMMAND --help` prints."""
    lines = [f"rdagentctl {command.name}: {command.says}", "", f"usage: {usage(command)}"]
    if command.about:
        lines += ["", command.about]
    lines += ["", *_options((*command.options, *table.COMMON)), "", "For example:"]
    lines += [f"  {example}" for example in command.examples]
    return "\n".join(lines) + "\n"


def _options(options: Iterable[Option]) -> list[str]:
    rows = []
    for option in options:
        short = f"{option.short}, " if option.short else ""
        left = f"{short}{option.flag}{' ' if option.value else ''}{option.value}"
        more = f" ({', '.join(option.choices)})" if option.choices and len(option.choices) < 6 else ""
        rows.append((left, f"{option.says}{more}{', repeatable' if option.many else ''}"))
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
