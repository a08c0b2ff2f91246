"""Every command of rdagentctl in one literal table: help, usage errors and the completions are all made from it."""

from __future__ import annotations

POLICIES = ("always", "on-failure", "never", "unless-stopped")
LIMITS = (
    "memory", "memory_high", "swap", "cpu", "cpu_weight", "cpuset", "tasks", "io_weight",
    "address_space", "core", "cpu_time", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
REQUESTS = ("memory", "cpu", "disk", "gpus")


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
FOLLOW = Option("--follow", "", "go on as more comes", short="-f")

SPEC = (
    Option("--name", "NAME", "what to call the worker", path="name"),
    Option("--directory", "DIR", "working directory; not given: this one", path="directory"),
    Option("--env", "KEY[=VALUE]", "a variable; without a value: your own", many=True, path="environment"),
    Option("--env-file", "FILE", "variables from a file, read at each start", many=True, path="environment_file"),
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
    Option("--set", "FIELD=VALUE", "any other field: restart.factor=2", many=True),
)


def _select(name: str, says: str, *options: Option, least: int = 1, **more: object) -> Command:
    words = "NAME…" if least else "[NAME…]"
    return Command(name, says, words, *options, LABEL, least=least, most=ANY, kind="worker", **more)  # type: ignore[arg-type]


COMMANDS = (
    Command(
        "submit", "hand over a command to be supervised", "", *SPEC,
        Option("--no-start", "", "only keep it; start it later"),
        rest=True,
        about="Of your environment the worker gets PATH alone; name what else it needs with --env.",
        examples=(
            "rdagentctl submit -- python3 agent.py",
            "rdagentctl submit --name ralph --restart on-failure --limit nofile=4096 --env API_KEY -- ralph run",
        ),
    ),
    Command(
        "run", "submit, show the output, exit as the worker did", "", *SPEC,
        Option("--stop-on-interrupt", "", "ctrl-C stops the worker, without asking"),
        Option("--detach-on-interrupt", "", "ctrl-C leaves it running, without asking"),
        rest=True,
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
    _select("pause", "freeze workers where they are", examples=("rdagentctl pause ralph",)),
    _select("resume", "let paused workers go on", examples=("rdagentctl resume ralph",)),
    Command(
        "signal", "send a signal", "SIGNAL NAME…",
        Option("--scope", "SCOPE", "who gets it; not given: main", choices=("main", "group", "tree")), LABEL,
        least=1, most=ANY, kind="signal",
        examples=("rdagentctl signal HUP ralph",),
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
        Option("--for", "WHAT", "until then; not given: rest", choices=("rest", "running")), TIMEOUT,
        about="Exits with the worker's own code, 128+N if signal N ended it; of several, the first that is not 0.",
        examples=("rdagentctl wait ralph --timeout 1h",),
    ),
    Command(
        "logs", "show a worker's output", "NAME", FOLLOW,
        Option("--tail", "N", "begin N lines before the end", short="-n"),
        Option("--since", "TIME", "10m (ago), 14:30, today, 2026-01-31T14:30"),
        Option("--until", "TIME", "the same"),
        Option("--run", "RUN", "of one run: its id, or -1 for the latest"),
        Option("--stream", "STREAM", "where they are kept apart", choices=("out", "err")),
        Option("--grep", "REGEX", "only lines that match"),
        Option("--invert", "", "only lines that do not", short="-v"),
        least=1, most=1, kind="worker",
        about="Bytes are shown as they were written. --follow ends with the worker.",
        examples=("rdagentctl logs ralph -f -n 20", "rdagentctl logs ralph --since 1h --grep 'error|warn'"),
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
        Option("--since", "SEQ", "those after this number"),
        least=0,
        examples=("rdagentctl events ralph -f",),
    ),
    Command("ping", "see whether the daemon answers", examples=("rdagentctl ping",)),
    Command("version", "versions of client, daemon and executor", examples=("rdagentctl version",)),
    Command(
        "doctor", "what this host can enforce, and what is missing",
        about="Exits with 1 if something is missing that somebody counts on.",
        examples=("rdagentctl doctor",),
    ),
    Command("reload", "read the configuration again", examples=("rdagentctl reload",)),
    Command(
        "completion", "print completions for a shell", "SHELL",
        least=1, most=1, kind="shell",
        examples=("rdagentctl completion bash > /etc/bash_completion.d/rdagentctl",),
    ),
)  # fmt: skip

GROUPS = (
    ("Begin", ("submit", "run", "apply")),
    ("Look", ("status", "show", "logs", "why", "events", "wait")),
    ("Act", ("start", "stop", "restart", "pause", "resume", "signal", "kill", "remove")),
    ("Daemon", ("ping", "doctor", "version", "reload", "completion")),
)
"""The order of the overview."""

SHELLS = ("bash", "zsh", "fish")


def find(name: str) -> Command | None:
    """The command of this name."""
    for command in COMMANDS:
        if command.name == name:
            return command
    return None
