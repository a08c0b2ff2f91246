"""What is told to Prometheus of each worker: bounded, because every series costs memory there for as long as it is kept."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from rdagentd.config.kinds import choice, each, whole
from rdagentd.config.section import Section


class WorkerFamily(StrEnum):
    """The families of metrics that have a series for each worker."""

    STATE = "rdagentd_worker_state"
    RESTARTS = "rdagentd_worker_restarts_total"
    EXITS = "rdagentd_worker_exits_total"
    RUN_START = "rdagentd_worker_run_start_time_seconds"
    CPU = "rdagentd_worker_cpu_seconds_total"
    MEMORY = "rdagentd_worker_memory_bytes"
    MEMORY_PEAK = "rdagentd_worker_memory_peak_bytes"
    TASKS = "rdagentd_worker_tasks"
    READ = "rdagentd_worker_io_read_bytes_total"
    WRITTEN = "rdagentd_worker_io_written_bytes_total"
    LOG = "rdagentd_worker_log_bytes_total"
    DISK = "rdagentd_worker_disk_bytes"
    ACTIVITY = "rdagentd_worker_last_activity_timestamp_seconds"
    PROGRESS = "rdagentd_worker_progress_ratio"
    ITERATIONS = "rdagentd_worker_iterations_total"
    TOKENS = "rdagentd_worker_tokens_total"
    COST = "rdagentd_worker_cost_usd_total"
    ERRORS = "rdagentd_worker_errors_total"
    MEASURE = "rdagentd_worker_measure"
    RALPH_ITERATIONS = "ralph_iterations_total"
    RALPH_ERRORS = "ralph_errors_total"
    RALPH_RUNTIME = "ralph_runtime_seconds"
    RALPH_ITERATION = "ralph_iteration_duration_seconds"
    HEALTH = "rdagentd_worker_health"
    READY = "rdagentd_worker_ready"
    STALLED = "rdagentd_worker_stalled"
    BUDGET = "rdagentd_worker_budget_used_ratio"


@frozen
class Metrics:
    """workers: most workers with series of their own. leave_out: families that are not told."""

    workers: int = 1000
    leave_out: tuple[WorkerFamily, ...] = ()


METRICS = Section(
    Metrics,
    {
        "workers": (
            whole(0, 1_000_000),
            "Most workers with series of their own, those that are not at rest first, and most groups. The sums count all.",
        ),
        "leave_out": (each(choice(WorkerFamily), len(WorkerFamily)), "Metrics of workers that are not told."),
    },
)
