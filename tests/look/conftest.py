"""What RD-Agent leaves: checkpoints, signed as its own are."""

from __future__ import annotations

import hashlib
import hmac
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

MAGIC = b"RDAGENT_SIGNED_PICKLE_V1\n"
FILES = "trace/__session__/{loop:int}/{step:int}_{name}"
STEPS = ("direct_exp_gen", "coding", "running", "feedback", "record")
KEY = bytes(range(32))


def signed(value: object, key: bytes = KEY) -> bytes:
    """As rdagent.core.serialization.dumps."""
    payload = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return MAGIC + hmac.new(key, payload, hashlib.sha256).digest() + payload


class Trace:
    """A worker's directory with a key, and checkpoints of some loops."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "key").write_bytes(KEY)

    def write(self, loop: int, step: int, at: float = 0) -> Path:
        path = self.top / f"trace/__session__/{loop}/{step}_{STEPS[step]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(signed({"loop": loop, "step": step, "much": "x" * 1000}))
        at = at or 1_000_000_000 + loop * 100 + step
        os.utime(path, (at, at))
        return path

    def loops(self, count: int) -> None:
        for loop in range(count):
            for step in range(len(STEPS)):
                self.write(loop, step)

    def wanted(self, **changes: Any) -> dict[str, Any]:
        return {
            "directory": str(self.top), "files": FILES, "order": ["loop", "step"], "verify": "signed-pickle", "key": "key",
            "since": 0, "most": 100, "whole": 1, "one": None, "keep": 3, "spare": None, **changes,
        }  # fmt: skip

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.top)) for path in self.top.glob("trace/**/*") if path.is_file())


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path)
