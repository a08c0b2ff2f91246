"""Points in time as people type them."""

from __future__ import annotations

import time
from datetime import datetime, tzinfo
from typing import Self

import pytest

from rdagentctl.failure import UsageError
from rdagentctl.times import point


def test_ago() -> None:
    before = time.time()
    at = point("--since", "10m")
    assert at is not None
    assert before - 600 <= at <= time.time() - 600


class Noon(datetime):
    """A day that does not end meanwhile."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 1, 31, 12, tzinfo=tz)


def test_named_days_and_clock_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdagentctl.times.datetime", Noon)
    assert point("--since", "today") == datetime(2026, 1, 31).timestamp()
    assert point("--since", "14:30") == datetime(2026, 1, 31, 14, 30).timestamp()
    assert point("--since", "yesterday") == datetime(2026, 1, 30).timestamp()


def test_iso_and_epoch() -> None:
    assert point("--since", "2026-01-31T14:30") == datetime(2026, 1, 31, 14, 30).timestamp()
    assert point("--since", "2026-01-31T14:30:00+00:00") == 1769869800.0
    assert point("--since", "2026-01-31") == datetime(2026, 1, 31).timestamp()
    assert point("--since", "@12.5") == 12.5
    assert point("--since", None) is None


@pytest.mark.parametrize("text", ["soon", "25:99", "2026-13-01", "@x", ""])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read --until"):
        point("--until", text)
