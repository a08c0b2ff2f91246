"""The last step of a run that bwrap confines: a program of its own, in there, that takes bwrap's place and becomes the run's.

bwrap(1) forks, waits for its child, and tells its end as a code of its own; signals it keeps to itself. So once the scene is
set it is killed: its child then becomes the executor's, who is the subreaper (prctl(2)), and from there on all is as without
it. Must not import anything of ours: the text of this file is what runs.
"""

import _signal  # type: ignore[import-not-found]  # `signal` loads more than the rest
import os
import select
import sys
from typing import NoReturn


def main(bwrap: int, err: int, directory: bytes, argv: list[bytes]) -> NoReturn:
    """Ends bwrap, whose pid is given, and becomes `argv`. Until then descriptor 2 is the report, and `err` the run's own."""
    for number in (_signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ):  # which Python has taken
        _signal.signal(number, _signal.SIG_DFL)
    report = os.dup(2)  # closed by a successful exec, which so tells itself; its form: report.py
    os.dup2(err, 2)
    os.close(err)
    stage = "isolation"
    try:
        monitor = os.pidfd_open(bwrap)
        if os.getppid() != bwrap:  # somebody else has ended it, and so the run
            os._exit(127)
        os.write(report, b"\0=%d\0" % os.getpid())
        _signal.pidfd_send_signal(monitor, _signal.SIGKILL)
        end = select.poll()
        end.register(monitor, select.POLLIN)
        end.poll()
        os.close(monitor)
        os.setsid()
        stage = f"working directory: {os.fsdecode(directory)}"
        os.chdir(directory)
        stage = f"exec: {os.fsdecode(argv[0])}"
        os.execvpe(argv[0], argv, _environment())
    except OSError as error:
        os.write(report, f"\0{error.errno}\n{stage[:800]}\n".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _environment() -> dict[bytes, bytes]:
    """As bwrap gave it, and not as Python has changed it; bwrap itself has added PWD."""
    with open("/proc/self/environ", "rb") as file:
        pairs = [pair.partition(b"=") for pair in file.read().split(b"\0") if pair]
    return {key: value for key, _, value in pairs if key != b"PWD"}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), os.fsencode(sys.argv[3]), [os.fsencode(word) for word in sys.argv[4:]])
