"""What we answer is what docs/rd-agent-api.md says; RDAGENTD_WRITE_PAGES=1 writes the page from the table of cases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gateway.rdagent.cases import CASES, Case, Traces
from tests.gateway.rdagent.site import Site

PAGE = Path(__file__).parents[3] / "docs" / "rd-agent-api.md"

HEAD = """\
# RD-Agent's HTTP API, case by case

<!-- Written from tests/gateway/rdagent/cases.py by its test_conformance.py, with RDAGENTD_WRITE_PAGES=1. -->

What RD-Agent's own servers answer and what `rdagentd gateway` answers. A: 0.5 to 0.8, as read in its source. C: 1.0.0; its
handlers were asked by `make agents` and answered so. Ours were asked by the tests. Names that are drawn by lot are "…".
Of 1.0.0's answers without the token (401, 403, 503) see [http.md](http.md).
"""


@pytest.fixture(scope="module")
def traces(site: Site) -> Traces:
    running, ended = site.launched("waits"), site.launched("quick")
    site.began(running)
    site.ended(ended)
    return Traces(running, ended)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.route} {case.what}")
def test_we_answer_as_the_table_says(site: Site, traces: Traces, case: Case) -> None:
    assert case.run(site, traces) == case.expected


def test_the_page_is_the_table() -> None:
    if os.environ.get("RDAGENTD_WRITE_PAGES"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "RDAGENTD_WRITE_PAGES=1 writes it"


def test_every_route_has_cases() -> None:
    routes = {"/upload", "/trace", "/receive", "/control", "/stdout", "/traces", "/test", "/user_interaction/submit"}
    assert {case.route for case in CASES} == routes


def page() -> str:
    """docs/rd-agent-api.md."""
    lines = [HEAD]
    for route in dict.fromkeys(case.route for case in CASES):
        lines += [f"## {route}\n", "| case | A | C | ours |", "|---|---|---|---|"]
        lines += [_line(case) for case in CASES if case.route == route]
        lines.append("")
    return "\n".join(lines)


def _line(case: Case) -> str:
    ours = "as C" if case.ours is None else f"{_code(case.ours)}: {case.why}"
    ours = "as A" if case.why.startswith("as in A") else ours
    return f"| {case.what} | {'as C' if case.a is None else _code(case.a)} | {_code(case.c)} | {ours} |"


def _code(text: str) -> str:
    return f"`{text}`"
