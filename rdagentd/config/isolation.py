"""The isolation of a worker as people write it: a preset, and what differs from it."""

from __future__ import annotations

from typing import Any

from rdagentd.config.kinds import FLAG, Kind, choice, each, whole
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import PATH
from rdagentd.model.container import DriverName
from rdagentd.model.isolation import PRESETS, Isolation, Preset
from rdagentd.model.spec import Spec

_PATHS = each(PATH, 64)
_PORTS = each(whole(1, 65535), 16)


def _derive(values: dict[str, Any]) -> None:
    for key, value in PRESETS[values.get("preset", Preset.NONE)].items():
        values.setdefault(key, value)
    if "no_new_privileges" not in values and Isolation(**values).confines:
        values["no_new_privileges"] = True


def _privileges(isolation: Isolation) -> str:
    if isolation.no_new_privileges or not isolation.confines:
        return ""
    return "whatever else is confined gains no privileges either: true, or leave it out"


def _ports(value: Any) -> tuple[int, ...] | None:
    return None if value is None else tuple(sorted(set(_PORTS.parse(value))))


def _egress(isolation: Isolation) -> str:
    if isolation.egress is None:
        return ""
    if not isolation.network:
        return "needs network = true"
    if not isolation.egress:
        return "is empty: for no network write network = false"
    if not isolation.hidden_run:
        return "needs hidden_run = true, or services in /run would connect for it (systemd-run --user)"
    return ""


def _both(isolation: Isolation) -> str:
    both = sorted(set(isolation.read_only) & set(isolation.read_write))
    return f"{', '.join(both)} also stands in read_write" if both else ""


def _container(spec: Spec) -> str:
    if spec.driver is DriverName.PROCESS or not spec.isolation.confines:
        return ""
    return "is for processes; a container is confined already, see container.network and container.read_only"


ISOLATION = Section(
    Isolation,
    {
        "preset": (choice(Preset), "Where the fields below begin; `strict` has all of them on, and no network."),
        "read_only_system": (
            FLAG,
            "Of the host's files it has /usr, /etc, /opt and the like, which nothing can change, and no others.",
        ),
        "hidden_home": (FLAG, "Nothing is in /home and /root but an empty home directory, in memory, for this run."),
        "hidden_run": (
            FLAG,
            "No sockets of the system's services (D-Bus, Docker, rdagentd itself): /run has what was given to the run.",
        ),
        "private_tmp": (FLAG, "/tmp, /var/tmp and /dev/shm are its own, in memory, and gone with the run."),  # noqa: S108
        "network": (FLAG, "Whether there is a network; without, not even that of the host itself (127.0.0.1)."),
        "egress": (
            Kind("list of at most 16 ports", _ports),
            "TCP ports that it may connect to, besides name resolution. Of those that /etc/rdagentd/egress names.",
        ),
        "no_new_privileges": (FLAG, "Set-user-ID programs are without effect. Not given: true if anything here is on."),
        "read_only": (_PATHS, "Paths that it has all the same, to read."),
        "read_write": (_PATHS, "Paths that it has all the same, to write too; `directory` is always one."),
    },
    shorthand="preset",
    hints={
        "private_network": "did you mean network = false?",
        "protect_home": "did you mean hidden_home?",
        "protect_system": "did you mean read_only_system?",
        "hide_home": "did you mean hidden_home?",
        "tmp": "did you mean private_tmp?",
        "paths": "did you mean read_only or read_write?",
        "write": "did you mean read_write?",
        "read": "did you mean read_only?",
    },
    derive=_derive,
    conflicts=(
        Conflict("no_new_privileges", ("no_new_privileges",), _privileges),
        Conflict("egress", ("egress", "network", "hidden_run"), _egress),
        Conflict("read_only", ("read_only", "read_write"), _both),
    ),
)

CONFLICT = Conflict("isolation", ("isolation", "driver", "container"), _container)
"""What is wrong with a whole spec because of its isolation."""
