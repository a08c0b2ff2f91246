"""`rdagentctl analyse` as a program."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.rdagentctl.conftest import CTL, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, Stream

LOG = b"2026-01-01 10:00:00 ERROR step 1 failed\nstep took 12 s\nCurrent Cost: $0.5; Accumulated Cost: $0.5\n"


def answers(fake: FakeDaemon) -> None:
    item = {"offset": 0, "time": 1_767_261_600.0, "data": LOG, "run": "r1"}
    fake.answers = {"logs": lambda args: Stream([item] if args["stream"] == "out" else [])}


def test_a_page(fake: FakeDaemon, ctl: Ctl) -> None:
    answers(fake)
    done = ctl("logs", "analyse", "web", "--run", "-1", "--since", "@5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "web: 3 lines, 98\n  from 2026-01-01 10:00:00 to 2026-01-01 10:00:00, 0s\n\nerrors: 1\n"
    )
    assert "cost: $0.5000 in 1 call" in done.stdout
    assert done.stdout == ctl("analyse", "web").stdout
    assert fake.args("logs")[0] == {
        "name": "web", "stream": "out", "run": -1, "since": 5.0, "until": None, "tail": None, "follow": False, "runs": True,
    }  # fmt: skip


def test_json_of_both_streams(fake: FakeDaemon, ctl: Ctl) -> None:
    answers(fake)
    out, err = json.loads(ctl("analyse", "web", "--stream", "both", "--json").stdout)
    assert (out["worker"], out["stream"], out["lines"], out["errors"]["count"]) == ("web", "out", 3, 1)
    assert (err["stream"], err["lines"], err["first"], err["rates"]["lines"]) == ("err", 0, None, [])


def test_a_worker_called_analyse_has_logs_too(fake: FakeDaemon, ctl: Ctl) -> None:
    answers(fake)
    assert ctl("logs", "analyse").stdout.encode() == LOG
    assert fake.args("logs")[0]["name"] == "analyse"


def test_a_daemon_that_goes_away_in_between(fake: FakeDaemon) -> None:
    """The rest comes from the next one; nothing is counted twice."""
    fake.answers = {
        "logs": lambda args: Stream([{"offset": 0, "time": 1.0, "data": LOG[:50], "run": "r"}], then="stay")
    }
    client = subprocess.Popen(
        [*CTL, "--socket", fake.path, "analyse", "web", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    fake.wait_for("logs")
    fake.close()
    os.unlink(fake.path)

    def again(args: dict[str, Any]) -> Stream:
        begin = args.get("offset", 0)
        return Stream([{"offset": begin, "time": 1.0, "data": LOG[begin:], "run": "r"}])

    with FakeDaemon(fake.path, {"logs": again}):
        out, err = client.communicate(timeout=50)
    assert client.returncode == 0, err
    (told,) = json.loads(out)
    assert (told["bytes"], told["lines"]) == (len(LOG), 3)
