"""rdagentctl analyse: what a worker's log comes to."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.analysis import Analysis
from rdagentctl.commands.logs import STREAMS, request
from rdagentctl.output import LONGEST_LINE, Sink, copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_SHOWN = 10
"""Groups that a person is shown; --json has all."""

_BARS = " ▁▂▃▄▅▆▇█"


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    name, asked = arguments.words[0], request(arguments)
    reports = []
    for stream in STREAMS if asked["stream"] == "both" else (asked["stream"],):
        sink = Blocks(stream)
        copy(client, [{**asked, "name": name, "stream": stream, "runs": True}], [sink])
        reports.append({"worker": name, "stream": stream, **sink.analysis.report()})
    if arguments.flag("json"):
        render.show_json(reports)
    else:
        width = (render.screen() or (None,))[0]
        print("\n\n".join("\n".join(lines(report, width)) for report in reports))
    return 0


class Blocks(Sink):
    """Hands whole lines to an analysis."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.analysis = Analysis()
        self._begun = b""
        self._at: float | None = None
        self._run: str | None = None

    def write(self, offset: int, at: float, data: bytes, run: str | None = None) -> None:
        """Takes bytes; the last line waits for its end, or for the next run."""
        if run != self._run:
            self.end()
        self._at, self._run = at, run
        end = data.rfind(b"\n") + 1
        if end:
            self.analysis.add(self._begun + data[:end], at, run)
            self._begun = data[end:]
        else:
            self._begun += data
        if len(self._begun) > LONGEST_LINE:
            self.end()

    def gap(self, dropped: int, offset: int) -> None:
        """Counts what is gone."""
        self.end()
        self.analysis.dropped += dropped

    def end(self) -> None:
        """Hands over a last line without an end."""
        if self._begun:
            self.analysis.add(self._begun, self._at, self._run)
        self._begun = b""


def lines(report: dict[str, Any], width: int | None) -> Iterator[str]:
    """What a person reads."""
    name = render.plain(report["worker"]) + ("" if report["stream"] == "out" else f" ({report['stream']})")
    lasted = (report["last"] or 0) - (report["first"] or 0)
    yield f"{name}: {render.count(report['lines'], 'line')}, {render.size(report['bytes'])}"
    if report["first"] is not None:
        yield f"  from {render.clock(report['first'])} to {render.clock(report['last'])}, {render.ago(lasted)}"
    if report["dropped"]:
        yield f"  {report['dropped']} bytes are gone: the log has a cap"
    yield from _errors(report["errors"], width)
    yield from _slow(report["slow"], width)
    yield from _cost(report["cost"])
    yield from _rates(report["rates"])


def _errors(errors: dict[str, Any], width: int | None) -> Iterator[str]:
    yield f"\nerrors: {errors['count']}"
    rows = [
        (str(group["count"]), render.clock(group["first"]), render.clock(group["last"]), render.plain(group["example"]))
        for group in errors["groups"][:_SHOWN]
    ]
    yield from _table(("COUNT", "FIRST", "LAST", "FOR EXAMPLE"), rows, width)
    yield from _more(errors)


def _slow(slow: dict[str, Any], width: int | None) -> Iterator[str]:
    told, silences = slow["told"], slow["silences"]
    yield f"\nslow, as the log tells: {told['count']}"
    rows = [
        (str(group["count"]), render.ago(group["longest"]), render.clock(group["last"]), render.plain(group["example"]))
        for group in told["groups"][:_SHOWN]
    ]
    yield from _table(("COUNT", "LONGEST", "LAST", "FOR EXAMPLE"), rows, width)
    yield from _more(told)
    yield f"\nsilences, by {silences['by']}: {silences['count']}, {render.ago(silences['seconds'])} together"
    gaps = [
        (render.ago(one["seconds"]), render.clock(one["at"]), render.plain(one["after"])) for one in silences["longest"]
    ]
    yield from _table(("LASTED", "FROM", "AFTER"), gaps, width)


def _cost(cost: dict[str, Any]) -> Iterator[str]:
    if cost["usd"] is not None:
        yield f"\ncost: ${cost['usd']:.4f} in {render.count(cost['calls'], 'call')}"
    if cost["running_total_usd"] is not None:
        yield f"{'' if cost['usd'] is not None else chr(10)}cost: ${cost['running_total_usd']:.4f} by running totals"
    if cost["tokens"]:
        yield "tokens: " + ", ".join(f"{number} {kind}" for kind, number in cost["tokens"].items())


def _rates(rates: dict[str, Any]) -> Iterator[str]:
    if not rates["lines"]:
        return
    yield f"\nrates, a column is {render.ago(rates['interval'])}, from {render.clock(rates['start'])}"
    for what in ("lines", "errors"):
        yield f"  {what:<6} {bars(rates[what])} at most {max(rates[what])}"


def bars(counts: list[int]) -> str:
    """A column for each count; the least that is not nothing can be seen."""
    most = max(counts, default=0)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most) if most else 0] for count in counts)


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int | None) -> Iterator[str]:
    if rows:
        yield from ("  " + line for line in render.table([heading, *rows], width and width - 2).splitlines())


def _more(part: dict[str, Any]) -> Iterator[str]:
    hidden = len(part["groups"]) - _SHOWN
    if hidden > 0 or part["in_other_groups"]:
        more = f", {part['in_other_groups']} lines in groups that were too many" if part["in_other_groups"] else ""
        yield f"  and {render.count(max(hidden, 0), 'group')} more: --json has them{more}"
