"""A section: one table of TOML that becomes one frozen object. Collects every problem before it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import NOTHING, Factory, define, field, fields_dict, frozen

from rdagentd.config.kinds import Kind
from rdagentd.config.problems import MAX_PROBLEMS, InvalidError, Problem, key_name, nearest, wrong_type
from rdagentd.config.texts import NAME

_MAX_INTERNED = 4096


@frozen
class Conflict:
    """Values that are right each by itself and wrong together. `found` tells what is wrong with the object, or "".

    The problem is told at `key`; nothing is told while one of `keys` could not be read itself.
    """

    key: str
    keys: tuple[str, ...]
    found: Callable[[Any], str]


@define(eq=False)
class Section:
    """Reads a table into an object of `make`, by rows of key → (kind or section, meaning).

    shorthand: the key that is meant when text stands in place of the table. hints: what to say about keys that people try.
    derive: sets defaults that depend on the other values. needs: keys that this table needs beside those without a default.
    optional: None is possible. Objects other than specs are shared when equal, so that a
    thousand workers of one kind cost little memory.
    """

    make: type
    rows: Mapping[str, tuple[Kind | Section, str]]
    shorthand: str | None = None
    hints: Mapping[str, str] = Factory(dict)
    derive: Callable[[dict[str, Any]], None] | None = None
    conflicts: tuple[Conflict, ...] = ()
    needs: Callable[[Mapping[Any, Any]], tuple[str, ...]] = lambda raw: ()
    optional: bool = False
    _parsers: dict[str, Callable[[Any], Any]] = field(init=False)
    _required: tuple[str, ...] = field(init=False)
    _interned: dict[Any, Any] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        fields = fields_dict(self.make)
        self._parsers = {key: kind.parse for key, (kind, _) in self.rows.items()}
        self._required = tuple(name for name, field in fields.items() if field.default is NOTHING)
        for key, (kind, _) in self.rows.items():
            if isinstance(kind, Section):
                kind._interned[fields[key].default] = fields[key].default

    def parse(self, raw: Any) -> Any:
        """The object that `raw` stands for. Raises InvalidError with all problems of the table and the tables in it."""
        if self.optional and raw is None:
            return None
        if self.shorthand and type(raw) is str:
            raw = {self.shorthand: raw}
        if type(raw) is not dict:
            raise wrong_type("a table", raw)
        values, problems = self.read(raw)
        problems += [Problem(key, "missing") for key in (*self._required, *self.needs(raw)) if key not in raw]
        if problems and self._required:
            raise InvalidError(problems)
        if self.derive:
            self.derive(values)
        made = self.make(**values)
        problems += self._contradictions(made, raw.keys() - values.keys())
        if problems:
            raise InvalidError(problems)
        return made if self._required else self._shared(made)

    def read(self, raw: dict[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """The values that the table itself gives, without defaults, and what is wrong with it."""
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, value in raw.items():
            parse = self._parsers.get(key)
            if parse is None:
                problems.append(Problem(key_name(key), "unknown key", self._hint(key)))
            else:
                try:
                    values[key] = parse(value)
                except InvalidError as error:
                    problems += [problem.under(key) for problem in error.problems]
            if len(problems) >= MAX_PROBLEMS:
                break
        return values, problems

    def _contradictions(self, made: Any, unread: set[Any]) -> list[Problem]:
        found = ((conflict, conflict.found(made)) for conflict in self.conflicts if unread.isdisjoint(conflict.keys))
        return [Problem(conflict.key, reason) for conflict, reason in found if reason]

    def _hint(self, key: Any) -> str:
        if type(key) is not str:
            return "keys are text"
        if known := self.hints.get(key.lower()):
            return known
        for name, (kind, _) in self.rows.items():
            if isinstance(kind, Section) and key in kind.rows:
                return f"did you mean {name}.{key}?"
        if near := nearest(key, self.rows):
            return f"did you mean {near}?"
        return f"known are {', '.join(self.rows)}"

    def _shared(self, made: Any) -> Any:
        if len(self._interned) > _MAX_INTERNED:
            self._interned.clear()
        try:
            return self._interned.setdefault(made, made)
        except TypeError:  # it has a table of names, which cannot be hashed
            return made


def named(section: Section) -> Kind:
    """A table of names, each with a table for `section`."""

    def parse(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type("a table of names and tables", value)
        made: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, table in value.items():
            try:
                made[NAME.parse(name)] = section.parse(table)
            except InvalidError as error:
                problems += [problem.under(key_name(name)) for problem in error.problems]
        if problems:
            raise InvalidError(problems)
        return made

    return Kind("tables by name", parse)
