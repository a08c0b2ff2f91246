"""What may be asked of images: pulled, imported, built, tagged and removed, and nobody's image replaced."""

from __future__ import annotations

import re

from rdagentd.dockerproxy import containers, document
from rdagentd.dockerproxy.ask import Ask
from rdagentd.dockerproxy.fields import texts
from rdagentd.dockerproxy.refusal import forbidden, invalid

_PERIOD = 100_000
"""Microseconds: the engine's default period of a CPU quota."""

_EMPTY = ("", "0", "null", "[]", "{}", "false", "False", "None")
_NAME = re.compile(r"[a-z0-9][A-Za-z0-9_./:-]*")
_NUMBER = re.compile(r"-?[0-9]{1,18}")


def pull(ask: Ask) -> None:
    """POST /images/create: from a registry, or with fromSrc=- from the body."""
    source = ask.query.get("fromSrc", "")
    if source not in ("", "-"):
        raise forbidden(
            f"cannot import from {source!r:.80}: the engine fetches nothing for a run; send it as the body (-)"
        )
    if source:
        _changes(ask, ask.query.get("repo", ""), ask.query.get("tag", ""))


def tag(ask: Ask) -> None:
    """POST /images/{image}/tag."""
    _changes(ask, ask.query.get("repo", ""), ask.query.get("tag", ""))


def remove(ask: Ask) -> None:
    """DELETE /images/{image}."""
    ask.scope.belongings.image_may_change(ask.found["image"])


def build(ask: Ask) -> None:
    """POST /build with the classic builder: as what it runs is bound to the run's cgroup, limits and labels."""
    query, rules = ask.query, ask.scope.rules
    for name in ("remote", "session", "outputs", "securityopt", "isolation"):
        if query.pop(name, "") not in _EMPTY:
            raise forbidden(
                f"cannot build with {name}: not allowed for what a run starts; send the context as the body"
            )
    if query.pop("version", "1") not in ("", "1"):
        raise forbidden("cannot build with BuildKit: its sessions pass the rules; set DOCKER_BUILDKIT=0")
    if query.pop("cgroupparent", "") not in ("", rules.cgroup_parent):
        raise forbidden("cannot build with cgroupparent: it is the run's own")
    for name in ask.tags:
        _changes(ask, name, "")
    given = texts(document.parse(query.get("labels") or "null", "query labels") or {}, "labels", None)
    query["labels"] = document.write(containers.marked(given, ask.scope)).decode()
    query["networkmode"] = containers.network(query.get("networkmode", ""), "networkmode", rules)
    query["ulimits"] = document.write(
        containers.ulimits(document.parse(query.get("ulimits") or "null", "query ulimits"), "ulimits", ask.scope)
    ).decode()
    query["rm"] = query["forcerm"] = "1"
    query.update(_caps(ask))


def _caps(ask: Ask) -> dict[str, str]:
    query, rules = ask.query, ask.scope.rules
    caps = {"cgroupparent": rules.cgroup_parent}
    if rules.memory is not None:
        memory = containers.least(_number(query, "memory"), rules.memory)
        caps["memory"] = str(memory)
        if rules.swap is not None:
            caps["memswap"] = str(containers.least(_number(query, "memswap"), memory + rules.swap))
    if rules.cpus is not None:
        asked = containers.cpus({"CpuQuota": _number(query, "cpuquota"), "CpuPeriod": _number(query, "cpuperiod")})
        caps["cpuperiod"] = str(_PERIOD)
        caps["cpuquota"] = str(containers.least(asked, rules.cpus) * _PERIOD // 1_000_000_000)
    if rules.shm is not None:
        caps["shmsize"] = str(containers.least(_number(query, "shmsize") or containers.SHM_DEFAULT, rules.shm))
    return caps


def _number(query: dict[str, str], name: str) -> int:
    value = query.get(name) or "0"
    if _NUMBER.fullmatch(value) is None:
        raise invalid(f"cannot build with {name}={value!r:.40}: a number is expected")
    return int(value)


def _changes(ask: Ask, name: str, tag: str) -> None:
    if not name:
        return
    whole = f"{name}:{tag}" if tag else name
    if _NAME.fullmatch(whole) is None:
        raise invalid(f"cannot name an image {whole!r:.120}")
    ask.scope.belongings.image_may_change(whole)
