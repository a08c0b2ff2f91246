"""What of the host the processes of a run can reach."""

from __future__ import annotations

from enum import StrEnum

from attrs import evolve, frozen


class Preset(StrEnum):
    """Where the fields of an isolation begin."""

    NONE = "none"
    STRICT = "strict"


@frozen
class Isolation:
    """Each field is a restriction of its own, enforced by the kernel; see docs/operations.md for what they do not hold.

    read_only, read_write: whole paths that are there all the same, to read or to write as well. egress: ports of TCP that
    it may connect to, with a network; None: all. no_new_privileges: true wherever another one is; the presets are in
    PRESETS.
    """

    preset: Preset = Preset.NONE
    read_only_system: bool = False
    hidden_home: bool = False
    hidden_run: bool = False
    private_tmp: bool = False
    network: bool = True
    egress: tuple[int, ...] | None = None
    no_new_privileges: bool = False
    read_only: tuple[str, ...] = ()
    read_write: tuple[str, ...] = ()

    @property
    def confines(self) -> bool:
        """Whether there is any restriction, whatever it was made from."""
        return evolve(self, preset=Preset.NONE) != Isolation()


PRESETS: dict[Preset, dict[str, bool]] = {
    Preset.NONE: {},
    Preset.STRICT: {
        "read_only_system": True,
        "hidden_home": True,
        "hidden_run": True,
        "private_tmp": True,
        "network": False,
        "no_new_privileges": True,
    },
}
"""What each preset says of fields that are not given."""
