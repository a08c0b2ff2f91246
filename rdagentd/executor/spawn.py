"""Fork and exec: the steps of the child, written out."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # those of `signal` make enums of what they return: 0.1 ms a fork
import errno
import gc
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

from rdagentd.executor.credentials import Credentials
from rdagentd.executor.environment import read_environment
from rdagentd.executor.proc import TAG, tag_of
from rdagentd.protocol.keys import MOST, PIECE, guessed

Request = dict[str, Any]
"""The fields of the operation `spawn`, checked."""

HANDLED = tuple(map(int, (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)))
"""Signals that the executor handles. A child must not run the handlers: they write into a pipe that it shares with us."""


class Spawner:
    """What each child begins with. nofile: the descriptor limit that the executor itself was started with.

    oom: whether the executor's own OOM score is a low one, which the child must not inherit.
    """

    def __init__(self, nofile: tuple[int, int], oom: bool, credentials: Credentials) -> None:
        self._null = os.open("/dev/null", os.O_RDONLY)
        self.nofile = nofile
        self.oom = oom
        self.credentials = credentials
        self._ignored = [int(s) for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN]

    def spawn(self, request: Request, out: int, err: int, entrance: int) -> tuple[int, int]:
        """Forks. entrance: of the run's cgroup, or -1.

        Returns the pid and a pipe: it ends when the exec has succeeded, else says why. Before that come, each with a NUL after
        it, the variables that hold secrets, if its output is to be without: the environment is complete only there.
        Raises OSError.
        """
        report, write = os.pipe()
        os.set_blocking(report, False)
        old = _signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if not pid:
                self._child(request, out, err, entrance, write)
        except OSError:
            os.close(report)
            raise
        finally:
            _signal.pthread_sigmask(signal.SIG_SETMASK, old)
            os.close(write)
        return pid, report

    def _child(self, request: Request, out: int, err: int, entrance: int, report: int) -> NoReturn:
        """Goes through the steps; never returns."""
        stage = "start"
        try:
            gc.disable()
            for stage in self._steps(request, out, err, entrance, report):  # noqa: B007
                pass
        except BaseException as error:  # whatever it is, two executors must not run on
            number = getattr(error, "errno", None) or (errno.ENOMEM if isinstance(error, MemoryError) else errno.EINVAL)
            detail = "" if isinstance(error, OSError) else str(error)
            told = f"{number}\n{stage}\n{detail}".replace("\0", "?")
            os.write(report, told.encode("utf-8", "replace")[:4096])
        finally:
            os._exit(127)

    def _steps(self, request: Request, out: int, err: int, entrance: int, report: int) -> Iterator[str]:
        """Each name tells what is done next, and with what; it is reported if that fails."""
        if entrance >= 0:
            yield "cgroup"
            os.write(entrance, b"0")
        yield "session"
        os.setsid()
        yield "signals"
        for handled in (*HANDLED, *self._ignored):
            _signal.signal(handled, _signal.SIG_DFL)
        _signal.pthread_sigmask(signal.SIG_SETMASK, ())
        yield "input and output"
        for number, fd in enumerate((self._null, out, err)):
            os.dup2(fd, number)  # all other descriptors are close-on-exec
        if self.oom:
            yield "oom score"
            _write("/proc/self/oom_score_adj", b"0")
        yield "umask"
        os.umask(request["umask"])
        if request["nice"] is not None and request["nice"] != os.getpriority(os.PRIO_PROCESS, 0):
            yield f"nice: {request['nice']}"
            os.setpriority(os.PRIO_PROCESS, 0, request["nice"])
        for name, limit in {"RLIMIT_NOFILE": self.nofile, **request["rlimits"]}.items():
            yield f"rlimit {name.removeprefix('RLIMIT_').lower()}: {limit[0]}:{limit[1]}"
            _limit(name, limit[0], limit[1])
        with suppress(ValueError, OSError):  # the executor itself has less than that: parentage must do
            resource.setrlimit(TAG, (tag_of(request["run"]),) * 2)
        yield from _become(request["uid"], request["gid"], request["groups"])
        env = {os.fsencode(key): os.fsencode(value) for key, value in request["env"].items()}
        for path in request["env_files"]:
            yield f"environment file: {path}"
            read_environment(path, env, request["env"])
        if request["log"]["redact"]:
            yield "secrets"
            _report(report, env)
        env[b"RDAGENTD_RUN"], env[b"RDAGENTD_WORKER"] = request["run"].encode(), request["worker"].encode()
        yield f"working directory: {request['cwd']}"
        os.chdir(request["cwd"])
        yield f"exec: {request['argv'][0]}"
        _exec([os.fsencode(word) for word in request["argv"]], env)


def _report(report: int, env: dict[bytes, bytes]) -> None:
    """Tells the executor which variables hold secrets, as far as it looks for so much."""
    left = MOST * PIECE
    for name, value in guessed(env):
        told = b"%b=%b\0" % (name.encode(), value)
        if len(told) <= left:
            left -= len(told)
            os.write(report, told)


def _become(uid: int | None, gid: int | None, groups: list[int] | None) -> Iterator[str]:
    """Takes on user and groups. What is as it should be needs no rights. Of the executor's groups nobody else gets any."""
    if groups is None and uid is not None and uid != os.getuid():
        yield f"uid: {uid}"
        os.setgroups([])
    if groups is not None and set(groups) != set(os.getgroups()):
        yield f"groups: {groups}"
        os.setgroups(groups)
    if gid is not None and (gid, gid, gid) != os.getresgid():
        yield f"gid: {gid}"
        os.setresgid(gid, gid, gid)
    if uid is not None and (uid, uid, uid) != os.getresuid():
        yield f"uid: {uid}"
        for fd in (1, 2):  # or it could write to them, yet not open /dev/stdout or /dev/stderr
            os.fchown(fd, uid, -1)
        os.setresuid(uid, uid, uid)


def _limit(name: str, soft: int, hard: int) -> None:
    """Raises OSError as setrlimit(2) does; Python makes ValueErrors of them."""
    try:
        resource.setrlimit(getattr(resource, name), (soft, hard))
    except ValueError as error:
        number = errno.EPERM if "not allowed" in str(error) else errno.EINVAL
        raise OSError(number, os.strerror(number)) from None


def _exec(argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """Like execvp(3), with the PATH that the program will see. Raises OSError, ValueError."""
    if b"/" in argv[0]:
        os.execve(argv[0], argv, env)
    denied = None
    for directory in env.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").split(b":"):
        try:
            os.execve(os.path.join(directory, argv[0]), argv, env)
        except PermissionError as error:
            denied = error
        except (FileNotFoundError, NotADirectoryError):
            pass
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _write(path: str, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text)
    os.close(fd)
