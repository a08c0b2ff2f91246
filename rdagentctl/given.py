"""The spec that a command line stands for, as plain data: the daemon judges it."""

from __future__ import annotations

import os

from rdagentctl.failure import UsageError
from rdagentctl.table import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_PAIRS = ("limits", "requests", "labels")


def profile(arguments: Arguments, client: Client) -> dict[str, Any]:
    """What the daemon knows of the profile that is named; nothing if none is."""
    name = arguments.text("profile")
    return client.call("profile", {"name": name}) if name else {}


def spec(arguments: Arguments, profile: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for. Of the caller's own surroundings it holds the working directory and PATH. Raises UsageError.

    profile: may say where it works, and --set gives its parameters.
    """
    template = profile.get("template", {})
    given: dict[str, Any] = {"environment": {}}
    if arguments.rest:
        given["command"] = arguments.rest
    if profile:
        given |= {"profile": profile["name"], "set": {}}
        given |= {"name": arguments.words[0]} if arguments.words else {}
    if "directory" not in template:
        given["directory"] = os.getcwd()
    for option in SPEC:
        name = option.flag[2:]
        if option.path and arguments.flag(name):
            _put(given, option.path, _value(arguments, name, option.path, switch=not option.value, many=option.many))
    for path, value in parameters(arguments).items():
        if path in profile.get("parameters", ()):
            given["set"][path] = value
        else:
            _put(given, path, value)
    if "directory" in given:
        given["directory"] = _absolute(given["directory"])
    environment = given["environment"]
    if "PATH" in os.environ and isinstance(environment, dict) and "PATH" not in template.get("environment", {}):
        environment.setdefault("PATH", os.environ["PATH"])
    return given


def parameters(arguments: Arguments) -> dict[str, Any]:
    """What --set says, each value as TOML reads it. Raises UsageError."""
    given: dict[str, Any] = {}
    for text in arguments.many("set"):
        path, equals, value = text.partition("=")
        if not path or not equals:
            raise UsageError(f"cannot read --set {text}: FIELD=VALUE is expected, such as restart.factor=2")
        given[path] = _toml(value)
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
