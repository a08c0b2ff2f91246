"""What it costs when runs tell of themselves: ten that send 10,000 messages a second together, and what others notice of it."""

from __future__ import annotations

import time

from benchmarks import processes
from benchmarks.bench import Bench, Program
from benchmarks.peers.base import Peer
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

RUNS = 10
PACE = 1000
"""Messages a second of each."""

ROWS = (
    Row(
        "notify_taken",
        "messages to NOTIFY_SOCKET, sent by 10 runs at 10,000/s, taken",
        "/s",
        target=9900,
        more_is_better=True,
    ),
    Row("notify_ping", "`ping` beside that", "µs", 1e6, 3.0, over_bare=True, bare="without"),
    Row("notify_daemon", "CPU of the daemon for it", "ms/s", 1e3, 100),
    Row("notify_executor", "CPU of the executor for it", "ms/s", 1e3, 300),
    Row("notify_flood", "messages of one run that sends as fast as it can", "/s"),
)

_SENDER = """
import os, socket, sys, time
pace, total = int(sys.argv[2]), int(sys.argv[3])
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.connect(os.environ["NOTIFY_SOCKET"])
begin = time.monotonic_ns()
for number in range(total):
    if pace and number % 10 == 0:  # what a queue holds by default: net.unix.max_dgram_qlen
        time.sleep(max(0, begin / 1e9 + number / pace - time.monotonic()))
    end.send(b"X_RDAGENT_ITERATION=%d\\nSTATUS=step %d\\nWATCHDOG=1" % (number, number))
with open(sys.argv[1], "a") as fifo:
    fifo.write(f"{total} {time.monotonic_ns() - begin}\\n")
"""


def bare(bench: Bench, scale: Scale) -> Values:
    """The same daemon when nobody tells anything."""
    with Rdagentd(bench, bench.crowd(RUNS)) as running:
        return {"notify_ping": _pings(running, scale.idle / 5)}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors have none."""
    if peer is not Rdagentd:
        return {}
    seconds = scale.idle
    total = int(PACE * seconds)
    senders = [_sender(bench, f"sender-{number}", PACE, total) for number in range(RUNS)]
    flood = _sender(bench, "flood", 0, total)
    with Rdagentd(bench, [*senders, flood]) as running:
        daemon, executor = running.pids()
        for sender in senders:
            running.start(sender.name)
        before = processes.cpu([daemon]), processes.cpu([executor])
        begin = time.monotonic()
        pings = _pings(running, seconds * 0.9)
        took = time.monotonic() - begin
        used = [processes.cpu([daemon]) - before[0], processes.cpu([executor]) - before[1]]
        told = [bench.told() for _ in senders]
        running.start(flood.name)
        alone = bench.told()
        _check(running, [sender.name for sender in (*senders, flood)], total)
    return {
        "notify_taken": Sample([RUNS * total / max(nanoseconds for _, nanoseconds in told) * 1e9]),
        "notify_ping": pings,
        "notify_daemon": Sample([used[0] / took]),
        "notify_executor": Sample([used[1] / took]),
        "notify_flood": Sample([alone[0] / alone[1] * 1e9]),
    }


def _sender(bench: Bench, name: str, pace: int, total: int) -> Program:
    words = ("/usr/bin/python3", "-I", "-S", "-c", _SENDER, str(bench.root / "fifo"), str(pace), str(total))
    return Program(name, words)


def _pings(running: Rdagentd, seconds: float) -> Sample:
    """Now and then, as clients come: who asks without a pause finds everything awake."""
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        begin = time.perf_counter()
        running.ping()
        took.append(time.perf_counter() - begin)
        time.sleep(0.002)
    return Sample(took)


def _check(running: Rdagentd, names: list[str], total: int) -> None:
    """The last word of each has come."""
    running.await_rest(names)
    wrong = [row["name"] for row in running.rows() if row["iteration"] != total - 1]
    if wrong:
        raise RuntimeError(f"the last of {total} messages is missing of {wrong}")
