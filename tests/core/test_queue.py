"""The queue against a naive model of it."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core.queue import Queue
from rdagentd.model.container import DriverName, Way
from rdagentd.model.spec import Queue as Place
from rdagentd.model.spec import Spec
from rdagentd.model.worker import LIVE, Reason, State, Worker

SLOTS: dict[str, int | None] = {"one": 1, "two": 2, "none": 0, "free": None}


def next_of(queue: Queue, *ways: Way) -> str | None:
    """The name of whoever is next."""
    turn = queue.next(ways or frozenset(Way))
    return turn and turn.worker


def a_worker(name: str, state: State, group: str = "one", priority: int = 0, order: int = 0) -> Worker:
    return Worker(name, Spec(name, ("x",), queue=Place(group, priority)), 0, state=state, order=order)


class Naive:
    """All workers in a dict, everything else recomputed."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    def waiting(self, group: str) -> list[Worker]:
        found = [w for w in self.workers.values() if w.state is State.QUEUED and w.spec.queue.group == group]
        return sorted(found, key=lambda w: (-w.spec.queue.priority, w.order, w.name))

    def ledger(self) -> dict[str, frozenset[str]]:
        groups = {w.spec.queue.group for w in self.workers.values() if w.state in LIVE}
        return {
            group: frozenset(w.name for w in self.workers.values() if w.state in LIVE and w.spec.queue.group == group)
            for group in groups
        }

    def may_start(self) -> set[str]:
        firsts = set()
        for group in ("one", "two", "none", "free", "other"):
            slots, taken = SLOTS.get(group), len(self.ledger().get(group, ()))
            if self.waiting(group) and (slots is None or taken < slots):
                firsts.add(self.waiting(group)[0].name)
        return firsts


STEP = st.tuples(
    st.sampled_from("abcdefg"),
    st.one_of(st.none(), st.sampled_from([State.QUEUED, State.QUEUED, State.RUNNING, State.BACKOFF, State.STOPPING])),
    st.sampled_from(["one", "two", "none", "free", "other"]),
    st.integers(-1, 1),
    st.integers(0, 3),
)


@given(steps=st.lists(STEP, max_size=60))
def test_it_agrees_with_the_naive_model(steps: list[tuple[str, State | None, str, int, int]]) -> None:
    queue, naive = Queue(SLOTS), Naive()
    for name, state, group, priority, order in steps:
        before = naive.workers.pop(name, None)
        after = None if state is None else a_worker(name, state, group, priority, order)
        if after is not None:
            naive.workers[name] = after
        queue.follow(before, after)
        assert dict(queue.slot_holders()) == naive.ledger()
        assert queue.waiting() == sum(len(naive.waiting(g)) for g in ("one", "two", "none", "free", "other"))
        chosen = next_of(queue)
        assert chosen in naive.may_start() if naive.may_start() else chosen is None
        for group_ in ("one", "two", "none", "free", "other"):
            assert [queue.ahead(w) for w in naive.waiting(group_)] == list(range(len(naive.waiting(group_))))
            assert queue.holders(group_) == sorted(naive.ledger().get(group_, ()))
            assert queue.taken(group_) == len(queue.holders(group_))


def order_of(queue: Queue, workers: dict[str, Worker]) -> list[str]:
    """Lets them run one at a time, and end."""
    names = []
    while (name := next_of(queue)) is not None:
        names.append(name)
        running = evolve(workers[name], state=State.RUNNING)
        queue.follow(workers[name], running)
        queue.follow(running, None)
    return names


def test_higher_priority_first_then_first_come() -> None:
    places = {"late": (0, 3), "early": (0, 1), "urgent": (5, 9), "idle": (-5, 0)}
    workers = {name: a_worker(name, State.QUEUED, "one", *place) for name, place in places.items()}
    queue = Queue(SLOTS)
    for worker in workers.values():
        queue.follow(None, worker)
    assert order_of(queue, workers) == ["urgent", "early", "late", "idle"]


def test_a_full_group_does_not_hold_up_another() -> None:
    queue = Queue(SLOTS)
    queue.follow(None, a_worker("holder", State.RUNNING, "one"))
    queue.follow(None, a_worker("blocked", State.QUEUED, "one", priority=9))
    assert queue.next() is None
    queue.follow(None, a_worker("other", State.QUEUED, "two"))
    assert next_of(queue) == "other"


def test_moving_to_another_group_takes_the_slot_along() -> None:
    queue = Queue(SLOTS)
    before = a_worker("w", State.RUNNING, "one")
    queue.follow(None, before)
    assert not queue.free("one")
    queue.follow(before, a_worker("w", State.RUNNING, "two"))
    assert queue.free("one")
    assert queue.holders("two") == ["w"]


def test_fewer_slots_take_nothing_from_who_holds_one() -> None:
    queue = Queue(SLOTS)
    for name in "ab":
        queue.follow(None, a_worker(name, State.RUNNING, "two"))
    queue.set_slots({"two": 1})
    assert queue.holders("two") == ["a", "b"]
    assert not queue.free("two")
    assert queue.slots("two") == 1
    assert queue.slots("one") is None


def test_who_needs_the_proxy_waits_in_a_line_of_its_own() -> None:
    queue = Queue({"g": 1})
    docked = Worker("docked", Spec("docked", ("true",), docker_socket=True, queue=Place("g", 9)), 0, state=State.QUEUED)
    free = Worker("free", Spec("free", ("true",), queue=Place("g")), 0, state=State.QUEUED, order=2)
    queue.follow(None, docked)
    queue.follow(None, free)
    told = next_of(queue), next_of(queue, Way.PROCESS, Way.DOCKER), next_of(queue, Way.SOCKET)
    assert told == ("docked", "free", "docked")
    queue.follow(docked, None)
    assert next_of(queue) == "free"


def test_whose_driver_is_away_is_passed_over() -> None:
    queue = Queue({"g": 1})
    boxed = Worker(
        "boxed", Spec("boxed", driver=DriverName.DOCKER, queue=Place("g", 9)), 0, state=State.QUEUED, order=1
    )
    free = Worker("free", Spec("free", ("true",), queue=Place("g")), 0, state=State.QUEUED, order=2)
    queue.follow(None, boxed)
    queue.follow(None, free)
    assert (next_of(queue), next_of(queue, Way.PROCESS), queue.next(())) == ("boxed", "free", None)
    assert (queue.ahead(free), queue.ahead(boxed), queue.waiting()) == (1, 0, 2)
    queue.follow(boxed, None)
    queue.follow(free, None)
    assert queue.waiting() == 0 and queue.next() is None


BAR_STEP = st.one_of(STEP, st.sets(st.sampled_from("abcdefg")))


@given(steps=st.lists(BAR_STEP, max_size=60))
def test_who_is_barred_is_passed_over_and_holds_up_nobody(
    steps: list[tuple[str, State | None, str, int, int] | set[str]],
) -> None:
    """Beside a queue that knows nobody but those who are not barred."""
    barred: set[str] = set()
    queue = Queue(SLOTS, barred=lambda worker: Reason("x", "waits for x") if worker.name in barred else None)
    workers: dict[str, Worker] = {}
    for step in steps:
        if isinstance(step, set):
            barred ^= step
            queue.review(workers[name] for name in step & workers.keys())
        else:
            before = workers.pop(step[0], None)
            after = None if step[1] is None else a_worker(step[0], step[1], *step[2:])
            workers |= {step[0]: after} if after else {}
            queue.follow(before, after)
        others = Queue(SLOTS)
        for worker in workers.values():
            if worker.state is not State.QUEUED or worker.name not in barred:
                others.follow(None, worker)
        assert queue.next() == others.next()
        queued = [worker for worker in workers.values() if worker.state is State.QUEUED]
        assert {worker.name for worker in queue.aside()} == {worker.name for worker in queued} & barred
        assert queue.waiting() == len(queued)
        for group in ("one", "two", "none", "free", "other"):
            assert queue.line(group) == sum(worker.spec.queue.group == group for worker in queued)
        for worker in queued:
            if worker.name not in barred:
                assert queue.lack(worker) == others.lack(worker)
                assert queue.ahead(worker) == others.ahead(worker)
