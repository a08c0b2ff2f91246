"""What the doctor tells of the host itself: disk, clock, users, ports, keys. Blocks: what it asks may be elsewhere (NSS)."""

from __future__ import annotations

import os
import pwd
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from attrs import frozen

from rdagentd.model.size import format_size
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.supervisor.doctor import Finding

_LEAST_DISK = 1 << 30
_LEAST_SHARE = 0.05
"""Bytes and part of the file system that must be free: below, a log or a checkpoint fills it in minutes."""

_BUILT = 1_735_689_600
"""2025-01-01, in seconds since the epoch: no host that runs this is older."""

KEEPERS = ("/run/systemd/timesync/synchronized", "/run/chrony", "/run/ntpd.pid", "/run/ntpsec")
"""What there is while somebody keeps the clock right: systemd-timesyncd(8), chronyd(8), ntpd(8)."""


@frozen
class Asked:
    """What of a worker must be known: as whom it runs, its ports, and the names of variables that it has."""

    name: str
    user: str
    spec: Spec


def asked(workers: Iterable[Worker]) -> list[Asked]:
    """The same of all workers, as values that another thread may read."""
    return [Asked(worker.name, worker.spec.user or str(worker.owner), worker.spec) for worker in workers]


def examine_host(
    workers: Sequence[Asked], state: str, now: Callable[[], float] = time.time, keepers: Sequence[str] = KEEPERS
) -> list[Finding]:
    """All findings. state: the daemon's directory."""
    return [_disk(state), _clock(now(), keepers), *_users(workers), _ports(workers), *_keys(workers)]


def _disk(state: str) -> Finding:
    there = os.statvfs(state)
    free, size = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
    text = f"{format_size(free)} of {format_size(size)} are free where {state} is"
    return Finding("disk", "missing" if free < max(_LEAST_DISK, size * _LEAST_SHARE) else "ok", text)


def _clock(now: float, keepers: Sequence[str]) -> Finding:
    if now < _BUILT:
        return Finding(
            "clock", "missing", f"it says {time.strftime('%F', time.gmtime(now))}; set it, and have it kept right"
        )
    if any(Path(keeper).exists() for keeper in keepers):
        return Finding("clock", "ok", "is kept right")
    return Finding("clock", "absent", "nobody is seen to keep it right: install systemd-timesyncd or chrony")


def _users(workers: Sequence[Asked]) -> Iterator[Finding]:
    strangers = {user for user in {one.user for one in workers} if not _is_user(user)}
    unknown = sorted((one.name, one.user) for one in workers if one.user in strangers)
    for name, user in unknown:
        yield Finding("users", "missing", f"{name} is to run as {user}, whom this host does not know")
    if not unknown:
        yield Finding("users", "ok", "all as whom workers run are known")


def _is_user(user: str) -> bool:
    try:
        pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        return False
    return True


def _ports(workers: Sequence[Asked]) -> Finding:
    wanted: dict[int, list[str]] = defaultdict(list)
    for one in workers:
        for port in one.spec.preflight.ports if one.spec.preflight else ():
            wanted[port].append(one.name)
    twice = [f"{port} by {' and '.join(names)}" for port, names in sorted(wanted.items()) if len(names) > 1]
    if twice:
        return Finding("ports", "missing", f"wanted more than once: {', '.join(twice)}")
    return Finding("ports", "ok", f"{len(wanted)} are wanted, none twice")


def _keys(workers: Sequence[Asked]) -> Iterator[Finding]:
    """By name alone; `rdagentctl preflight` looks at the values, and into files."""
    asking = [
        one for one in workers if one.spec.preflight and (one.spec.preflight.secrets or one.spec.preflight.environment)
    ]
    lacking = {one.name: missing for one in asking if (missing := _missing(one.spec))}
    for name, names in sorted(lacking.items()):
        yield Finding("API keys", "missing", f"{name} has no {', no '.join(names)}")
    if not asking:
        yield Finding("API keys", "absent", "no worker says which it needs; profiles do")
    elif not lacking:
        yield Finding("API keys", "ok", f"{len(asking)} workers have theirs, or files that may hold them")


def _missing(spec: Spec) -> list[str]:
    assert spec.preflight is not None
    if spec.environment_file:
        return []
    there = {*spec.environment, *spec.secret_environment, *spec.credentials}
    wanted = (*spec.preflight.secrets, *spec.preflight.environment)
    return [names.replace(" | ", " or ") for names in wanted if there.isdisjoint(names.split(" | "))]
