"""What workers spent together, kept as text and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.model.budgets import Tally
from rdagentd.model.measures import Spent
from rdagentd.supervisor.tallies import kept, loaded_tallies

SPENT = st.builds(
    Spent,
    st.integers(0),
    st.floats(0, 1e9),
    st.integers(0),
    st.integers(0),
    st.integers(0),
    st.floats(0, 1e9),
    st.integers(0),
)
TALLIES = st.builds(
    Tally,
    st.sampled_from(["group", "owner", "day"]),
    st.sampled_from(["", "g", "1000", "a.b-c"]),
    SPENT,
    st.integers(0, 10**6),
    st.lists(st.text(max_size=9)).map(tuple),
)


@given(tally=TALLIES)
def test_what_is_kept_is_what_was_spent(tally: Tally) -> None:
    write = kept(tally)
    assert list(loaded_tallies({"boot_id": "x", write.key: write.value})) == [tally]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"scope": "day"}', '{"scope": "g", "name": "", "spent": 5}'])
def test_one_that_cannot_be_read_counts_anew_and_is_told(text: str, caplog: pytest.LogCaptureFixture) -> None:
    good = kept(Tally("group", "g", Spent(tokens=5)))
    assert list(loaded_tallies({"tally:day:": text, good.key: good.value})) == [Tally("group", "g", Spent(tokens=5))]
    assert "cannot read what was spent of day:" in caplog.text
