"""A cgroup for each run (cgroups(7), version 2), beside the executor's own. The kernel keeps account of who is in it."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from errno import ENODEV, ENOENT, ENOSYS, EPERM
from typing import Any

from rdagentd.executor import proc
from rdagentd.executor.files import read, write
from rdagentd.executor.run import Run
from rdagentd.executor.tree import Usage

FILES = frozenset(
    {
        "cpu.max", "cpu.weight", "cpuset.cpus", "io.max", "io.weight", "memory.high", "memory.max", "memory.oom.group",
        "memory.swap.max", "pids.max",
    }
)  # fmt: skip
"""What a run may be given. `io.max` has a path in the place of the device, and that last: "wbps=1000 /data"."""

NEEDED = ("cgroup.kill", "cgroup.freeze")
"""Without these (Linux 5.14) a cgroup is of no use to us."""

_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
_LEAF = "executor"
_PREFIX = "rdagentd-"
_ASSISTANT = "run-."
"""Their names begin with a dot (assist.py)."""


class Cgroups:
    """The cgroups below `home`: `executor` is our own, `run-<id>` those of the runs."""

    def __init__(self, home: str, epoll: select.epoll) -> None:
        self._home = home
        self._epoll = epoll
        self._watched: dict[str, int] = {}
        self._egress: dict[str, str] = {}

    def enforces(self) -> dict[str, Any]:
        """By what our own cgroup has: the runs' have the same."""
        found = os.listdir(f"{self._home}/{_LEAF}")
        lacking = set(_CONTROLLERS) - set(read(f"{self._home}/cgroup.subtree_control").split())
        problem = f"the cgroup {self._home} has no controller {', '.join(sorted(lacking))}" if lacking else ""
        return {"files": sorted((FILES | set(NEEDED)).intersection(found)), "problem": problem}

    def put(self, run: str, egress: str, within: str = "") -> None:
        """Below the cgroup of the class, or of the run."""
        place = os.path.relpath(self.where(within), self._home) if within else egress
        if place:
            self._egress[run] = place

    def where(self, run: str) -> str:
        """Its directory."""
        return "/".join(filter(None, (self._home, self._egress.get(run), f"run-{run}")))

    def begin(self, request: dict[str, Any]) -> Iterator[str]:
        """Makes the cgroup and writes what was asked for, a line at a time."""
        if request["egress"]:
            yield "egress"
            _be_open(f"{self._home}/{request['egress']}")
        yield "cgroup"
        place = self.where(request["run"])
        _make(place)
        for file, value in request["cgroup"].items():
            for line in value.splitlines():
                yield f"cgroup {file}: {line}"
                write(f"{place}/{file}", _of_device(line) if file == "io.max" else line)

    def entrance(self, run: str) -> int:
        """Whoever writes to it is in; the rights are those with which it was opened."""
        return os.open(f"{self.where(run)}/cgroup.procs", os.O_WRONLY)

    def has(self, run: Run, pid: int) -> bool:
        """By the process's own cgroup; that of a zombie stays."""
        return _inside(pid, os.path.basename(self.where(run.id)))

    def left(self, run: Run) -> bool:
        """What is left wakes the executor by EPOLLPRI when it ends."""
        try:
            fd = self._watched.get(run.id)
            if fd is None:
                path = f"{self.where(run.id)}/cgroup.events"
                if "populated 1" not in read(path):
                    return False
                fd = self._watched[run.id] = os.open(path, os.O_RDONLY)
                self._epoll.register(fd, select.EPOLLPRI)
            return b"populated 1" in os.pread(fd, 256, 0)
        except OSError as error:
            if error.errno not in (ENOENT, ENODEV):  # an assistant's goes with that of its run
                raise
            return False

    def look(self) -> None:
        """Nothing to look for."""

    def reaped(self, pid: int) -> Iterable[Run]:
        """The cgroup counts what it used."""
        return ()

    def signal(self, runs: Collection[Run], *numbers: int, group: bool = False) -> None:
        """What is born meanwhile may miss it; only `kill` and `freeze` are for all at once. The main process is the first: a
        shell whose child has ended before it hears of it would take that for an end of its own."""
        for run in runs:
            name = os.path.basename(self.where(run.id))
            main = [run.pid] if run.status is None else []
            for pid in dict.fromkeys((*main, *sorted(_members(self.where(run.id))))):
                if not group or pid == run.pid or _group(pid) == run.pid:
                    for number in numbers:
                        _send(pid, number, name, own=pid == run.pid and run.status is None)

    def freeze(self, run: Run) -> None:
        """What enters later is frozen too."""
        write(f"{self.where(run.id)}/cgroup.freeze", "1")

    def thaw(self, run: Run) -> None:
        """Frozen processes get signals late; SIGKILL they get at once."""
        write(f"{self.where(run.id)}/cgroup.freeze", "0")

    def kill(self, runs: Collection[Run]) -> None:
        """At once: what is being forked is killed too."""
        for run in runs:
            if run.status is None:
                os.kill(run.pid, signal.SIGKILL)  # it may not have entered yet
            with suppress(FileNotFoundError):
                write(f"{self.where(run.id)}/cgroup.kill", "1")

    def usage(self, runs: Collection[Run]) -> dict[Run, Usage]:
        """What the controllers that we have do not tell is summed up over the members."""
        told = {run: self.total(run) for run in runs}
        for run, used in told.items():
            unknown = [key for key in proc.SUMS if used[key] is None]
            if unknown:
                summed = proc.usage(_members(self.where(run.id)))
                used |= {key: summed[key] for key in unknown}
        return told

    def total(self, run: Run) -> Usage:
        """By the files of the controllers; see Documentation/admin-guide/cgroup-v2.rst."""
        place = self.where(run.id)
        cpu, io = _pairs(f"{place}/cpu.stat"), _io(f"{place}/io.stat")
        return {
            "user": cpu["user_usec"] / 1e6 if "user_usec" in cpu else None,
            "system": cpu["system_usec"] / 1e6 if "system_usec" in cpu else None,
            "memory": _number(f"{place}/memory.current"),
            "memory_peak": _number(f"{place}/memory.peak"),
            "tasks": _number(f"{place}/pids.current"),
            "tasks_peak": _number(f"{place}/pids.peak"),
            "throttled": cpu["throttled_usec"] / 1e6 if "throttled_usec" in cpu else None,
            "forks_refused": _pairs(f"{place}/pids.events").get("max"),
            "read": io and io[0],
            "written": io and io[1],
        }

    def out_of_memory(self, run: Run) -> dict[str, Any] | None:
        """Also if only a child was killed, and by whosever limit."""
        place = self.where(run.id)
        killed = _pairs(f"{place}/memory.events").get("oom_kill", 0)
        return {"limit": _number(f"{place}/memory.max")} if killed else None

    def over(self, run: str) -> None:
        """Removes the cgroup; one that is not empty, against all odds, stays until the next start."""
        fd = self._watched.pop(run, None)
        if fd is not None:
            self._epoll.unregister(fd)
            os.close(fd)
        _remove(self.where(run))
        self._egress.pop(run, None)

    def state(self) -> dict[str, Any]:
        """The home, and who is not right below."""
        return {"cgroups": self._home, "egress": self._egress}

    def resume(self, state: Mapping[str, Any]) -> None:
        """The rest is in the kernel."""
        self._egress = dict(state.get("egress", {}))

    def close(self) -> None:
        """Leaves a home that was made by us, so that nothing remains."""
        if os.path.basename(self._home).startswith(_PREFIX):
            with suppress(OSError):
                write(f"{os.path.dirname(self._home)}/cgroup.procs", "0")
            _remove(self._home)


def _be_open(place: str) -> None:
    """Raises OSError if no rules are in force for what is below; see rdagentd/egress.py."""
    with suppress(FileNotFoundError):
        if os.stat(place).st_mode & stat.S_IXOTH:
            return
    text = f"no rules are in force for {os.path.basename(place)}; name the ports in /etc/rdagentd/egress"
    raise OSError(EPERM, f"{text}, and restart rdagentd-egress.service")


def settle() -> str:
    """Moves us into a leaf, and returns the directory beside which the runs' cgroups may be made.

    Where we are alone (Delegate= in a unit; systemd.resource-control(5)) that is our own cgroup, else a new one in it: then
    there are no controllers but those that are enabled there already. Raises OSError with the reason in words.
    """
    own = _own()
    try:
        home = own
        if _members(own) != {os.getpid()}:
            home = f"{own}/{_PREFIX}{os.getpid()}"
            _remove_dead(own)
            _make(home)
        _make_leaf(home)
    except OSError as error:
        raise OSError(error.errno, f"cannot use the cgroup {own}: {os.strerror(error.errno or 0).lower()}") from None
    return home


def end(place: str, deadline: float) -> None:
    """Ends whatever is in the cgroup of a run whose executor has died, and removes it. deadline: monotonic seconds."""
    with suppress(OSError):
        fd = os.open(f"{place}/cgroup.events", os.O_RDONLY)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        write(f"{place}/cgroup.kill", "1")
        while b"populated 1" in os.pread(fd, 256, 0) and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
        os.close(fd)
    _remove(place)


def _own() -> str:
    """The directory of our own cgroup. Raises OSError."""
    path = next(
        (line[3:].rstrip("\n") for line in read("/proc/self/cgroup").splitlines() if line.startswith("0::")), None
    )
    for fields in map(str.split, read("/proc/self/mountinfo").splitlines()):
        if path is not None and "cgroup2" in fields[fields.index("-") + 1 :][:1]:
            root = fields[3].rstrip("/")  # more than "/" where a container sees only its part
            if (path + "/").startswith(root + "/"):
                return fields[4] + path.removeprefix(root).rstrip("/")
    raise OSError(ENOSYS, "this host has no cgroups of version 2")


def _make_leaf(home: str) -> None:
    leaf = f"{home}/{_LEAF}"
    try:
        with suppress(FileExistsError):
            _make(leaf)
        for needed in NEEDED:
            os.stat(f"{leaf}/{needed}")
        write(f"{leaf}/cgroup.procs", "0")
    except OSError:
        _remove(leaf)
        if os.path.basename(home).startswith(_PREFIX):
            _remove(home)
        raise
    for controller in _CONTROLLERS:
        with suppress(OSError):  # not there, or not for us: `enforces` tells
            write(f"{home}/cgroup.subtree_control", f"+{controller}")


def _remove_dead(own: str) -> None:
    """Homes of executors that were killed."""
    for name in os.listdir(own):
        pid = name.removeprefix(_PREFIX)
        if pid != name and pid.isdigit() and not _lives(pid, f"{own}/{name}"):
            _end_assistants(f"{own}/{name}")
            _remove(f"{own}/{name}")


def _lives(pid: str, home: str) -> bool:
    """Where its pid is not seen, or is our own, it may be in another pid namespace, and is in its leaf. Raises OSError."""
    if pid != str(os.getpid()) and os.path.exists(f"/proc/{pid}"):
        return True
    try:
        return "populated 1" in read(f"{home}/{_LEAF}/cgroup.events")
    except OSError as error:  # another executor removes it, too
        if error.errno in (ENOENT, ENODEV):
            return False
        raise


def _end_assistants(home: str) -> None:
    """No journal knows of them; who ends the runs is the sweep."""
    for directory, _, _ in os.walk(home):
        if os.path.basename(directory).startswith(_ASSISTANT):
            with suppress(OSError):
                write(f"{directory}/cgroup.kill", "1")


def _make(place: str) -> None:
    """Everybody may look: programs read their own limits there."""
    os.mkdir(place)
    os.chmod(place, 0o755)  # whatever the umask


def _remove(place: str) -> None:
    for directory, _, _ in os.walk(place, topdown=False):
        with suppress(OSError):
            os.rmdir(directory)


def _members(place: str) -> set[int]:
    """Processes in a cgroup and those below it."""
    found: set[int] = set()
    for directory, _, _ in os.walk(place):
        with suppress(OSError):
            found.update(map(int, read(f"{directory}/cgroup.procs").split()))
    return found


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _send(pid: int, number: int, name: str, own: bool) -> None:
    """Signals a process if it is in the cgroup of this name, or our own child."""
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            # The pidfd holds on to one process; if that is in the cgroup, the signal cannot miss.
            if own or _inside(pid, name):
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


def _inside(pid: int, name: str) -> bool:
    """Whether a process is in a cgroup of this name, or below it. Raises OSError."""
    return f"/{name}/" in f"{read(f'/proc/{pid}/cgroup').rpartition('0::')[2].rstrip()}/"


def _of_device(line: str) -> str:
    """The line for `io.max`, with the number of the disk that holds the path. Raises OSError."""
    rates, _, path = line.partition(" /")
    found = os.stat(f"/{path}")
    device = found.st_rdev or found.st_dev
    place = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if os.path.exists(f"{place}/partition"):
        place = os.path.dirname(place)
    if not os.path.exists(f"{place}/dev"):
        raise OSError(ENODEV, os.strerror(ENODEV))
    return f"{read(f'{place}/dev').strip()} {rates}"


def _number(path: str) -> int | None:
    """None if there is no such file, or "max" in it."""
    try:
        return int(read(path))
    except (OSError, ValueError):
        return None


def _pairs(path: str) -> dict[str, int]:
    try:
        return {key: int(value) for key, value in map(str.split, read(path).splitlines())}
    except OSError:
        return {}


def _io(path: str) -> tuple[int, int] | None:
    """Bytes read and written, on all devices."""
    try:
        words = [word.partition("=") for word in read(path).split()]
    except OSError:
        return None
    taken, given = (sum(int(value) for key, _, value in words if key == name) for name in ("rbytes", "wbytes"))
    return taken, given
