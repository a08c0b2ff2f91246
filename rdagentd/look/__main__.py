"""`python3 -I -m rdagentd.look WHAT ARGUMENT`: ARGUMENT and the answer are JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from rdagentd.executor.environment import read_environment
from rdagentd.look.checkpoints import checkpoints, prune
from rdagentd.look.picture import picture
from rdagentd.look.preflight import lacking
from rdagentd.look.snapshot import SnapshotError, bundle, restore
from rdagentd.look.told import told
from rdagentd.look.values import values


def _preflight(wanted: dict[str, Any]) -> list[str]:
    environment = dict(os.environb)
    problems = []
    for path in wanted["files"]:
        try:
            read_environment(path, environment, dict.fromkeys(wanted["fixed"]))
        except OSError as error:
            problems.append(f"cannot read {path}: {error.strerror}")
        except ValueError as error:
            problems.append(f"cannot read {path}: {error}")
    seen = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    return problems + lacking(wanted, seen)


def _values(wanted: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return values(wanted["places"], wanted["since"])


WHAT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "preflight": _preflight,
    "values": _values,
    "told": told,
    "checkpoints": checkpoints,
    "prune": prune,
    "bundle": bundle,
    "restore": restore,
    "picture": picture,
}


def main(what: str, argument: str) -> int:
    """Prints what is seen; if nothing can be, why, and returns 1."""
    try:
        seen = WHAT[what](json.loads(argument))
    except (OSError, ValueError, RecursionError, SnapshotError) as error:
        print(error)
        return 1
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
