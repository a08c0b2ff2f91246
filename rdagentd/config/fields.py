"""All fields of a spec as one table: key, kind of value, meaning. The parser and docs/worker-spec.md both come from it."""

from __future__ import annotations

from typing import Any

from rdagentd.config.budgets import BUDGETS, DISK_CONFLICT
from rdagentd.config.checkpoints import CHECKPOINTS, SNAPSHOT
from rdagentd.config.checkpoints import CONFLICTS as CHECKPOINT_CONFLICTS
from rdagentd.config.containers import COMMAND_OR_NONE, CONFLICTS, CONTAINER, derive_driver, needs
from rdagentd.config.dependencies import CONFLICT as DEPENDENCY_CONFLICT
from rdagentd.config.dependencies import DEPENDS, PROVIDERS
from rdagentd.config.directories import CACHE, STATE
from rdagentd.config.directories import CONFLICTS as DIRECTORY_CONFLICTS
from rdagentd.config.health import CONFLICTS as HEALTH_CONFLICTS
from rdagentd.config.health import HEALTH
from rdagentd.config.isolation import CONFLICT as ISOLATION_CONFLICT
from rdagentd.config.isolation import ISOLATION
from rdagentd.config.kinds import CODES, FLAG, SIGNALS, UMASK, choice, duration, fraction, size, whole
from rdagentd.config.preflight import CONFLICT as PREFLIGHT_CONFLICT
from rdagentd.config.preflight import PREFLIGHT
from rdagentd.config.reporters import CONFLICT as REPORTERS_CONFLICT
from rdagentd.config.reporters import REPORTERS
from rdagentd.config.requests import ABOVE_LIMITS, REQUESTS
from rdagentd.config.resources import (
    CPU_LIST,
    CPUS,
    DEVICE_RATES,
    MEMORY,
    REQUIRE,
    SWAP,
    TASKS,
    WEIGHT,
)
from rdagentd.config.result import CONFLICT as RESULT_CONFLICT
from rdagentd.config.result import RESULT
from rdagentd.config.rlimits import BYTES, MICROSECONDS, SECONDS, count
from rdagentd.config.section import Conflict, Section
from rdagentd.config.stall import STALL
from rdagentd.config.tables import CREDENTIALS, ENVIRONMENT, LABELS, SECRET_ENVIRONMENT
from rdagentd.config.texts import NAME, OPTIONAL_PATH, PATHS, USER
from rdagentd.config.units import MAX_SIZE, format_duration
from rdagentd.model.container import DriverName
from rdagentd.model.size import format_size
from rdagentd.model.spec import Breaker, Limits, Log, Policy, Queue, Restart, Spec, Stop

_MIN_SEGMENT = 4096


def _both(key: str, other: str) -> Conflict:
    def found(restart: Any) -> str:
        codes = sorted(set(getattr(restart, key)) & set(getattr(restart, other)))
        return f"{', '.join(map(str, codes))} also stands in {other}" if codes else ""

    return Conflict(key, (key, other), found)


def _delays(restart: Restart) -> str:
    if restart.max_delay >= restart.delay:
        return ""
    return f"{format_duration(restart.max_delay)} is less than the delay of {format_duration(restart.delay)}"


def _segments(log: Log) -> str:
    return (
        "" if log.segment <= log.cap else f"{format_size(log.segment)} is more than the cap of {format_size(log.cap)}"
    )


def _high(limits: Limits) -> str:
    high, most = limits.memory_high, limits.memory
    if high is None or most is None or high <= most:
        return ""
    return f"{format_size(high)} is more than the memory of {format_size(most)}"


def _twice(spec: Spec) -> str:
    names = ", ".join(sorted(set(spec.environment) & set(spec.secret_environment)))
    return f"{names} also stands in environment" if names else ""


def _derive_max_delay(values: dict[str, Any]) -> None:
    if "max_delay" not in values and values.get("delay", 0) > Restart().max_delay:
        values["max_delay"] = values["delay"]


def _derive_segment(values: dict[str, Any]) -> None:
    if "segment" not in values and "cap" in values:
        values["segment"] = min(Log().segment, max(_MIN_SEGMENT, values["cap"] // 5))


BREAKER = Section(
    Breaker,
    {
        "failures": (whole(0, 1000), "Ends nobody asked for, within `window`, that open the breaker; 0: no breaker."),
        "window": (duration(zero=False), "How far back ends are counted."),
        "cooldown": (duration(zero=False), "After this long an open breaker lets one attempt through."),
    },
)

RESTART = Section(
    Restart,
    {
        "policy": (choice(Policy), "When a run that ended is followed by another one."),
        "delay": (duration(), "Wait before the first restart."),
        "factor": (fraction(1, 100), "Each further wait is this many times as long."),
        "max_delay": (duration(), "Longest wait. Not given: 5 minutes, or `delay` if that is more."),
        "jitter": (fraction(0, 1), "Each wait is made longer or shorter by up to this fraction of it."),
        "retries": (whole(0, 1000), "Restarts allowed within `window`; counts for `on-failure` only."),
        "window": (
            duration(unlimited=True, zero=False),
            "How far back restarts are counted; unlimited: to the last start by a person.",
        ),
        "success_codes": (CODES, "Exit codes that mean success."),
        "stop_codes": (CODES, "Exit codes after which the worker is not restarted, whatever the policy."),
        "restart_codes": (CODES, "Exit codes after which the worker is restarted at once, whatever the policy."),
        "breaker": (BREAKER, "Stops a worker that fails again and again, and tries it again later."),
    },
    shorthand="policy",
    hints={
        "max_retries": "did you mean retries?",
        "attempts": "did you mean retries?",
        "backoff": "did you mean delay and factor?",
        "no_restart_codes": "did you mean stop_codes?",
    },
    derive=_derive_max_delay,
    conflicts=(
        Conflict("max_delay", ("delay", "max_delay"), _delays),
        _both("stop_codes", "success_codes"),
        _both("restart_codes", "success_codes"),
        _both("restart_codes", "stop_codes"),
    ),
)

STOP = Section(
    Stop,
    {
        "signals": (SIGNALS, "Signals sent in this order to ask the run to end."),
        "interval": (duration(), "Wait between two of these signals."),
        "grace": (duration(), "Wait after the last of them; then everything of the run gets SIGKILL."),
    },
    hints={"signal": 'did you mean signals = ["…"]?', "timeout": "did you mean grace?"},
)

QUEUE = Section(
    Queue,
    {
        "group": (NAME, "Group of workers that share slots (see rdagentd.toml)."),
        "priority": (whole(-1_000_000, 1_000_000), "Higher goes first."),
    },
)

LIMITS = Section(
    Limits,
    {
        "memory": (
            MEMORY,
            "Memory; beyond, the kernel ends the whole run: `out_of_memory` (memory.max, memory.oom.group).",
        ),
        "memory_high": (MEMORY, "Memory above which the run is slowed down and made to give some back (memory.high)."),
        "swap": (SWAP, "Swap beside `memory`; 0: none (memory.swap.max)."),
        "cpu": (CPUS, "CPU time per time: 2 are two whole CPUs (cpu.max, per 100 ms)."),
        "cpu_weight": (WEIGHT, "Share of a CPU that several want; others have 100 (cpu.weight)."),
        "cpuset": (CPU_LIST, "The CPUs that it may use (cpuset.cpus)."),
        "tasks": (TASKS, "Processes and threads at a time; beyond, fork fails with EAGAIN (pids.max)."),
        "io_weight": (WEIGHT, "Share of a device that several want; others have 100 (io.weight)."),
        "io_max": (DEVICE_RATES, 'Rates by device: `[{ path = "/data", write = "50M" }]` (io.max).'),
        "require": (REQUIRE, "Whether a run is refused where one of the limits above cannot be enforced. See above."),
        "address_space": (BYTES, "Address space (RLIMIT_AS)."),
        "core": (BYTES, "Size of a core file; 0: none (RLIMIT_CORE)."),
        "cpu_time": (SECONDS, "CPU time, after which SIGXCPU is sent, and SIGKILL at the hard limit (RLIMIT_CPU)."),
        "data": (BYTES, "Data segment and private memory (RLIMIT_DATA)."),
        "fsize": (BYTES, "Size of a file that is written (RLIMIT_FSIZE)."),
        "memlock": (BYTES, "Memory locked into RAM (RLIMIT_MEMLOCK)."),
        "msgqueue": (BYTES, "POSIX message queues of the user (RLIMIT_MSGQUEUE)."),
        "nice": (count(0, 40), "Ceiling of the nice value, as 20 less that value (RLIMIT_NICE)."),
        "nofile": (count(0, MAX_SIZE), "Highest descriptor number, plus one (RLIMIT_NOFILE)."),
        "nproc": (count(0, MAX_SIZE), "Processes and threads of the user, not of the worker (RLIMIT_NPROC)."),
        "rss": (BYTES, "No effect on Linux since 2.4.30 (RLIMIT_RSS)."),
        "rtprio": (count(0, 99), "Ceiling of the real-time priority (RLIMIT_RTPRIO)."),
        "rttime": (MICROSECONDS, "CPU time of a real-time process without a blocking call (RLIMIT_RTTIME)."),
        "sigpending": (count(0, MAX_SIZE), "Signals queued for the user (RLIMIT_SIGPENDING)."),
        "stack": (BYTES, "Stack of the main thread (RLIMIT_STACK)."),
    },
    hints={
        "as": "did you mean address_space?",
        "mem": "did you mean memory?",
        "memory_swap": "did you mean swap? It counts beside memory, not with it",
        "cpus": "did you mean cpu?",
        "cores": "core is the size of a core file; did you mean cpu?",
        "pids": "did you mean tasks?",
        "io": "did you mean io_max?",
        "files": "did you mean nofile?",
        "fds": "did you mean nofile?",
        "open_files": "did you mean nofile?",
        "processes": "did you mean nproc?",
        "file_size": "did you mean fsize?",
        "time": "CPU time: cpu_time; run time: timeout, beside limits",
        "timeout": "timeout stands beside limits, not in it",
    },
    conflicts=(Conflict("memory_high", ("memory_high", "memory"), _high),),
)

LOG = Section(
    Log,
    {
        "cap": (size(_MIN_SEGMENT), "Most that is kept of each stream; the oldest segment goes first."),
        "segment": (size(_MIN_SEGMENT), "Size of one file. Not given: 10 MiB, or a fifth of `cap` if that is less."),
        "separate": (FLAG, "Keep standard output and standard error apart."),
        "redact": (FLAG, "Write `[redacted]` in place of its secrets and of what looks like a key."),
    },
    derive=_derive_segment,
    conflicts=(Conflict("segment", ("cap", "segment"), _segments),),
)

SPEC = Section(
    Spec,
    {
        "name": (NAME, "What the worker is called: 1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or a digit."),
        "command": (
            COMMAND_OR_NONE,
            "The program and its arguments. No shell is involved: no variables, no pipes, no globs. A container needs none.",
        ),
        "driver": (choice(DriverName), "How its runs happen. Not given: `docker` where there is a table [container]."),
        "container": (CONTAINER, 'The container in which its runs happen (`driver = "docker"`).'),
        "docker_socket": (
            FLAG,
            "Whether it may start containers of its own: $DOCKER_HOST is a Docker engine with rules. Not with [container].",
        ),
        "directory": (
            OPTIONAL_PATH,
            "Working directory. Not given: /, or the image's. A relative one begins at the directory of the file.",
        ),
        "environment": (ENVIRONMENT, "Variables of the run, at most 128 KiB together. Never shown by any command."),
        "environment_file": (
            PATHS,
            "Files of NAME=VALUE lines, read at each start; later ones win, `environment` over all.",
        ),
        "credentials": (
            CREDENTIALS,
            "Files in $CREDENTIALS_DIRECTORY of the run, each the name of a credential of rdagentd-executor.service.",
        ),
        "secret_environment": (
            SECRET_ENVIRONMENT,
            'Variables from such credentials: `{ OPENAI_API_KEY = "openai" }`; they win over all. A file is safer.',
        ),
        "user": (USER, "User to run as. Not given: the person who submitted it."),
        "group": (USER, "Group to run as. Not given: the user's own."),
        "umask": (UMASK, 'Permissions taken away from new files: "022", or 0o022.'),
        "nice": (whole(-20, 19), "CPU scheduling priority; lower goes first."),
        "restart": (
            RESTART,
            'Whether, when and how often it is started again. Text alone is the policy: restart = "always".',
        ),
        "stop": (STOP, "How a run is asked to end."),
        "timeout": (
            duration(unlimited=True, zero=False),
            "Longest run time, pauses not counted; then the run is stopped.",
        ),
        "kill_after": (duration(), "Takes the place of `stop.grace` when `timeout` ends the run."),
        "queue": (QUEUE, "Where it waits for its turn."),
        "limits": (
            LIMITS,
            "What a run may use as a whole, and each of its processes.",
        ),
        "requests": (REQUESTS, "What the host must have left before a run starts, and keeps for it until it is over."),
        "isolation": (
            ISOLATION,
            'What of the host a process can reach. Text alone is the preset: isolation = "strict".',
        ),
        "state": (STATE, "A directory of its own, kept from run to run: $STATE_DIRECTORY. `state = {}` is enough."),
        "cache": (
            CACHE,
            "A directory of its own for what can be made again: $CACHE_DIRECTORY. `cache = {}` is enough.",
        ),
        "log": (LOG, "How its output is kept."),
        "reporters": (
            REPORTERS,
            "What it tells of itself, and where: see operations.md. Tables `[[reporters]]`.",
        ),
        "watchdog": (
            duration(unlimited=True, zero=False),
            "Longest time between two signs of life, `WATCHDOG=1` to $NOTIFY_SOCKET; then the run is stopped: `unhealthy`.",
        ),
        "labels": (LABELS, "Names and values to select workers by; a value has at most 256 bytes."),
        "depends": (
            DEPENDS,
            'What must have become of other workers before it starts: `{ db = "healthy", seed = "completed_successfully" }`.',
        ),
        "providers": (PROVIDERS, "Providers of models without which it cannot work; see [providers] in rdagentd.toml."),
        "health": (
            HEALTH,
            'Whether a run is well, and what follows if not. Text alone is the URL: health = "http://127.0.0.1:8000/".',
        ),
        "budgets": (BUDGETS, "What it may spend over all its runs, and what of that must be reported in time."),
        "stall": (STALL, "When a run that lives is said to do nothing any more, and what follows."),
        "preflight": (
            PREFLIGHT,
            "What must be there before a run starts; else it ends as `could_not_start`, at stage `preflight`.",
        ),
        "result": (RESULT, "How it is known what a run came to, where its exit code does not tell."),
        "checkpoints": (CHECKPOINTS, "What it writes to go on from, when it is restarted by policy or resumed."),
        "snapshot": (SNAPSHOT, "What is kept of its work before each start."),
    },
    hints={
        "cmd": "did you mean command?",
        "exec": "did you mean command?",
        "argv": "did you mean command?",
        "args": "arguments stand in command, after the program",
        "env": "did you mean environment?",
        "secrets": "did you mean credentials, or secret_environment?",
        "env_file": "did you mean environment_file?",
        "cwd": "did you mean directory?",
        "workdir": "did you mean directory?",
        "working_directory": "did you mean directory?",
        "restart_policy": "did you mean restart?",
        "autorestart": "did you mean restart?",
        "stop_signal": "did you mean stop.signals?",
        "kill_timeout": "did you mean kill_after?",
        "cores": "did you mean limits.cpu?",
        "stdout": "output is always kept, see log",
        "stderr": "output is always kept, see log",
        "image": "did you mean container.image?",
        "docker": "did you mean container? docker_socket lets a process start containers",
        "gpus": "did you mean requests.gpus?",
        "docker_host": "did you mean docker_socket = true?",
        "depends_on": "did you mean depends?",
        "requires": "did you mean depends?",
        "after": "did you mean depends?",
        "provider": "did you mean providers?",
        "healthcheck": "did you mean health?",
        "budget": "did you mean budgets?",
        "max_cost": "did you mean budgets.cost_usd?",
        "set": "it gives parameters to a profile, and there is no profile",
    },
    derive=derive_driver,
    conflicts=(
        *CONFLICTS,
        *ABOVE_LIMITS,
        ISOLATION_CONFLICT,
        REPORTERS_CONFLICT,
        *DIRECTORY_CONFLICTS,
        DEPENDENCY_CONFLICT,
        *HEALTH_CONFLICTS,
        PREFLIGHT_CONFLICT,
        RESULT_CONFLICT,
        *CHECKPOINT_CONFLICTS,
        Conflict("secret_environment", ("environment", "secret_environment"), _twice),
        DISK_CONFLICT,
    ),
    needs=needs,
)
