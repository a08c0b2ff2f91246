"""[rd_agent]: what a scenario's name stands for."""

from __future__ import annotations

import pytest

from rdagentd.config.problems import InvalidError
from rdagentd.config.rd_agent import RD_AGENT, SCENARIOS, RdAgent, filled, names


def test_without_it_nothing_is_launched_and_the_six_scenarios_are_known() -> None:
    assert RD_AGENT.parse({}) == RdAgent() and RdAgent().program is None
    assert [name for name, _ in SCENARIOS] == [
        "Finance Data Building", "Finance Model Implementation", "Finance Whole Pipeline",
        "Finance Data Building (Reports)", "General Model Implementation", "Data Science",
    ]  # fmt: skip


def test_a_scenario_of_its_own_stands_beside_the_others_or_instead_of_one() -> None:
    words = ["llm_finetune", ["--loop-n", "{loops}"]]
    made = RD_AGENT.parse({"scenarios": {"Fine-tuning": words, "Data Science": ["x", "{competition}"]}})
    assert dict(made.scenarios)["Fine-tuning"] == ("llm_finetune", ("--loop-n", "{loops}"))
    assert dict(made.scenarios)["Data Science"] == ("x", "{competition}")
    assert len(made.scenarios) == len(SCENARIOS) + 1


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"scenarios": {"x": ["{nothing}"]}}, "scenarios.x: '{nothing}' names {nothing} (known are competition, loops"),
        ({"scenarios": {"x": []}}, "scenarios.x: expected a list of 1 to 256 words"),
        ({"scenarios": {"x": [["a", 1]]}}, "scenarios.x: expected text, not a whole number"),
        ({"scenarios": ["x"]}, "scenarios: expected a table"),
        ({"worker": {"command": ["x"]}}, "worker.command: cannot be said here (it stands in scenarios)"),
        ({"worker": {"user": "alice"}}, "worker.user: cannot be said here (did you mean rd_agent.user?)"),
        ({"worker": {"limits": {"memory": "x"}}}, "worker.limits.memory: "),
        ({"worker": {"timeoout": "1h"}}, "worker.timeoout: unknown key"),
        ({"program": ""}, "program: is empty"),
        ({"worker": {"profile": "rd-agent", "timeoout": "1h"}}, "worker.timeoout: unknown key"),
    ],
)
def test_mistakes_are_told_when_it_is_read(raw: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidError) as caught:
        RD_AGENT.parse(raw)
    assert problem in str(caught.value)


def test_words_are_filled_and_what_has_no_value_is_left_out_or_missed() -> None:
    words = ("a", ("--n", "{loops}"), ("--all={hours}h", "{loops}"), "{competition}.x")
    assert filled(words, {"competition": "c", "loops": "2"}) == ["a", "--n", "2", "c.x"]
    assert filled(words, {"competition": "c", "loops": "2", "hours": "1"})[3:5] == ["--all=1h", "2"]
    with pytest.raises(KeyError, match="competition"):
        filled(words, {})
    assert names(words, "hours") and not names(words, "files", "file")
