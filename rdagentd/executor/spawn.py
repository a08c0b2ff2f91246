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
from rdagentd.executor.directories import Directories
from rdagentd.executor.environment import read_environment
from rdagentd.executor.files import write
from rdagentd.executor.proc import TAG, tag_of
from rdagentd.executor.report import tell_failure, tell_secrets
from rdagentd.protocol.keys import guessed

Request = dict[str, Any]
"""The fields of the operation `spawn`, checked."""

HANDLED = tuple(map(int, (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)))
"""Signals that the executor handles. A child must not run the handlers: they write into a pipe that it shares with us."""

_BWRAP = b"/usr/bin/bwrap"
_PYTHON = (b"/usr/bin/python3", b"-I", b"-S")
"""Not sys.executable: one that every user has, and that is there whatever else is hidden."""

NEEDS = "/usr/bin/bwrap, of the package bubblewrap"

with open(os.path.join(os.path.dirname(__file__), "inside.py"), "rb") as _file:
    _INSIDE = _file.read()


class Spawner:
    """What each child begins with. nofile: the descriptor limit that the executor itself was started with.

    oom: whether the executor's own OOM score is a low one, which the child must not inherit.
    """

    def __init__(self, nofile: tuple[int, int], oom: bool, credentials: Credentials, directories: Directories) -> None:
        self._null = os.open("/dev/null", os.O_RDONLY)
        self.nofile = nofile
        self.oom = oom
        self.credentials = credentials
        self.directories = directories
        self._ignored = [int(s) for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN]

    def spawn(self, request: Request, out: int, err: int, entrance: int) -> tuple[int, int]:
        """Forks. entrance: of the run's cgroup, or -1.

        Returns the pid and a pipe: it ends when the exec has succeeded, else says why; see report.py. Raises OSError.
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
            tell_failure(report, number, stage, detail)
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
            write("/proc/self/oom_score_adj", "0")
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
        for kind in request["directories"]:
            place = request["env"][f"{kind.upper()}_DIRECTORY"]
            yield f"{kind} directory: {place}"
            os.stat(place)
        env = {os.fsencode(key): os.fsencode(value) for key, value in request["env"].items()}
        for path in request["env_files"]:
            yield f"environment file: {path}"
            read_environment(path, env, request["env"].keys() - set(request["env_defaults"]))
        yield "secrets"  # only here the environment is complete
        tell_secrets(report, guessed(env) if request["log"]["redact"] else ())
        of = str(request.get("of", request["run"]))  # an assistant is of another run, or of none
        env[b"RDAGENTD_RUN"], env[b"RDAGENTD_WORKER"] = of.encode(), request["worker"].encode()
        argv = [os.fsencode(word) for word in request["argv"]]
        if request["sandbox"]:
            yield "isolation: " + NEEDS
            os.chdir("/")
            os.execve(_BWRAP, _confined(request, argv, report), env)
        yield f"working directory: {request['cwd']}"
        os.chdir(request["cwd"])
        yield f"exec: {request['argv'][0]}"
        os.execvpe(argv[0], argv, env)


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


def _confined(request: Request, argv: list[bytes], report: int) -> list[bytes]:
    """The command that sets the scene and then becomes `argv`. What bwrap says goes to the report: it is why it failed."""
    err = os.dup(2)
    os.set_inheritable(err, True)
    os.dup2(report, 2)
    directory = os.fsencode(request["cwd"])
    inside = [*_PYTHON, b"-c", _INSIDE, b"%d" % os.getpid(), b"%d" % err, directory, *argv]
    return [_BWRAP, *map(os.fsencode, request["sandbox"]), b"--chdir", b"/", b"--", *inside]
