"""What outlives the proxy: the rules of each run, and what was paused with it. One JSON file, replaced as a whole."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from rdagentd.dockerproxy.rules import Rules, from_wire, to_wire


@dataclass
class Kept:
    """A run: its rules, and the ids of the containers that were paused with it."""

    rules: Rules
    paused: list[str]


def load(path: Path) -> dict[str, Kept]:
    """The runs in the file; none if there is no file. Raises ValueError if it is damaged."""
    try:
        runs = json.loads(path.read_bytes())
        return {run: Kept(from_wire(one["rules"]), list(one["paused"])) for run, one in runs.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read {path}: {error}; move it away: the daemon tells the rules again") from None


def save(path: Path, runs: dict[str, Kept]) -> None:
    """Writes the file; after a crash the old one or this one is there, whole. Raises OSError."""
    text = json.dumps({run: {"rules": to_wire(one.rules), "paused": one.paused} for run, one in runs.items()})
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
