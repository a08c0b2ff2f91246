"""Operations about profiles."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rdagentd.api.commands import decoded
from rdagentd.api.context import Context
from rdagentd.config.problems import InvalidError
from rdagentd.config.profiles import Profile, Profiles
from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.protocol.errors import NOT_FOUND, ProtocolError


def profiles(context: Context, args: dict[str, Any]) -> Any:
    """All profiles, with their parameters; of one that cannot be used, why not."""
    known = context.daemon.profiles()
    told = []
    for name, (file, _) in sorted(known.documents.items()):
        try:
            told.append({**_described(known.find(name)), "problem": None})
        except InvalidError as error:
            told.append({"name": name, "file": file, "problem": str(error)})
    return told


def profile(context: Context, args: dict[str, Any]) -> Any:
    """One profile: its parameters and its template. With `resolved` also the spec that these values of its parameters make."""
    known = context.daemon.profiles()
    try:
        found = known.find(args["name"])
    except InvalidError as error:
        raise ProtocolError(NOT_FOUND, f"cannot show profile {args['name'][:64]}: {error}") from None
    told = {**_described(found), "template": dict(found.template), "spec": None}
    if args["resolved"]:
        told["spec"] = encode_spec(decoded(lambda: decode_spec(_worker(known, found, args["set"]), profiles=known)))
    return told


def _worker(known: Profiles, found: Profile, given: dict[str, Any]) -> dict[str, Any]:
    """The plainest worker of this profile, with a command if it must bring one."""
    raw = {"name": found.name, "profile": found.name, "set": given}
    with suppress(InvalidError):  # which is told when it is decoded
        if not known.filled(found, given, found.name).keys() & {"command", "container"}:
            raw["command"] = ["…"]
    return raw


def _described(found: Profile) -> dict[str, Any]:
    return {
        "name": found.name,
        "file": found.file,
        "about": found.about,
        "extends": list(found.bases),
        "parameters": {
            name: {
                "about": one.about,
                "choices": list(one.choices),
                "default": one.default,
                "needed": one.default is None and not one.optional,
            }
            for name, one in found.parameters.items()
        },
    }
