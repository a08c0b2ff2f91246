"""Documents with specs: files of workers.d, and what `rdagentctl apply` sends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from rdagentd.config.problems import ConfigError, Problem, SpecError, key_name, type_name
from rdagentd.config.profiles import NO_PROFILES, Profiles
from rdagentd.config.spec import decode_spec
from rdagentd.config.toml import read_toml, toml_files
from rdagentd.model.spec import Spec

TABLES = "worker"
"""Key of the tables [worker.NAME]."""

_MOST_TOLD = 100


def decode_document(
    document: Mapping[str, Any], where: str, base: str | None, profiles: Profiles = NO_PROFILES
) -> list[Spec]:
    """The specs of one TOML document: one spec with keys at the top, or any number of tables [worker.NAME].

    A spec at the top without a name is called like the file, without its .toml. where: the file, for messages; base: where
    relative paths begin, None: they are refused; profiles: those that they may name. Raises SpecError with the problems of
    all specs.
    """
    specs: list[Spec] = []
    where = where[:1024]  # it comes from a client, and every problem repeats it
    tables, problems = _tables(document, where)
    for table in tables:
        if len(problems) > _MOST_TOLD:
            break
        try:
            specs.append(decode_spec(table, where, base, profiles))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return specs


def load_workers(directory: str, profiles: Profiles = NO_PROFILES) -> list[tuple[str, Spec]]:
    """The specs in the files *.toml of a directory, each with its file, in the order of the files.

    Relative paths in a spec begin at the directory of its file. Raises ConfigError with the problems of all files.
    """
    workers: list[tuple[str, Spec]] = []
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for file in toml_files(Path(directory).absolute()):
        try:
            specs = decode_document(read_toml(file), str(file), str(file.parent), profiles)
        except ConfigError as error:
            problems += error.problems
            continue
        for spec in specs:
            if spec.name in found:
                reason = f"{spec.name!r} is already the name of a worker in {found[spec.name]}"
                problems.append(Problem("name", reason, "", spec.name, spec.name, str(file)))
            found.setdefault(spec.name, str(file))
            workers.append((str(file), spec))
    if problems:
        raise ConfigError(problems)
    return workers


def _tables(document: Mapping[str, Any], where: str) -> tuple[list[Mapping[str, Any]], list[Problem]]:
    if TABLES not in document:
        stem = Path(where).stem if where.endswith(".toml") else None
        return [{"name": stem, **document} if stem and "name" not in document else document], []
    others = [
        Problem(key_name(key), "stands beside [worker.NAME]", "put it into a table")
        for key in document
        if key != TABLES
    ]
    tables = document[TABLES]
    if type(tables) is not dict:
        others.append(Problem(TABLES, f"expected tables [worker.NAME], not {type_name(tables)}"))
        tables = {}
    named: list[Mapping[str, Any]] = []
    for name, table in tables.items():
        path = f"{TABLES}.{key_name(name)}"
        if type(table) is not dict:
            others.append(Problem(path, f"expected a table, not {type_name(table)}"))
        elif table.get("name", name) != name:
            others.append(Problem(f"{path}.name", "differs from the name of the table", "leave it out"))
        else:
            named.append({"name": name, **table})
    return named, [evolve(problem, where=where) for problem in others]
