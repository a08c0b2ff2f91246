"""Budgets and stalls as people write them, in specs and in rdagentd.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.config.config import load_config
from rdagentd.config.problems import ConfigError, SpecError
from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.model.budgets import UNBOUNDED, Budget, Budgets, Flow
from rdagentd.model.stall import Action, Signal, Stall
from rdagentd.store.codec import decode, encode
from rdagentd.supervisor.tallies import by_key

AMOUNTS = {
    "cost_usd": st.floats(0, 1e6),
    "tokens": st.integers(0, 10**15),
    "iterations": st.integers(0, 10**15),
    "run_time": st.integers(1, 10**6),
    "log_bytes": st.integers(1, 2**60),
}
FLOWS = st.fixed_dictionaries({}, optional=AMOUNTS)
BUDGETS = st.fixed_dictionaries({}, optional={**AMOUNTS, "run": FLOWS, "within": st.integers(1, 10**6)})
STALLS = st.fixed_dictionaries(
    {"after": st.integers(1, 10**6)},
    optional={"signals": st.lists(st.sampled_from(Signal), min_size=1, max_size=4), "action": st.sampled_from(Action)},
)


def spec(**fields: Any) -> Any:
    return decode_spec({"name": "w", "command": ["x"], **fields})


def problem(**fields: Any) -> str:
    with pytest.raises(SpecError) as caught:
        spec(**fields)
    return str(caught.value)


@given(budgets=BUDGETS, stall=st.none() | STALLS)
def test_what_is_written_survives_encoding_and_the_store(budgets: dict[str, Any], stall: dict[str, Any] | None) -> None:
    made = spec(budgets=budgets, stall=stall)
    assert decode_spec(encode_spec(made)) == made
    data = encode(made)
    assert decode(data, crc32(data), type(made)) == made


def test_amounts_may_be_written_with_units_and_as_text() -> None:
    made = spec(budgets={"cost_usd": "0.50", "run_time": "8h", "log_bytes": "1G", "run": {"tokens": "50000"}})
    assert made.budgets == Budgets(cost_usd=0.5, run_time=28800.0, log_bytes=1 << 30, run=Flow(tokens=50000))
    assert spec().budgets is UNBOUNDED or spec().budgets == UNBOUNDED
    assert spec(budgets={"cost_usd": "unlimited"}).budgets == UNBOUNDED


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"budgets": {"cost": 5}}, "budgets.cost: unknown key (did you mean cost_usd?)"),
        ({"budgets": {"cost_usd": -1}}, "budgets.cost_usd: -1 is out of range (0 to 1000000)"),
        ({"budgets": {"cost_usd": "much"}}, "budgets.cost_usd: 'much' is not a number of US dollars (write 0.50)"),
        ({"budgets": {"run": {"disk": "5G"}}}, "a run has none of its own; did you mean budgets.disk?"),
        ({"budgets": {"disk": "5G"}}, "budgets.disk: needs `state` or `cache`"),
        ({"budgets": {"run_time": 0}}, "budgets.run_time: must be more than 0"),
        ({"stall": {"signals": ["output"]}}, "stall.after: missing"),
        ({"stall": {"after": 5, "signals": []}}, "stall.signals: names none"),
        ({"stall": {"after": 5, "action": "kill"}}, "stall.action: 'kill' is not known"),
        ({"budget": {}}, "did you mean budgets?"),
    ],
)
def test_a_mistake_is_told_with_what_to_write(fields: dict[str, Any], said: str) -> None:
    assert said in problem(**fields)


def test_signals_are_in_one_order_so_that_equal_specs_are_equal() -> None:
    made = spec(stall={"after": 5, "signals": ["cpu", "output", "cpu"]}).stall
    assert made == Stall(5.0, (Signal.OUTPUT, Signal.CPU))


def config(tmp_path: Path, text: str) -> Any:
    (tmp_path / "rdagentd.toml").write_text(text)
    return load_config(str(tmp_path / "rdagentd.toml"), {}).config


def test_shared_budgets_stand_in_the_configuration_and_owners_become_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        '[budgets.group.g]\ncost_usd = 1\ndisk = "5G"\n[budgets.owner.root]\ntokens = 5\n[budgets.owner.1234]\ntokens = 6\n'
        "[budgets.owner.nobody-of-that-name]\ntokens = 7\n[budgets.day]\niterations = 8\n"
    )
    assert by_key(config(tmp_path, text).budgets) == {
        ("group", "g"): Budget(cost_usd=1.0, disk=5 << 30),
        ("owner", "0"): Budget(tokens=5),
        ("owner", "1234"): Budget(tokens=6),
        ("day", ""): Flow(iterations=8),
    }
    assert "user nobody-of-that-name is not known on this host" in caplog.text
    assert by_key(config(tmp_path, "").budgets) == {}


def test_a_day_has_no_disk(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"budgets\.day\.disk: unknown key \(a day has none of its own"):
        config(tmp_path, '[budgets.day]\ndisk = "5G"\n')
