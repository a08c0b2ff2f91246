"""Budgets: warned once, stopped within one report, not started until raised; alone and shared; fail closed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.budgets import amount, spent, used_up
from rdagentd.core.purse import Purse
from rdagentd.model.budgets import Budget, Budgets, Flow, Tally
from rdagentd.model.directories import StateDirectory
from rdagentd.model.measures import Spent
from rdagentd.model.run import ExitKind
from rdagentd.model.spec import Policy, Queue, Restart
from rdagentd.model.worker import State

from .world import World, code, refusal, stories

ALWAYS = Restart(Policy.ALWAYS, delay=0.0)


def living(budgets: Budgets, **fields: Any) -> World:
    """A running worker with these budgets, and no time limit."""
    world = World()
    world.live(budgets=budgets, **{"timeout": None, **fields})
    return world


def texts(effects: list[fx.Effect], kind: str) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, fx.Story) and effect.kind == kind]


# --- one worker -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "reports", "end"),
    [
        (Budgets(cost_usd=0.5, tokens=9), {"cost_usd": 0.52, "tokens": 1}, "it has used $0.52, the budget is $0.50"),
        (Budgets(cost_usd=0.5), {"cost_usd": 0.50001}, "it has used $0.50001, the budget is $0.50"),
        (Budgets(tokens=1000), {"tokens": 1001}, "it has used 1,001 tokens, the budget is 1,000 tokens"),
        (Budgets(iterations=100), {"iteration": 101}, "it has used 101 iterations, the budget is 100 iterations"),
        (Budgets(run=Flow(tokens=5)), {"tokens": 6}, "its run has used 6 tokens, the budget is 5 tokens"),
    ],
)
def test_the_first_report_beyond_a_budget_stops_the_run_gracefully(
    budget: Budgets, reports: dict[str, float], end: str
) -> None:
    world = living(budget)
    effects = world.reported(values=reports)
    assert [effect for effect in effects if isinstance(effect, fx.Signal | fx.Kill)] == [fx.Signal("r1", "SIGINT")]
    assert texts(effects, "over_budget") == [end]
    assert world.worker().state is State.STOPPING
    assert texts(world.exited(code(0)), "exited") == [f"{end}; exited with code 0"]
    ended = world.worker().run
    assert ended is not None
    assert ended.exit is not None
    assert ended.exit.kind is ExitKind.OVER_BUDGET
    assert world.worker().state is State.FAILED
    assert world.worker().due is None


def test_what_is_just_within_the_budget_goes_on() -> None:
    world = living(Budgets(cost_usd=0.5, iterations=100))
    world.reported(values={"cost_usd": 0.5, "iteration": 100})
    assert world.worker().state is State.RUNNING


def test_it_is_warned_of_once_at_four_fifths_and_again_only_after_it_was_raised() -> None:
    world = living(Budgets(cost_usd=10.0))
    assert texts(world.reported(values={"cost_usd": 7.99}), "budget_warning") == []
    assert texts(world.reported(values={"cost_usd": 8.0}), "budget_warning") == [
        "it has used $8.00, the budget is $10.00 (80%)"
    ]
    assert texts(world.reported(values={"cost_usd": 9.0}), "budget_warning") == []
    assert texts(world.change(budgets=Budgets(cost_usd=20.0), timeout=None), "budget_warning") == []
    assert len(texts(world.reported(values={"cost_usd": 16.5}), "budget_warning")) == 1


def test_the_budget_of_a_worker_is_over_all_its_runs_and_that_of_a_run_for_each() -> None:
    world = living(Budgets(tokens=100, run=Flow(tokens=60)), restart=ALWAYS)
    world.reported(values={"tokens": 60})
    world.exited(code(1))
    world.started()
    world.reported(values={"tokens": 40})
    assert world.worker().state is State.RUNNING
    world.reported(values={"tokens": 41})
    assert world.worker().reason.text == "it has used 101 tokens, the budget is 100 tokens"  # type: ignore[union-attr]


def test_a_worker_over_its_budget_is_not_started_by_its_policy_its_breaker_or_a_person_until_it_is_raised() -> None:
    world = living(Budgets(cost_usd=0.5), restart=ALWAYS)
    world.reported(values={"cost_usd": 0.75})
    world.exited(code(0))
    assert world.worker().state is State.FAILED
    assert world.worker().due is None
    for ask, verb in ((world.start, "start"), (world.restart, "restart")):
        told = (
            f"cannot {verb} w: it has used $0.75, the budget is $0.50; raise it: rdagentctl budget w --raise cost_usd=…"
        )
        assert refusal(ask()) == ("conflict", told)
    world.change(budgets=Budgets(cost_usd=0.7), restart=ALWAYS)
    assert world.worker().state is State.FAILED, "raised, but by too little"
    world.change(budgets=Budgets(cost_usd=1.0), restart=ALWAYS)
    assert world.worker().state is State.STARTING


def test_a_run_over_the_budget_of_a_run_may_be_followed_by_another_if_a_person_says_so() -> None:
    world = living(Budgets(run=Flow(tokens=5)), restart=ALWAYS)
    world.reported(values={"tokens": 6})
    world.exited(code(0))
    assert world.worker().state is State.FAILED
    world.start()
    assert world.worker().state is State.STARTING


def test_who_ends_by_itself_with_nothing_left_is_not_restarted() -> None:
    world = living(Budgets(iterations=3), restart=ALWAYS)
    world.reported(values={"iteration": 3})
    world.exited(code(0))
    worker = world.worker()
    assert worker.state is State.FAILED
    assert worker.reason is not None
    assert worker.reason.code == "over_budget"
    assert "nothing is left for another run: it has used 3 iterations" in worker.reason.text


def test_a_budget_that_is_lowered_counts_at_once_and_in_the_queue() -> None:
    world = living(Budgets(tokens=100))
    world.reported(values={"tokens": 50})
    world.change(budgets=Budgets(tokens=40), timeout=None)
    assert world.worker().state is State.STOPPING
    world = World({"default": 0})
    world.submit(budgets=Budgets(tokens=100))
    world.slots(default=1)
    world.started()
    world.reported(values={"tokens": 50})
    world.restart()
    world.slots(default=0)
    world.exited()
    assert world.worker().state is State.QUEUED
    world.change(budgets=Budgets(tokens=40))
    world.slots(default=1)
    assert world.worker().state is State.QUEUED
    assert world.engine.waits_for(world.worker()).text == (
        "waits for its budget: it has used 50 tokens, the budget is 40 tokens; "
        "raise it: rdagentctl budget w --raise tokens=…"
    )
    world.change(budgets=Budgets(tokens=60))
    assert world.worker().state is State.STARTING


def test_a_stop_that_somebody_asked_for_stays_one() -> None:
    world = living(Budgets(tokens=5))
    world.reported(values={"tokens": 6})
    world.stop()
    world.exited(code(0))
    assert world.worker().state is State.STOPPED


def test_run_time_is_counted_without_pauses_and_over_runs() -> None:
    world = living(Budgets(run_time=100.0), restart=ALWAYS)
    assert world.worker().budget_due == world.now + 80.0
    world.now += 30.0
    world.pause()
    assert world.worker().budget_due is None
    world.now += 1000.0
    world.resume()
    assert texts(world.audit(), "budget_warning") == [
        "it has used 80 s of run time, the budget is 100 s of run time (80%)"
    ]
    world.exited(code(1))
    assert world.worker().spent.run_time == pytest.approx(80.0)
    world.started()
    effects = world.audit()
    assert texts(effects, "over_budget") == ["it has used 100 s of run time, the budget is 100 s of run time"]
    world.exited(code(0))
    assert refusal(world.start())[0] == "conflict"


def test_output_and_disk_count_as_they_are_found() -> None:
    world = living(Budgets(log_bytes=1000, disk=1 << 20), state=StateDirectory())
    world(ev.Metered("w", "r1", wrote=1000, disk=1 << 20))
    assert world.worker().state is State.RUNNING
    effects = world(ev.Metered("w", "r1", disk=3 << 20))
    assert texts(effects, "over_budget") == ["it has used 3 MiB on disk, the budget is 1 MiB on disk"]
    world.exited(code(0))
    world.start()
    assert world.worker().state is State.STARTING, "room may have been made: the next look tells"
    world.started()
    effects = world(ev.Metered("w", "r2", wrote=2000))
    assert texts(effects, "over_budget") == ["it has used 2 KiB of output, the budget is 1000 bytes of output"]


# --- fail closed ------------------------------------------------------------------------------------------------------


def test_a_run_that_does_not_report_what_its_budget_needs_is_stopped() -> None:
    world = living(Budgets(cost_usd=5.0, run=Flow(tokens=10), within=60.0))
    world.reported(values={"tokens": 1})
    assert world.worker().budget_due == 1000.0 + 60.0
    effects = world.audit()
    assert texts(effects, "over_budget") == ["no cost_usd was reported for 60 s, and there is a budget of it"]
    world.exited(code(0))
    assert world.worker().state is State.FAILED
    world.start()
    assert world.worker().state is State.STARTING


def test_paused_time_does_not_count_for_the_first_report() -> None:
    world = living(Budgets(cost_usd=5.0, within=60.0))
    world.now += 59.0
    world.pause()
    world.now += 500.0
    world.resume()
    assert world.worker().budget_due == world.now + 1.0
    world.reported(values={"cost_usd": 0.0})
    assert world.worker().budget_due is None


def test_who_is_to_spend_nothing_need_not_report_it() -> None:
    world = living(Budgets(cost_usd=0.0))
    assert world.worker().budget_due is None
    world.reported(values={"cost_usd": 0.01})
    assert world.worker().state is State.STOPPING


def test_disk_that_cannot_be_measured_is_not_let_on() -> None:
    world = living(Budgets(disk=1 << 30), state=StateDirectory())
    assert texts(world.audit(), "over_budget") == ["no disk was measured for 600 s, and there is a budget of it"]


def test_a_shared_budget_needs_reports_of_all_who_spend_of_it_but_those_who_may_spend_nothing() -> None:
    world = World()
    world(ev.BudgetsChanged({("group", "g"): Budget(cost_usd=10.0)}))
    world.live(queue=Queue("g"), timeout=None)
    world.submit("redis", queue=Queue("g"), budgets=Budgets(cost_usd=0.0))
    world.started("redis")
    assert (world.worker().budget_due, world.worker("redis").budget_due) == (1600.0, None)
    assert texts(world.audit(), "over_budget") == ["no cost_usd was reported for 600 s, and there is a budget of it"]


# --- shared -----------------------------------------------------------------------------------------------------------


def two(budgets: dict[tuple[str, str], Flow], **fields: Any) -> World:
    """Two running workers of group g."""
    world = World()
    world(ev.DayBegan(20000))
    world(ev.BudgetsChanged(budgets))
    for name in ("a", "b"):
        world.submit(name, queue=Queue("g"), timeout=None, **fields)
        world.started(name)
    return world


@pytest.mark.parametrize("key", [("group", "g"), ("owner", "1000"), ("day", "")])
def test_what_several_spend_together_stops_all_of_them_and_holds_the_queue(key: tuple[str, str]) -> None:
    world = two({key: Flow(cost_usd=1.0)}, restart=ALWAYS)
    world.reported("a", values={"cost_usd": 0.7})
    effects = world.reported("b", values={"cost_usd": 0.4})
    whose = {"group": "group g", "owner": "user 1000", "day": "this day"}[key[0]]
    over = f"{whose} has used $1.10, the budget is $1.00"
    assert texts(effects, "over_budget") == [over, over]
    assert {effect.run for effect in effects if isinstance(effect, fx.Signal)} == {"r1", "r2"}
    assert {world.worker(name).state for name in ("a", "b")} == {State.STOPPING}
    world.exited(code(0), "a")
    world.exited(code(0), "b")
    assert {world.worker(name).state for name in ("a", "b")} == {State.QUEUED}
    waits = world.engine.waits_for(world.worker("a"))
    assert waits.code == "budget"
    assert waits.text.startswith(f"waits for a budget: {over}; ")
    assert ("begins anew at 00:00 UTC" in waits.text) == (key[0] == "day")
    world.submit("c", queue=Queue("other"))
    assert world.worker("c").state is (State.STARTING if key[0] == "group" else State.QUEUED)
    world(ev.BudgetsChanged({key: Flow(cost_usd=2.0)}))
    assert {world.worker(name).state for name in ("a", "b", "c")} == {State.STARTING}


def test_a_worker_that_is_never_restarted_does_not_wait_for_a_shared_budget() -> None:
    world = two({("group", "g"): Flow(cost_usd=1.0)}, restart=Restart())
    world.reported("a", values={"cost_usd": 1.1})
    world.exited(code(0), "a")
    assert world.worker("a").state is State.FAILED


def test_waiting_for_a_shared_budget_costs_no_attempt() -> None:
    world = two({("group", "g"): Flow(tokens=10)}, restart=Restart(Policy.ON_FAILURE, retries=1, delay=0.0))
    for total in (11, 22, 33):
        world.reported("a", values={"tokens": 11})
        world.exited(code(1), "a")
        world(ev.BudgetsChanged({("group", "g"): Flow(tokens=total + 9)}))
        world.started("a")
        assert world.worker("a").state is State.RUNNING


def test_a_new_day_lets_those_who_wait_for_it_go_on() -> None:
    world = two({("day", ""): Flow(tokens=10)}, restart=ALWAYS)
    world.reported("a", values={"tokens": 11})
    world.exited(code(0), "a")
    world.exited(code(0), "b")
    world(ev.DayBegan(20000))
    assert world.worker("a").state is State.QUEUED
    effects = world(ev.DayBegan(20001))
    assert world.worker("a").state is State.STARTING
    assert fx.SaveTally(Tally("day", "", Spent(), 20001)) in effects


def test_of_a_run_over_midnight_each_day_gets_its_part_of_the_time() -> None:
    world = World()
    world(ev.DayBegan(20000))
    world(ev.BudgetsChanged({("day", ""): Flow(run_time=100.0)}))
    world.live(timeout=None)
    world.now += 70.0
    world(ev.DayBegan(20001))
    assert world.engine.purse.account(("day", ""), world.now).spent.run_time == pytest.approx(0.0)
    world.now += 20.0
    world.exited(code(0))
    assert world.engine.purse.tallies["day", ""].spent.run_time == pytest.approx(20.0)


def test_run_time_that_several_spend_together_runs_out_the_sooner_the_more_they_are() -> None:
    world = two({("group", "g"): Flow(run_time=100.0)}, restart=ALWAYS)
    assert world.engine.purse.due == pytest.approx(1000.0 + 80.0 / 2)
    assert texts(world.audit(""), "budget_warning") == [
        "group g has used 80 s of run time, the budget is 100 s of run time (80%)"
    ]
    world.pause("b")
    assert world.engine.purse.due == pytest.approx(1000.0 + 40.0 + 20.0)
    effects = world.audit("")
    assert len(texts(effects, "over_budget")) == 2
    assert {world.worker(name).state for name in ("a", "b")} == {State.STOPPING}


def test_what_was_spent_stays_with_the_group_when_a_worker_leaves_it_or_is_removed() -> None:
    world = two({("group", "g"): Flow(tokens=10), ("group", "h"): Flow(tokens=10)}, restart=ALWAYS)
    world.reported("a", values={"tokens": 4})
    world.change("a", queue=Queue("h"), timeout=None, restart=ALWAYS)
    world.reported("a", values={"tokens": 6})
    world.remove(force=True, name="a")
    world.exited(code(0), "a")
    tallies = world.engine.purse.tallies
    assert (tallies["group", "g"].spent.tokens, tallies["group", "h"].spent.tokens) == (4, 2)


def test_shared_sums_are_kept_with_the_report_and_taken_up_again() -> None:
    world = two({("group", "g"): Flow(cost_usd=1.0)})
    effects = world.reported("a", values={"cost_usd": 0.9})
    kept = [effect.tally for effect in effects if isinstance(effect, fx.SaveTally)]
    assert kept[-1] == Tally("group", "g", Spent(cost_usd=0.9), 0, ("group.g.cost_usd",))
    assert any(isinstance(effect, fx.SaveRun) and effect.run.measures.cost_usd == 0.9 for effect in effects)
    later = World(connected=False)
    later.engine.purse.set_budgets({("group", "g"): Flow(cost_usd=1.0)}, ())
    later.engine.restore(world.engine.workers.values(), world.now, False, kept[-1:])
    effects = later.reported("b", values={"cost_usd": 0.2}, run="r2")
    assert {later.worker(name).state for name in ("a", "b")} == {State.STOPPING}
    assert "budget_warning" not in stories(effects), "that was told"


def test_a_batch_that_cannot_be_kept_is_not_counted() -> None:
    world = two({("group", "g"): Flow(cost_usd=1.0)})
    world.engine.mark()
    world.reported("a", values={"cost_usd": 1.9})
    world.engine.rollback()
    assert world.engine.purse.tallies.get(("group", "g"), Tally("group", "g")).spent == Spent()
    assert (world.engine.purse.full, world.worker("a").state) == ({}, State.RUNNING)
    world.reported("a", values={"cost_usd": 0.5})
    assert world.engine.purse.tallies["group", "g"].spent.cost_usd == 0.5


# --- sums -------------------------------------------------------------------------------------------------------------


@given(
    reports=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans()), max_size=30
    )
)
def test_tallies_are_the_sum_of_what_the_workers_have_spent(reports: list[tuple[str, int, int, bool]]) -> None:
    keys: dict[tuple[str, str], Flow] = dict.fromkeys(
        [("group", "g"), ("owner", "1000"), ("day", "")], Flow(log_bytes=1)
    )
    world = two(keys, restart=ALWAYS)
    for name, tokens, millionths, ends in reports:
        world.now += 1.0
        world.reported(name, values={"tokens": tokens, "cost_usd": millionths / 1e6})
        if ends:
            world.exited(code(1), name)
            world.started(name)
    workers = world.engine.workers.values()
    for key in keys:
        sums = world.engine.purse.account(key, world.now).spent
        assert sums.tokens == sum(spent(worker, world.now).tokens for worker in workers)
        assert sums.cost_usd == pytest.approx(sum(spent(worker, world.now).cost_usd for worker in workers), abs=1e-8)


def test_nothing_is_counted_where_there_is_no_budget() -> None:
    world = World()
    world.live()
    world.reported(values={"cost_usd": 5.0})
    assert world.engine.purse.tallies == {}
    assert (list(Purse().keys(world.worker())), used_up(world.worker())) == ([], None)


def test_amounts_are_told_as_people_write_them() -> None:
    told = [amount("cost_usd", 1234.5), amount("cost_usd", 0.12345), amount("tokens", 1234567), amount("disk", 3 << 30)]
    assert told == ["$1,234.50", "$0.12345", "1,234,567 tokens", "3 GiB on disk"]
