"""What people write about checkpoints and snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.model.checkpoints import Checkpoints, Snapshot, Verify

from .reading import decode, refusal

RD_AGENT = {
    "files": "trace/__session__/{loop:int}/{step:int}_{name}", "order": ["loop", "step"], "verify": "signed-pickle",
    "key": "~/.rdagent/artifact_signing.key", "resume": ["rdagent", "--path", "{checkpoint}"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"files": "*.db"}, Checkpoints("*.db", ("mtime",), Verify.SIZE, None, 3, ())),
        ({"files": "*.db", "order": "mtime", "verify": "sqlite", "keep": 0},
         Checkpoints("*.db", ("mtime",), Verify.SQLITE, None, 0, ())),
        ({"files": "{n:int}", "order": "n", "resume": "run --from {checkpoint}"},
         Checkpoints("{n:int}", ("n",), resume=("run", "--from", "{checkpoint}"))),
        (RD_AGENT, Checkpoints(RD_AGENT["files"], ("loop", "step"), Verify.SIGNED_PICKLE, RD_AGENT["key"], 3,
                               ("rdagent", "--path", "{checkpoint}"))),
    ],
)  # fmt: skip
def test_a_table_says_where_checkpoints_are(written: dict[str, Any], meant: Checkpoints) -> None:
    assert decode(directory="/srv/w", checkpoints=written).checkpoints == meant
    assert decode().checkpoints is None


def test_a_snapshot_is_asked_for() -> None:
    assert decode(directory="/srv/w", snapshot={"git": True}).snapshot == Snapshot(True)
    assert decode().snapshot == Snapshot(False)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"checkpoints": {}}, "checkpoints.files: missing"),
        ({"checkpoints": {"files": "/etc/*"}}, "checkpoints.files: must be a path below the directory"),
        ({"checkpoints": {"files": "{x"}}, "checkpoints.files: '{x' is no field"),
        ({"checkpoints": {"files": "*", "order": ["loop"]}}, "checkpoints.order: loop: files has no such field"),
        ({"checkpoints": {"files": "*", "order": []}}, "checkpoints.order: is empty"),
        ({"checkpoints": {"files": "*", "verify": "signed-pickle"}}, "checkpoints.key: is missing"),
        ({"checkpoints": {"files": "*", "key": "k"}}, "checkpoints.key: is for verify = signed-pickle"),
        ({"checkpoints": {"path": "*"}}, "checkpoints.path: unknown key (did you mean files?)"),
        ({"checkpoints": {"files": "*"}, "directory": None}, "checkpoints: needs directory"),
        ({"snapshot": {"git": True}, "directory": None}, "snapshot: needs directory"),
        ({"checkpoints": {"files": "*"}, "container": {"image": "i"}}, "checkpoints: is for processes"),
        ({"snapshot": {"git": True}, "container": {"image": "i"}}, "snapshot: is for processes"),
    ],
)
def test_what_cannot_be_is_refused(written: dict[str, Any], told: str) -> None:
    told_all = refusal(**{"directory": "/srv/w", **written})
    assert any(line.startswith(told) for line in told_all), told_all
