"""Each client is given each message once, in order, whatever it asks and whoever else reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdagentd.gateway.rdagent.pointers import Pointers

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(1, 5), st.none(), st.none()),
        st.tuples(st.just("go"), st.integers(1, 5), st.none(), st.none()),
        st.tuples(st.just("ask"), st.sampled_from("abc"), st.booleans(), st.none() | st.integers(1, 10)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_is_as_if_each_had_the_list_to_itself(steps: list[tuple[object, ...]]) -> None:
    pointers, first, end = Pointers(), 0, 0
    read: dict[str, int] = {}
    for kind, what, reset, count in steps:
        if kind == "come":
            end += what  # type: ignore[operator]
        elif kind == "go":
            first = min(end, first + what)  # type: ignore[operator]
        else:
            client = str(what)
            begin = max(0 if reset else read.get(client, 0), first)
            wanted = list(range(begin, end))[: count if count is None else int(count)]  # type: ignore[call-overload]
            given_ = pointers.take(client, range(first, end), reset=bool(reset), count=count)  # type: ignore[arg-type]
            assert list(given_) == wanted
            read[client] = given_.stop
    assert pointers.told() == read


@given(st.integers(1, 5), st.lists(st.integers(0, 9), max_size=40))
def test_it_remembers_who_asked_last_and_no_more_than_so_many(most: int, clients: list[int]) -> None:
    pointers = Pointers(most)
    for client in clients:
        pointers.take(str(client), range(3), reset=False, count=None)
    latest = list(dict.fromkeys(map(str, reversed(clients))))[:most]
    assert set(pointers.told()) == set(latest)
