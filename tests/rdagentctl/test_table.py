"""The table agrees with itself and with the files."""

from __future__ import annotations

import importlib
from pathlib import Path

import rdagentctl.commands
from rdagentctl import table

VERBS = (
    "submit run apply status top show start stop restart budget pause resume signal kill remove wait logs analyse why events "
    "metrics ping doctor version profiles profile preflight checkpoints restore-workspace reload completion report providers"
)


def test_every_command_has_a_file_and_every_file_a_command() -> None:
    names = [command.name for command in table.COMMANDS]
    assert sorted(names) == sorted(VERBS.split())
    files = {path.stem for path in Path(rdagentctl.commands.__file__).parent.glob("*.py")} - {"__init__"}
    modules = {name.replace("-", "_") for name in names}
    assert files == modules
    for name in modules:
        assert callable(importlib.import_module(f"rdagentctl.commands.{name}").run)


def test_the_overview_names_each_command_once() -> None:
    grouped = [name for _, names in table.GROUPS for name in names]
    assert sorted(grouped) == sorted(command.name for command in table.COMMANDS)


def test_no_flag_stands_twice_in_a_command() -> None:
    for command in table.COMMANDS:
        flags = [name for option in (*command.options, *table.COMMON) for name in (option.flag, option.short) if name]
        assert len(flags) == len(set(flags)), command.name


def test_every_command_has_an_example_that_its_own_parser_takes() -> None:
    import shlex

    from rdagentctl.parse import parse

    for command in table.COMMANDS:
        assert command.examples, command.name
        for example in command.examples:
            words = shlex.split(example.partition(" > ")[0])
            assert words[0] == "rdagentctl"
            arguments = parse(words[1:])
            assert arguments is not None
            assert arguments.command is command
