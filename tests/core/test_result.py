"""What a run came to: the first rule that holds, else what is said otherwise, else the exit code."""

from __future__ import annotations

import pytest

from rdagentd.core.restarts import succeeded
from rdagentd.core.result import Found, is_asked, judged, places
from rdagentd.model.result import Outcome, Result, Rule
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Restart

DONE, BROKEN = Outcome.COMPLETED, Outcome.FAILED
ZERO = Exit(ExitKind.CODE, 0, reason="exited with code 0")
SAID = Rule(DONE, "it says so", pattern="promise kept")
NONE = Rule(BROKEN, "", file="m_*.json", path="n", equals=0)
HALF = Rule(BROKEN, "half", file="m_*.json", path="x.y", equals=True)
RULES = Result((SAID, NONE, HALF))


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (Found(b"a promise kept"), DONE, "exited with code 0, and completed: it says so"),
        (Found(b"promise kept", {("m_*.json", "n"): 0}), DONE, "exited with code 0, and completed: it says so"),
        (Found(b"", {("m_*.json", "n"): 0}), BROKEN, "exited with code 0, but failed: n is 0 in m_*.json"),
        (Found(b"", {("m_*.json", "n"): 0.0}), BROKEN, "exited with code 0, but failed: n is 0 in m_*.json"),
        (Found(b"", {("m_*.json", "n"): False}), None, "exited with code 0"),
        (Found(b"", {("m_*.json", "x.y"): True}), BROKEN, "exited with code 0, but failed: half"),
        (Found(b"", {("m_*.json", "x.y"): 1}), None, "exited with code 0"),
        (Found(), None, "exited with code 0"),
    ],
)
def test_the_first_rule_that_holds_decides(found: Found, outcome: Outcome | None, reason: str) -> None:
    ended = judged(RULES, ZERO, found)
    assert (ended.kind, ended.code, ended.outcome, ended.reason) == (ExitKind.CODE, 0, outcome, reason)


def test_where_none_holds_what_is_said_otherwise_counts() -> None:
    failed = judged(Result((SAID,), BROKEN), ZERO, Found())
    assert (failed.outcome, failed.reason) == (BROKEN, "exited with code 0, but failed: nothing says that it completed")
    done = judged(Result((NONE,), DONE), Exit(ExitKind.CODE, 2, reason="exited with code 2"), Found())
    assert (done.outcome, done.reason) == (DONE, "exited with code 2, and completed: nothing says that it failed")


def test_the_outcome_counts_instead_of_the_code() -> None:
    restart = Restart(success_codes=(0, 5))
    assert not succeeded(restart, judged(Result((), BROKEN), ZERO, Found()))
    assert succeeded(restart, judged(Result((), DONE), Exit(ExitKind.CODE, 1), Found()))
    assert succeeded(restart, ZERO) and not succeeded(restart, Exit(ExitKind.CODE, 1))
    assert not succeeded(restart, Exit(ExitKind.SIGNAL, signal="SIGKILL", outcome=DONE))


def test_only_an_exit_code_is_asked_about_and_each_place_once() -> None:
    assert is_asked(RULES, ZERO) and not is_asked(None, ZERO)
    assert not is_asked(RULES, Exit(ExitKind.OUT_OF_MEMORY, 0)) and not is_asked(RULES, Exit(ExitKind.SIGNAL))
    assert places(Result((NONE, SAID, NONE, HALF))) == [("m_*.json", "n"), ("m_*.json", "x.y")]
