"""What a run's isolation is in words of bwrap(1). Pure: what is not on the host bwrap passes over where we say "try"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rdagentd.model.isolation import Isolation

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/sys")
"""What programs and libraries are in, and how the system is set up; hier(7)."""

_HOMES = ("/home", "/root")
_TMP = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108

_RESOLVERS = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
"""Where /etc/resolv.conf points to on Debian; without it there are no names on the network."""


def sandbox(isolation: Isolation, environment: Mapping[str, str], writable: Iterable[str], run: str) -> list[str]:
    """bwrap's options, without a command; none where nothing is confined.

    environment: of the run, for HOME and for what it was given. writable: the run's own directories.
    """
    if not isolation.confines:
        return []
    home = environment.get("HOME", "/")
    return [
        "--unshare-user",
        *(_read_only_system(isolation) if isolation.read_only_system else ("--dev-bind", "/", "/")),
        *(_empty(_TMP, "1777") if isolation.private_tmp else ()),
        *(("--unshare-ipc",) if isolation.private_tmp else ()),
        *(_empty(_HOMES, "755") if isolation.hidden_home else ()),
        *(("--dir", home) if isolation.hidden_home and home.startswith(tuple(f"{place}/" for place in _HOMES)) else ()),
        *(_empty(("/run",), "755") if isolation.hidden_run else ()),
        *(_each("--ro-bind-try", _RESOLVERS) if isolation.hidden_run and isolation.network else ()),
        *(() if isolation.network else ("--unshare-net",)),
        *_allowed(
            {
                **dict.fromkeys(_given(environment, run), "--bind-try"),
                **dict.fromkeys(isolation.read_only, "--ro-bind"),
                **dict.fromkeys((*writable, *isolation.read_write), "--bind"),
            }
        ),
    ]


def _read_only_system(isolation: Isolation) -> list[str]:
    """A root of its own, of which only what is named here is the host's. /proc has all processes, with their owners' rights."""
    return [
        *_each("--ro-bind-try", _SYSTEM),
        *("--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc", "--dir", "/var", "--symlink", "../run", "/var/run"),
        *(() if isolation.hidden_home else _each("--ro-bind-try", _HOMES)),
        *(() if isolation.hidden_run else _each("--ro-bind", ("/run",))),
        *(() if isolation.private_tmp else _each("--bind", _TMP[:2])),
    ]


def _given(environment: Mapping[str, str], run: str) -> list[str]:
    """Directories that have the run's id for a name and that its environment points into: sockets that are for it alone.

    The directory and not the socket: a service that starts anew makes a new one.
    """
    paths = (value.removeprefix("unix://").partition(f"/{run}/") for value in environment.values())
    return sorted({f"{place}/{run}" for place, found, _ in paths if found and place.startswith("/")})


def _allowed(options: Mapping[str, str]) -> list[str]:
    """A path after those that it lies in, which else would cover it: what is nearest counts."""
    return [word for path in sorted(options, key=_parts) for word in (options[path], path, path)]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _each(option: str, paths: Iterable[str]) -> list[str]:
    return [word for path in paths for word in (option, path, path)]


def _empty(paths: Iterable[str], mode: str) -> list[str]:
    return [word for path in paths for word in ("--perms", mode, "--tmpfs", path)]
