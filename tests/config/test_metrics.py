"""What is told of workers can be bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdagentd.config.config import load_config
from rdagentd.config.metrics import Metrics, WorkerFamily
from rdagentd.config.problems import ConfigError


def read(directory: Path, text: str) -> Metrics:
    path = directory / "rdagentd.toml"
    path.write_text(text)
    return load_config(str(path), {}).config.metrics


def test_a_thousand_workers_and_everything_of_them_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Metrics(1000, ())


def test_families_are_left_out_by_name(tmp_path: Path) -> None:
    text = '[metrics]\nworkers = 0\nleave_out = ["rdagentd_worker_tasks", "rdagentd_worker_state"]\n'
    assert read(tmp_path, text) == Metrics(0, (WorkerFamily.TASKS, WorkerFamily.STATE))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("workers = -1", "metrics.workers: -1 is out of range (0 to 1000000)"),
        ('leave_out = ["rdagentd_worker_task"]', "did you mean rdagentd_worker_tasks?"),
        ('leave_out = "rdagentd_worker_tasks"', "metrics.leave_out: expected a list"),
        ("famlies = []", "metrics.famlies: unknown key"),
    ],
)
def test_mistakes(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[metrics]\n{line}\n")
    assert said in str(caught.value)
