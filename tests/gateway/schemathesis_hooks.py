"""What schemathesis cannot know of the API. Loaded by its command line."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Streams are to end; a good mark overrules a bad `since` or `tail`; an empty spec becomes one that can run."""
    if isinstance(case.query, dict):
        if str(case.query.get("follow")).lower() == "true":
            case.query = {**case.query, "follow": "false"}
        mark = str((case.headers or {}).get("Last-Event-ID", ""))
        if mark.isdigit() and {"tail", "since", "offset"} & case.query.keys():
            case.headers.pop("Last-Event-ID")
    if case.path.endswith("/submit") and isinstance(case.body, dict) and case.body.get("spec") == {}:
        case.body = {**case.body, "spec": {"command": ["/bin/true"]}}
