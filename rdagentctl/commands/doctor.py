"""rdagentctl doctor: tells what this host can enforce, and what is missing."""

from __future__ import annotations

from rdagentctl import render
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_COLOUR_OF_STATE = {"ok": render.GREEN, "missing": render.RED, "absent": render.DIM}


def run(client: Client, arguments: Arguments) -> int:
    """The exit code: 1 if something is missing that somebody counts on."""
    findings = client.call("doctor")
    if arguments.flag("json"):
        render.show_json(findings)
    else:
        widest = max(len(finding["subject"]) for finding in findings)
        for finding in findings:
            print(_line(finding, widest))
    return EXIT_FAILED if any(finding["state"] == "missing" for finding in findings) else EXIT_OK


def _line(finding: dict[str, str], widest: int) -> str:
    state = f"{finding['state']:<7}"
    shown = render.paint(state, _COLOUR_OF_STATE.get(finding["state"], "")) if render.coloured() else state
    return f"{shown}  {render.plain(finding['subject']):<{widest}}  {render.plain(finding['text'])}"
