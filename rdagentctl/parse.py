"""Reads a command line against the table. A parser of our own: argparse takes as long to import as Python to start."""

from __future__ import annotations

from rdagentctl import table
from rdagentctl.failure import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.table import Command, Option

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


class Arguments:
    """What was typed: the options by name without dashes, the words, and what stood after `--`."""

    __slots__ = ("command", "options", "rest", "words")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.options: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.rest: list[str] | None = None

    def flag(self, name: str) -> bool:
        """Whether a switch was given."""
        return name in self.options

    def text(self, name: str) -> str | None:
        """The value of an option; the last one if it was given twice."""
        values = self.options.get(name)
        return values[-1] if values else None

    def many(self, name: str) -> list[str]:
        """All values of an option, in order."""
        return self.options.get(name, [])

    def pairs(self, name: str) -> dict[str, str]:
        """All KEY=VALUE of an option. Raises UsageError."""
        pairs = {}
        for text in self.many(name):
            key, equals, value = text.partition("=")
            if not key or not equals:
                raise UsageError(f"cannot read --{name} {text}: KEY=VALUE is expected")
            pairs[key] = value
        return pairs

    def number(self, name: str) -> int | None:
        """A whole number, not negative. Raises UsageError."""
        text = self.text(name)
        if text is None:
            return None
        if not text.isdecimal():
            raise UsageError(f"cannot read --{name} {text}: a whole number is expected")
        return int(text)

    def seconds(self, name: str) -> float | None:
        """A duration in seconds. Raises UsageError."""
        text = self.text(name)
        if text is None:
            return None
        value = duration(text)
        if value is None:
            raise UsageError(f"cannot read --{name} {text}: a time is expected, such as 30, 10m or 1h30m")
        return value


def duration(text: str) -> float | None:
    """Seconds from "90", "1.5s", "1h30m"; None if it is no duration."""
    import re  # here, because `status` never needs it

    number = "[0-9]+(?:[.][0-9]+)?"
    if re.fullmatch(number, text):
        return float(text)
    if not re.fullmatch(f"(?:{number}(?:{'|'.join(_UNITS)}) ?)+", text):
        return None
    return sum(float(count) * _UNITS[unit] for count, unit in re.findall(f"({number})([a-z]+)", text))


def parse(argv: list[str]) -> Arguments | None:
    """What was typed, checked against the table; None if the overview is wanted. Raises UsageError."""
    arguments, found = None, dict[str, list[str]]()
    rest = iter(argv)
    known = {option.flag: option for option in table.COMMON} | {
        option.short: option for option in table.COMMON if option.short
    }
    for word in rest:
        if arguments is None and not word.startswith("-"):
            arguments = Arguments(_command(word))
            known.update((name, option) for option in arguments.command.options for name in _names(option))
            arguments.options = found
        elif word == "--":
            _after_dashes(arguments, list(rest))
        elif word.startswith("-") and word != "-" and not _is_number(word):
            _option(word, rest, known, found, arguments)
        else:
            assert arguments is not None
            arguments.words.append(word)
    if arguments is not None and arguments.command.name == "logs" and arguments.words[:1] == ["analyse"]:
        _turn_to_analyse(arguments)
    if arguments is not None and "help" not in found:
        _check_words(arguments)
    elif arguments is None and found.keys() - {"help"}:
        raise UsageError("cannot tell what to do: no command given; see rdagentctl --help")
    return arguments


def _turn_to_analyse(arguments: Arguments) -> None:
    """`logs analyse NAME` is `analyse NAME`; without a name, it is the log of a worker called analyse."""
    help_wanted = arguments.flag("help")
    if len(arguments.words) < 2 and not help_wanted:
        return
    command = _command("analyse")
    known = {option.flag[2:] for option in (*command.options, *table.COMMON)}
    for name in arguments.options:
        if name not in known and not help_wanted:
            raise UsageError(f"cannot analyse: no option --{name}; see --help")
    arguments.command = command
    arguments.words = arguments.words[1:]


def _names(option: Option) -> tuple[str, ...]:
    return (option.flag, option.short) if option.short else (option.flag,)


def _is_number(word: str) -> bool:
    return word[1:].isdecimal()


def _command(word: str) -> Command:
    command = table.find(word)
    if command is None:
        raise UsageError(f"cannot {word}: no such command{_nearest(word, [c.name for c in table.COMMANDS])}")
    return command


def _after_dashes(arguments: Arguments | None, rest: list[str]) -> None:
    if arguments is None:
        raise UsageError("cannot tell what to do: no command before --; see rdagentctl --help")
    if arguments.command.rest:
        arguments.rest = rest
    else:
        arguments.words += rest


def _option(
    word: str, rest: object, known: dict[str, Option], found: dict[str, list[str]], arguments: Arguments | None
) -> None:
    """One word that begins with a dash: --flag, --flag=value, -f, -n5."""
    flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
    option = known.get(flag)
    if option is None:
        what = (
            f"{arguments.command.name}: no option {flag}" if arguments else f"read {flag}: no option before a command"
        )
        near = _nearest(flag, [name for name in known if name.startswith("--")])
        raise UsageError(f"cannot {what}{near}")
    if not option.value:
        if equals and word.startswith("--"):
            raise UsageError(f"cannot read {word}: {option.flag} takes no value")
        found[option.flag[2:]] = [""]
        if equals:  # -fn 5 is -f -n 5
            _option(f"-{value}", rest, known, found, arguments)
        return
    if not equals:
        value = next(rest, None)  # type: ignore[call-overload]
        if value is None:
            raise UsageError(f"cannot read {flag}: {option.value} is missing after it")
    if option.choices and option.value != "KEY=VALUE" and value not in option.choices:
        raise UsageError(f"cannot read {flag} {value}: one of {', '.join(option.choices)} is expected")
    found.setdefault(option.flag[2:], []).append(value)


def _check_words(arguments: Arguments) -> None:
    command, words = arguments.command, arguments.words
    if command.rest:
        profile = "profile" in arguments.options  # it may bring the command, and then a word is the worker's name
        if words and not (profile and len(words) <= command.most):
            raise UsageError(
                f"cannot {command.name}: what to run stands after --: rdagentctl {command.name} -- {words[0]} …"
            )
        if not arguments.rest and not profile:
            raise UsageError(f"cannot {command.name}: no command given; it stands after --: … -- COMMAND [ARGUMENT…]")
    if len(words) > command.most and not command.rest:
        raise UsageError(f"cannot {command.name}: {words[command.most]!r} is one word too many")
    selected = command.kind in ("worker", "signal") and "label" in arguments.options and command.most > 1
    if len(words) < command.least and not (selected and command.kind == "worker"):
        raise UsageError(f"cannot {command.name}: {command.words} is missing{_all(command)}")


def _all(command: Command) -> str:
    return "; for all workers: '*'" if command.kind == "worker" and command.most > 1 else ""


def _nearest(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else "; see --help"
