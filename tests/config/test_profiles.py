"""Profiles: what they extend, their parameters, what is left out, and that those which are shipped make specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdagentd.config.problems import SpecError
from rdagentd.config.profiles import Profiles, load_profiles, over, profile_directories
from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.model.spec import Policy, Spec

SHIPPED = load_profiles(profile_directories(None), "/w")

GIVEN: dict[str, dict[str, Any]] = {
    "rd-agent": {"scenario": "data_science", "competition": "toy", "loops": 3},
    "ralph": {},
    "ralph2": {},
    "tradingagents": {"ticker": "AAPL", "date": "2026-01-31"},
    "tradingagents-cn": {"part": "backend", "source": "/srv/cn"},
    "astron-agent": {"source": "/srv/astron"},
    "python-script": {},
    **{name: {"image": "a:1"} for name in ("docker-service", "development", "testing", "production", "kaggle-gpu")},
}
"""What each shipped profile needs."""

OWN: dict[str, dict[str, Any]] = {
    "python-script": {"command": ["python3", "a.py"]},
    "ralph": {"directory": "/srv/project"},
    "ralph2": {"directory": "/srv/project"},
}
"""What a worker of it must say itself."""


def profiles(**documents: dict[str, Any]) -> Profiles:
    return Profiles({name: (f"/p/{name}.toml", document) for name, document in documents.items()}, "/w")


def made(known: Profiles, name: str = "p", own: dict[str, Any] | None = None, **given: Any) -> Spec:
    return decode_spec({"name": "w", "profile": name, "set": given, **(own or {})}, profiles=known)


def problem(known: Profiles, name: str = "p", own: dict[str, Any] | None = None, **given: Any) -> str:
    with pytest.raises(SpecError) as caught:
        made(known, name, own, **given)
    return str(caught.value)


# --- shipped ----------------------------------------------------------------------------------------------------------


def test_there_is_one_for_each_agent_system_and_each_container() -> None:
    assert SHIPPED.documents.keys() == GIVEN.keys()


@pytest.mark.parametrize("name", GIVEN)
def test_each_that_is_shipped_makes_a_spec_that_can_be_kept(name: str) -> None:
    spec = made(SHIPPED, name, OWN.get(name), **GIVEN[name])
    assert spec.labels["profile"] == name
    assert decode_spec(encode_spec(spec)) == spec
    texts = [*spec.command, *spec.environment.values(), spec.directory or "", *spec.labels.values()]
    assert not any("{" in text for text in texts), texts
    assert SHIPPED.find(name).about


@pytest.mark.parametrize("name", [name for name, given in GIVEN.items() if given])
def test_what_a_profile_needs_is_told_at_once_and_by_name(name: str) -> None:
    needed = {key for key, one in SHIPPED.find(name).parameters.items() if one.default is None and not one.optional}
    told = problem(SHIPPED, name)
    assert needed and all(f"set.{key}: missing; profile {name} needs it" in told for key in needed)


SCENARIOS = {
    "fin_factor": ["--loop-n", "10"],
    "fin_model": ["--loop-n", "10"],
    "fin_quant": ["--loop-n", "10"],
    "fin_factor_report": ["--report-folder", "/r"],
    "general_model": ["paper.pdf"],
    "data_science": ["--loop-n", "10"],
    "llm_finetune": ["--loop-n", "10"],
}


@pytest.mark.parametrize(("scenario", "words"), SCENARIOS.items())
def test_rd_agent_has_all_its_scenarios(scenario: str, words: list[str]) -> None:
    given = {"report": "paper.pdf"} if scenario == "general_model" else {}
    given |= {"reports": "/r"} if scenario == "fin_factor_report" else {}
    spec = made(SHIPPED, "rd-agent", scenario=scenario, **given)
    assert spec.command == ("rdagent", scenario, *words)
    assert (
        spec.directory == "/w/w/state"
        and spec.labels["trace"] == spec.environment["LOG_TRACE_PATH"] == "/w/w/state/trace"
    )
    assert (spec.stop.signals, spec.stop.interval, spec.stop.grace) == (("SIGINT", "SIGINT"), 2.0, 20.0)


def test_the_words_of_a_scenario_go_where_they_name_what_is_not_given() -> None:
    spec = made(SHIPPED, "rd-agent", scenario="data_science", competition="toy", hours=1.5, program="/opt/bin/rdagent")
    assert spec.command == (
        "/opt/bin/rdagent", "data_science", "--competition", "toy", "--loop-n", "10", "--timeout", "1.5h",
    )  # fmt: skip
    assert spec.preflight is not None and spec.preflight.programs == {"/opt/bin/rdagent": "0.8", "git": ""}


def test_ralph_stops_by_sigterm_and_its_result_is_read_from_what_it_says() -> None:
    spec = made(SHIPPED, "ralph", OWN["ralph"], iterations=7)
    assert (spec.stop.signals, spec.stop.grace) == (("SIGTERM",), 30.0)
    assert spec.result is not None and spec.result.otherwise == "failed" and len(spec.result.rules) == 5
    newer = made(SHIPPED, "ralph2", OWN["ralph2"])
    assert newer.result is None and newer.restart.stop_codes == (2, 130) and newer.restart.restart_codes == (3,)


def test_the_worker_of_tradingagents_cn_has_time_to_finish_its_task() -> None:
    assert made(SHIPPED, "tradingagents-cn", part="worker", source="/s").stop.grace == 600
    backend = made(SHIPPED, "tradingagents-cn", part="backend", source="/s", port=8001)
    assert backend.preflight is not None and backend.preflight.ports == (8001,) and "8001" in backend.command


def test_the_containers_differ_in_what_they_are_for() -> None:
    specs = {name: made(SHIPPED, name, image="a:1") for name in ("development", "testing", "production", "kaggle-gpu")}
    networks = {name: spec.container.network.value for name, spec in specs.items() if spec.container}
    assert networks == {"development": "bridge", "testing": "none", "production": "bridge", "kaggle-gpu": "bridge"}
    assert specs["production"].restart.policy is Policy.ALWAYS and specs["production"].limits.swap == 4 << 30
    kaggle = specs["kaggle-gpu"]
    assert kaggle.container is not None and kaggle.container.shm == 16 << 30 and kaggle.requests.gpus == ("all",)
    assert kaggle.limits.memory == 48 << 30 and kaggle.environment["OMP_NUM_THREADS"] == "4"
    assert (kaggle.timeout, kaggle.kill_after) == (3600, 10)


# --- how they are put together ----------------------------------------------------------------------------------------


BASE = {"command": ["b"], "restart": {"policy": "on-failure", "retries": 3}, "environment": {"A": "1", "B": "1"}}


def test_a_profile_extends_another_and_the_worker_extends_that() -> None:
    known = profiles(base=BASE, p={"extends": "base", "environment": {"B": "2", "C": "2"}})
    spec = made(known, own={"environment": {"C": "3"}, "restart": "always"})
    assert spec.environment == {"A": "1", "B": "2", "C": "3"}
    assert (spec.restart.policy, spec.restart.retries) == (Policy.ALWAYS, 3)  # text stands for its policy alone
    assert spec.command == ("b",) and known.find("p").bases == ("base",)


def test_lists_are_replaced_and_tables_are_merged() -> None:
    assert over({"a": {"b": [1], "c": 1}}, {"a": {"b": [2]}}, {}) == {"a": {"b": [2], "c": 1}}


def test_a_place_alone_keeps_its_type_but_where_only_text_may_stand() -> None:
    document = {
        "parameters": {"n": {"default": 5}, "quick": {"default": True}},
        "command": ["a", "{n}", "x{n}y"], "restart": {"retries": "{n}"}, "log": {"separate": "{quick}"},
        "environment": {"N": "{n}", "Q": "{quick}"},
    }  # fmt: skip
    spec = made(profiles(p=document), n=7)
    assert spec.command == ("a", "7", "x7y") and spec.restart.retries == 7 and spec.log.separate
    assert spec.environment == {"N": "7", "Q": "true"}


def test_what_names_an_optional_parameter_that_is_not_given_is_left_out() -> None:
    document = {
        "parameters": {"o": {"optional": True}},
        "command": ["a", "{o}", ["--o", "{o}"], ["--x", "y"]], "timeout": "{o}", "environment": {"O": "{o}"},
    }  # fmt: skip
    spec = made(profiles(p=document))
    assert spec.command == ("a", "--x", "y") and spec.timeout is None and not spec.environment
    assert made(profiles(p=document), o="1h").command == ("a", "1h", "--o", "1h", "--x", "y")


def test_places_of_others_and_variables_of_a_shell_stay() -> None:
    document = {"command": ["sh", "-c", "echo ${home} {{literal}} {number} {directory}"], "parameters": {}}
    assert made(profiles(p=document)).command[2] == "echo ${home} {literal} {number} {directory}"


def test_a_choice_brings_fields_of_its_own() -> None:
    choices = {"fast": {"timeout": "1m"}, "slow": {"timeout": "1h", "restart": "always"}}
    known = profiles(p={"command": ["a"], "parameters": {"speed": {"choices": choices}}})
    assert made(known, speed="fast").timeout == 60
    assert made(known, speed="slow").restart.policy is Policy.ALWAYS
    assert "set.speed: 'slov' is not known (did you mean slow?)" in problem(known, speed="slov")


def test_a_key_that_no_spec_has_is_told() -> None:
    known = profiles(p={"command": ["a"], "no_such": {"a": 1}})
    assert "no_such: unknown key" in problem(known)


# --- mistakes ---------------------------------------------------------------------------------------------------------

GOOD = {"command": ["a"], "parameters": {"loops": {"default": 1}}}


@pytest.mark.parametrize(
    ("document", "own", "given", "told"),
    [
        (GOOD, {"profile": "q"}, {}, "profile: there is no profile 'q' (known are p)"),
        (GOOD, {"profile": 7}, {}, "profile: expected the name of a profile, not a whole number"),
        (GOOD, {}, {"lops": 1}, "set.lops: profile p has no such parameter (did you mean loops?)"),
        (GOOD, {}, {"loops": [1]}, "set.loops: expected text, not a list"),
        (GOOD, {"set": 3}, {}, "set: expected a table of parameters"),
        (GOOD, {"loops": 3}, {}, "loops: is a parameter of profile p (write set = { … }"),
        ({**GOOD, "extends": "p"}, {}, {}, "profile: extends itself: p → p"),
        ({**GOOD, "extends": "q"}, {}, {}, "profile: there is no profile 'q'"),
        ({"command": ["{x}"]}, {}, {}, "command: names {x} (known are cache, name, state; for the text itself write {{x}})"),
        ({"parameters": {"name": {}}}, {}, {}, "profile.parameters.name: cannot be the name of a parameter"),
        ({"parameters": {"a": {"defualt": 1}}}, {}, {}, "profile.parameters.a.defualt: unknown key (did you mean default?)"),
        ({"parameters": 3}, {}, {}, "profile.parameters: expected tables [parameters.NAME]"),
        ({"command": ["a"], "timeout": "soon"}, {}, {}, "timeout: "),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(
    document: dict[str, Any], own: dict[str, Any], given: dict[str, Any], told: str
) -> None:
    raw = {"name": "w", "profile": "p", "set": given, **own}
    with pytest.raises(SpecError) as caught:
        decode_spec(raw, profiles=profiles(p=document))
    assert told in str(caught.value)


def test_parameters_without_a_profile_are_refused() -> None:
    with pytest.raises(SpecError, match=r"set: unknown key .it gives parameters to a profile"):
        decode_spec({"name": "w", "command": ["a"], "set": {}})


# --- files ------------------------------------------------------------------------------------------------------------


def test_own_files_win_over_the_packages_and_one_that_is_damaged_spoils_itself_alone(tmp_path: Path) -> None:
    package, own = tmp_path / "a", tmp_path / "b"
    for directory, text in ((package, 'command = ["theirs"]'), (own, 'command = ["mine"]')):
        directory.mkdir()
        (directory / "p.toml").write_text(text)
    (package / "other.toml").write_text('command = ["theirs"]')
    (own / "bad.toml").write_text("command = [")
    known = load_profiles([package, own, tmp_path / "not-there"], "/w")
    assert made(known).command == ("mine",) and made(known, "other").command == ("theirs",)
    assert "bad.toml: not TOML" in problem(known, "bad")


def test_those_beside_the_configuration_come_last(tmp_path: Path) -> None:
    assert profile_directories(str(tmp_path / "rdagentd.toml"))[-1] == tmp_path / "profiles"
