"""A container from the request to its first instruction and to its known end: ours, the engine's API, `docker run`."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.pairs import Pairs, in_turn
from benchmarks.peers.base import ROOT
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row
from benchmarks.scale import Scale

sys.path.insert(0, str(ROOT))  # the tests' engine: it is not installed
from tests.engine import IMAGE, Engine, unavailable

Way = Callable[[Sequence[str], Callable[[], None]], None]
"""Runs a command in a new container of `IMAGE`, calls the second argument, and returns when its end is known."""


def _row(key: str, title: str, bare: str) -> Row:
    return Row(key, title, "ms", 1e3, over_bare=True, bare=bare)


ROWS = (
    _row("container_first_api", "container: request to its first instruction", "the engine's API"),
    _row("container_first_run", "the same", "`docker run`"),
    _row("container_end_api", "container: request to its known exit", "the engine's API"),
    _row("container_end_run", "the same", "`docker run`"),
)


def pairs(bench: Bench, scale: Scale) -> Pairs:
    """One image, one set of options. Without a C compiler there is no program that can tell its begin from within."""
    if unavailable() is not None or not shutil.which("gcc"):
        return {}
    config = bench.root / "rdagentd.toml"
    with Engine() as engine:
        config.write_text(f'[docker]\nsocket = "{engine.socket}"\ndirectories = ["{bench.root}"]\n')
        with Rdagentd(bench, [], options=("--config", config)) as running:
            ours = _ours(running, bench.root)

            def timed(way: Way) -> tuple[float, float]:
                told: list[int] = []
                begin = time.monotonic_ns()
                way(bench.stamp("stamp").argv, lambda: told.append(bench.told()[1]))
                return (told[0] - begin) / 1e9, (time.monotonic_ns() - begin) / 1e9

            found: dict[str, list[tuple[float, float]]] = {}
            for name, way in (("api", _api(engine, bench.root)), ("run", _docker_run(engine, bench.root))):
                measured = in_turn(range(scale.pairs), lambda _: timed(ours), lambda _, way=way: timed(way))
                for at, key in enumerate(("first", "end")):
                    found[f"container_{key}_{name}"] = [(first[at], second[at]) for first, second in measured]
            return found


def _ours(running: Rdagentd, root: Path) -> Way:
    numbers = itertools.count()

    def way(argv: Sequence[str], then: Callable[[], None]) -> None:
        name = f"box-{next(numbers)}"
        container = {"image": IMAGE, "network": "none", "volumes": [f"{root}:{root}:rw"]}
        running.ask("submit", {"spec": {"name": name, "command": list(argv), "container": container}, "start": True})
        then()
        running.await_rest([name])

    return way


def _docker_run(engine: Engine, root: Path) -> Way:
    options = ("--init", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--user=0:0")
    options += ("--log-opt=max-size=100m", "--log-opt=max-file=3", f"--mount=type=bind,src={root},dst={root}")

    def way(argv: Sequence[str], then: Callable[[], None]) -> None:
        with subprocess.Popen(("docker", "-H", engine.host, "run", *options, IMAGE, *argv)) as client:
            then()
        assert client.returncode == 0, client.returncode

    return way


def _api(engine: Engine, root: Path) -> Way:
    host: dict[str, Any] = {
        "Init": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "NetworkMode": "none",
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "100m", "max-file": "3"}},
        "Mounts": [{"Type": "bind", "Source": str(root), "Target": str(root)}],
    }

    def way(argv: Sequence[str], then: Callable[[], None]) -> None:
        body = {"Image": IMAGE, "User": "0:0", "Cmd": list(argv), "HostConfig": host}
        number = engine.call("POST", "/containers/create", body)["Id"]
        engine.call("POST", f"/containers/{number}/start")
        then()
        engine.call("POST", f"/containers/{number}/wait")

    return way
