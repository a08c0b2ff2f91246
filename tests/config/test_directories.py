"""What people write about a worker's own directories."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.model.directories import CacheDirectory, StateDirectory

from .reading import decode, refusal


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"state": {}}, StateDirectory()), ({"state": {"quota": "10G"}}, StateDirectory(10 << 30)),
        ({"state": {"quota": "unlimited"}}, StateDirectory()),
        ({"cache": {}}, CacheDirectory(100 * 10**9, 86400.0)),
        ({"cache": {"size": "1G", "age": "7d"}}, CacheDirectory(1 << 30, 604800.0)),
        ({"cache": {"size": "unlimited", "age": "unlimited"}}, CacheDirectory(None, None)),
    ],
)  # fmt: skip
def test_a_table_is_a_directory(written: dict[str, Any], meant: object) -> None:
    spec = decode(**written)
    assert next(value for value in (spec.state, spec.cache) if value is not None) == meant
    assert decode().state is decode().cache is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"state": {"size": "1G"}}, "state.size: unknown key (did you mean quota?)"),
        ({"state": True}, "state: "),
        ({"state": {"quota": "1K"}}, "state.quota: '1K' is too small"),
        ({"cache": {"age": 0}}, "cache.age: must be more than 0"),
        ({"cache": {}, "container": {"image": "i"}}, "cache: is for processes"),
    ],
)
def test_what_cannot_be_is_refused(written: dict[str, Any], told: str) -> None:
    assert any(line.startswith(told) for line in refusal(**written)), refusal(**written)
