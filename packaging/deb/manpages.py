"""Writes the man pages into a directory. What they list comes from the code, so that it cannot drift; man-pages(7)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rdagentctl import manual, table
from rdagentd import __version__
from rdagentd.cli import _parser
from rdagentd.config.config import CONFIG
from rdagentd.config.fields import SPEC
from rdagentd.config.section import Section

DATE = "2026-11-21"

FILES = (
    ("/etc/rdagentd/rdagentd.toml, conf.d/*.toml", "The configuration, see rdagentd.toml(5)."),
    ("/etc/rdagentd/workers.d/*.toml", "Workers, see rdagentd-worker(5)."),
    ("/etc/rdagentd/egress", "Sets of ports that a worker may ask for with isolation.egress, one a line."),
    ("/run/rdagentd/rdagentd.sock", "The control socket. Root and members of the group rdagentd may connect."),
    ("/run/rdagentd-gateway/gateway.json", "Where the gateway listens: urls, pid."),
    ("/var/lib/rdagentd-gateway/token", "The gateway's token, unless one is configured. For root to read."),
    ("/var/lib/rdagentd/state.db", "Workers, their specs, runs and events."),
    ("/var/log/rdagentd/NAME/", "Output of the worker NAME; read it with rdagentctl logs."),
)

DAEMON = (
    "rdagentd supervises long-running agent programs on one host. Three services belong to it: rdagentd.service decides, and "
    "rdagentd-executor.service is the parent of every worker. rdagentd-gateway.service answers HTTP: metrics, health, a page.",
    "systemctl restart, an upgrade or a crash of rdagentd leaves the workers running; systemctl stop ends them gracefully, and "
    "systemctl start brings back those that are wished up. systemctl reload reads the configuration again.",
)

TOML = {
    "rdagentd.toml": (
        CONFIG,
        "configuration of rdagentd",
        "TOML. Files conf.d/*.toml beside it and environment variables RDAGENTD_KEY come after it; the last one wins.",
    ),
    "rdagentd-worker": (
        SPEC,
        "spec of a worker of rdagentd",
        "A file NAME.toml in /etc/rdagentd/workers.d describes the worker NAME. rdagentctl apply reads the same files. Sizes "
        'are bytes or "4G"; durations are seconds or "1h30m".',
    ),
}


def text(line: str) -> str:
    """One line of plain text in roff."""
    escaped = line.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("∞", "infinity")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def head(name: str, section: int, says: str) -> list[str]:
    """The beginning of a page."""
    title = f'.TH {name.upper()} {section} {DATE} "rdagentd {__version__}"'
    return [title, ".SH NAME", f"{text(name)} \\- {text(says)}"]


def example(block: str) -> list[str]:
    """Lines as they are."""
    return [".nf", *map(text, block.splitlines()), ".fi"]


def listed(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Tagged paragraphs."""
    for tag, says in rows:
        yield from (".TP", f"\\fB{text(tag)}\\fR", text(says))


def client() -> list[str]:
    """rdagentctl(1)."""
    lines = [*head("rdagentctl", 1, "start, watch and steer the workers of rdagentd"), ".SH DESCRIPTION"]
    lines += example(manual.overview())
    for names in (names for _, names in table.GROUPS):
        for name in names:
            lines += [f".SH {text(name.upper())}", *example(manual.page(table.find(name)))]  # type: ignore[arg-type]
    return [*lines, ".SH SEE ALSO", "rdagentd(8), rdagentd\\-worker(5)"]


def daemon() -> list[str]:
    """rdagentd(8)."""
    lines = [*head("rdagentd", 8, "the host daemon for AI agents"), ".SH SYNOPSIS", *example(_parser().format_usage())]
    lines += [".SH DESCRIPTION", *(part for words in DAEMON for part in (text(words), ".PP"))][:-1]
    lines += [".SH COMMANDS", *example(_parser().format_help().partition("\n\n")[2])]
    lines += [".SH FILES", *listed(FILES)]
    return [*lines, ".SH SEE ALSO", "rdagentctl(1), rdagentd.toml(5), rdagentd\\-worker(5), systemd.service(5)"]


def toml(name: str) -> list[str]:
    """A page of section 5: each key, what may stand there, and what it means."""
    section, says, about = TOML[name]
    return [
        *head(name, 5, says),
        ".SH DESCRIPTION",
        text(about),
        ".SH KEYS",
        *keys("", section),
        ".SH SEE ALSO",
        "rdagentd(8)",
    ]


def keys(path: str, section: Section) -> Iterator[str]:
    """The keys of a section, those of the sections within it after their own."""
    for key, (kind, meaning) in section.rows.items():
        inner = isinstance(kind, Section)
        yield from listed([(f"{path}{key}", f"{'A table.' if inner else f'({kind.says})'} {meaning}")])  # type: ignore[union-attr]
        if isinstance(kind, Section):
            yield from keys(f"{path}{key}.", kind)


def main() -> None:
    """Write all pages."""
    directory = Path(sys.argv[1])
    pages = {"rdagentctl.1": client(), "rdagentd.8": daemon(), **{f"{name}.5": toml(name) for name in TOML}}
    for name, lines in pages.items():
        (directory / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
