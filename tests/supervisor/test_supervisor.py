"""Decide, keep, do: in that order, and nothing of it if it cannot be kept."""

from __future__ import annotations

import asyncio

import pytest

from rdagentd.core import events as ev
from rdagentd.drivers.base import EndedRun, HeldRun
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State
from rdagentd.protocol.errors import ProtocolError
from rdagentd.store.writes import SetMeta
from rdagentd.supervisor import supervisor as module
from tests.supervisor.fakes import Shell, in_shell

CODE = Exit(ExitKind.CODE, 0, reason="exited with code 0")


def submit(name: str = "w") -> ev.SubmitRequested:
    return ev.SubmitRequested(Spec(name, ("/bin/true",)), 0)


def words(shell: Shell) -> list[str]:
    return [entry[0] for entry in shell.diary]


def test_the_intent_is_kept_before_the_executor_is_asked_and_the_asker_is_answered_last() -> None:
    async def test(shell: Shell) -> None:
        shell.diary.clear()
        shell.store.hold = True
        asked = shell.supervisor.ask(submit())
        await shell.turns()
        assert not asked.done() and shell.diary == []
        shell.store.settle()
        assert words(shell) == ["kept"]
        await asked
        assert words(shell) == ["kept", "spawn"]
        assert "SaveRun" in shell.diary[0]

    in_shell(test)


def test_an_end_is_acknowledged_only_after_it_was_kept() -> None:
    async def test(shell: Shell) -> None:
        worker = await shell.submit()
        run = shell.engine.workers["w"].run
        assert run is not None
        shell.supervisor.started(HeldRun("w", run.id, 42, 1, 0.0))
        await shell.turns()
        shell.diary.clear()
        shell.store.hold = True
        shell.supervisor.ended(EndedRun("w", run.id, CODE, 1.0, None))
        await shell.turns()
        assert shell.diary == []
        shell.store.settle()
        await shell.turns()
        assert words(shell) == ["kept", "ack"]
        assert shell.engine.workers["w"].state is State.COMPLETED
        assert worker.name == "w"

    in_shell(test)


def test_what_cannot_be_kept_has_not_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        monkeypatch.setattr(module, "_RETRY", 0.001)
        await shell.submit("old")
        before = dict(shell.engine.workers)
        shell.diary.clear()
        shell.store.failure = "cannot write to the state database: disk full"
        asked = shell.supervisor.ask(submit("new"))
        stopped = shell.supervisor.ask(ev.StopRequested("old", 0))
        for answer in (asked, stopped):
            with pytest.raises(ProtocolError) as refused:
                await answer
            assert refused.value.code == "unavailable" and "disk full" in refused.value.message
        assert shell.engine.workers == before
        assert set(words(shell)) == {"failed"}
        assert shell.supervisor.store_error == shell.store.failure

    in_shell(test)


def test_what_is_seen_is_settled_once_it_is_kept_or_taken_back() -> None:
    async def test(shell: Shell) -> None:
        await shell.supervisor.all_kept()
        shell.store.hold = True
        asked = shell.supervisor.ask(submit())
        await shell.turns()
        settled = asyncio.ensure_future(shell.supervisor.all_kept())
        await shell.turns()
        assert "w" in shell.engine.workers and not settled.done()
        shell.store.failure = "disk full"
        shell.store.settle()
        await settled
        assert not shell.engine.workers
        with pytest.raises(ProtocolError):
            await asked

    in_shell(test)


def test_what_happened_meanwhile_is_taken_up_again_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        monkeypatch.setattr(module, "_RETRY", 0.001)
        await shell.submit()
        run = shell.engine.workers["w"].run
        assert run is not None
        shell.diary.clear()
        shell.store.failure = "disk full"
        shell.supervisor.started(HeldRun("w", run.id, 42, 1, 5.0))
        shell.supervisor.ended(EndedRun("w", run.id, CODE, 6.0, None))
        shell.supervisor.post(ev.GroupsChanged({"default": None}))
        while words(shell).count("failed") < 3:
            await asyncio.sleep(0.001)
        assert "ack" not in words(shell) and "kept" not in words(shell)
        shell.store.failure = None
        while "ack" not in words(shell):
            await asyncio.sleep(0.001)
        ended = shell.engine.workers["w"].run
        assert ended is not None and (ended.pid, ended.started_at, ended.ended_at) == (42, 5.0, 6.0)
        assert words(shell).count("ack") == 1
        assert shell.supervisor.store_error is None

    in_shell(test)


def test_a_daemon_that_takes_its_workers_along_does_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        monkeypatch.setattr(module, "_RETRY", 0.001)
        shell.supervisor.post(ev.GroupsChanged({"default": 1}))
        await shell.submit()
        await shell.submit("waits")
        run = shell.engine.workers["w"].run
        assert run is not None
        shell.supervisor.started(HeldRun("w", run.id, 42, 1, 5.0))
        await shell.turns()
        shell.diary.clear()
        shell.store.failure = "disk full"
        shell.supervisor.post(ev.GroupsChanged({"default": 2}))  # the other could start, had the wish to leave not come
        shell.supervisor.post(ev.DrainRequested())
        while "signal" not in words(shell):
            await asyncio.sleep(0.001)
        assert shell.engine.draining
        with pytest.raises(ProtocolError, match="disk full"):
            await shell.supervisor.ask(submit("late"))
        shell.supervisor.ended(EndedRun("w", run.id, CODE, 6.0, None))
        while shell.engine.live():
            await asyncio.sleep(0.001)
        assert set(words(shell)) == {"failed", "signal"}, "nothing is started, and the executor keeps the end"
        assert "late" not in shell.engine.workers

    in_shell(test)


def test_it_is_noticed_that_the_trouble_is_over_although_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        monkeypatch.setattr(module, "_RETRY", 0.001)
        await shell.turns()
        shell.store.failure = "disk full"
        with pytest.raises(ProtocolError):
            await shell.supervisor.ask(submit())
        shell.store.failure = None
        while shell.supervisor.store_error:
            await asyncio.sleep(0.001)
        shell.diary.clear()
        await asyncio.sleep(0.01)
        assert shell.diary == [] and not shell.supervisor._busy

    in_shell(test)


def test_what_comes_while_a_batch_is_under_way_waits_for_it() -> None:
    async def test(shell: Shell) -> None:
        await shell.turns()
        shell.diary.clear()
        shell.store.hold = True
        first = shell.supervisor.ask(submit("a"))
        await shell.turns()
        second = shell.supervisor.ask(ev.StopRequested("a", 0))
        third = shell.supervisor.ask(submit("b"))
        await shell.turns()
        assert len(shell.store._held) == 1
        shell.store.settle()
        await first
        await shell.turns()
        assert words(shell) == ["kept", "spawn"] and not second.done()
        shell.store.settle()
        await asyncio.gather(second, third)
        assert words(shell) == ["kept", "spawn", "kept", "signal", "spawn"]

    in_shell(test)


def test_many_requests_are_kept_together() -> None:
    async def test(shell: Shell) -> None:
        await shell.turns()
        shell.diary.clear()
        await asyncio.gather(*(shell.supervisor.ask(submit(f"w{n}")) for n in range(300)))
        assert words(shell).count("kept") == 2
        assert words(shell).count("spawn") == 300
        assert max(i for i, word in enumerate(words(shell)[:257]) if word == "kept") == 0

    in_shell(test)


def test_a_refusal_reaches_only_who_asked() -> None:
    async def test(shell: Shell) -> None:
        good, twice = shell.supervisor.ask(submit()), shell.supervisor.ask(submit())
        await good
        with pytest.raises(ProtocolError) as refused:
            await twice
        assert refused.value.code == "conflict"
        with pytest.raises(ProtocolError) as unknown:
            await shell.supervisor.ask(ev.StopRequested("nobody", 0))
        assert unknown.value.code == "not_found"

    in_shell(test)


def test_an_asker_who_has_gone_changes_nothing() -> None:
    async def test(shell: Shell) -> None:
        asked = shell.supervisor.ask(submit())
        asked.cancel()
        await shell.turns()
        assert "w" in shell.engine.workers

    in_shell(test)


def test_an_effect_that_fails_does_not_hold_up_the_others() -> None:
    async def test(shell: Shell) -> None:
        shell.driver.broken.add("spawn")
        await shell.submit("a")
        await shell.submit("b")
        assert words(shell).count("spawn") == 2

    in_shell(test)


def test_an_event_that_cannot_be_decided_is_dropped_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        await shell.turns()
        handle = shell.engine.handle

        def break_for_bad(event: ev.Event, now: float) -> list:
            effects = handle(event, now)
            if isinstance(event, ev.SubmitRequested) and event.spec.name == "bad":
                raise RuntimeError("a defect")
            return effects

        monkeypatch.setattr(shell.engine, "handle", break_for_bad)
        answers = [shell.supervisor.ask(submit(name)) for name in ("a", "bad", "c")]
        with pytest.raises(ProtocolError) as refused:
            await answers[1]
        assert refused.value.code == "internal"
        await answers[0]
        await answers[2]
        assert sorted(shell.engine.workers) == ["a", "c"]
        assert words(shell).count("spawn") == 2

    in_shell(test)


def test_a_spawn_decided_before_the_executor_was_heard_does_not_go_out() -> None:
    async def test(shell: Shell) -> None:
        await shell.turns()
        shell.store.hold = True
        asked = shell.supervisor.ask(submit())
        await shell.turns()
        shell.supervisor.lost("gone")
        shell.supervisor.connected("another epoch", [], [])
        shell.store.settle()
        await asked
        assert "spawn" not in words(shell)
        shell.store.hold = False
        shell.store.settle()
        await shell.turns()
        assert shell.engine.workers["w"].run is not None
        ended = shell.engine.workers["w"].run.exit
        assert ended is not None and ended.kind is ExitKind.LOST

    in_shell(test)


def test_a_spawn_that_did_not_go_out_is_said_again_with_the_same_id() -> None:
    async def test(shell: Shell) -> None:
        await shell.turns()
        shell.store.hold = True
        asked = shell.supervisor.ask(submit())
        await shell.turns()
        shell.supervisor.connected("epoch", [], [])
        shell.store.hold = False
        shell.store.settle()
        await asked
        await shell.turns()
        run = shell.engine.workers["w"].run
        assert run is not None
        assert [entry for entry in shell.diary if entry[0] == "spawn"] == [("spawn", run.id)]

    in_shell(test)


def test_the_epoch_is_kept_with_what_followed_from_it() -> None:
    async def test(shell: Shell) -> None:
        shell.supervisor.connected("e2", [], [EndedRun("w", "r1", CODE, None, None)])
        await shell.turns()
        assert ("kept", "SetMeta") in shell.diary
        assert ("ack", "r1") in shell.diary

    in_shell(test, connected=False)


def test_listeners_are_told_after_the_commit_with_the_numbers_of_the_store() -> None:
    async def test(shell: Shell) -> None:
        subscription = shell.supervisor.hub.subscribe()
        seen: list[object] = []
        shell.supervisor.hub.watch("w", lambda name, worker: seen.append(worker and worker.state))
        shell.store.hold = True
        asked = shell.supervisor.ask(submit())
        await shell.turns()
        assert subscription.items.empty() and seen == []
        shell.store.hold = False
        shell.store.settle()
        await asked
        await shell.turns()
        kinds = [subscription.items.get_nowait() for _ in range(subscription.items.qsize())]
        assert [item["kind"] for item in kinds][:2] == ["submitted", "queued"]
        assert [item["seq"] for item in kinds] == list(range(1, len(kinds) + 1))
        assert seen

    in_shell(test)


def test_a_worker_that_is_forgotten_is_forgotten_everywhere() -> None:
    async def test(shell: Shell) -> None:
        worker = await shell.submit(start=False)
        shell.supervisor.rows.packed([worker])
        told: list[object] = []
        shell.supervisor.hub.watch("w", lambda name, worker: told.append(worker))
        await shell.supervisor.ask(ev.RemoveRequested("w", 0))
        assert ("forget", "w") in shell.diary
        assert shell.supervisor.rows._cache == {} and told[-1] is None

    in_shell(test)


def test_taking_up_is_kept_before_the_loop_turns() -> None:
    async def test(shell: Shell) -> None:
        shell.diary.clear()
        shell.supervisor.begin([], SetMeta("boot_id", "x"))
        assert shell.diary == [("kept", "SetMeta")]

    in_shell(test, connected=False)


def test_a_greeting_that_cannot_be_decided_does_not_hold_spawns_back_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(shell.engine, "handle", lambda event, now: 1 / 0)
            shell.supervisor.connected("epoch", [], [])
            await shell.turns()
        shell.supervisor.connected("epoch", [], [])
        await shell.submit()
        assert words(shell).count("spawn") == 1

    in_shell(test)
