"""`apply` and `reload`: documents as they are, changes as a diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rdagentctl.conftest import Ctl
from tests.rdagentctl.fake import FakeDaemon

CHANGES = [
    {"name": "new", "action": "create", "fields": [{"field": "command", "old": None, "new": ["ls"]}]},
    {"name": "live", "action": "update", "fields": [{"field": "restart.delay", "old": 10.0, "new": 2.5}]},
    {"name": "again", "action": "restart", "fields": [
        {"field": "limits.nofile", "old": None, "new": {"soft": 10, "hard": 20}},
        {"field": "environment.KEY", "old": "…", "new": "…"},
    ]},
    {"name": "gone", "action": "remove", "fields": []},
    {"name": "same", "action": "none", "fields": []},
]  # fmt: skip
DIFF = """\
+ new is new
~ live changes, without a restart
    restart.delay: 10 → 2.5
~ again changes with a new run
    limits.nofile: - → {soft = 10, hard = 20}
    environment.KEY: "…" → "…"
- gone is removed
"""


def test_files_directories_and_stdin(fake: FakeDaemon, ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/b.toml").write_text("x = 1")
    (tmp_path / "d/a.toml").write_text("y = [1.5, 'é']")
    (tmp_path / "d/.hidden.toml").write_text("not toml")
    (tmp_path / "d/readme").write_text("not toml")
    fake.answers = {"apply": lambda args: {"changes": CHANGES}}
    done = ctl("apply", "d", "d/b.toml", "-", stdin="z = true")
    assert done.stdout == DIFF + "4 changes, 1 worker unchanged\n"
    directory = str(tmp_path / "d")
    assert fake.args("apply") == [
        {
            "documents": [
                {"where": "d/a.toml", "base": directory, "document": {"y": [1.5, "é"]}},
                {"where": "d/b.toml", "base": directory, "document": {"x": 1}},
                {"where": "d/b.toml", "base": directory, "document": {"x": 1}},
                {"where": "standard input", "base": str(tmp_path), "document": {"z": True}},
            ],
            "dry_run": False,
            "prune": False,
        }
    ]


def test_dry_run_and_prune(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"apply": lambda args: {"changes": CHANGES}}
    done = ctl("apply", "-", "--dry-run", "--prune")
    assert done.stdout == DIFF + "4 changes, 1 worker unchanged; dry run: nothing was done\n"
    assert (fake.args("apply")[0]["dry_run"], fake.args("apply")[0]["prune"]) == (True, True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a = ", "cannot read x.toml: invalid value (at end of document)"),
        (b"a = '\xff'", "cannot read x.toml: byte 5 is not UTF-8"),
        (b"a = 2026-01-31", "cannot apply: a value cannot be sent"),
        (b"a = 99999999999999999999", "cannot apply: a value cannot be sent"),
        (b"a = " + b"[" * 5000, "cannot read x.toml: "),
        (b"a = '" + b"x" * (1 << 20) + b"'", "at most 1048576 are accepted"),
    ],
)
def test_files_that_cannot_be_sent(ctl: Ctl, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    done = ctl("apply", "x.toml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def test_a_directory_without_files_is_a_slip(ctl: Ctl, tmp_path: Path) -> None:
    done = ctl("apply", "--prune", str(tmp_path))
    assert (done.returncode, done.stderr) == (2, f"cannot apply {tmp_path}: there is no *.toml in it\n")


def test_a_file_that_is_not_there(ctl: Ctl) -> None:
    done = ctl("apply", "nope.toml")
    assert (done.returncode, done.stderr) == (2, "cannot read nope.toml: no such file or directory\n")


def test_reload_shows_workers_whose_file_went_or_came_back(fake: FakeDaemon, ctl: Ctl) -> None:
    changes = [{"name": name, "action": name, "fields": []} for name in ("stop", "start")]
    fake.answers = {"reload": lambda args: {"changes": changes}}
    assert ctl("reload").stdout == (
        "- stop is stopped: its file is gone; `rdagentctl remove` forgets it\n"
        "+ start starts: its file is back\n2 changes, 0 workers unchanged\n"
    )


def test_reload_shows_the_same(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"reload": lambda args: {"changes": CHANGES[:2]}}
    assert ctl("reload").stdout == "".join(DIFF.splitlines(True)[:3]) + "2 changes, 0 workers unchanged\n"
