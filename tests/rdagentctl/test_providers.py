"""rdagentctl providers: where each breaker stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rdagentctl.conftest import Ctl
from tests.rdagentctl.fake import FakeDaemon

BREAKER = {"errors": 20, "window": 60.0, "cooldown": 120.0}


def row(**fields: Any) -> dict[str, Any]:
    known = {"name": "openai", "phase": "closed", "why": "", "errors": 3, "breaker": BREAKER, "probe": None}
    return {**known, "due_in": None, "workers": 4, "waiting": 0, **fields}


@pytest.mark.parametrize(
    ("fields", "code", "shown"),
    [
        ({}, 0, "openai  closed   3 of 20  4        0        -"),
        (
            {"phase": "open", "errors": 0, "why": "20 errors within 60 s", "due_in": 95.0, "waiting": 3}, 1,
            "openai  open     0 of 20  4        3        20 errors within 60 s; one worker tries it in 1m35s",
        ),
        (
            {"phase": "half_open", "errors": 0, "probe": "agent", "waiting": 3}, 1,
            "openai  half-open  0 of 20  4        3        agent tries it",
        ),
        (
            {"phase": "half_open", "errors": 0}, 1,
            "openai  half-open  0 of 20  4        0        the next worker that needs it tries it",
        ),
    ],
)  # fmt: skip
def test_each_is_a_row(fake: FakeDaemon, ctl: Ctl, fields: dict[str, Any], code: int, shown: str) -> None:
    fake.answers = {"providers": lambda args: [row(**fields)]}
    done = ctl("providers")
    assert done.returncode == code
    heading, line = done.stdout.splitlines()
    assert heading.split() == ["NAME", "BREAKER", "ERRORS", "WORKERS", "WAITING", "DETAIL"]
    assert line == shown


def test_that_there_are_none_is_said(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"providers": lambda args: []}
    done = ctl("providers")
    assert (done.returncode, done.stdout) == (0, "no worker names a provider\n")
