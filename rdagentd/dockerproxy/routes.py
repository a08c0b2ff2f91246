"""The policy: every request that a run may make. What stands in no row is refused.

A row: methods, pattern, query names, and what decides on it further. Placeholders in a pattern are checked: {container}
is one of the run's own containers (its name is replaced by its id), {exec} an exec in one of them, {volume} one of its
volumes; {image} is any image. `body` is what may follow the head: nothing, JSON that is decided on, or a tar that is passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from rdagentd.dockerproxy import containers, images, lists
from rdagentd.dockerproxy.ask import Ask
from rdagentd.dockerproxy.refusal import RefusedError, forbidden

Decision = Callable[[Ask], None]


class Body(Enum):
    """What follows a request's head."""

    NONE = "none"
    JSON = "JSON"
    TAR = "tar"


class Stream(Enum):
    """How the reply goes back: as it comes; as it comes, and raw both ways; in whole, even if nobody waits for it any more."""

    ONE_WAY = "as it comes"
    BOTH_WAYS = "raw both ways"
    WHOLE = "in whole"


@dataclass(frozen=True)
class Route:
    """A row of the table. query: the names that may stand there. mounts: what is mounted must still be held."""

    methods: str
    pattern: str
    query: str = ""
    body: Body = Body.NONE
    decide: Decision | None = None
    stream: Stream = Stream.ONE_WAY
    mounts: bool = False


LOGS = "follow stdout stderr since until timestamps tail details"
ATTACH = "logs stream stdin stdout stderr detachKeys"
BUILD = (
    "buildargs cachefrom cgroupparent cpuperiod cpuquota cpusetcpus cpusetmems cpushares dockerfile extrahosts forcerm"
    " isolation labels memory memswap networkmode nocache outputs platform pull q remote rm securityopt session shmsize"
    " squash t target ulimits version"
)

ROUTES = (
    Route("GET HEAD", "/_ping"),
    Route("GET", "/version"),
    Route("GET", "/info"),
    Route("GET", "/events", "since until filters", decide=lists.own),
    # containers
    Route("GET", "/containers/json", "all limit size filters since before trunc_cmd", decide=lists.own),
    Route("POST", "/containers/create", "name platform", Body.JSON, containers.create, Stream.WHOLE),
    Route("POST", "/containers/prune", "filters", decide=lists.own),
    Route("GET", "/containers/{container}/json", "size"),
    Route("GET", "/containers/{container}/top", "ps_args", decide=containers.top),
    Route("GET", "/containers/{container}/logs", LOGS),
    Route("GET", "/containers/{container}/changes"),
    Route("GET", "/containers/{container}/export"),
    Route("GET", "/containers/{container}/stats", "stream one-shot"),
    Route("GET HEAD", "/containers/{container}/archive", "path"),
    Route("PUT", "/containers/{container}/archive", "path noOverwriteDirNonDir copyUIDGID", Body.TAR),
    Route("POST", "/containers/{container}/resize", "h w"),
    Route("POST", "/containers/{container}/start", "detachKeys", mounts=True),
    Route("POST", "/containers/{container}/restart", "t signal", mounts=True),
    Route("POST", "/containers/{container}/stop", "t signal"),
    Route("POST", "/containers/{container}/kill", "signal"),
    Route("POST", "/containers/{container}/pause"),
    Route("POST", "/containers/{container}/unpause"),
    Route("POST", "/containers/{container}/rename", "name"),
    Route("POST", "/containers/{container}/wait", "condition"),
    Route("POST", "/containers/{container}/attach", ATTACH, stream=Stream.BOTH_WAYS),
    Route("POST", "/containers/{container}/update", "", Body.JSON, containers.update),
    Route("POST", "/containers/{container}/exec", "", Body.JSON, containers.new_exec),
    Route("DELETE", "/containers/{container}", "v force link", decide=containers.remove),
    # execs
    Route("GET", "/exec/{exec}/json"),
    Route("POST", "/exec/{exec}/resize", "h w"),
    Route("POST", "/exec/{exec}/start", "", Body.JSON, containers.start_exec, Stream.BOTH_WAYS),
    # images
    Route("GET", "/images/json", "all filters digests shared-size manifests only_ids filter"),
    Route("POST", "/images/create", "fromImage fromSrc repo tag message platform", Body.TAR, images.pull),
    Route("POST", "/build", BUILD, Body.TAR, images.build),
    Route("GET", "/images/{image}/json", "manifests platform"),
    Route("GET", "/images/{image}/history", "platform"),
    Route("GET", "/images/{image}/get", "platform"),
    Route("GET", "/distribution/{image}/json"),
    Route("POST", "/images/{image}/tag", "repo tag force", decide=images.tag),
    Route("DELETE", "/images/{image}", "force noprune", decide=images.remove),
    # volumes
    Route("GET", "/volumes", "filters", decide=lists.own),
    Route("POST", "/volumes/create", "", Body.JSON, lists.new_volume, Stream.WHOLE),
    Route("GET", "/volumes/{volume}"),
    Route("DELETE", "/volumes/{volume}", "force", decide=lists.remove_volume),
)

_PLACEHOLDERS = {
    "container": r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    "exec": r"[0-9a-f]{64}",
    "image": r"[A-Za-z0-9][A-Za-z0-9_.:@/-]*",
    "volume": r"[A-Za-z0-9][A-Za-z0-9_.-]*",
}


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile(
        "".join(f"(?P<{part}>{_PLACEHOLDERS[part]})" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    )


_COMPILED = [(frozenset(route.methods.split()), _compile(route.pattern), route) for route in ROUTES]


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The row for a request and what its placeholders stand for. Raises RefusedError: the default."""
    others: set[str] = set()
    for methods, pattern, route in _COMPILED:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        if method in methods:
            return route, found.groupdict()
        others |= methods
    if others:
        raise RefusedError(405, f"cannot {method} {path[:120]}: allowed is {', '.join(sorted(others))}")
    raise forbidden(f"cannot {method} {path[:120]}: not allowed for a run")


def check_query(route: Route, query: dict[str, list[str]]) -> tuple[dict[str, str], list[str]]:
    """One value for each name, and the values of `t`, which builds may repeat. Raises RefusedError for what no row names."""
    allowed = route.query.split()
    single = {}
    for name, values in query.items():
        if name not in allowed:
            if values != [""]:
                raise forbidden(f"cannot use {name[:80]} in the query of {route.pattern}: not allowed for a run")
        elif name == "t" and route.pattern == "/build":
            continue
        elif len(values) != 1:
            raise RefusedError(400, f"cannot read request: {name} stands in the query {len(values)} times")
        else:
            single[name] = values[0]
    return single, [one for one in query.get("t", []) if one] if route.pattern == "/build" else []


def own(route: Route, ask: Ask) -> None:
    """Replaces the placeholders by what they stand for, if it belongs to the run. Raises RefusedError."""
    belongings = ask.scope.belongings
    if "container" in ask.found:
        container = belongings.container(ask.found["container"])
        if route.mounts:
            ask.scope.binds.check(container.get("Mounts") or [])
        ask.path = route.pattern.replace("{container}", container["Id"])
    elif "exec" in ask.found:
        belongings.exec(ask.found["exec"])
    elif "volume" in ask.found:
        belongings.volume(ask.found["volume"])
