"""What the tests of the store share: an open store in a directory of its own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state.db")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    store = Store(path)
    store.open()
    yield store
    store.close()


@pytest.fixture
def dice() -> random.Random:
    """Random, and the same again with RDAGENTD_SEED."""
    seed = int(os.environ.get("RDAGENTD_SEED") or random.randrange(1 << 32))
    print(f"RDAGENTD_SEED={seed}")
    return random.Random(seed)
