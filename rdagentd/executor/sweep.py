"""What an executor that died has left: its processes are ended, its runs are lost."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import Any

from rdagentd.executor import cgroup, proc
from rdagentd.executor.journal import Journal
from rdagentd.executor.log import Log
from rdagentd.executor.pipes import Pipes
from rdagentd.executor.run import exited, started
from rdagentd.executor.search import Found, stop
from rdagentd.protocol.segments import STREAMS

PATIENCE = 10.0
"""Seconds that killed processes get to disappear. One that does not is in the kernel's hands, and cannot run on."""

REBOOTED = "the machine was restarted"
DIED = "the executor died, and what it had started was ended"


def sweep(journal: Journal, pipes: Pipes) -> int:
    """Ends whatever is left of the runs without an exit, and gives them one; processes of an earlier boot are none.

    Returns how many runs there were.
    """
    lost = dict(journal.live)
    if lost and not journal.stale:
        deadline = time.monotonic() + PATIENCE
        for place in filter(None, journal.places.values()):
            cgroup.end(place, deadline)
        searched = {run: birth for run, birth in lost.items() if not journal.places[run]}
        while searched and (killed := _kill(searched)) and time.monotonic() < deadline:
            _wait(killed, deadline)
    for run, birth in lost.items():
        worker, pid = birth[:2]
        logs = [log for stream in STREAMS if (log := pipes.log(worker, stream)).end or stream == STREAMS[0]]
        began = started(run, birth) if pid else None
        reason = REBOOTED if journal.stale else DIED
        journal.exited(exited(run, worker, time.time(), reason=reason, log=_ends(logs), started=began))
    return len(lost)


def _ends(logs: list[Log]) -> dict[str, int]:
    return {log.stream: log.end for log in logs}


def _kill(live: dict[str, list[Any]]) -> Found:
    found = stop(lambda: _find(live), proc.send)
    for pid, ticks in found.items():
        proc.send(pid, ticks, signal.SIGKILL)
    return found


def _find(live: dict[str, list[Any]]) -> Found:
    """Main processes, their sessions and groups, what carries a tag, and all descendants of these."""
    me = os.getpid()
    stats = {pid: stat for pid in proc.pids() if pid != me and (stat := proc.stat(pid)) and stat.state != "Z"}
    tags = set(map(proc.tag_of, live))
    mains = {pid: ticks for _, pid, ticks, _, _ in live.values() if pid}
    for pid in list(mains):
        if pid in stats and stats[pid].ticks != mains[pid]:
            del mains[pid]  # the number is another process's now, so nothing is left that is named after the main
    found = {
        pid
        for pid, stat in stats.items()
        if pid in mains or stat.session in mains or stat.group in mains or proc.tag(pid) in tags
    }
    while more := {pid for pid, stat in stats.items() if stat.parent in found} - found:
        found |= more
    return {pid: stats[pid].ticks for pid in found if pid != me}


def _wait(killed: Found, deadline: float) -> None:
    """Until all have ended, or the deadline (monotonic seconds)."""
    for pid, ticks in killed.items():
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            now = proc.stat(pid)
            if now is not None and now.ticks == ticks:
                poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            os.close(fd)
