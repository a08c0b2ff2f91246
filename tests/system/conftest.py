"""The machine of a scenario: one boot for each test file and release, and the journal of a scenario that failed."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from . import image
from .machine import Machine, MachineError, Moment

LONGEST = (
    "test_service",
    "test_crash",
    "test_upgrade",
    "test_access",
    "test_hostile",
    "test_docker_socket",
    "test_package",
)
"""Files by how long they take, the longest first."""

BOOTED = "systemctl is-system-running --wait;"
ANSWERS = "until rdagentctl ping; do sleep 0.2; done"

SINCE: pytest.StashKey[float] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every scenario here; its time limit covers building the images and a slow boot. What takes longest begins first."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        item.add_marker(pytest.mark.system)
        item.add_marker(pytest.mark.timeout(3600))
    if len(ours) == len(items):  # other tests have an order of their own
        items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


class ByMachine(LoadScopeScheduling):  # type: ignore[misc]
    """Where machines run side by side, the scenarios of one stay together: those of a file, of one release."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, scenario = nodeid.partition("::")
        return f"{file} {next((release for release in image.RELEASES if release in scenario), '')}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByMachine:
    """Share the scenarios out."""
    return ByMachine(config, log)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tell the person at the terminal what takes so long."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", file=sys.stderr, flush=True)  # the one way out of a process that tests beside others

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
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory of all who test beside each other."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def package(bench_tools: None, common: Path) -> Path:
    """The .deb of this checkout, built once."""
    build = Path(__file__).parents[2] / "packaging" / "deb" / "build"
    with image.lock("tools"):  # it installs what it is built with
        if not (common / "package").exists():
            subprocess.run([build, common / "package"], check=True, stdout=subprocess.PIPE)
    return next((common / "package").glob("*.deb"))


@pytest.fixture(scope="module", params=list(image.RELEASES))
def release(request: pytest.FixtureRequest) -> str:
    """The Debian release that the machine runs."""
    return str(request.param)


@pytest.fixture(scope="module")
def machine(
    release: str, bench_tools: None, common: Path, say: Callable[[str], None], request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """A machine of each release for this file, of its KIND, just booted; where it says INSTALLED, rdagentd runs on it.

    Of each sort one is booted, emulated nearly a minute of work, and the others go on from there.
    """
    kind = getattr(request.module, "KIND", "ready")
    installed = getattr(request.module, "INSTALLED", False)
    package = request.getfixturevalue("package") if installed else None
    disk = image.installed(release, say, kind, package) if package else image.image(release, say, kind)
    name = f"{release}-{kind}{'-installed' * installed}"
    kept, told = common / f"{name}.qcow2", common / f"{name}.boot-id"
    with image.lock(f"boot-{name}"):
        if not told.exists():
            with Machine(disk) as first:
                first.check(BOOTED + (ANSWERS if installed else ""), timeout=180)
                told.write_text(first.keep(kept).boot_id)
    with Machine(Moment(disk, kept, told.read_text())) as machine:
        yield machine


@pytest.fixture(autouse=True)
def journal_mark(request: pytest.FixtureRequest) -> None:
    """Remember where the journal stands, for the excerpt of a scenario that fails."""
    if "machine" in request.fixturenames:
        request.node.stash[SINCE] = request.getfixturevalue("machine").clock


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the journal of a failed scenario into its report."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if report.failed and machine is not None and call.when != "teardown":
        report.sections.append(("journal of the machine", excerpt(machine, item.stash.get(SINCE, 0.0))))
    return report


def excerpt(machine: Machine, since: float) -> str:
    """Return the journal since a time of the machine's clock, or the console where the machine no longer answers."""
    try:
        return machine.journal(since=since)
    except MachineError as error:
        return str(error)
