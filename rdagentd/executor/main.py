"""Starts the executor: arguments, lock, journal, sweep, socket, loop."""

from __future__ import annotations

import fcntl
import gc
import grp
import os
import pwd
import resource
import socket
import time
from contextlib import suppress
from typing import NamedTuple

from rdagentd.executor import cgroup, failpoint, handover, proc
from rdagentd.executor.credentials import Credentials
from rdagentd.executor.directories import Directories
from rdagentd.executor.executor import Executor, note
from rdagentd.executor.files import read, write
from rdagentd.executor.journal import Journal
from rdagentd.executor.link import Link, listen
from rdagentd.executor.log import Home
from rdagentd.executor.ops import handle
from rdagentd.executor.pipes import Pipes
from rdagentd.executor.policy import Policy, read_policy
from rdagentd.executor.spawn import Spawner
from rdagentd.executor.sweep import sweep

USAGE = """\
usage: rdagentd executor --state-dir DIR --log-dir DIR --socket PATH [--daemon-uid USER] [--log-gid GROUP] [--policy FILE]
USER, GROUP: names or numbers"""

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a person must act before a new start makes sense."""

OOM_SCORE = "-900"
"""Of the executor: nearly the last to be killed when memory runs out; proc(5)."""

PATIENCE = 10.0
"""Seconds to wait for children of a dead executor that have not come to their exec yet; they hold its lock."""

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_DUMPABLE = 4


class UsageError(ValueError):
    """The arguments are not what USAGE says."""


class Settings(NamedTuple):
    """What the arguments say. daemon_uid: who may connect beside the executor's own user; log_gid: who may read the logs."""

    state: str
    logs: str
    socket: str
    daemon_uid: int | None
    log_gid: int | None
    policy: Policy | None


def main(argv: list[str]) -> int:
    """Runs until it may leave. Returns 0, 1 if it cannot start, 2 for wrong arguments, 78 for what a person must mend first."""
    try:
        failpoint.arm(os.environ.get("RDAGENTD_FAILPOINTS", ""))
        chosen = settings(argv)
    except UsageError as error:
        note(f"{error}\n{USAGE}")
        return 2
    except ValueError as error:
        note(f"cannot start: {error}")
        return EXIT_CONFIG
    try:
        executor, link = _start(chosen, argv)
    except (OSError, ValueError) as error:
        note(f"cannot start: {error}")
        return 1
    gc.collect()
    gc.freeze()
    _ready()
    executor.serve(link, handle)
    executor.tree.close()
    os.unlink(chosen.socket)
    return 0


def settings(argv: list[str]) -> Settings:
    """`--key value` pairs, names made numbers, the policy read. The handover tries this before it gives up what works.

    Raises UsageError, ValueError for a user, group or policy that is not as it must be.
    """
    needed, allowed = {"--state-dir", "--log-dir", "--socket"}, {"--daemon-uid", "--log-gid", "--policy"}
    options = dict(zip(argv[::2], argv[1::2], strict=False))
    if len(argv) % 2 or not needed <= options.keys() <= needed | allowed:
        raise UsageError(f"cannot read arguments: {' '.join(argv)}")
    user, group = options.get("--daemon-uid"), options.get("--log-gid")
    try:
        daemon_uid = user if user is None else int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
        log_gid = group if group is None else int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ValueError(f"cannot use the arguments: {error.args[0]}; create it, or give a number") from None
    policy = _policy(options.get("--policy"), daemon_uid)
    return Settings(options["--state-dir"], options["--log-dir"], options["--socket"], daemon_uid, log_gid, policy)


def _start(chosen: Settings, argv: list[str]) -> tuple[Executor, Link]:
    _seal()
    os.umask(0o027)
    _prctl(_PR_SET_DUMPABLE, 0)  # it holds secrets: no core dump, nor a look into it by another process of its user
    carried = handover.received()
    journal_dir = os.path.join(chosen.state, "executor")
    os.makedirs(journal_dir, mode=0o700, exist_ok=True)
    lock = carried["lock"] if carried else _lock(os.path.join(chosen.state, "executor.lock"))
    journal = Journal(journal_dir, carried["journal"] if carried else -1)
    pipes = Pipes(Home(chosen.logs, chosen.log_gid))
    nofile, oom = (carried["nofile"], carried["oom"]) if carried else _protect()
    credentials = Credentials(os.environ.get("RUNTIME_DIRECTORY", chosen.state))
    spawner = Spawner(nofile, oom, credentials, Directories(os.path.join(chosen.state, "workers")))
    if carried:
        problem = carried.get(
            "problem", "the executor was begun by a version without; restart rdagentd-executor.service"
        )
        home = carried.get("cgroups", "")
        executor = Executor(journal, pipes, spawner, lock, chosen.policy, home=home, problem=problem)
        journal.take(carried["pending"])
        listener = handover.resume(executor, carried)
    else:
        lost = sweep(journal, pipes)
        credentials.clear()
        if lost:
            note(f"{lost} runs of an executor that died are lost")
        home, problem = _home()
        executor = Executor(journal, pipes, spawner, lock, chosen.policy, home=home, problem=problem)
        executor.channels.clear()
        listener = listen(chosen.socket, chosen.daemon_uid)
    executor.arguments = argv
    return executor, Link(listener, chosen.daemon_uid, executor.epoll)


def _home() -> tuple[str, str]:
    """Where the cgroups of runs are made, or why there are none: then processes are searched for."""
    try:
        return cgroup.settle(), ""
    except OSError as error:
        return "", error.strerror or str(error)


def _policy(path: str | None, daemon_uid: int | None) -> Policy | None:
    """What the file says; without one the built-in policy where somebody else gives the orders, else none."""
    if path is not None:
        return read_policy(path)
    return None if daemon_uid in (None, os.geteuid()) else Policy()


def _ready() -> None:
    """Tells systemd, if it wants to know, that the executor listens; again after each handover. See sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", address.replace("@", "\0", 1) if address[0] == "@" else address)
    except OSError as error:
        note(f"cannot tell systemd that it is ready: {error}")


def _seal() -> None:
    """Makes sure that descriptors 0 to 2 exist, and that no other is passed on to a child."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
        except OSError:
            pass  # the one that listed the directory


def _lock(path: str) -> int:
    """Holds the lock as long as this process, or a child before its exec, lives. Raises OSError if another has it.

    So when the lock of a dead executor is free, each of its children carries its marker, and can be found.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid, _, ticks = os.pread(fd, 64, 0).decode().partition(" ")
            found = proc.stat(int(pid or 0))
            if (found and found.state != "Z" and str(found.ticks) == ticks) or time.monotonic() > deadline:
                raise OSError(f"process {pid or '?'} holds {path}; stop it first") from None
            time.sleep(0.005)
    me = os.getpid()
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{me} {proc.start_ticks(me)}".encode(), 0)
    return fd


def _prctl(option: int, value: int) -> None:
    """See prctl(2). Raises OSError."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"cannot prctl({option}, {value})")


def _protect() -> tuple[tuple[int, int], bool]:
    """Takes all descriptors allowed, a low OOM score, and the orphans of its children.

    Returns the limit of descriptors as it was, and whether the score is low now.
    """
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile[1], nofile[1]))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with suppress(PermissionError):
        write("/proc/self/oom_score_adj", OOM_SCORE)
    return nofile, read("/proc/self/oom_score_adj").startswith("-")
