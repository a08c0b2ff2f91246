"""GPUs: containers of a run may have those that the run has on lease, in either way of asking for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdagentd.dockerproxy.ask import Scope
from rdagentd.dockerproxy.fields import Table, clean, listed, number, one_of, words
from rdagentd.dockerproxy.refusal import RefusedError, forbidden, invalid

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
"""The other way: NVIDIA's runtime, where it is the engine's default, gives what this says; images of CUDA say "all"."""

_NONE = ("", "none", "void")
_ALL = "all"
_CAPABILITIES = frozenset({"gpu", "nvidia", "compat32", "compute", "display", "graphics", "ngx", "utility", "video"})

_REQUEST: Table = {
    "Driver": one_of("", "nvidia"),
    "Count": number,
    "DeviceIDs": words,
    "Capabilities": listed(words),
}


def device_requests(value: Any, where: str, scope: Scope) -> list[dict[str, Any]]:
    """Each by ids, so that the engine does not choose: it would begin with the host's first. A negative count is all."""
    return list(listed(_device_request)(value, where, scope))


def visible(environment: Sequence[str], requests: Sequence[dict[str, Any]], scope: Scope) -> list[str]:
    """The environment with a variable that names leased GPUs: as it says, else as the requests say, else all; "void": none."""
    said = [one.partition("=")[2] for one in environment if one.partition("=")[0] == VISIBLE]
    wanted = said[-1] if said else ",".join(one for asked in requests for one in asked["DeviceIDs"]) or _ALL
    ids = _given([] if wanted in _NONE else wanted.split(","), scope)
    others = [one for one in environment if one.partition("=")[0] != VISIBLE]
    return [*others, f"{VISIBLE}={','.join(ids) or 'void'}"]


def _device_request(value: Any, where: str, scope: Scope) -> dict[str, Any]:
    asked = clean(_REQUEST, value, where, scope)
    count, ids = asked.pop("Count", 0), asked.get("DeviceIDs", [])
    for one in asked.get("Capabilities", []):
        if not set(one) <= _CAPABILITIES:
            raise forbidden(f"cannot set {where}.Capabilities to {one!r:.80}: allowed are those of GPUs")
    if bool(count) == bool(ids):
        raise invalid(f"cannot read {where}: either Count or DeviceIDs is expected")
    leased = scope.rules.gpus
    if not leased or count > len(leased):
        raise _refused(str(count) if count > 0 else ", ".join(ids) or _ALL, scope)
    return {**asked, "DeviceIDs": _given(ids, scope) if ids else list(leased if count < 0 else leased[:count])}


def _given(ids: Sequence[str], scope: Scope) -> list[str]:
    leased = scope.rules.gpus
    if list(ids) == [_ALL]:
        return list(leased)
    if not set(ids) <= set(leased):
        raise _refused(", ".join(ids), scope)
    return list(ids)


def _refused(what: str, scope: Scope) -> RefusedError:
    leased = ", ".join(scope.rules.gpus)
    follows = (
        f"leased to this run: {leased}" if leased else "none is leased to this run; the worker needs requests.gpus"
    )
    return forbidden(f"cannot use GPUs ({what:.80}): {follows}")
