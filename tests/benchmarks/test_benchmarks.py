"""The benchmarks' arithmetic, their table, and one quick run of everything."""

# ruff: noqa: RUF001 -- typography of the table

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

NEED_AGENTS = {"trace"}
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the benchmarks are run from the checkout, not installed

from benchmarks import processes  # noqa: E402
from benchmarks.__main__ import MEASURES  # noqa: E402
from benchmarks.bench import workbench  # noqa: E402
from benchmarks.pairs import apart, in_turn  # noqa: E402
from benchmarks.report import table  # noqa: E402
from benchmarks.row import Row  # noqa: E402
from benchmarks.sample import Sample  # noqa: E402
from tests.harness import DEADLINE, eventually  # noqa: E402


def test_quantiles_are_interpolated() -> None:
    sample = Sample([4, 1, 3, 2])
    assert sample == (1, 2, 3, 4)
    assert sample.median == 2.5
    assert sample.quantile(0) == 1
    assert sample.quantile(1) == 4
    assert Sample([7]).median == 7


def test_table_judges_quotients_and_tells_what_is_missing() -> None:
    rows = [
        Row("ping", "ping", "µs", 1e6, 2, over_bare=True, bare="echo"),
        Row("runs", "runs", "/s", target=400, more_is_better=True),
        Row("lost", "lost", "s", target=1),
    ]
    results = {
        "bare limit": {"ping": Sample([50e-6])},
        "rdagentd": {"ping": Sample([75e-6]), "runs": Sample([300.4])},
        "other": {"runs": Sample([150])},
    }
    text = table(rows, {"rdagentd": "rdagentd 1", "other": "other 2"}, results, {("rdagentd", "lost"): "too late"})
    assert text.splitlines() == [
        "| measure | rdagentd 1 | bare limit | other 2 | to reach | reached |",
        "| --- | --- | --- | --- | --- | --- |",
        "| ping, µs | 75 = 1.5 × | 50 (echo) |  | ≤ 2 × bare | yes (1.5 ×) |",
        "| runs, /s | 300 |  | 150 | ≥ 400 | **no** |",
        "| lost, s | not measured |  |  | ≤ 1 | not measured |",
        "",
        "- rdagentd, lost: too late",
    ]


def test_pairs_are_judged_by_the_median_of_their_quotients() -> None:
    row = Row("speed", "speed", "MB/s", target=0.8, more_is_better=True, over_bare=True)
    order: list[str] = []

    def way(name: str, values: list[float]) -> Callable[[int], float]:
        return lambda number: order.append(f"{name}{number}") or values[number]  # type: ignore[func-returns-value]

    pairs = in_turn(range(3), way("ours", [90, 9, 50]), way("bare", [100, 10, 500]))
    assert order == ["ours0", "bare0", "bare1", "ours1", "ours2", "bare2"], "neither is always the first"
    results = apart({"speed": pairs})
    assert (results["rdagentd"]["speed"], results["bare limit"]["speed"]) == ((9, 50, 90), (10, 100, 500))
    assert row.judged(results["rdagentd"], results["bare limit"]) == 0.9
    text = table([row], {"rdagentd": "rdagentd 1"}, results, {})
    assert "| 50 (17.2–82) = 0.9 × | 100 (28–420) | ≥ 0.8 × bare | yes (0.9 ×) |" in text


@pytest.mark.parametrize("compiler", [True, False])
def test_worker_tells_when_it_began(compiler: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiler:
        monkeypatch.setattr("benchmarks.bench.shutil.which", lambda name: None)
    with workbench() as bench:
        before = time.monotonic_ns()
        process = subprocess.Popen(bench.stamp("s").argv)
        pid, began = bench.told()
        assert process.wait(DEADLINE) == 0
        assert pid == process.pid
        assert before < began < time.monotonic_ns()
        written = subprocess.run(bench.write("w", 1000, 5000).argv, capture_output=True, check=True).stdout
        assert written == (b"x" * 99 + b"\n") * 50


def test_what_is_left_in_a_workbench_is_ended() -> None:
    with workbench() as bench:
        process = subprocess.Popen(bench.hold("h").argv)
        assert bench.told()[0] == process.pid
        assert processes.within(bench.root) == [process.pid]
    process.wait(DEADLINE)  # killed it is; perhaps not reaped yet
    assert not Path(f"/proc/{process.pid}").exists()
    assert not bench.root.exists()


def test_costs_of_a_process_are_read() -> None:
    """Not of this one: a thread that an earlier test left may end, and takes along what it has cost."""
    code = "import time\nprint(flush=True)\nwhile True: time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"\n"
            pids = [process.pid]
            cpu, switches = processes.cpu(pids), processes.switches(pids)
            eventually(lambda: processes.cpu(pids) > cpu, "it to use the CPU")
            eventually(lambda: processes.switches(pids) > switches, "it to be switched away and back")
            assert processes.pss(pids) > 1 << 20
        finally:
            process.kill()


def run(*options: str) -> str:
    command = [ROOT / "benchmarks/run", "--quick", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "measure", [pytest.param(name, marks=[pytest.mark.agents] * (name in NEED_AGENTS)) for name in MEASURES]
)
def test_every_measure_runs_by_itself(measure: str) -> None:
    assert "not measured" not in run("--peer", "rdagentd", "--peer", "supervisor", "--measure", measure)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_circus_is_measured() -> None:
    table = run(
        "--peer", "circus", "--measure", "request", "--measure", "return"
    )  # those that do not wait for its tick
    assert table.count("not measured") == 3, table  # "reached", for rdagentd
