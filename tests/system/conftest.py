"""The machine of a scenario: one boot for each test file and release, and the journal of a scenario that failed."""

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from . import image
from .machine import Machine, MachineError

CURSOR: pytest.StashKey[str] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every scenario here; its time limit covers building the images and a slow boot."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tell the person at the terminal what takes so long."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", flush=True)

    return say


@pytest.fixture(scope="session")
def bench_tools(say: Callable[[str], None]) -> None:
    """Have qemu and mmdebstrap; without them and without root nothing here can run."""
    if os.geteuid() != 0:
        reason = "building machines needs root"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with image.lock("tools"):
        if missing := image.missing_tools():
            image.install_tools(missing, say)


@pytest.fixture(scope="session")
def package(bench_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .deb of this checkout."""
    build = Path(__file__).parents[2] / "packaging" / "deb" / "build"
    with image.lock("tools"):  # it installs what it is built with
        built = subprocess.run([build, tmp_path_factory.mktemp("deb")], check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=list(image.RELEASES))
def release(request: pytest.FixtureRequest) -> str:
    """The Debian release that the machine runs."""
    return str(request.param)


@pytest.fixture(scope="module")
def machine(
    release: str, bench_tools: None, say: Callable[[str], None], request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """A machine of each release, freshly booted for this file, of its KIND; where it says INSTALLED, rdagentd runs on it."""
    kind = getattr(request.module, "KIND", "ready")
    installed = getattr(request.module, "INSTALLED", False)
    package = request.getfixturevalue("package") if installed else None
    disk = image.installed(release, say, kind, package) if package else image.image(release, say, kind)
    with Machine(disk) as machine:
        if installed:
            machine.check("systemctl is-system-running --wait; until rdagentctl ping; do sleep 0.2; done", timeout=180)
        yield machine


@pytest.fixture(autouse=True)
def journal_mark(request: pytest.FixtureRequest) -> None:
    """Remember where the journal stands, for the excerpt of a scenario that fails."""
    if "machine" in request.fixturenames:
        request.node.stash[CURSOR] = request.getfixturevalue("machine").cursor()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the journal of a failed scenario into its report."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if report.failed and machine is not None and call.when != "teardown":
        report.sections.append(("journal of the machine", excerpt(machine, item.stash.get(CURSOR, ""))))
    return report


def excerpt(machine: Machine, cursor: str) -> str:
    """Return the journal since a cursor, or the console where the machine no longer answers."""
    try:
        return machine.journal(since_cursor=cursor)
    except MachineError as error:
        return str(error)
