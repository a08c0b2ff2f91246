"""Programs that try to get away. `python programs.py NAME FILE`: every process of it appends its pid and start time to FILE."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

FILE = -1


def report() -> None:
    """Before anything else: one line, one write."""
    os.write(FILE, f"{os.getpid()} {stat()[19]}\n".encode())


def stat() -> list[str]:
    """Fields 3 and on of /proc/self/stat; proc(5)."""
    with open("/proc/self/stat") as file:
        return file.read().rpartition(")")[2].split()


def fork(then: Callable[[], None]) -> None:
    """A child that reports, does something, and stays."""
    if not os.fork():
        try:
            report()
            then()
            sleep()
        finally:
            os._exit(9)


def sleep() -> None:
    """Far longer than any test."""
    while True:
        time.sleep(1000)


def ignore() -> None:
    """Every signal that can be ignored."""
    for number in set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33}:
        signal.signal(number, signal.SIG_IGN)


def away(then: Callable[[], None] = sleep) -> None:
    """A daemon as in daemon(7): fork, session, fork, and its parents end."""
    if os.fork():
        return
    report()
    os.setsid()
    if os.fork():
        os._exit(0)
    report()
    then()
    os._exit(9)


def double_fork() -> None:
    away()
    sleep()


def double_fork_and_leave() -> None:
    """The main process ends at once when asked; what it has left ignores being asked."""
    away(lambda: (ignore(), sleep()))
    sleep()


def deaf() -> None:
    ignore()
    fork(lambda: None)
    sleep()


def anonymous() -> None:
    """No environment, no session, no parent, no open files: nothing that tells whose it is."""
    script = (
        "import os, sys; os.write(int(sys.argv[1]), b'%d %s\\n' % (os.getpid(), open('/proc/self/stat', 'rb').read()"
    )
    script += ".rpartition(b')')[2].split()[19])); os.closerange(0, 1000); import time; time.sleep(1000)"
    os.set_inheritable(FILE, True)
    away(lambda: os.execve(sys.executable, [sys.executable, "-S", "-c", script, str(FILE)], {}))
    sleep()


def renamed() -> None:
    """Overwrites its arguments and environment, as setproctitle does, and its name."""
    import ctypes

    def rename() -> None:
        libc = ctypes.CDLL(None)
        fields = stat()
        for start, end in ((fields[45], fields[46]), (fields[47], fields[48])):  # arg_start … env_end: fields 48 to 51
            ctypes.memset(int(start), ord("x"), int(end) - int(start))
        libc.prctl(15, b"kworker/0:1", 0, 0, 0)  # PR_SET_NAME

    away(lambda: (rename(), ignore(), sleep()))
    rename()
    sleep()


def keeps_pipe() -> None:
    """The main process ends; a daemon of it keeps the pipe, and goes on writing."""

    def write() -> None:
        ignore()
        while True:
            os.write(1, b"still here\n")
            time.sleep(0.05)

    away(write)
    sleep()


def closes_all() -> None:
    away(lambda: (os.closerange(0, 1000), sleep()))
    fork(lambda: os.closerange(0, 1000))
    os.closerange(0, 1000)
    sleep()


def breeder() -> None:
    """Each child takes a session of its own, forks again, and ends."""

    def breed() -> None:
        ignore()
        while True:
            os.setsid()
            if os.fork():
                os._exit(0)
            report()
            time.sleep(0.005)

    fork(breed)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            sleep()


def stopped() -> None:
    """Stops itself, and its child."""
    fork(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    os.kill(os.getpid(), signal.SIGSTOP)
    sleep()


def wood() -> None:
    """300 processes in 30 sessions."""

    def session() -> None:
        os.setsid()
        ignore()
        for _ in range(9):
            fork(lambda: None)

    for _ in range(30):
        fork(session)
    sleep()


PROGRAMS = {
    f.__name__: f
    for f in (
        double_fork, double_fork_and_leave, deaf, anonymous, renamed, keeps_pipe, closes_all, breeder, stopped, wood,
    )
}  # fmt: skip

if __name__ == "__main__":
    FILE = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(FILE, 1023)  # where closing all descriptors does not reach it
    os.close(FILE)
    FILE = 1023
    report()
    PROGRAMS[sys.argv[1]]()
