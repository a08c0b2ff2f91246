"""The spec that a command line stands for, as plain data: the daemon judges it."""

from __future__ import annotations

import os

from rdagentctl.failure import UsageError
from rdagentctl.table import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.parse import Arguments

_PAIRS = ("limits", "requests", "labels")


def spec(arguments: Arguments) -> dict[str, Any]:
    """What was asked for. Of the caller's own surroundings it holds the working directory and PATH. Raises UsageError."""
    given: dict[str, Any] = {"command": arguments.rest, "directory": os.getcwd(), "environment": {}}
    for option in SPEC:
        name = option.flag[2:]
        if option.path and arguments.flag(name):
            _put(given, option.path, _value(arguments, name, option.path, switch=not option.value, many=option.many))
    for text in arguments.many("set"):
        path, equals, value = text.partition("=")
        if not path or not equals:
            raise UsageError(f"cannot read --set {text}: FIELD=VALUE is expected, such as restart.factor=2")
        _put(given, path, _toml(value))
    given["directory"] = _absolute(given["directory"])
    environment = given["environment"]
    if "PATH" in os.environ and isinstance(environment, dict):
        environment.setdefault("PATH", os.environ["PATH"])
    return given


def _value(arguments: Arguments, name: str, path: str, *, switch: bool, many: bool) -> Any:
    if switch:
        return True
    if path == "environment":
        return dict(map(_variable, arguments.many(name)))
    if path == "environment_file":
        return [_absolute(file) for file in arguments.many(name)]
    if path in _PAIRS:
        return arguments.pairs(name)
    return arguments.many(name) if many else arguments.text(name)


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if equals:
        return key, value
    if key not in os.environ:
        raise UsageError(f"cannot pass --env {key}: you have no such variable; give it as {key}=VALUE")
    return key, os.environ[key]


def _absolute(path: Any) -> Any:
    """From the caller's working directory on; the daemon has another one."""
    return os.path.normpath(os.path.join(os.getcwd(), path)) if isinstance(path, str) and path else path


def _put(given: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    if sections and sections[0] in (*_PAIRS, "environment"):  # a label or a variable may have dots in its name
        sections, key = sections[:1], ".".join([*sections[1:], key])
    table = given
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"cannot set {path}: {section} is already set to {inner!r}")
        table = inner
    table[key] = value


def _toml(text: str) -> Any:
    """The value as TOML reads it; text that is no TOML value stands for itself."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except tomllib.TOMLDecodeError:
        return text
