"""Launching RD-Agent by a scenario's name: the configuration says what that is, and as whom; the caller, what about."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from rdagentd.api.args import Field
from rdagentd.api.commands import decoded, submitted
from rdagentd.api.context import Context
from rdagentd.config.problems import InvalidError
from rdagentd.config.profiles import Profile
from rdagentd.config.rd_agent import RdAgent, filled, names
from rdagentd.config.spec import decode_spec
from rdagentd.protocol.errors import FORBIDDEN, INVALID, UNAVAILABLE, ProtocolError

_COMPETITION = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_TRACE = re.compile(r"[a-z0-9][a-z0-9-]{0,149}")
_FILE = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
_MOST_FILES = 1000
_MOST_HOURS = 10 * 366 * 24
_LONGEST_NAME = 64


def _matching(what: str, pattern: re.Pattern[str]) -> Field:
    def check(value: Any) -> bool:
        return type(value) is str and bool(pattern.fullmatch(value))

    return Field(what, check, {"type": "string", "pattern": f"^{pattern.pattern}$"})


def _from_one(what: str, most: int) -> Field:
    def check(value: Any) -> bool:
        return type(value) is int and 0 < value <= most

    return Field(what, check, {"type": "integer", "minimum": 1, "maximum": most})


TRACE = _matching("1 to 150 of a-z 0-9 -", _TRACE)
COMPETITION = _matching("1 to 100 of a-z 0-9 -", _COMPETITION)
LOOPS = _from_one("a whole number, 1 or more", 2**31 - 1)
PORT = _from_one("a port, 1 to 65535", 65535)
HOURS = Field(
    "a number of hours, more than 0",
    lambda value: type(value) in (int, float) and 0 < value <= _MOST_HOURS,
    {"type": "number", "exclusiveMinimum": 0, "maximum": _MOST_HOURS},
)
_NAME = _matching("the name of a file", _FILE)
FILES = Field(
    f"a list of at most {_MOST_FILES} names of files",
    lambda value: type(value) is list and len(value) <= _MOST_FILES and all(map(_NAME.check, value)),
    {"type": "array", "maxItems": _MOST_FILES, "items": _NAME.schema},
)

STOP = {"signals": ["SIGINT", "SIGINT"], "interval": 2, "grace": 20}
"""One SIGINT is swallowed while RD-Agent is in a step, the second ends it and what it started; SIGTERM leaves that behind."""


@frozen
class Place:
    """Where a worker keeps its things. workers: the executor's directory for all of them."""

    workers: str
    name: str

    @property
    def state(self) -> str:
        """Its state directory, which is its working directory too: RD-Agent writes to where it is."""
        return f"{self.workers}/{self.name}/state"

    @property
    def trace(self) -> str:
        """Where RD-Agent logs, and how it calls itself when it sends a message."""
        return f"{self.state}/trace"

    @property
    def files(self) -> str:
        """Where what was uploaded is put by `rdagentd fetch`."""
        return f"{self.state}/uploads"


async def launch(context: Context, args: dict[str, Any]) -> Any:
    """A new worker that runs RD-Agent. Root wrote the configuration, so the user that it names needs no administrator here."""
    rd_agent, profiles = context.daemon.rd_agent(), context.daemon.profiles()
    document = worker_document(rd_agent, args, context.daemon.workers(), context.daemon.one_user)
    if "profile" in document:
        with suppress(InvalidError):  # which is told when it is decoded
            given = parameters(profiles.find(document["profile"]), rd_agent, args)
            document["set"] = {**given, **document.get("set", {})}
    spec = decoded(lambda: decode_spec(document, profiles=profiles))
    told = await submitted(context, spec, start=True)
    return {**told, "trace": spec.labels["trace"], "id": spec.labels["rd-agent-id"]}


def parameters(profile: Profile, rd_agent: RdAgent, args: Mapping[str, Any]) -> dict[str, Any]:
    """What the launch says of the parameters that a profile has; its scenarios are those with the label of the same name."""
    choices = profile.parameters["scenario"].choices if "scenario" in profile.parameters else {}
    named = (key for key, fields in choices.items() if fields.get("labels", {}).get("scenario") == args["scenario"])
    said = {"program": rd_agent.program, "scenario": next(named, None), **{key: args[key] for key in _PARAMETERS}}
    return {key: value for key, value in said.items() if value is not None and key in profile.parameters}


_PARAMETERS = ("competition", "loops", "hours", "port")


def worker_document(rd_agent: RdAgent, args: Mapping[str, Any], workers: str | None, one_user: bool) -> dict[str, Any]:
    """The spec as people would write it. one_user: see Daemon. Raises ProtocolError."""
    if rd_agent.program is None:
        raise _refused(FORBIDDEN, "no program is named for RD-Agent; set rd_agent.program in rdagentd.toml")
    if rd_agent.user is None and not one_user:
        raise _refused(FORBIDDEN, "nobody is named as whom it may run; set rd_agent.user in rdagentd.toml")
    if workers is None:
        raise _refused(UNAVAILABLE, "the executor has not told where workers keep their state; try again later")
    scenario, trace = args["scenario"], args["trace"]
    words = dict(rd_agent.scenarios).get(scenario)
    if words is None:
        known = ", ".join(name for name, _ in rd_agent.scenarios)
        raise _refused(INVALID, f"there is no scenario {scenario[:100]!r}; known are {known}")
    place = Place(workers, trace[-_LONGEST_NAME:].lstrip("-"))  # what makes it the only one stands at the end
    files = args["files"]
    if files and not names(words, "files", "file"):
        raise _refused(INVALID, f"{scenario} takes no files; its words in rd_agent.scenarios may")
    try:
        command = filled(words, _values(args, place))
    except KeyError as missing:
        raise _refused(INVALID, f"{scenario} needs {missing.args[0]}") from None
    if "/" not in command[0]:
        command = [rd_agent.program, *command]
    environment = {"LOG_TRACE_PATH": place.trace, "LOG_UI_SERVER_PORT": str(args["port"])}
    if files:
        command = [sys.executable, "-I", "-m", "rdagentd", "fetch", place.files, *files, "--", *command]
        environment["RDAGENTD_UPLOAD"] = f"http://localhost:{args['port']}/rd-agent/uploads/{trace}/"
        environment["RDAGENTD_UPLOAD_TOKEN"] = args["ticket"] or ""
    return _merged(
        {"state": {}, "stop": STOP},
        rd_agent.worker,
        {
            "name": place.name,
            "command": command,
            "directory": place.state,
            "environment": environment,
            "labels": {"trace": place.trace, "scenario": scenario, "rd-agent-id": f"{scenario}/{trace}"},
            **({"user": rd_agent.user} if rd_agent.user is not None else {}),
        },
    )


def _values(args: Mapping[str, Any], place: Place) -> dict[str, str]:
    values = {key: f"{args[key]:g}" if type(args[key]) is float else str(args[key])
              for key in ("competition", "loops", "hours") if args[key] is not None}  # fmt: skip
    if args["files"]:
        values["files"] = place.files
    if len(args["files"]) == 1:
        values["file"] = f"{place.files}/{args['files'][0]}"
    return values


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later ones win; of environment and labels name by name."""
    made: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            made[key] = {**made.get(key, {}), **value} if key in ("environment", "labels") else value
    return made


def _refused(code: str, reason: str) -> ProtocolError:
    return ProtocolError(code, f"cannot launch: {reason}")
