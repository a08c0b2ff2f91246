"""Every command of rdagentctl in one literal table: help, usage errors and the completions are all made from it."""

from __future__ import annotations

POLICIES = ("always", "on-failure", "never", "unless-stopped")
LIMITS = (
    "memory", "memory_high", "swap", "cpu", "cpu_weight", "cpuset", "tasks", "io_weight",
    "address_space", "core", "cpu_time", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
REQUESTS = ("memory", "cpu", "disk", "gpus")
SORTS = (
    "name",
    "state",
    "cpu",
    "memory",
    "tasks",
    "read",
    "written",
    "log",
    "time",
    "restarts",
    "progress",
    "cost",
    "detail",
)


UNTIL = ("rest", "running", "healthy", "ready")


class Option:
    """One option. value: what follows it, "" for a switch; many: may be given again; path: the spec's field that it sets."""

    __slots__ = ("choices", "flag", "many", "path", "says", "short", "value")

    def __init__(  # noqa: PLR0913 -- a row of a table
        self,
        flag: str,
        value: str,
        says: str,
        *,
        short: str = "",
        many: bool = False,
        choices: tuple[str, ...] = (),
        path: str = "",
    ) -> None:
        self.flag = flag
        self.value = value
        self.says = says
        self.short = short
        self.many = many
        self.choices = choices
        self.path = path


class Command:
    """One command. words: what may follow it, as in a usage line, at least `least` and at most `most` of them.

    kind: what these words are, for the completions. rest: takes a program and its arguments after `--`.
    """

    __slots__ = ("about", "examples", "kind", "least", "most", "name", "options", "rest", "says", "words")

    def __init__(  # noqa: PLR0913 -- a row of a table
        self,
        name: str,
        says: str,
        words: str = "",
        *options: Option,
        least: int = 0,
        most: int = 0,
        kind: str = "",
        rest: bool = False,
        about: str = "",
        examples: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.says = says
        self.words = words
        self.options = options
        self.least = least
        self.most = most
        self.kind = kind
        self.rest = rest
        self.about = about
        self.examples = examples


ANY = 1 << 20

COMMON = (
    Option("--json", "", "answer in JSON"),
    Option("--socket", "PATH", "the daemon's socket, also RDAGENTD_SOCKET"),
    Option("--help", "", "show this help", short="-h"),
)

LABEL = Option("--label", "KEY=VALUE", "only workers with this label", many=True)
WAIT = Option("--wait", "", "return once it is done")
TIMEOUT = Option("--timeout", "TIME", "wait no longer than this: 30, 10m, 1h30m")
RANGE = (
    Option("--since", "TIME", "10m (ago), 14:30, today, 2026-01-31T14:30"),
    Option("--until", "TIME", "the same"),
    Option("--run", "RUN", "of one run: its id, or -1 for the latest"),
    Option("--stream", "STREAM", "where they are kept apart; not given: out", choices=("out", "err", "both")),
)
FOLLOW = Option("--follow", "", "go on as more comes", short="-f")

PROFILE = (
    Option("--profile", "PROFILE", "begin with this profile; see rdagentctl profiles"),
    Option("--set", "PARAMETER=VALUE", "a parameter of the profile, or any field: restart.factor=2", many=True),
)

ENVIRONMENT = (
    Option("--env", "KEY[=VALUE]", "a variable; without a value: your own", many=True, path="environment"),
    Option("--env-file", "FILE", "variables from a file, read at each start", many=True, path="environment_file"),
)

SPEC = (
    Option("--name", "NAME", "what to call the worker", path="name"),
    Option("--directory", "DIR", "working directory; not given: this one", path="directory"),
    *ENVIRONMENT,
    Option(
        "--limit", "KEY=VALUE", "memory=4G, cpu=2, tasks=512, nofile=4096", many=True, path="limits", choices=LIMITS
    ),
    Option(
        "--request", "KEY=VALUE", "to be kept for it: memory=2G, gpus=1", many=True, path="requests", choices=REQUESTS
    ),
    Option("--restart", "POLICY", "start again when it ends", path="restart.policy", choices=POLICIES),
    Option("--retries", "N", "restarts allowed with on-failure", path="restart.retries"),
    Option("--delay", "TIME", "wait before a restart", path="restart.delay"),
    Option("--timeout", "TIME", "longest run time", path="timeout"),
    Option("--kill-after", "TIME", "then this long until SIGKILL", path="kill_after"),
    Option("--stop-signal", "SIGNAL", "how to ask it to end", many=True, path="stop.signals"),
    Option("--stop-interval", "TIME", "between two of these signals", path="stop.interval"),
    Option("--grace", "TIME", "after the last, until SIGKILL", path="stop.grace"),
    Option("--user", "USER", "run as this user", path="user"),
    Option("--group", "GROUP", "run as this group", path="group"),
    Option("--umask", "MASK", "octal, 022", path="umask"),
    Option("--nice", "N", "-20 (first) to 19 (last)", path="nice"),
    Option("--queue-group", "GROUP", "group that shares slots", path="queue.group"),
    Option("--priority", "N", "higher goes first", path="queue.priority"),
    Option("--label", "KEY=VALUE", "a label to select it by", many=True, path="labels"),
    Option("--log-cap", "SIZE", "most output that is kept", path="log.cap"),
    Option("--log-separate", "", "keep standard error apart", path="log.separate"),
    *PROFILE,
)


def _select(name: str, says: str, *options: Option, least: int = 1, **more: object) -> Command:
    words = "NAME…" if least else "[NAME…]"
    return Command(name, says, words, *options, LABEL, least=least, most=ANY, kind="worker", **more)  # type: ignore[arg-type]


COMMANDS = (
    Command(
        "submit", "hand over a command to be supervised", "[NAME]", *SPEC,
        Option("--no-start", "", "only keep it; start it later"),
        rest=True, most=1,
        about="Of your environment the worker gets PATH alone; name what else it needs with --env.\n"
        "A profile may bring the command; one after -- wins over it.",
        examples=(
            "rdagentctl submit -- python3 agent.py",
            "rdagentctl submit --name ralph --restart on-failure --limit nofile=4096 --env API_KEY -- ralph run",
            "rdagentctl submit --profile rd-agent --set scenario=data_science --set competition=toy --set loops=3 toy",
        ),
    ),
    Command(
        "run", "submit, show the output, exit as the worker did", "[NAME]", *SPEC,
        Option("--stop-on-interrupt", "", "ctrl-C stops the worker, without asking"),
        Option("--detach-on-interrupt", "", "ctrl-C leaves it running, without asking"),
        rest=True, most=1,
        about="Exits with the worker's own code, 128+N if signal N ended it. Closing the terminal leaves it running.",
        examples=("rdagentctl run --name tests --timeout 30m -- make test",),
    ),
    Command(
        "apply", "make workers as TOML files say", "FILE…",
        Option("--dry-run", "", "only show what would change"),
        Option("--prune", "", "remove every worker that these files do not name"),
        least=1, most=ANY, kind="file",
        about="FILE is a TOML file, a directory of them (*.toml), or - for standard input.",
        examples=("rdagentctl apply --dry-run /etc/rdagentd/workers.d", "rdagentctl apply agent.toml"),
    ),
    _select(
        "status", "list workers, trouble first",
        Option("--all", "", "every worker, even if the screen is too small"),
        Option("--quiet", "", "names only", short="-q"),
        Option("--long", "", "what each uses: CPU, memory, tasks, I/O, output", short="-l"),
        least=0,
        about="With a name, glob or label: exits with 3 if one of these workers is not running.",
        examples=("rdagentctl status", "rdagentctl status 'agent-*' --label team=research"),
    ),
    _select(
        "top", "watch workers live: what each uses, how fast",
        Option("--sort", "COLUMN", "by this one; not given: state, trouble first", choices=SORTS),
        Option("--interval", "TIME", "between two pictures; not given: 2s"),
        Option("--once", "", "print one picture, of the first interval"),
        Option("--batch", "", "print picture after picture"),
        Option("--number", "N", "print so many", short="-n"),
        least=0,
        about="On a terminal ? tells the keys and q leaves.\nCOLUMN: " + ", ".join(SORTS) + ".",
        examples=("rdagentctl top", "rdagentctl top --batch -n 5 --sort cpu 'agent-*'", "rdagentctl top --once --json"),
    ),
    _select(
        "show", "everything known about a worker: spec, runs, revisions",
        examples=("rdagentctl show ralph",),
    ),
    _select(
        "start", "start workers that are at rest", WAIT, TIMEOUT,
        examples=("rdagentctl start ralph --wait",),
    ),
    _select(
        "stop", "ask workers to end; insist after their grace", WAIT, TIMEOUT,
        examples=("rdagentctl stop ralph --wait", "rdagentctl stop '*'"),
    ),
    _select(
        "restart", "stop, then start again", WAIT, TIMEOUT,
        examples=("rdagentctl restart --label team=research",),
    ),
    _select(
        "budget", "what workers have spent of their budgets; raise those",
        Option("--raise", "MEASURE=AMOUNT", "cost_usd=2, run.tokens=50000, run_time=8h, unlimited", many=True),
        least=0,
        about="Who stopped for lack of it starts again. For a worker of workers.d change the file, too: a reload reads it.",
        examples=("rdagentctl budget", "rdagentctl budget ralph --raise cost_usd=5"),
    ),
    _select("pause", "freeze workers where they are", examples=("rdagentctl pause ralph",)),
    _select(
        "resume", "let paused workers go on, others from a checkpoint",
        Option("--from", "CHECKPOINT", "a path that `checkpoints` shows; not given: the newest that is whole"),
        about="One that is paused goes on. One at rest starts with the newest checkpoint of its present life; `start` and\n"
        "`restart` begin a new life, in which the checkpoints of earlier ones do not count.",
        examples=("rdagentctl resume ralph", "rdagentctl resume toy --from trace/__session__/2/1_coding"),
    ),
    Command(
        "signal", "send a signal", "SIGNAL NAME…",
        Option("--scope", "SCOPE", "who gets it; not given: main", choices=("main", "group", "tree")), LABEL,
        least=1, most=ANY, kind="signal",
        examples=("rdagentctl signal HUP ralph",),
    ),
    Command(
        "report", "tell for a worker what it has done", "NAME MEASURE=VALUE…",
        least=2, most=ANY, kind="worker",
        about="MEASURE: progress (0 to 1), iteration, step, status, tokens, cost_usd, errors, provider_errors, or your own.\n"
        "= tells the total of its run, += adds to it. For scripts, and for what no reporter of its spec finds.",
        examples=("rdagentctl report ralph progress=0.4 step=testing", "rdagentctl report ralph tokens+=1200 cost_usd+=0.02"),
    ),
    _select(
        "kill", "end workers and all their processes at once", WAIT, TIMEOUT,
        examples=("rdagentctl kill ralph",),
    ),
    _select(
        "remove", "forget workers, their logs too",
        Option("--force", "", "kill those that still run first"),
        examples=("rdagentctl remove 'try-*'",),
    ),
    _select(
        "wait", "wait until workers have ended",
        Option("--until", "WHAT", "until they are so; not given: rest", choices=UNTIL),
        Option("--for", "WHAT", "the same", choices=UNTIL), TIMEOUT,
        about="Exits with the worker's own code, 128+N if signal N ended it; of several, the first that is not 0.\n"
        "Until healthy or ready: with 1 if one came to rest instead.",
        examples=("rdagentctl wait ralph --timeout 1h", "rdagentctl wait db --until healthy"),
    ),
    _select(
        "logs", "show what workers wrote", FOLLOW,
        Option("--tail", "N", "begin N lines before the end", short="-n"),
        *RANGE,
        Option("--grep", "REGEX", "only lines that match"),
        Option("--invert", "", "only lines that do not", short="-v"),
        about="Bytes are shown as they were written; of several workers, lines with the name before each.\n"
        "--follow ends with the workers. --json: an object a line: worker, stream, offset, time, run, text.",
        examples=(
            "rdagentctl logs ralph -f -n 20", "rdagentctl logs ralph --since 1h --grep 'error|warn'",
            "rdagentctl logs 'agent-*' -f --json",
        ),
    ),
    Command(
        "analyse", "tell what a worker's log comes to: errors, slow operations, cost, rates", "NAME", *RANGE,
        least=1, most=1, kind="worker",
        about="Errors: lines with the level ERROR, CRITICAL or FATAL, or that begin with an exception's name or \"error:\";\n"
        "grouped with numbers, ids, paths and times taken out. Slow, from 10 s on: what a line tells (\"took 12.3 s\",\n"
        "\"Running time: 95 seconds\", \"completed in 1m 30s\", duration_ms=12000), and times in which nothing was written,\n"
        "by the log's own timestamps (2026-01-31 14:30:00), else by when output came. Cost: \"Current Cost: $x; Accumulated\n"
        "Cost: $y\", \"total_cost_usd\": x; prompt_tokens and its kin, added up. Also: rdagentctl logs analyse NAME.",
        examples=("rdagentctl analyse rd-agent --since today", "rdagentctl logs analyse rd-agent --run -1 --json"),
    ),
    _select(
        "why", "say in sentences why a worker is where it is",
        least=0,
        about="Without a name: all that are in trouble.",
        examples=("rdagentctl why ralph",),
    ),
    _select(
        "events", "what happened, and who asked for it", FOLLOW,
        Option("--tail", "N", "the last N; not given: 50", short="-n"),
        Option("--since", "SEQ", "those after this number, or since a time: 10m (ago), 14:30, today"),
        Option("--kind", "KIND", "only of this kind, as --json tells it: exited, refused", many=True),
        least=0,
        about="Of a worker that was removed, too. --follow goes on over a restart of the daemon, and misses nothing.",
        examples=("rdagentctl events ralph -f", "rdagentctl events --since today --kind refused --kind asked"),
    ),
    Command(
        "providers", "the providers that workers need, and whose breaker is open",
        about="Exits with 1 if one is out.",
        examples=("rdagentctl providers",),
    ),
    Command(
        "metrics", "what Prometheus is told, in its text format",
        examples=("rdagentctl metrics > /var/lib/prometheus/node-exporter/rdagentd.prom",),
    ),
    Command("ping", "see whether the daemon answers", examples=("rdagentctl ping",)),
    Command("version", "versions of client, daemon and executor", examples=("rdagentctl version",)),
    Command(
        "doctor", "what this host can enforce, and what is missing",
        about="Exits with 1 if something is missing that somebody counts on.",
        examples=("rdagentctl doctor",),
    ),
    Command(
        "profiles", "ready specs of known agents, to begin with",
        examples=("rdagentctl profiles",),
    ),
    Command(
        "profile", "show one: its parameters and what it says", "[show] PROFILE",
        Option("--resolved", "", "the whole spec that it makes, with these parameters"),
        Option("--set", "PARAMETER=VALUE", "a parameter", many=True),
        least=1, most=2, kind="profile",
        examples=(
            "rdagentctl profile show rd-agent",
            "rdagentctl profile show rd-agent --resolved --set scenario=fin_factor --set loops=3",
        ),
    ),
    Command(
        "preflight", "what workers lack that they need to start", "[NAME…]", *PROFILE, *ENVIRONMENT, LABEL,
        most=ANY, kind="worker",
        about="Exits with 1 if something is missing. With --profile: of a worker that need not be there yet.",
        examples=("rdagentctl preflight toy", "rdagentctl preflight --profile ralph --env-file keys.env"),
    ),
    Command(
        "checkpoints", "list a worker's checkpoints, and which are whole", "NAME",
        least=1, most=1, kind="worker",
        examples=("rdagentctl checkpoints toy",),
    ),
    Command(
        "restore-workspace", "bring a worker's git work tree back", "NAME",
        Option("--run", "ID", "as it was before this run; not given: before the latest one of which there is a snapshot"),
        least=1, most=1, kind="worker",
        about="Files, HEAD and its branch become what they were; what is there now stays as refs/rdagentd/before-restore.",
        examples=("rdagentctl restore-workspace ralph",),
    ),
    Command("reload", "read the configuration again", examples=("rdagentctl reload",)),
    Command(
        "completion", "print completions for a shell", "SHELL",
        least=1, most=1, kind="shell",
        examples=("rdagentctl completion bash > /etc/bash_completion.d/rdagentctl",),
    ),
)  # fmt: skip

GROUPS = (
    ("Begin", ("submit", "run", "apply", "profiles", "profile", "preflight")),
    ("Look", ("status", "top", "show", "logs", "analyse", "why", "events", "providers", "wait", "checkpoints")),
    (
        "Act",
        (
            "start",
            "stop",
            "restart",
            "budget",
            "pause",
            "resume",
            "signal",
            "kill",
            "remove",
            "report",
            "restore-workspace",
        ),
    ),
    ("Daemon", ("ping", "metrics", "doctor", "version", "reload", "completion")),
)
"""The order of the overview."""

SHELLS = ("bash", "zsh", "fish")


def find(name: str) -> Command | None:
    """The command of this name."""
    for command in COMMANDS:
        if command.name == name:
            return command
    return None
