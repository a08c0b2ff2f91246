"""The rows of docs/limits.md as far as this host can hold them: each limit, who tries to exceed it, and what `why` says."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cgroups import enforced
from tests.engine import IMAGE, Engine
from tests.harness import CallError, Client, LiveDaemon
from tests.limits import containers, page, processes
from tests.limits.place import Place
from tests.limits.row import Row, Story

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: workers run as nobody")


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, str]]:
    """What stands for the names in the rows: directories of everybody's, a set-user-ID program, and a server."""
    made = {name: tempfile.mkdtemp(prefix="rdagentd-test-", dir=root) for name, root in _ROOTS.items()}
    with socket.create_server(("127.0.0.1", 0)) as server:
        for place in map(Path, made.values()):
            place.chmod(0o777)
        shutil.copy("/usr/bin/id", f"{made['/opt/open']}/id")
        Path(made["/opt/open"], "id").chmod(0o4755)
        yield {**made, "7777": str(server.getsockname()[1])}
    for place in made.values():
        shutil.rmtree(place)


_ROOTS = {"/srv/open": "/srv", "/srv/own": "/srv", "/opt/open": "/opt"}


def lacks() -> dict[str, str]:
    """What this host does not have of what rows need."""
    try:
        files = enforced()
    except pytest.skip.Exception:
        files = frozenset()
    needed = {need for row in processes.ROWS for need in row.needs if "." in need}
    found = {need: f"the cgroups of this host have no {need}" for need in needed - files}
    found["egress"] = "rules for ports are loaded by a unit of the package"
    if len(Path("/proc/swaps").read_text().splitlines()) < 2:
        found["swap"] = "this host has no swap space"
    disk = os.stat("/var/tmp").st_dev
    if not Path(f"/sys/dev/block/{os.major(disk)}:{os.minor(disk)}").exists():
        found["disk"] = "/var/tmp is not on a disk of this host"
    if not shutil.which("bwrap", path="/usr/bin"):
        found["bwrap"] = "bubblewrap is not installed"
    return found


@pytest.fixture(scope="module")
def of_processes(
    names: dict[str, str],
) -> Iterator[tuple[Place, dict[str, Story]]]:
    """What became of each."""
    place = Place(names, ('user = "nobody"',), lacks())
    directory = Path(tempfile.mkdtemp(prefix="rdagentd-test-"))
    daemon = LiveDaemon(directory)
    client = daemon.start()
    assert client is not None
    for path in (directory, daemon.state):
        path.chmod(0o711)  # as the package has it: who runs there can come to their own directory
    yield place, tried(client, place, processes.ROWS)
    daemon.close()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def of_containers(
    tmp_path_factory: pytest.TempPathFactory, names: dict[str, str], engine: Engine
) -> Iterator[tuple[Place, dict[str, Story]]]:
    """What became of each."""
    place = Place(names, ('user = "nobody"', f'container.image = "{IMAGE}"'), lacks())
    directory = tmp_path_factory.mktemp("containers")
    (directory / "rdagentd.toml").write_text(f'[docker]\nsocket = "{engine.socket}"\n')
    daemon = LiveDaemon(directory)
    client = daemon.start("--config", str(directory / "rdagentd.toml"))
    assert client is not None
    yield place, tried(client, place, containers.ROWS)
    daemon.close()
    engine.remove_containers()


def tried(client: Client, place: Place, rows: Sequence[Row]) -> dict[str, Story]:
    """All that are possible here, side by side."""
    stories, names = {}, []
    for row in rows:
        if place.lack(row):
            continue
        document = {"where": row.name, "base": None, "document": tomllib.loads(place.document(row))}
        try:
            client.call("apply", documents=[document])
            names.append(row.worker)
        except CallError as error:
            stories[row.worker] = Story({}, refused=error.message)
    client.socket.settimeout(110)
    client.wait(*names)
    shown = client.call("show", select={"names": names})
    why = {one["name"]: tuple(one["sentences"]) for one in client.call("why", select={"names": names})}
    for worker in shown:
        name = worker["row"]["name"]
        stories[name] = Story(worker["runs"][0], client.log(name).decode(), why[name])
    return {name: place.told(story) for name, story in stories.items()}


@pytest.mark.parametrize("row", processes.ROWS, ids=lambda row: row.worker)
def test_a_process_is_held_as_the_page_says(row: Row, of_processes: tuple[Place, dict[str, Story]]) -> None:
    compared(processes.TITLE, processes.ROWS, row, of_processes)


@pytest.mark.parametrize("row", containers.ROWS, ids=lambda row: row.worker)
def test_a_container_is_held_as_the_page_says(row: Row, of_containers: tuple[Place, dict[str, Story]]) -> None:
    compared(containers.TITLE, containers.ROWS, row, of_containers)


def compared(title: str, rows: Sequence[Row], row: Row, found: tuple[Place, dict[str, Story]]) -> None:
    place, stories = found
    if lack := place.lack(row):
        pytest.skip(lack)
    page.told(title, rows, row, stories[row.worker])


@pytest.mark.parametrize("module", [processes, containers], ids=lambda module: module.TITLE)
def test_the_page_has_a_line_for_each_row_and_no_other(module: Any) -> None:
    names = [line.split(" | ")[0].removeprefix("| ") for line in page.table(module.TITLE)]
    assert names == [row.name for row in module.ROWS]
