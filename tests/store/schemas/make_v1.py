"""Made v1.db, the database of schema 1 as it was released. Kept to tell what is in it; never to be changed.

`python -m tests.store.schemas.make_v1 FILE` writes it anew, for a release that has not happened yet.
"""

from __future__ import annotations

import sys

from rdagentd.model.run import Exit, ExitKind, Run, Usage
from rdagentd.model.spec import Breaker, Limits, Log, Policy, Queue, Restart, Rlimit, Spec, Stop
from rdagentd.model.worker import Reason, State, Then, Want, Worker
from rdagentd.store.store import Store
from rdagentd.store.writes import AddEvent, SaveRun, SaveSpec, SaveWorker, SetMeta

ONE = Rlimit(1 << 20, None)
LIMITS = ("address_space", "core", "cpu_time", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss")
FULL_SPEC = Spec(
    name="full",
    command=("/usr/bin/ralph", "run", "--prompt", "größe"),
    directory="/srv/full",
    environment={"API_KEY": "k", "PATH": "/usr/bin"},
    environment_file=("/etc/full.env",),
    user="agent",
    group="agents",
    umask=0o077,
    nice=5,
    restart=Restart(Policy.ON_FAILURE, 1.5, 2.0, 60.0, 0.1, 3, 900.0, (0, 3), (64,), (75,), Breaker(4, 30.0, 90.0)),
    stop=Stop(("SIGINT", "SIGTERM"), 1.0, 5.0),
    timeout=3600.0,
    kill_after=4.0,
    queue=Queue("gpu", 7),
    limits=Limits(**dict.fromkeys(LIMITS, ONE), rtprio=ONE, rttime=ONE, sigpending=ONE, stack=Rlimit(None, None)),
    log=Log(1 << 20, 1 << 18, True),
    labels={"team": "alpha"},
)
FULL_RUN = Run(
    id="0198c0ffee01",
    worker="full",
    revision=2,
    attempt=3,
    pid=4242,
    start_ticks=123456,
    started_at=1767225600.25,
    ended_at=1767225700.5,
    exit=Exit(ExitKind.SIGNAL, None, "SIGSEGV", True, None, None, "it crashed"),
    usage=Usage(1.25, 0.5, 1 << 24),
    log_start={"out": 10, "err": 20},
    log_end={"out": 110, "err": 120},
)
FULL = Worker(
    name="full",
    spec=FULL_SPEC,
    owner=1000,
    revision=2,
    want=Want.UP,
    state=State.BACKOFF,
    reason=Reason("backoff", "it starts again in 3 s"),
    run=FULL_RUN,
    attempt=3,
    restarts=2,
    ends=(10.5, 20.5),
    due=30.5,
    deadline=3600.5,
    time_left=12.5,
    step=1,
    cause=ExitKind.TIMED_OUT,
    then=Then.START,
    order=9,
    half_open=True,
)
PLAIN = Worker("plain", Spec("plain", ("/bin/true",)), 0)
EARLIER = Run(
    "0198c0ffee00", "full", 1, exit=Exit(ExitKind.COULD_NOT_START, stage="exec", errno=2, reason="no such file")
)
OLD_SPEC = Spec("full", ("/bin/false",))
META = {"epoch": "e-1", "boot_id": "b-1"}
EVENT = AddEvent(
    1767225700.5, "full", "0198c0ffee01", "ended", "it crashed", 1000, {"signal": "SIGSEGV", "runs": [1, None]}
)
WRITES = (
    *(SetMeta(key, value) for key, value in META.items()),
    SaveSpec("full", 1, OLD_SPEC, 1767225500.0, 0),
    SaveSpec("full", 2, FULL_SPEC, 1767225550.5, 1000),
    SaveSpec("plain", 1, PLAIN.spec, 1767225551.0, 0),
    SaveRun(EARLIER),
    SaveRun(FULL_RUN),
    SaveWorker(FULL),
    SaveWorker(PLAIN),
    EVENT,
)

if __name__ == "__main__":
    store = Store(sys.argv[1])
    store.open()
    store.commit(WRITES).result()
    store.close()
