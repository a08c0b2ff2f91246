"""What the workers of worker.sh say of themselves, and the comparison with what the daemon says of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdagentd.model.run import Run
from rdagentd.store.codec import decode
from rdagentd.supervisor.rows import run_row
from tests.harness import Client

PROGRAM = str(Path(__file__).with_name("worker.sh"))

UNSEEN = "lost: Docker was restarted"


@dataclass
class Own:
    """One run by its own account."""

    run: str
    generation: int
    lines: int = 0
    end: int | None = None


@dataclass
class Figures:
    """What was compared."""

    runs: int = 0
    removed: int = 0
    silent: int = 0
    harmed: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        text = f"{self.runs} runs ({self.silent} ended before their first line) and {self.bytes} bytes of output compared, "
        return f"{text}{self.harmed} runs may have had holes, {self.removed} more runs were removed"


def own_runs(directory: Path, name: str) -> dict[str, Own]:
    """A worker's own account. Fails if a run was executed twice, or met a process of an earlier one."""
    found: dict[str, Own] = {}
    path = directory / name
    for line in path.read_text().splitlines() if path.exists() else ():
        run, what, *rest = line.split()
        assert what != "contended", f"{name}: run {run} began while something of an earlier run was alive"
        if what == "start":
            assert run not in found, f"{name}: run {run} was executed twice"
            found[run] = Own(run, int(rest[0]))
        elif what == "line":
            found[run].lines += 1
            assert found[run].lines == int(rest[0]), f"{name}: run {run} wrote lines twice"
        else:
            assert found[run].end is None, f"{name}: run {run} ended twice"
            found[run].end = int(rest[0])
    return found


def expected(run: str, lines: int, pad: int) -> bytes:
    """What a run has written once it has written so many lines."""
    return b"".join(b"%s %d %s\n" % (run.encode(), number, b"0" * pad) for number in range(1, lines + 1))


def history(database: Path, name: str) -> list[dict[str, Any]]:
    """All runs of a worker that are kept, oldest first; `show` tells of the newest hundred."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT data, sum FROM runs WHERE worker = ? ORDER BY id", (name,)).fetchall()
    return [run_row(decode(data, checksum, Run)) for data, checksum in rows]


def taken(database: Path) -> dict[str, float]:
    """When the daemon came to know of the end of each run, in seconds since the epoch."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT run, at FROM events WHERE kind = 'exited'"))


@dataclass
class Accounts:
    """A daemon and what it keeps, for comparison."""

    client: Client
    database: Path
    figures: Figures = field(default_factory=Figures)


def compare(
    accounts: Accounts,
    name: str,
    own: dict[str, Own],
    pad: int,
    signals: set[str],
    harmed: Callable[[dict[str, Any]], bool] = lambda run: False,
) -> None:
    """Every run that either knows: exit status and output. signals: those that may have ended a run of this worker;
    harmed: runs of which nobody may know how they ended, if that is told, and of whose output some may be missing.
    """
    client, figures = accounts.client, accounts.figures
    runs = history(accounts.database, name)
    known = {run["id"]: run for run in runs}
    assert len(known) == len(runs), f"{name}: a run stands in the history twice"
    assert own.keys() <= known.keys(), f"{name}: runs forgotten: {own.keys() - known.keys()}"
    whole = b""
    for run in runs:
        text = client.log(name, run=run["id"])
        whole += text
        if not (harmed(run) and run["exit"]["kind"] == "lost" and run["exit"]["reason"].startswith(UNSEEN)):
            check_exit(name, run, own.get(run["id"]), signals)
        check = check_remains if harmed(run) else check_output
        figures.harmed += harmed(run)
        check(name, run["id"], text, own.get(run["id"]), pad)
        figures.runs += 1
        figures.silent += not text
        figures.bytes += len(text)
    assert client.log(name) == whole, f"{name}: the log is not that of its runs one after the other"


def check_exit(name: str, run: dict[str, Any], own: Own | None, signals: set[str]) -> None:
    """The exit status by the daemon's account against the worker's own."""
    ended = run["exit"]
    about = f"{name}: run {run['id']}, own account {own}, exit {ended}"
    assert ended is not None, about
    if own is not None and own.end is not None and ended["signal"] != "SIGKILL":
        assert ended["code"] == own.end and ended["kind"] in ("code", "timed_out"), about
    elif own is not None:
        assert ended["kind"] in ("signal", "timed_out") and ended["signal"] in signals, about
    elif ended["kind"] == "lost":
        assert run["pid"] is None and "never started" in ended["reason"], about
    elif ended["kind"] != "could_not_start":
        assert ended["signal"] in signals, about


def check_remains(name: str, run: str, text: bytes, own: Own | None, pad: int) -> None:
    """Of the output of a run with a hole: what is there is in order, nothing is doubled, and it is the run's own."""
    found = [int(number) for number in re.findall(rb"^%s (\d+) 0{%d}$" % (run.encode(), pad), text, re.MULTILINE)]
    assert found == sorted(set(found)), f"{name}: lines of run {run} are doubled or out of order: {found}"
    assert not found or (own is not None and found[-1] <= own.lines + 1), f"{name}: run {run}: {own}, {found[-1]} lines"


def check_output(name: str, run: str, text: bytes, own: Own | None, pad: int) -> None:
    """The captured output against the worker's own account: nothing missing, nothing doubled."""
    lines = own.lines if own else 0
    most = lines if own is None or own.end is not None else lines + 1  # killed before it could note the last one
    fits = any(text == expected(run, count, pad) for count in range(lines, most + 1))
    assert fits, f"{name}: run {run} wrote {lines} lines ({own}); captured are {text.count(10)}: …{text[-200:]!r}"
