"""Profiles: ready specs of known agent systems, templates with declared parameters. Files in, plain specs out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen

from rdagentd.config.fields import SPEC
from rdagentd.config.kinds import FLAG, Kind
from rdagentd.config.problems import ConfigError, InvalidError, Problem, key_name, nearest, refused, show, wrong_type
from rdagentd.config.section import Section
from rdagentd.config.texts import text
from rdagentd.config.toml import read_toml, toml_files

OF_OTHERS = frozenset({"number", "int", "word", "any", "checkpoint", "directory"})
"""Places that are filled in later, by those who read the field."""

OF_WORKERS = ("name", "state", "cache")
"""Places that each worker fills by itself: its name, and its own directories."""

LABEL = "profile"
"""The label that tells which profile a worker was made from."""

WORKERS = "/var/lib/rdagentd-executor/workers"
"""Where the packaged executor keeps what is the workers' own."""

_PLACE = re.compile(r"(?<!\$)\{(?:\{([a-z][a-z0-9_]*)\}|([a-z][a-z0-9_]*))\}")
_PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST_TEXT = 4096

_TEXTS = ("environment", "labels")
"""Tables that take only text."""

Value = str | int | float | bool


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Problems within are told with this key in their path."""
    try:
        yield
    except InvalidError as error:
        raise InvalidError(problem.under(key) for problem in error.problems) from None


@frozen
class Parameter:
    """choices: what it may be, each with the fields that it adds to the template; empty: anything. Without a default it must
    be given, unless it is optional: then what names it is left out.
    """

    about: str = ""
    choices: Mapping[str, Mapping[str, Any]] = field(default=Factory(dict), hash=False)
    default: Value | None = None
    optional: bool = False


@frozen
class Profile:
    """One profile, with what it extends: `bases`, the nearest first. file: where it is written."""

    name: str
    file: str
    about: str
    bases: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    template: Mapping[str, Any]


@frozen
class Profiles:
    """All profiles by name: their files and documents, or what is wrong with the file. workers: where workers have theirs."""

    documents: Mapping[str, tuple[str, Mapping[str, Any] | str]] = Factory(dict)
    workers: str = WORKERS

    def find(self, name: Any) -> Profile:
        """The profile of this name with all that it extends. Raises InvalidError."""
        chain: list[str] = []
        wanted: Any = name
        while wanted is not None:
            if wanted in chain:
                raise refused(f"extends itself: {' → '.join([*chain, wanted])}")
            document = self._document(wanted)
            chain.append(wanted)
            wanted = document.get("extends")
        parameters: dict[str, Parameter] = {}
        template: dict[str, Any] = {}
        for one in reversed(chain):
            document = dict(self._document(one))
            with _at("parameters"):
                parameters |= _parameters(document.pop("parameters", {}))
            about = text(document.pop("about", ""), empty=True)
            document.pop("extends", None)
            template = over(template, document)
        return Profile(name, self.documents[name][0], about, tuple(chain[1:]), parameters, template)

    def _document(self, name: Any) -> Mapping[str, Any]:
        if type(name) is not str:
            raise wrong_type("the name of a profile", name)
        if name not in self.documents:
            near = nearest(name, self.documents)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(sorted(self.documents)) or 'none'}"
            raise refused(f"there is no profile {show(name)}", hint, name)
        document = self.documents[name][1]
        if isinstance(document, str):
            raise refused(document)
        return document

    def resolve(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """What `raw` stands for with its `profile` under it, filled with the values in `set`. Raises InvalidError."""
        own = {key: value for key, value in raw.items() if key not in ("profile", "set")}
        with _at("profile"):
            profile = self.find(raw["profile"])
        misplaced = [key for key in own if key in profile.parameters and key not in SPEC.rows]
        if misplaced:
            hint = "write set = { … }, or rdagentctl submit --set"
            raise InvalidError(Problem(key, f"is a parameter of profile {profile.name}", hint) for key in misplaced)
        made = over(self.filled(profile, raw.get("set", {}), own.get("name")), own)
        labels = made.get("labels", {})
        return {**made, "labels": {**labels, LABEL: profile.name}} if type(labels) is dict else made

    def filled(self, profile: Profile, given: Any, name: Any) -> dict[str, Any]:
        """The template with its values. Raises InvalidError."""
        with _at("set"):
            values = _values(profile, given)
        template: Mapping[str, Any] = profile.template
        for key, parameter in profile.parameters.items():
            template = over(template, parameter.choices.get(str(values.get(key)), {}))
        if type(name) is str:
            home = f"{self.workers}/{name}"
            values |= {"name": name, "state": f"{home}/state", "cache": f"{home}/cache"}
        made = _fill(template, values, {*profile.parameters, *OF_WORKERS})
        return made if isinstance(made, dict) else {}


NO_PROFILES = Profiles()


def load_profiles(directories: Iterable[Path], workers: str = WORKERS) -> Profiles:
    """The files *.toml of these directories; later ones win. One that cannot be read spoils itself alone."""
    documents: dict[str, tuple[str, Mapping[str, Any] | str]] = {}
    for directory in directories:
        try:
            files = toml_files(directory)
        except ConfigError:
            continue  # it need not be there
        for file in files:
            try:
                documents[file.stem] = str(file), read_toml(file)
            except ConfigError as error:
                documents[file.stem] = str(file), str(error)
    return Profiles(documents, workers)


def profile_directories(config: str | None) -> list[Path]:
    """Where profiles lie: the package's, or the source tree's, then those beside the configuration, which win."""
    source = Path(__file__).resolve().parents[2] / "etc" / "profiles"
    packaged = source if source.is_dir() else Path("/usr/share/rdagentd/profiles")
    return [packaged, *([Path(config).parent / "profiles"] if config else [])]


def over(below: Mapping[str, Any], above: Mapping[str, Any], rows: Mapping[str, Any] = SPEC.rows) -> dict[str, Any]:
    """Both, of tables key by key; else what is above. Text for a table is written out first: restart = "always"."""
    made = dict(below)
    for key, value in above.items():
        kind = rows.get(key, (None,))[0]
        inner = kind if isinstance(kind, Section) else None
        lower = _table(made.get(key), inner)
        upper = _table(value, inner)
        both = type(lower) is dict and type(upper) is dict
        made[key] = over(lower, upper, inner.rows if inner else {}) if both else value
    return made


def _table(value: Any, section: Section | None) -> Any:
    return {section.shorthand: value} if type(value) is str and section is not None and section.shorthand else value


# --- parameters -------------------------------------------------------------------------------------------------------


def _choices(value: Any) -> dict[str, Mapping[str, Any]]:
    if type(value) is list:
        return {text(one, _MOST_TEXT): {} for one in value}
    if type(value) is not dict or not all(type(fields) is dict for fields in value.values()):
        raise wrong_type("a list of texts, or tables of fields by choice", value)
    return dict(value)


def _value(value: Any) -> Value:
    if type(value) in (int, float, bool):
        return value  # type: ignore[no-any-return]
    return text(value, _MOST_TEXT, empty=True)


_SCALAR = Kind("text, number, true or false", _value)

PARAMETER = Section(
    Parameter,
    {
        "about": (Kind("text", lambda value: text(value, empty=True)), "What it is, in one sentence."),
        "choices": (
            Kind("list of texts, or tables of fields by choice", _choices),
            "What it may be. As tables: what of the spec differs then.",
        ),
        "default": (_SCALAR, "Its value where none is given."),
        "optional": (FLAG, "Whether it may be left out, and with it each key and each list that names it."),
    },
)


def _parameters(value: Any) -> dict[str, Parameter]:
    if type(value) is not dict:
        raise wrong_type("tables [parameters.NAME]", value)
    made: dict[str, Parameter] = {}
    problems: list[Problem] = []
    for name, table in value.items():
        try:
            if not _PARAMETER.fullmatch(name) or name in OF_OTHERS or name in OF_WORKERS:
                raise refused("cannot be the name of a parameter", "a-z 0-9 _; not name, state, directory and the like")
            made[name] = PARAMETER.parse(dict(table) if type(table) is dict else table)
        except InvalidError as error:
            problems += [problem.under(key_name(name)) for problem in error.problems]
    if problems:
        raise InvalidError(problems)
    return made


def _values(profile: Profile, given: Any) -> dict[str, Value]:
    """The value of each parameter that has one. Raises InvalidError with all that is wrong or missing."""
    if type(given) is not dict:
        raise wrong_type("a table of parameters", given)
    values = {key: one.default for key, one in profile.parameters.items() if one.default is not None}
    problems: list[Problem] = []
    for key, value in given.items():
        try:
            values[key] = _chosen(profile, key, value)
        except InvalidError as error:
            problems += [problem.under(key_name(key)) for problem in error.problems]
    for key, parameter in profile.parameters.items():
        if key not in values and key not in given and not parameter.optional:
            hint = f"one of {', '.join(parameter.choices)}" if parameter.choices else parameter.about
            problems.append(Problem(key, f"missing; profile {profile.name} needs it", hint))
    if problems:
        raise InvalidError(problems)
    return values


def _chosen(profile: Profile, key: Any, value: Any) -> Value:
    parameter = profile.parameters.get(key)
    if parameter is None:
        near = nearest(str(key), profile.parameters)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(profile.parameters) or 'none'}"
        raise refused(f"profile {profile.name} has no such parameter", hint)
    chosen = _value(value)
    if parameter.choices and str(chosen) not in parameter.choices:
        near = nearest(str(chosen), parameter.choices)
        raise refused(
            f"{show(value)} is not known", f"did you mean {near}?" if near else f"one of {', '.join(parameter.choices)}"
        )
    return chosen


# --- filling ----------------------------------------------------------------------------------------------------------


class _Nothing:
    """What is left out."""


def _fill(value: Any, values: Mapping[str, Value], known: set[str], *, text_only: bool = False) -> Any:
    """The value with what its places stand for; _Nothing if one of them stands for nothing. Raises InvalidError.

    text_only: a value that is one place alone becomes text, too.
    """
    if type(value) is dict:
        made = {}
        for key, one in value.items():
            with _at(key_name(key)):
                key_text = _fill(key, values, known, text_only=True)
                made[key_text] = _fill(one, values, known, text_only=text_only or key in _TEXTS)
        return {key: one for key, one in made.items() if _Nothing not in (key, one)}
    if type(value) is list:
        return _fill_list(value, values, known)
    if type(value) is not str:
        return value
    whole = _PLACE.fullmatch(value)
    if whole and whole[2] in values and not text_only:
        return values[whole[2]]
    for place in (found[2] for found in _PLACE.finditer(value) if found[2]):
        if place not in known and place not in OF_OTHERS:
            hint = f"known are {', '.join(sorted(known))}; for the text itself write {{{{{place}}}}}"
            raise refused(f"names {{{place}}}", hint)
        if place in known and place not in values:
            return _Nothing
    return _PLACE.sub(lambda found: _written(found, values), value)


def _fill_list(value: list[Any], values: Mapping[str, Value], known: set[str]) -> list[Any]:
    """A list in it is a part of it that goes as a whole."""
    made: list[Any] = []
    for one in value:
        filled = _fill(one, values, known, text_only=True)
        if type(one) is list:
            made += filled if len(filled) == len(one) else []
        elif filled is not _Nothing:
            made.append(filled)
    return made


def _written(found: re.Match[str], values: Mapping[str, Value]) -> str:
    place = found[2]
    return f"{{{found[1]}}}" if place is None else _said(values[place]) if place in values else found[0]


def _said(value: Value) -> str:
    """As a person writes it."""
    if type(value) is bool:
        return str(value).lower()
    return f"{value:g}" if type(value) is float else str(value)
