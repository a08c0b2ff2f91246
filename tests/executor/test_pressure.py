"""Triggers on the pressure on the host, as the kernel fires them."""

from __future__ import annotations

import os
import select

import pytest

from rdagentd.executor.pressure import Pressure
from tests.busy import busy
from tests.executor.conftest import Executor, needs_root

SOON = {"cpu": 20_000}
"""Two thousandths of the time: what two busy programs for each CPU reach at once."""


@pytest.fixture
def triggers() -> None:
    """Skips the test where this kernel lets us set none."""
    try:
        with select.epoll() as epoll:
            Pressure(epoll).watch(SOON)
    except OSError as error:
        pytest.skip(f"no triggers here: {error.strerror}")


def watched(executor: Executor) -> list[str]:
    """The resources that it has triggers on."""
    found = []
    for name in os.listdir(f"/proc/{executor.pid}/fd"):
        target = os.readlink(f"/proc/{executor.pid}/fd/{name}")
        if target.startswith("/proc/pressure/"):
            found.append(os.path.basename(target))
    return sorted(found)


def test_the_kernel_calls_when_programs_wait(executor: Executor, triggers: None) -> None:
    assert executor.client is not None
    executor.client.send("pressure", stalls=SOON)
    with busy():
        assert executor.client.wait("pressure") == {"notice": "pressure", "resource": "cpu"}
        assert executor.run("true")["code"] == 0, "it does its work meanwhile"


def test_triggers_are_replaced_and_end_with_the_connection(executor: Executor, triggers: None) -> None:
    assert executor.client is not None
    executor.client.send("pressure", stalls={"cpu": 10_000_000, "memory": 10_000_000})
    executor.client.ask("ping", "pong")
    assert watched(executor) == ["cpu", "memory"]
    executor.client.send("pressure", stalls={"io": 10_000_000})
    executor.client.ask("ping", "pong")
    assert watched(executor) == ["io"]
    executor.connect().ask("ping", "pong")
    assert watched(executor) == []


def test_a_new_program_in_its_place_has_none_and_can_be_asked_again(executor: Executor, triggers: None) -> None:
    assert executor.client is not None
    executor.client.send("pressure", stalls={"io": 10_000_000})
    executor.client.send("reexec")
    assert executor.client.closed()
    client = executor.connect()
    client.ask("ping", "pong")
    assert watched(executor) == []
    client.send("pressure", stalls={"memory": 10_000_000})
    client.ask("ping", "pong")
    assert watched(executor) == ["memory"]


@pytest.mark.parametrize("stalls", [{"irq": 1}, {"../cpu": 1}, {"cpu": -1}, {"cpu": "1"}, [], {"cpu": 1.5}])
def test_what_is_no_trigger_is_refused(shared: Executor, stalls: object) -> None:
    assert shared.client is not None
    refused = shared.client.ask("pressure", "refused", stalls=stalls)
    assert refused["op"] == "pressure" and refused["reason"].startswith("cannot do pressure: stalls is wrong")


def test_what_the_kernel_will_not_have_is_refused_and_leaves_none(executor: Executor, triggers: None) -> None:
    assert executor.client is not None
    refused = executor.client.ask("pressure", "refused", stalls={"io": 10_000_000, "cpu": 10_000_001})
    assert refused["reason"] == "cannot do pressure: /proc/pressure/cpu: invalid argument"
    assert watched(executor) == []


@needs_root
def test_a_kernel_without_pressure_is_told(idle: Executor) -> None:
    hide = 'mount -t tmpfs none /proc/pressure 2>/dev/null || [ ! -e /proc/pressure ]; exec "$@"'
    idle.prefix = ["unshare", "--mount", "sh", "-c", hide, "sh"]
    idle.start()
    assert idle.client is not None
    refused = idle.client.ask("pressure", "refused", stalls=SOON)
    assert refused["reason"] == "cannot do pressure: /proc/pressure/cpu: no such file or directory"
    assert idle.run("true")["code"] == 0
