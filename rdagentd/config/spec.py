"""Between a spec and plain data: what people write becomes a Spec, a Spec becomes what is stored, shown and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from attrs import evolve, fields, has

from rdagentd.config.fields import SPEC
from rdagentd.config.problems import InvalidError, SpecError
from rdagentd.config.profiles import NO_PROFILES, Profiles
from rdagentd.config.texts import rebased
from rdagentd.model.spec import Spec

HIDDEN = "…"
"""Stands for a value of the environment."""


def decode_spec(
    raw: Mapping[str, Any], where: str = "", base: str | None = None, profiles: Profiles = NO_PROFILES
) -> Spec:
    """The spec that `raw` stands for, as it is written in TOML or came over the control socket; see docs/worker-spec.md.

    where: the file, for messages. base: where a relative directory or environment_file begins; None: they are refused.
    profiles: those that it may name. Raises SpecError with all problems at once; none of them holds a value of the environment.
    """
    try:
        if "profile" in raw:
            raw = profiles.resolve(raw)
        return SPEC.parse(_from_base(raw, base) if base else raw if type(raw) is dict else dict(raw))  # type: ignore[no-any-return]
    except InvalidError as error:
        name = raw.get("name")
        worker = name[:64] if type(name) is str else ""
        problems = [evolve(problem, worker=worker, where=where) for problem in error.problems]
    raise SpecError(problems)


def encode_spec(spec: Spec, *, hide: bool = False) -> dict[str, Any]:
    """All fields as plain data, which decode_spec reads back to an equal spec.

    hide: HIDDEN stands for each value of the environment.
    """
    data: dict[str, Any] = _plain(spec)
    data["umask"] = f"{spec.umask:04o}"
    if hide:
        data["environment"] = dict.fromkeys(data["environment"], HIDDEN)
    return data


def diff_specs(old: Spec, new: Spec) -> list[tuple[str, Any, Any]]:
    """What differs: (path, old, new) as plain data, in the order of the fields; None where there is nothing.

    Each resource limit, label and variable is one path. Values of the environment are HIDDEN.
    """
    before, after = encode_spec(old), encode_spec(new)
    return [
        (path, _hidden(a), _hidden(b)) if path.startswith("environment.") else (path, a, b)
        for path, a, b in _differences("", before, after)
    ]


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    if type(old) is dict and type(new) is dict and not path.startswith("limits."):
        for key in old | new:
            yield from _differences(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    else:
        yield path, old, new


def _hidden(value: Any) -> str | None:
    return None if value is None else HIDDEN


def _plain(value: Any) -> Any:
    if has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(type(value))}
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.value if isinstance(value, Enum) else value


def _from_base(raw: Mapping[str, Any], base: str) -> dict[str, Any]:
    moved = dict(raw)
    for key in ("directory", "environment_file"):
        value = raw.get(key)
        if type(value) is str:
            moved[key] = rebased(value, base)
        elif type(value) is list:
            moved[key] = [rebased(path, base) if type(path) is str else path for path in value]
    return moved
