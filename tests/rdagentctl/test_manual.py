"""Help pages: short, and true to the table."""

from __future__ import annotations

from rdagentctl import table
from rdagentctl.manual import overview, page

LOGS = """\
rdagentctl logs: show what workers wrote

usage: rdagentctl logs [OPTION…] NAME…

Bytes are shown as they were written; of several workers, lines with the name before each.
--follow ends with the workers. --json: an object a line: worker, stream, offset, time, run, text.

  -f, --follow       go on as more comes
  -n, --tail N       begin N lines before the end
  --since TIME       10m (ago), 14:30, today, 2026-01-31T14:30
  --until TIME       the same
  --run RUN          of one run: its id, or -1 for the latest
  --stream STREAM    where they are kept apart; not given: out (out, err, both)
  --grep REGEX       only lines that match
  -v, --invert       only lines that do not
  --label KEY=VALUE  only workers with this label, repeatable
  --json             answer in JSON
  --socket PATH      the daemon's socket, also RDAGENTD_SOCKET
  -h, --help         show this help

For example:
  rdagentctl logs ralph -f -n 20
  rdagentctl logs ralph --since 1h --grep 'error|warn'
  rdagentctl logs 'agent-*' -f --json
"""


def test_a_page() -> None:
    command = table.find("logs")
    assert command is not None
    assert page(command) == LOGS


def test_pages_fit_a_screen() -> None:
    for text in (overview(), *(page(command) for command in table.COMMANDS)):
        lines = text.splitlines()
        assert len(lines) <= 46
        assert max(map(len, lines)) <= 118


def test_the_overview_has_all_commands() -> None:
    for command in table.COMMANDS:
        assert f"  {command.name:<11} {command.says}\n" in overview()
