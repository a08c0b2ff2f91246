"""A worker that tries to get out: at the daemon, the executor, other people's runs, and root. It prints each way that is open.

    python3 escape.py DAEMON EXECUTOR OTHER SECRET      pids of the daemon, the executor and somebody else's run; a path

Run in the machine by the system's own Python; every way has to end in an OSError.
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16
PIDFD_GETFD = 438  # the same number on all machines
UNITS = "/sys/fs/cgroup/system.slice"

Way = tuple[str, Callable[[], object]]


def main(words: list[str]) -> int:
    """Tries them all; the exit code says whether one was open."""
    *pids, secret = words
    tried, found = 0, []
    ways = [*sockets(), *files(secret), *groups(), *root()]
    for name, pid in zip(("daemon", "executor", "other"), map(int, pids), strict=True):
        ways += [(f"{what} {name}", way) for what, way in processes(pid)]
    for what, way in ways:
        tried += 1
        try:
            way()
        except OSError as error:
            say(f"{what}: {error.strerror}")
        else:
            found.append(what)
    say(f"{tried} ways, open: {found}")
    return 1 if found else 0


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def sockets() -> Iterator[Way]:
    """The executor's socket, and the place where it lies."""
    yield "connect to the executor", lambda: socket.socket(socket.AF_UNIX).connect("/run/rdagentd/executor.sock")
    for path in ("/run/rdagentd/executor.sock", "/run/rdagentd/rdagentd.sock"):
        yield f"unlink {path}", partial(os.unlink, path)
        yield f"chmod {path}", partial(os.chmod, path, 0o666)


def files(secret: str) -> Iterator[Way]:
    """What is root's, the daemon's and other people's; and links put where root writes."""
    executor = "/var/lib/rdagentd-executor"
    for path in ("/var/lib/rdagentd", executor, "/run/rdagentd-executor/credentials", "/root", "/home/other",
                 "/run/credentials/rdagentd-executor.service"):  # fmt: skip
        yield f"list {path}", partial(os.listdir, path)
    for path in ("/var/lib/rdagentd/state.db", f"{executor}/executor/journal", f"{executor}/executor.lock",
                 "/run/credentials/rdagentd-executor.service/openai", secret, "/etc/shadow", "/dev/vda"):  # fmt: skip
        yield f"read {path}", partial(open, path, "rb")
    log = f"/var/log/rdagentd/{os.environ['RDAGENTD_WORKER']}/out/{0:020}.log"
    for path in ("/etc/rdagentd/executor.toml", "/etc/rdagentd/rdagentd.toml", log):
        yield f"write {path}", partial(open, path, "ab")
    for path in ("/var/log/rdagentd", str(Path(log).parent), "/run/rdagentd", "/run/rdagentd-executor", "/var/lib/rdagentd",
                 "/run/rdagentd-executor/credentials", executor, "/etc/rdagentd/workers.d"):  # fmt: skip
        yield f"put a link into {path}", partial(os.symlink, "/etc", f"{path}/planted")
    yield "a descriptor that was inherited", _inherited


def _inherited() -> None:
    for fd in range(3, 4096):
        with suppress(OSError):
            os.fstat(fd)
            return
    raise OSError(0, "there is none")


def groups() -> Iterator[Way]:
    """Control groups: out of the unit, into the daemon's, the end of everybody's."""
    for path in ("/sys/fs/cgroup", f"{UNITS}/rdagentd.service", f"{UNITS}/rdagentd-executor.service"):
        yield f"move to {path}", partial(_write, f"{path}/cgroup.procs", str(os.getpid()))
        yield f"mkdir in {path}", partial(os.mkdir, f"{path}/escaped")
    for unit in ("rdagentd.service", "rdagentd-executor.service"):
        yield f"kill {unit} by its group", partial(_write, f"{UNITS}/{unit}/cgroup.kill", "1")
        yield f"freeze {unit}", partial(_write, f"{UNITS}/{unit}/cgroup.freeze", "1")
        yield f"systemctl kill {unit}", partial(_command, "systemctl", "kill", unit)
        yield f"systemctl stop {unit}", partial(_command, "systemctl", "stop", unit)


def root() -> Iterator[Way]:
    """To become root, or to do what root may."""
    yield "setuid 0", partial(os.setuid, 0)
    yield "setgid 0", partial(os.setgid, 0)
    yield "setgroups 0", partial(os.setgroups, [0])
    yield "chroot", partial(os.chroot, "/")
    yield "mount", lambda: _check(LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None))
    yield "mknod", partial(os.mknod, "/tmp/escaped", 0o60666, os.makedev(254, 0))
    yield "lower its own OOM score", partial(_write, "/proc/self/oom_score_adj", "-1000")
    yield "go before the others", partial(os.nice, -5)
    yield "have capabilities", _capable
    # A user namespace makes a root of it that is nobody outside.
    yield (
        "read the state as root of a user namespace",
        partial(_command, "unshare", "--user", "--map-root-user", "cat", "/var/lib/rdagentd/state.db"),
    )


def _capable() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    sets = {line[:6]: int(line[8:], 16) for line in lines if line.startswith("Cap")}
    if not any(sets[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
        raise OSError(0, "none")


def processes(pid: int) -> Iterator[Way]:
    """What one process can do to another."""
    for number in (signal.SIGSTOP, signal.SIGHUP, signal.SIGKILL):
        yield f"send {number.name} to", partial(os.kill, pid, number)
    yield "trace", lambda: _check(LIBC.ptrace(PTRACE_ATTACH, pid, None, None))
    for name in ("environ", "mem"):
        yield f"read {name} of", partial(open, f"/proc/{pid}/{name}", "rb")
    for name in ("fd", "cwd", "root"):
        yield f"list {name} of", partial(os.listdir, f"/proc/{pid}/{name}")
    yield "write to the output of", partial(open, f"/proc/{pid}/fd/1", "wb")
    yield "take a descriptor of", lambda: _check(LIBC.syscall(PIDFD_GETFD, os.pidfd_open(pid), 1, 0))
    yield "limit", partial(resource.prlimit, pid, resource.RLIMIT_NOFILE, (0, 0))
    yield "slow down", partial(os.setpriority, os.PRIO_PROCESS, pid, 19)
    yield "have the kernel kill", partial(_write, f"/proc/{pid}/oom_score_adj", "1000")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())


def _command(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(0, done.stderr.splitlines()[0])


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
