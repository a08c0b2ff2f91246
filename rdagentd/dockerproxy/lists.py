"""Lists, events and volumes: whatever a run may see is filtered by its labels, by the engine itself."""

from __future__ import annotations

from typing import Any

from rdagentd.dockerproxy import binds, document
from rdagentd.dockerproxy.ask import Ask
from rdagentd.dockerproxy.containers import marked
from rdagentd.dockerproxy.fields import clean, one_of, text, texts
from rdagentd.dockerproxy.refusal import forbidden, invalid


def own(ask: Ask) -> None:
    """The run's labels among the filters. The engine shows what has all the labels asked for (Args.MatchKVList)."""
    filters = {name: _values(name, given) for name, given in _filters(ask).items()}
    filters["label"] = sorted(
        {*filters.get("label", []), *(f"{name}={value}" for name, value in ask.scope.labels.items())}
    )
    ask.query["filters"] = document.write(
        {name: dict.fromkeys(values, True) for name, values in filters.items()}
    ).decode()


def new_volume(ask: Ask) -> None:
    """POST /volumes/create: a plain one, of the run's own."""
    asked = clean({"Name": text, "Driver": one_of("", "local"), "Labels": texts}, ask.document, "", ask.scope)
    if asked.get("Name", "").startswith(binds.PREFIX):
        raise forbidden(
            f"cannot create volume {asked['Name']!r:.80}: names that begin with {binds.PREFIX} are the proxy's"
        )
    ask.document = {**asked, "Driver": "local", "Labels": marked(asked.get("Labels", {}), ask.scope)}


def remove_volume(ask: Ask) -> None:
    """DELETE /volumes/{volume}."""
    if ask.found["volume"].startswith(binds.PREFIX):
        raise forbidden(f"cannot remove volume {ask.found['volume']}: it goes with the run")


def _filters(ask: Ask) -> dict[str, Any]:
    given = ask.query.get("filters")
    return document.parse_object(given.encode(), "filters") if given else {}


def _values(name: str, given: Any) -> list[str]:
    """Both forms that the engine takes: ["a"] and {"a": true}."""
    values = [one for one, on in given.items() if on is True] if isinstance(given, dict) else given
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise invalid(f"cannot read filters: {name[:80]!r} is no list of texts")
    return values
