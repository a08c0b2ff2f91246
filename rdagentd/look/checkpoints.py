"""Which checkpoints a worker has, the newest first; which are whole; and removing those that nobody will go on from."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from rdagentd.look.paths import Entry, Value, find, newest_first, parent
from rdagentd.look.verify import verdict


def checkpoints(wanted: dict[str, Any]) -> dict[str, Any]:
    """The newest `most`, each with a verdict until `whole` of them were found to be whole.

    wanted: directory, files, order, verify, key, since (nanoseconds since the epoch; older ones come behind), most, whole; one:
    the path of the only one that counts, or None.
    """
    entries = [entry for entry in _entries(wanted) if wanted["one"] in (None, entry.path)]
    told, whole = [], 0
    for entry in entries[: wanted["most"]]:
        problem = _problem(wanted, entry) if whole < wanted["whole"] else None
        whole += problem == ""
        told.append({"path": entry.path, "at": entry.at, "size": entry.size, "problem": problem})
    return {"found": told, "count": len(entries)}


def prune(wanted: dict[str, Any]) -> dict[str, Any]:
    """Removes all but the newest `keep` loops (the first field of the order; by mtime each file is one).

    The newest that is whole stays, and `spare`, a path. Where none is whole all stay: somebody may mend one.
    """
    entries = _entries(wanted)
    loops = list(dict.fromkeys(_loop(wanted, entry) for entry in entries))
    kept = set(loops[: wanted["keep"]])
    gone = [entry for entry in entries if _loop(wanted, entry) not in kept]
    if gone:
        best = next((entry for entry in entries if not _problem(wanted, entry)), None)
        gone = [entry for entry in gone if best is not None and entry.path not in (best.path, wanted["spare"])]
    removed = [entry.size for entry in gone if _remove(wanted["directory"], entry.path)]
    newest = entries[0].at if entries else None
    return {"removed": len(removed), "bytes": sum(removed), "left": len(entries) - len(removed), "newest": newest}


def _entries(wanted: dict[str, Any]) -> list[Entry]:
    entries = find(wanted["directory"], wanted["files"])
    return newest_first(entries, tuple(wanted["order"]), wanted["since"])


def _problem(wanted: dict[str, Any], entry: Entry) -> str:
    key = os.path.join(wanted["directory"], os.path.expanduser(wanted["key"] or ""))
    return verdict(wanted["directory"], entry.path, wanted["verify"], key)


def _loop(wanted: dict[str, Any], entry: Entry) -> tuple[bool, Value]:
    """Which loop it is of; of an earlier life, which began before `since`, they are others."""
    by = wanted["order"][0]
    return entry.at >= wanted["since"], entry.path if by == "mtime" else entry.fields[by]


def _remove(directory: str, path: str) -> bool:
    """Also the directory that is empty then."""
    try:
        with parent(directory, path) as (fd, name):
            os.unlink(name, dir_fd=fd)
        if own := path.rpartition("/")[0]:
            with suppress(OSError), parent(directory, own) as (fd, name):  # something else is in it
                os.rmdir(name, dir_fd=fd)
    except OSError:
        return False
    return True
