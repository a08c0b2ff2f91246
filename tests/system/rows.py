"""The rows of docs/limits.md on a booted machine."""

import json
from collections.abc import Sequence

from tests.limits.place import Place
from tests.limits.row import Row, Story

from .machine import Machine


def prepare(machine: Machine) -> None:
    """What the rows speak of: a person, places that are open to everybody, a set-user-ID program, and some swap."""
    machine.check(
        "useradd --create-home --groups rdagentd member\n"
        "mkdir -m 1777 /opt/open /srv/open /srv/own && cp /usr/bin/id /opt/open && chmod 4755 /opt/open/id\n"
        "fallocate -l 256M /swap && chmod 600 /swap && mkswap /swap && swapon /swap && chmod 1777 /var/tmp",
        timeout=120,
    )


def tried(machine: Machine, person: str, place: Place, rows: Sequence[Row]) -> dict[str, Story]:
    """What became of each: side by side, but for those that are refused or want to be alone."""
    stories = {row.worker: _refused(machine, person, place, row) for row in rows if row.end == "refused"}
    for alone in (False, True):
        batch = [row for row in rows if row.end != "refused" and row.alone is alone]
        if batch:
            stories |= _run(machine, person, place, batch)
    return stories


def _run(machine: Machine, person: str, place: Place, rows: Sequence[Row]) -> dict[str, Story]:
    names = " ".join(row.worker for row in rows)
    machine.put("/tmp/rows.toml", "".join(map(place.document, rows)).encode())
    machine.check(f"runuser -u {person} -- rdagentctl apply /tmp/rows.toml", timeout=120)
    told = machine.run(f"rdagentctl wait {names} --timeout 20m", timeout=330)
    shown = json.loads(machine.check(f"rdagentctl show --json {names}", timeout=120))
    why = json.loads(machine.check(f"rdagentctl why --json {names}", timeout=120))
    output = machine.output(*(row.worker for row in rows))
    sentences = {one["name"]: tuple(one["sentences"]) for one in why}
    stories = {}
    for worker in shown:
        name = worker["row"]["name"]
        assert worker["row"]["exit"], (told, sentences[name], output[name])
        stories[name] = Story(worker["runs"][0], output[name], sentences[name])
    return stories


def _refused(machine: Machine, person: str, place: Place, row: Row) -> Story:
    machine.put("/tmp/row.toml", place.document(row).encode())
    told = machine.run(f"runuser -u {person} -- rdagentctl apply /tmp/row.toml", timeout=120)
    assert told.code, told
    return Story({}, refused=told.out.strip())


def between(machine: Machine, name: str, first: str, last: str) -> float:
    """Seconds between two events of a worker."""
    lines = machine.check(f"rdagentctl events --json {name}").splitlines()
    at = {event["kind"]: event["at"] for event in map(json.loads, lines)}
    return float(at[last] - at[first])
