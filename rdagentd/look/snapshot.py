"""A git work tree as it is, uncommitted work too, kept in one file; and the way back. git-bundle(1).

What git ignores is not in it, and of a repository within it only the commit. Hooks and file system monitors of the repository
are not run: whoever can write to it could have set them.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from typing import Any

KEEP = 3
"""Snapshots of a worker that are kept."""

PLACE = "SNAPSHOTS_DIRECTORY"

_REF = "refs/rdagentd/snapshot"
_BEFORE = "refs/rdagentd/before-restore"
_OURS = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "gc.auto=0",
)
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-head-ok")
_WHO = {
    f"GIT_{who}_{what}": text
    for who in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "rdagentd"), ("EMAIL", "rdagentd"))
}


class SnapshotError(Exception):
    """It cannot be made, or there is none, for the reason in the text."""


def bundle(wanted: dict[str, Any]) -> dict[str, Any]:
    """Keeps the work tree at `directory` under the name of a run; older snapshots go. Raises SnapshotError."""
    tree, run, place = wanted["directory"], wanted["run"], os.environ[PLACE]
    with suppress(SnapshotError):  # asked for twice
        return _note(place, run)
    _top(tree)
    commit = _commit_all(tree, _head(tree)["commit"], f"as it was before run {run}")
    _git(tree, "update-ref", _REF, commit)
    note = {**_head(tree), "run": run, "snapshot": commit, "directory": tree}
    made = os.path.join(place, f".{run}.bundle")
    heads = ["HEAD", "--branches", "--tags"] if note["commit"] else []
    _git(tree, "bundle", "create", "--quiet", made, _REF, *heads)
    with open(os.path.join(place, f".{run}.json"), "w") as file:
        json.dump(note, file)
    for suffix in ("bundle", "json"):  # the note last: what has one is whole
        os.rename(os.path.join(place, f".{run}.{suffix}"), os.path.join(place, f"{run}.{suffix}"))
    for old in _kept(place)[KEEP:]:
        for suffix in ("json", "bundle"):
            os.unlink(os.path.join(place, f"{old}.{suffix}"))
    return note


def restore(wanted: dict[str, Any]) -> dict[str, Any]:
    """Makes the work tree, HEAD and its branch what they were; branches that are gone come back. run: None for the newest.

    As it is now it stays reachable as refs/rdagentd/before-restore. Raises SnapshotError.
    """
    tree, place = wanted["directory"], os.environ[PLACE]
    names = _kept(place)
    if not names:
        raise SnapshotError("there is no snapshot")
    run = wanted["run"] or names[0]
    if run not in names:
        raise SnapshotError(f"there is no snapshot of run {run}; there are those of {', '.join(names)}")
    note = _note(place, run)
    if not _is_top(tree):
        _git(tree, "init", "--quiet")
    _git(
        tree,
        "update-ref",
        _BEFORE,
        _commit_all(tree, _head(tree)["commit"], f"as it was before run {run} was restored"),
    )
    heads = ("+refs/heads/*:refs/rdagentd/heads/*",) if note["commit"] else ()
    _git(tree, *_FETCH, os.path.join(place, f"{run}.bundle"), f"+{_REF}:{_REF}", *heads)
    _git(tree, "add", "--all")  # so that what came later goes
    _git(tree, "read-tree", "--reset", "-u", note["snapshot"])
    _heads(tree, note)
    _git(tree, "read-tree", note["commit"] or "--empty")
    return note


def _heads(tree: str, note: dict[str, Any]) -> None:
    """HEAD and its branch as they were, and the branches that are missing."""
    if note["branch"]:
        _git(tree, "symbolic-ref", "HEAD", note["branch"])
        if note["commit"]:
            _git(tree, "update-ref", note["branch"], note["commit"])
    elif note["commit"]:
        _git(tree, "update-ref", "--no-deref", "HEAD", note["commit"])
    for line in _git(tree, "for-each-ref", "--format=%(refname) %(objectname)", "refs/rdagentd/heads/").splitlines():
        ref, commit = line.split()
        branch = ref.replace("rdagentd/heads", "heads", 1)
        if not _try(tree, "rev-parse", "--verify", "--quiet", branch):
            _git(tree, "update-ref", branch, commit)
        _git(tree, "update-ref", "-d", ref)


def _commit_all(tree: str, parent: str | None, text: str) -> str:
    """A commit of all that is there and not ignored; index and branches stay as they are."""
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": os.path.join(scratch, "index")}
        _git(tree, "add", "--all", **index)
        made = _git(tree, "write-tree", **index)
    return _git(tree, "commit-tree", made, *(("-p", parent) if parent else ()), "-m", text, **_WHO)


def _head(tree: str) -> dict[str, Any]:
    """branch: the ref that HEAD names, None if it names a commit; commit: None in a repository without one."""
    commit = _try(tree, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    return {"branch": _try(tree, "symbolic-ref", "--quiet", "HEAD"), "commit": commit}


def _top(tree: str) -> None:
    top = _git(tree, "rev-parse", "--show-toplevel")
    if os.path.realpath(top) != os.path.realpath(tree):
        raise SnapshotError(f"{tree} is not the top of a git work tree: that is {top}")


def _is_top(tree: str) -> bool:
    try:
        _top(tree)
    except SnapshotError:
        return False
    return True


def _kept(place: str) -> list[str]:
    """Names of runs, the newest first: they are ordered by time."""
    return sorted(
        (name[: -len(".json")] for name in os.listdir(place) if name.endswith(".json") and name[0] != "."), reverse=True
    )


def _note(place: str, run: str) -> dict[str, Any]:
    try:
        with open(os.path.join(place, f"{run}.json"), "rb") as file:
            note: dict[str, Any] = json.load(file)
            return note
    except (OSError, ValueError) as error:
        raise SnapshotError(f"the snapshot of run {run} cannot be read: {error}") from None


def _try(tree: str, *words: str) -> str | None:
    try:
        return _git(tree, *words)
    except SnapshotError:
        return None


def _git(tree: str, *words: str, **environment: str) -> str:
    """What git says. Raises SnapshotError with its last line."""
    env = {**os.environ, **environment, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        env.pop(name, None)
    try:
        done = subprocess.run(("git", "-C", tree, *_OURS, *words), env=env, check=False, capture_output=True, text=True)
    except OSError as error:
        raise SnapshotError(f"git cannot be run: {(error.strerror or '').lower()}") from None
    if done.returncode:
        raise SnapshotError(f"git {words[0]}: {(done.stderr.strip().splitlines() or ['it failed'])[-1][:400]}")
    return done.stdout.strip()
