"""Writes the pages and parts of pages that come from the code. `--check`: writes nothing, exits 1 if one is stale."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from attrs import NOTHING, fields_dict
from dashboards import DASHBOARDS, dashboard

from rdagentd.config.fields import SPEC
from rdagentd.config.kinds import Kind
from rdagentd.config.reporters import REPORTER
from rdagentd.config.section import Section
from rdagentd.config.units import format_duration
from rdagentd.core.lifecycle import TABLE, Input, diagram
from rdagentd.model.size import UNLIMITED, format_size
from rdagentd.model.spec import Rlimit
from rdagentd.model.worker import State
from rdagentd.supervisor.families import FAMILIES, OF_WORKERS, Family

DOCS = Path(__file__).resolve().parent

WORKER_SPEC_HEAD = """\
# The spec of a worker

<!-- Written by docs/generate.py from rdagentd/config/fields.py; `python docs/generate.py` writes it anew. -->

A file `workers.d/NAME.toml` describes the worker NAME by the keys below; a file with tables `[worker.NAME]` describes several.
`rdagentctl apply FILE…` reads the same files, and `rdagentctl submit` makes the same spec of its options. Unknown keys, wrong
types and contradictions are refused, all of a file at once. Only `name` and `command` are needed; `name` comes from the
name of the file or the table where it is left out.

```toml
command = ["python3", "agent.py"]
restart = "on-failure"
timeout = "12h"
limits = { memory = "4G", cpu = 2, tasks = 512, nofile = "1024:4096" }
```

`profile = "NAME"` puts a profile under it, with the parameters that `set = { … }` gives: see [agents.md](agents.md).

**Sizes** are bytes: `4096`, `"64K"`, `"4G"`, `"1.5T"`; K, M, G and T are powers of 1024. **Durations** are seconds:
`90`, `1.5`, or `"500ms"`, `"10s"`, `"1h30m"`, `"7d"`, `"2w"`; at most ten years. **Lists** are lists, even of one
value. **Numbers** of the environment and of labels are written in quotes. **Paths** are whole; relative ones begin at
the directory of the file, and where there is no file they are refused; `~` and variables are not expanded. A
**command** may be one text: it is split at blanks as a shell would, quotes included, and nothing is expanded.
"""

REPORTERS_HEAD = """\
## [[reporters]]

Rules by which a worker is understood that does not speak for itself; "What workers tell" in [operations.md](operations.md)
has examples. In a pattern `{number}` stands for a number, with commas between thousands or not (where "%" follows, 45 is
0.45), `{int}` for a whole one, `{word}` for letters, digits and `_`, with single `. / : @ -` within, `{any}` for whatever is
left on the line; `{{` and `}}` for braces. The rest is literal; three characters of it must stand together. The value is the
first number, else the first word, else the first `{any}` behind some text. Each line is matched by itself, and ends with a
newline or a carriage return; of a line of more than 16 KiB only what is nearer than that to the literal text is looked at.
"""

RESTART_HEAD = """\
A person's stop is never followed by a restart. Otherwise the policy says what follows the end of a run:

- `never`: nothing.
- `on-failure`: a restart after a failure, `retries` times; a success completes the worker.
- `always`: a restart, however it ended. A worker that a person stopped comes back when the machine boots.
- `unless-stopped`: as `always`, but what a person stopped stays stopped.

The n-th restart in a row waits `delay` · `factor`ⁿ⁻¹, at most `max_delay`. An exit code stands in one of the three lists of
codes at most. Text in place of the table is the policy: `restart = "always"`.
"""

LIMITS_HEAD = """\
From `memory` to `io_max` they hold for the run as a whole: the kernel enforces them by a cgroup (version 2), Docker by
the container. Where that is not possible, `require` says what follows: `true`, none of its runs is started, and the
reason names what is missing; `false`, it runs without the limit, which `submit` and `why` tell. Not given: `true` for `memory`,
`false` for the others. A change of a limit takes a new run.

From `address_space` on they hold for each process: `"soft:hard"`, `{ soft = …, hard = … }`, or one value for both; each may
be `"unlimited"`. One that cannot be set is always an error at start. See getrlimit(2).
"""


REQUESTS_HEAD = """\
What must be left on the host before a run starts, and is kept for it until nothing of it is left. Who does not fit waits,
and `why` says for what; what the host could never give is refused. Nobody is held to what they asked for: that is what
`limits` are for, and a request may not be more than the limit. What there is to give away stands in `rdagentd.toml`, [host].

`gpus` is a number, ids (`["0", "3"]`, or as `nvidia-smi -L` tells them), or `"all"`. No two runs have the same on lease. A
process finds its own in `$CUDA_VISIBLE_DEVICES`, with `CUDA_DEVICE_ORDER=PCI_BUS_ID`; a container sees no others. A
process that asked for none is not kept from them.
"""


def worker_spec() -> str:
    """The reference of all fields of a spec."""
    heads = {"restart": RESTART_HEAD, "limits": LIMITS_HEAD, "requests": REQUESTS_HEAD}
    parts = [WORKER_SPEC_HEAD, "\n".join(_table("", SPEC))]
    for path, meaning, section in _sections("", SPEC):
        parts.append(f"## [{path}]\n\n{heads.get(path, meaning)}".rstrip() + "\n\n" + "\n".join(_table(path, section)))
    parts.append(REPORTERS_HEAD + "\n" + "\n".join(_table("reporters", REPORTER)))
    return "\n\n".join(part.strip() for part in parts) + "\n"


LIFECYCLE_HEAD = """\
# The life of a worker

<!-- Written by docs/generate.py from the one table in rdagentd/core/lifecycle.py; `python docs/generate.py` writes it anew. -->
"""

LIFECYCLE_CELLS = """\
Each cell names a handler in `rdagentd/core/`. `ignore`: legal and meaningless here. `refuse`: answered as a conflict.
`reject`: cannot happen, a defect. `due` is the deadline of the state itself (end of the backoff, next step of the stop ladder,
end of the breaker's cool-down), `limit` the run-time limit. An event of a run that is over, or a deadline that was moved, is
dropped before it gets here.
"""


def lifecycle() -> str:
    """The lifecycle table, and the diagram that follows from it."""
    rows = [("", *State), ("---",) * (len(State) + 1)]
    rows += [(what.value, *(TABLE[state][what].__name__ for state in State)) for what in Input]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    parts = [LIFECYCLE_HEAD, f"```mermaid\n{diagram()}```", LIFECYCLE_CELLS, table]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def monitoring() -> str:
    """The page about Prometheus, with its table of alerts as they are now."""
    before, mark, rest = (
        (DOCS / "monitoring.md").read_text().partition("<!-- alerts: written by docs/generate.py -->\n")
    )
    _, end, after = rest.partition("<!-- end -->")
    if not end:
        raise SystemExit("cannot write the alerts into docs/monitoring.md: their place is not marked")
    return before + mark + "\n".join(_alerts()) + "\n" + end + after


def _alerts() -> Iterator[str]:
    yield "| alert | severity | fires when | for |"
    yield "|---|---|---|---|"
    rules = yaml.safe_load((DOCS.parent / "etc" / "prometheus" / "rdagentd.rules.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        when = " ".join(rule["expr"].split()).replace("|", "\\|")
        yield f"| {rule['alert']} | {rule['labels']['severity']} | `{when}` | {rule.get('for', 'at once')} |"


def _sections(path: str, section: Section) -> Iterator[tuple[str, str, Section]]:
    for key, (kind, meaning) in section.rows.items():
        if isinstance(kind, Section):
            inner = f"{path}.{key}" if path else key
            yield inner, meaning, kind
            yield from _sections(inner, kind)


def _table(path: str, section: Section) -> Iterator[str]:
    yield "| key | what may stand there | default | meaning |"
    yield "|---|---|---|---|"
    for key, (kind, meaning) in section.rows.items():
        inner = f"{path}.{key}" if path else key
        says = f"table [{inner}]" if isinstance(kind, Section) else kind.says
        yield f"| `{key}` | {says} | {_default(section, key)} | {meaning} |"


def _default(section: Section, key: str) -> str:
    kind, default = section.rows[key][0], fields_dict(section.make)[key].default
    if default is NOTHING:
        return "needed"
    if isinstance(kind, Section) or default in (None, ()) or hasattr(default, "factory"):
        return UNLIMITED if isinstance(kind, Kind) and kind.says.startswith("duration or") else "-"
    return _written(default, kind.says)


def _written(value: Any, says: str) -> str:
    """A value as it is written in TOML; sizes and durations as people read them."""
    if isinstance(value, Rlimit):
        return f"`{value.soft}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    if says.startswith("octal"):
        return f'`"{value:03o}"`'
    if says.startswith("size"):
        return format_size(value)
    if says.startswith("duration"):
        return format_duration(value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value)}`"


METRICS_HEAD = """\
# Metrics of the daemon

<!-- Written by docs/generate.py from rdagentd/supervisor/families.py; `python docs/generate.py` writes it anew. -->

`rdagentctl metrics` prints them, the gateway tells them to Prometheus. Counters begin anew with the daemon.
"""

METRICS_OF_WORKERS = """\
## Of each worker

With the labels `worker` and `group` before their own. `[metrics]` in `rdagentd.toml` bounds how many workers have them, and
leaves out what nobody needs.
"""


def metrics() -> str:
    """The table of metrics."""
    parts = [METRICS_HEAD, _families(FAMILIES), METRICS_OF_WORKERS, _families(OF_WORKERS)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _families(families: Sequence[Family[Any]]) -> str:
    rows = [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |"
        for family in families
    ]
    return "\n".join(["| name | kind | labels | meaning |", "|---|---|---|---|", *rows])


GENERATORS = {
    "lifecycle.md": lifecycle,
    "metrics.md": metrics,
    "monitoring.md": monitoring,
    "worker-spec.md": worker_spec,
    **{f"../etc/grafana/{uid}.json": partial(dashboard, uid) for uid in DASHBOARDS},
}
"""Page → what it holds."""


def main(arguments: list[str] | None = None) -> int:
    """Writes all pages, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is stale")
    check = parser.parse_args(arguments).check
    stale = []
    for name, generate in GENERATORS.items():
        page = (DOCS / name).resolve()
        text = generate()
        if page.exists() and page.read_text() == text:
            continue
        stale.append(page.relative_to(DOCS.parent))
        if not check:
            page.write_text(text)
    for name in stale:
        print(f"{'stale' if check else 'written'}: {name}")  # noqa: T201
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
