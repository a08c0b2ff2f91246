"""The daemon's configuration: built-in defaults, rdagentd.toml, conf.d/*.toml, environment variables; later ones win."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, fields, frozen

from rdagentd.config.access import ACCESS, Grants
from rdagentd.config.budgets import SHARED_BUDGETS
from rdagentd.config.docker import DOCKER, Docker
from rdagentd.config.gateway import GATEWAY, Gateway
from rdagentd.config.host import HOST, PRESSURE, Host
from rdagentd.config.kinds import SLOTS, choice, whole
from rdagentd.config.metrics import METRICS, Metrics
from rdagentd.config.outputs import LOGGING, Logging, LogLevel
from rdagentd.config.problems import ConfigError, Problem
from rdagentd.config.providers import PROVIDERS
from rdagentd.config.rd_agent import RD_AGENT, RdAgent
from rdagentd.config.section import Section, named
from rdagentd.config.texts import OPTIONAL_PATH, rebased
from rdagentd.config.toml import read_toml, toml_files
from rdagentd.model.budgets import SharedBudgets
from rdagentd.model.provider import Provider
from rdagentd.model.requests import Thresholds

VARIABLE_PREFIX = "RDAGENTD_"


@frozen
class Group:
    """Workers that share slots: at most `slots` of them have a run at one time; None is unlimited."""

    slots: int | None = None


@frozen
class Config:
    """What the daemon may be told. keep_runs and keep_revisions count for each worker, keep_events for all together."""

    groups: Mapping[str, Group] = Factory(lambda: {"default": Group()})
    keep_runs: int = 100
    keep_events: int = 100_000
    keep_revisions: int = 50
    max_workers: int = 10_000
    log_level: LogLevel = LogLevel.INFO
    workers_dir: str | None = None
    access: Grants = Factory(Grants)
    docker: Docker = Factory(Docker)
    host: Host = Factory(Host)
    pressure: Thresholds = Factory(Thresholds)
    rd_agent: RdAgent = Factory(RdAgent)
    metrics: Metrics = Factory(Metrics)
    gateway: Gateway = Factory(Gateway)
    logging: Logging = Factory(Logging)
    providers: Mapping[str, Provider] = Factory(dict)
    budgets: SharedBudgets = Factory(SharedBudgets)


@frozen
class Loaded:
    """A configuration and where each value came from: "default", a file, or the name of an environment variable.

    The keys of `origins` are those of Config, with "groups.NAME" for each group.
    """

    config: Config
    origins: Mapping[str, str]


GROUP = Section(Group, {"slots": (SLOTS, "How many of the group run at one time; 0 holds all of them back.")})

CONFIG = Section(
    Config,
    {
        "groups": (
            named(GROUP),
            "Groups of workers that share slots, as tables [groups.NAME]. `default` exists always.",
        ),
        "keep_runs": (whole(1, 1_000_000), "Runs remembered of each worker."),
        "keep_events": (whole(1, 100_000_000), "Events remembered, of all workers together."),
        "keep_revisions": (whole(1, 1_000_000), "Revisions of its spec remembered of each worker."),
        "max_workers": (whole(1, 1_000_000), "Most workers; submit is refused beyond."),
        "log_level": (choice(LogLevel), "How much rdagentd tells about itself, where [logging] says nothing else."),
        "workers_dir": (OPTIONAL_PATH, "Directory of specs, read at start and by reload. Relative to this file."),
        "access": (ACCESS, "Who may do what over the control socket. Not by a variable."),
        "docker": (DOCKER, "The Docker engine, and who may use it. Not by a variable."),
        "host": (HOST, "What of the host `requests` of workers may be given. Not by a variable."),
        "pressure": (PRESSURE, "From when on the host is too busy to start anything. Not by a variable."),
        "rd_agent": (RD_AGENT, "RD-Agent as `launch` and uploads start it. Not by a variable."),
        "metrics": (METRICS, "What is told to Prometheus of each worker. Not by a variable."),
        "gateway": (GATEWAY, "HTTP: where `rdagentd gateway` listens, and for whom. Not by a variable."),
        "logging": (LOGGING, "Where it tells about itself, and levels of single loggers. Not by a variable."),
        "providers": (
            PROVIDERS,
            "Breakers of the providers that workers name, as tables [providers.NAME]. Not by a variable.",
        ),
        "budgets": (SHARED_BUDGETS, "What workers may spend together. Not by a variable."),
    },
)


def load_config(path: str | None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """The configuration in file `path` (None: no files), the conf.d beside it, and the variables RDAGENTD_<KEY>.

    Raises ConfigError with all problems of all files; a file that is named and missing is one.
    """
    defaults = Config()
    values = {field.name: getattr(defaults, field.name) for field in fields(Config)}
    origins = dict.fromkeys((*(name for name in values if name != "groups"), "groups.default"), "default")
    problems: list[Problem] = []
    for origin, raw in _layers(path, environ, problems):
        layer, mistakes = CONFIG.read(raw)
        problems += [evolve(problem, where=origin) for problem in mistakes]
        groups = layer.pop("groups", {})
        origins |= dict.fromkeys((*layer, *(f"groups.{name}" for name in groups)), origin)
        providers = {**values["providers"], **layer.get("providers", {})}
        values |= {**layer, "groups": {**values["groups"], **groups}, "providers": providers}
    if problems:
        raise ConfigError(problems)
    return Loaded(Config(**values), origins)


def _layers(
    path: str | None, environ: Mapping[str, str], problems: list[Problem]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each layer with its origin, the weakest first. Adds to `problems` what cannot be read at all."""
    for file in _files(Path(path), problems) if path is not None else ():
        try:
            raw = read_toml(file)
        except ConfigError as error:
            problems += error.problems
            continue
        if type(directory := raw.get("workers_dir")) is str:
            raw["workers_dir"] = rebased(directory, str(Path(path or "").absolute().parent))
        yield str(file), raw
    for key in CONFIG.rows:
        variable = VARIABLE_PREFIX + key.upper()
        if variable in environ:
            text = environ[variable]
            yield variable, {key: _groups_of(text) if key == "groups" else text}


def _files(main: Path, problems: list[Problem]) -> list[Path]:
    conf_d = main.parent / "conf.d"
    try:
        return [main, *(toml_files(conf_d) if conf_d.exists() else ())]
    except ConfigError as error:
        problems += error.problems
        return [main]


def _groups_of(text: str) -> Any:
    """The table that "default=unlimited,gpu=2" stands for."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {name.strip(): {"slots": slots.strip()} for name, _, slots in pairs}
