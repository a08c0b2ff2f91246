"""What happens is counted when it is on disk, and nothing is counted twice or taken back."""

from __future__ import annotations

from typing import Any

from rdagentd.core import events as ev
from rdagentd.drivers.base import EndedRun, HeldRun
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Policy, Restart, Spec
from rdagentd.model.worker import State, Worker
from rdagentd.protocol.errors import ProtocolError
from rdagentd.supervisor.happenings import Happenings
from tests.supervisor.fakes import Shell, in_shell

AGAIN = Restart(Policy.ALWAYS, delay=0.0)


async def end(shell: Shell, name: str, **how: Any) -> None:
    """The run of a worker begins, and ends so."""
    run = shell.engine.workers[name].run
    assert run is not None
    shell.supervisor.started(HeldRun(name, run.id, 7, 1, 1.0, False, {}))
    shell.supervisor.ended(EndedRun(name, run.id, Exit(**how), 2.0, None, {}, None))
    await shell.turns()


def test_ends_and_restarts_are_counted_for_all_and_for_each() -> None:
    async def test(shell: Shell) -> None:
        happened = shell.supervisor.happened
        assert set(happened.exits) == set(ExitKind) and not any(happened.exits.values())
        await shell.submit("w", restart=AGAIN)
        await shell.turns()
        await end(shell, "w", kind=ExitKind.CODE, code=0)
        await end(shell, "w", kind=ExitKind.SIGNAL, signal="SIGKILL")
        assert happened.exits["code"] == happened.exits["signal"] == 1 and happened.restarts == 2
        assert happened.exits_of == {"w": {"code": 1, "signal": 1}}
        assert happened.stories["exited"] == happened.stories["started"] == 2 and happened.stories["submitted"] == 1

    in_shell(test)


def test_what_could_not_be_kept_is_not_counted() -> None:
    async def test(shell: Shell) -> None:
        shell.store.failure = "the disk is full"
        try:
            await shell.submit("w")
        except ProtocolError:
            pass
        else:
            raise AssertionError
        assert not shell.supervisor.happened.stories
        shell.store.failure = None
        await shell.submit("w")
        assert shell.supervisor.happened.stories["submitted"] == 1

    in_shell(test)


def test_a_worker_that_is_gone_takes_its_series_along_and_not_the_sums() -> None:
    async def test(shell: Shell) -> None:
        happened = shell.supervisor.happened
        await shell.submit("w", restart=AGAIN)
        await shell.turns()
        await end(shell, "w", kind=ExitKind.CODE, code=0)
        await shell.supervisor.ask(ev.RemoveRequested("w", 0, force=True))
        await end(shell, "w", kind=ExitKind.SIGNAL, signal="SIGKILL")
        assert "w" not in shell.engine.workers
        assert happened.exits_of == {} and happened.exits["code"] == 1 and happened.restarts == 1
        await shell.submit("w", restart=AGAIN)  # another of that name
        await shell.turns()
        await end(shell, "w", kind=ExitKind.CODE, code=0)
        assert happened.restarts == 2 and happened.exits_of == {"w": {"code": 1}}

    in_shell(test)


def test_restarts_of_former_times_do_not_count() -> None:
    happened = Happenings()
    before = Worker("w", Spec("w", ("true",)), 0, restarts=40, state=State.BACKOFF)
    happened.begin([before])
    happened.saved(before)
    assert happened.restarts == 0
