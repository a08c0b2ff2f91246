"""A work tree that was destroyed comes back as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rdagentd.look import snapshot
from rdagentd.look.snapshot import SnapshotError, bundle, restore


class Tree:
    """A repository with a commit, and work that is not committed."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("code.py", "1")
        self.write(".gitignore", "ignored\n")
        self.commit("mine")
        self.git("branch", "other")

    def git(self, *words: str) -> str:
        name = ("-c", "user.name=me", "-c", "user.email=me@x", "-c", "safe.directory=*")
        done = subprocess.run(("git", *name, *words), cwd=self.top, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.top / name).parent.mkdir(exist_ok=True)
        (self.top / name).write_text(text)

    def commit(self, text: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", text)
        return self.git("rev-parse", "HEAD")

    def state(self) -> dict[str, Any]:
        files = {
            str(path.relative_to(self.top)): path.read_text()
            for path in self.top.rglob("*")
            if path.is_file() and ".git" not in path.parts[len(self.top.parts) :][:1]
        }
        return {
            "files": files, "head": self.git("rev-parse", "HEAD"), "branch": self.git("symbolic-ref", "-q", "HEAD"),
            "status": self.git("status", "--porcelain"), "branches": self.git("for-each-ref", "refs/heads"),
        }  # fmt: skip

    def keep(self, run: str) -> dict[str, Any]:
        return bundle({"directory": str(self.top), "run": run})

    def back(self, run: str | None = None) -> dict[str, Any]:
        return restore({"directory": str(self.top), "run": run})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "snapshots").mkdir()
    monkeypatch.setenv(snapshot.PLACE, str(tmp_path / "snapshots"))
    return tmp_path / "snapshots"


@pytest.fixture
def tree(tmp_path: Path, place: Path) -> Tree:
    return Tree(tmp_path / "tree")


def test_a_snapshot_changes_nothing_in_the_work_tree(tree: Tree) -> None:
    tree.write("code.py", "2")
    tree.write("new.py", "3")
    tree.git("add", "new.py")
    before = tree.state(), (tree.top / ".git" / "index").read_bytes()
    note = tree.keep("r1")
    assert (tree.state(), (tree.top / ".git" / "index").read_bytes()) == before
    assert (note["branch"], note["commit"]) == ("refs/heads/main", before[0]["head"])


def test_commits_that_were_reset_and_work_that_was_lost_come_back(tree: Tree) -> None:
    tree.write("code.py", "2")
    tree.commit("user work")
    tree.write("code.py", "not committed")
    tree.write("sub/new.py", "nor this")
    tree.write("ignored", "x")
    before = tree.state()
    tree.keep("r1")
    tree.git("reset", "-q", "--hard", "HEAD~1")
    tree.git("branch", "-D", "other")
    shutil.rmtree(tree.top / "sub")
    tree.write("rubbish", "of the agent")
    tree.commit("by the agent")
    tree.git("checkout", "-q", "--detach")
    tree.back()
    assert tree.state() == before
    rubbish = tree.git("show", "refs/rdagentd/before-restore:rubbish")
    assert rubbish == "of the agent", "what was there is still to be had"


def test_a_repository_that_is_gone_comes_back(tree: Tree) -> None:
    tree.write("new.py", "3")
    before = tree.state()
    tree.keep("r1")
    shutil.rmtree(tree.top / ".git")
    (tree.top / "code.py").unlink()
    tree.back("r1")
    assert tree.state() == before


def test_a_repository_without_a_commit_is_kept_too(tmp_path: Path, place: Path) -> None:
    top = tmp_path / "empty"
    top.mkdir()
    subprocess.run(("git", "init", "-q", "-b", "main", str(top)), check=True)
    (top / "first").write_text("1")
    bundle({"directory": str(top), "run": "r1"})
    (top / "first").unlink()
    note = restore({"directory": str(top), "run": None})
    assert (top / "first").read_text() == "1" and note["commit"] is None


def test_a_detached_head_is_detached_again(tree: Tree) -> None:
    tree.git("checkout", "-q", "--detach")
    head = tree.git("rev-parse", "HEAD")
    tree.keep("r1")
    tree.git("checkout", "-q", "main")
    tree.write("code.py", "2")
    moved = tree.commit("on main")
    tree.back()
    assert (tree.top / ".git" / "HEAD").read_text().strip() == head
    assert tree.git("rev-parse", "main") == moved, "a branch that was not HEAD's is left alone"


def test_the_last_three_are_kept_and_one_of_them_can_be_chosen(tree: Tree, place: Path) -> None:
    for number in range(5):
        tree.write("code.py", str(number))
        tree.keep(f"r{number}")
    assert sorted(os.listdir(place)) == [f"r{n}.{suffix}" for n in (2, 3, 4) for suffix in ("bundle", "json")]
    tree.back("r2")
    assert (tree.top / "code.py").read_text() == "2"
    with pytest.raises(SnapshotError, match="no snapshot of run r1; there are those of r4, r3, r2"):
        tree.back("r1")


def test_asked_twice_it_is_made_once(tree: Tree) -> None:
    first = tree.keep("r1")
    tree.write("code.py", "already the run's own")
    assert tree.keep("r1") == first


def test_what_is_no_work_tree_is_refused(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(SnapshotError, match="not a git repository"):
        bundle({"directory": str(tmp_path / "plain"), "run": "r1"})
    (tree.top / "sub").mkdir()
    with pytest.raises(SnapshotError, match="is not the top of a git work tree"):
        bundle({"directory": str(tree.top / "sub"), "run": "r1"})
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        tree.back()


def test_neither_hooks_nor_monitors_of_the_repository_are_run(tree: Tree, tmp_path: Path) -> None:
    mark = tmp_path / "hooked"
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        hook = tree.top / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    tree.git("config", "core.fsmonitor", f"touch {mark};")
    tree.keep("r1")
    tree.back()
    assert not mark.exists()
