"""The list of checkpoints, and which of them go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rdagentd.look.checkpoints import checkpoints, prune
from tests.look.conftest import Trace


def test_the_newest_is_told_first_and_looked_at_until_one_is_whole(trace: Trace) -> None:
    trace.loops(12)
    newest = trace.write(12, 1)
    newest.write_bytes(newest.read_bytes()[:-1])
    told = checkpoints(trace.wanted(most=4))
    assert told["count"] == 61
    assert [(one["path"].removeprefix("trace/__session__/"), one["problem"]) for one in told["found"]] == [
        ("12/1_coding", "its signature does not fit: cut off, changed, or signed with another key"),
        ("11/4_record", ""), ("11/3_feedback", None), ("11/2_running", None),
    ]  # fmt: skip
    assert [one["problem"] for one in checkpoints(trace.wanted(most=4, whole=2))["found"]][1:3] == ["", ""]
    (only,) = checkpoints(trace.wanted(one="trace/__session__/3/2_running"))["found"]
    assert only["problem"] == "" and only["at"] == 1_000_000_302 * 10**9
    assert checkpoints(trace.wanted(one="../key"))["found"] == []


def test_the_newest_loops_stay(trace: Trace) -> None:
    trace.loops(6)
    told = prune(trace.wanted())
    assert told["removed"] == 15 and told["left"] == 15 and told["bytes"] > 15000
    assert {name.split("/")[2] for name in trace.names()} == {"3", "4", "5"}
    assert sorted(path.name for path in (trace.top / "trace/__session__").iterdir()) == ["3", "4", "5"]
    assert prune(trace.wanted())["removed"] == 0


def test_the_newest_that_is_whole_stays_however_old_and_so_does_the_one_in_use(trace: Trace) -> None:
    trace.loops(6)
    for path in trace.top.glob("trace/__session__/[2-5]/*"):
        path.write_bytes(b"torn")
    prune(trace.wanted(spare="trace/__session__/0/2_running"))
    kept = [name.removeprefix("trace/__session__/") for name in trace.names() if name.split("/")[2] in "012"]
    assert kept == ["0/2_running", "1/4_record"]


def test_nothing_goes_where_nothing_is_whole(trace: Trace) -> None:
    trace.loops(6)
    for path in trace.top.glob("trace/__session__/*/*"):
        path.write_bytes(b"torn")
    assert prune(trace.wanted())["removed"] == 0


def test_those_of_an_earlier_life_go_first_whatever_their_numbers(trace: Trace) -> None:
    for loop in (28, 29, 30):
        trace.write(loop, 0, at=1000)
    for loop in (0, 1):
        trace.write(loop, 0, at=2000)
    prune(trace.wanted(since=1500 * 10**9))
    assert [name.split("/")[2] for name in trace.names()] == ["0", "1", "30"]


def test_by_time_each_file_is_one(trace: Trace) -> None:
    for number in range(5):
        trace.write(0, number)
    prune(trace.wanted(order=["mtime"], keep=2))
    assert [Path(name).name for name in trace.names()] == ["3_feedback", "4_record"]


def test_a_link_leads_neither_to_a_checkpoint_nor_to_something_to_remove(trace: Trace, tmp_path: Path) -> None:
    outside = Trace(tmp_path / "outside" if (tmp_path / "outside").mkdir() is None else tmp_path)
    outside.loops(6)
    (trace.top / "trace").mkdir()
    (trace.top / "trace" / "__session__").symlink_to(outside.top / "trace" / "__session__")
    assert checkpoints(trace.wanted())["count"] == 0
    assert prune(trace.wanted())["removed"] == 0
    assert len(outside.names()) == 30


def test_the_program_tells_json_or_why_it_cannot(trace: Trace) -> None:
    trace.loops(1)

    def look(what: str, **changes: object) -> subprocess.CompletedProcess[str]:
        argument = json.dumps(trace.wanted(**changes))
        return subprocess.run(
            (sys.executable, "-I", "-m", "rdagentd.look", what, argument), check=False, capture_output=True, text=True
        )

    assert json.loads(look("checkpoints").stdout)["found"][0]["problem"] == ""
    assert json.loads(look("prune").stdout)["left"] == 5
    told = look("checkpoints", directory="/no/such")
    assert (told.returncode, told.stdout.strip(), told.stderr) == (
        1,
        "[Errno 2] No such file or directory: '/no/such'",
        "",
    )
