"""Names of segments: an offset goes to a name and back, and nothing else is taken for a segment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdagentd.protocol.segments import INDEX_RECORD, base_of, index_name, log_name

OFFSETS = st.integers(0, 2**64 - 1)


@given(OFFSETS)
def test_a_name_goes_back_to_its_offset(offset: int) -> None:
    assert base_of(log_name(offset)) == offset


@given(st.lists(OFFSETS))
def test_names_sort_like_offsets(offsets: list[int]) -> None:
    assert [base_of(name) for name in sorted(map(log_name, offsets))] == sorted(offsets)


@given(OFFSETS)
def test_an_index_lies_beside_its_log_and_is_no_segment(offset: int) -> None:
    assert index_name(offset)[:-4] == log_name(offset)[:-4]
    assert base_of(index_name(offset)) is None


@given(st.text(max_size=30) | st.text("0123456789.log", max_size=30))
def test_only_names_that_were_made_here_are_segments(name: str) -> None:
    base = base_of(name)
    assert base is None or log_name(base) == name


def test_an_index_record_takes_16_bytes() -> None:
    assert INDEX_RECORD.unpack(INDEX_RECORD.pack(2**63, 7)) == (2**63, 7)
    assert INDEX_RECORD.size == 16
