"""RD-Agent's API case by case: what is asked, what its own servers answer, what we do. docs/rd-agent-api.md is made of it.

`a`: rdagent/log/server/app.py of 0.5 to 0.8, as read; `c`: that of 1.0.0, as it was seen to answer (tests/agents); `ours`:
where we answer otherwise, and why. Names that are drawn by lot are shown as "…".
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from attrs import frozen

from tests.gateway.client import Answer
from tests.gateway.rdagent.site import Api, compact, form

PDF = ("report.pdf", b"%PDF-1.4")
DATA_SCIENCE = {"scenario": "Data Science", "competition": "MLE-Bench:quick"}
GENERAL = {"scenario": "General Model Implementation"}
JSON = {"Content-Type": "application/json"}
NOBODY = "Data Science/nobody"
MESSAGE = {"tag": "feedback.metric", "timestamp": "2026-01-01T00:00:00+00:00", "content": {"result": "{}"}}


@frozen
class Case:
    """run: does it, and tells what came of it on one line. a, c, ours: the answers; None: as in c (`a`, `ours`)."""

    route: str
    what: str
    run: Callable[[Api, Traces], str]
    c: str
    a: str | None = None
    ours: str | None = None
    why: str = ""

    @property
    def expected(self) -> str:
        """What we answer."""
        return self.c if self.ours is None else self.ours


@frozen
class Traces:
    """Ids of a trace whose process runs, and of one whose process has ended with code 0."""

    running: str
    ended: str


def shown(answer: Answer) -> str:
    """An answer without what is drawn by lot."""
    return re.sub(r'("id": "(?:Data Science/(?:quick-|waits-)?|[A-Za-z ()]+/))[a-z0-9-]+"', r'\1…"', compact(answer))


def _upload(fields: dict[str, str], *files: tuple[str, bytes]) -> Callable[[Api, Traces], str]:
    return lambda api, traces: shown(api.upload(fields, *files))


def _post(path: str, body: object, headers: dict[str, str] | None = None) -> Callable[[Api, Traces], str]:
    return lambda api, traces: shown(api.post(path, body, headers))


def _control(trace: str, action: str) -> Callable[[Api, Traces], str]:
    return lambda api, traces: shown(api.control(getattr(traces, trace, trace), action))


def _receive(body: Callable[[str], object]) -> Callable[[Api, Traces], str]:
    return lambda api, traces: shown(api.post("/receive", body(api.path(traces.running))))


def _fresh(api: Api, count: int) -> str:
    """Id of a running trace with so many messages more."""
    called = api.launched("waits")
    api.began(called)
    for _ in range(count):
        api.post("/receive", {"id": api.path(called), "msg": MESSAGE})
    return called


def _read(*asks: dict[str, object]) -> Callable[[Api, Traces], str]:
    """Reads a trace of six messages (one of its own, five received) again and again; how many came each time."""

    def run(api: Api, traces: Traces) -> str:
        called = _fresh(api, 5)
        api.post("/trace", {"id": called, "all": False, "reset": True})  # wherever waiting for it has left us
        counts = [len(api.post("/trace", {"id": called, **ask}).json) for ask in asks]
        api.control(called, "stop")
        return ", then ".join(map(str, counts))

    return run


def _few(api: Api, traces: Traces) -> str:
    called = _fresh(api, 25)
    counts = [len(api.post("/trace", {"id": called, "all": False, "reset": True}).json) for _ in range(20)]
    api.control(called, "stop")
    return f"{'1 to 10' if min(counts) >= 1 and max(counts) <= 10 and len(set(counts)) > 1 else counts}"


def _end(trace: str) -> Callable[[Api, Traces], str]:
    def run(api: Api, traces: Traces) -> str:
        called = traces.ended
        if trace == "stopped":
            called = api.launched("waits")
            api.began(called)
            api.control(called, "stop")
        tags = api.tags(called)
        return f"{tags.count('END')} times {json.dumps(api.ended(called), sort_keys=True)}"

    return run


def _stdout(api: Api, traces: Traces) -> str:
    answer = api.stdout(traces.ended)
    kind, name = answer.headers["content-type"].partition(";")[0], answer.headers["content-disposition"]
    return f"{answer.status} {kind}, {name.partition(';')[0]}" + (" NAME.log" if ".log" in name else "")


def _traces(api: Api, traces: Traces) -> str:
    answer = api.get("/traces")
    return f"{answer.status} list of ids, {'sorted' if answer.json == sorted(answer.json) else 'unsorted'}"


def _test(api: Api, traces: Traces) -> str:
    answer = api.get("/test")
    path = api.path(traces.ended)
    tags, pointers = answer.json["msgs"][path], answer.json["pointers"][path]
    kinds = {type(count).__name__ for count in pointers.values()}
    return f"{answer.status} {sorted(answer.json)}, by path: last tag {tags[-1]}, pointers {kinds}"


def _unknown(api: Api, traces: Traces) -> str:
    answer = api.post("/trace", {"id": NOBODY, "all": True})
    made = any("nobody" in path for path in api.get("/test").json["msgs"])
    return f"{shown(answer)}, {'and it exists from now on' if made else 'and nothing is made'}"


def _large(api: Api, traces: Traces) -> str:
    """Only told to come: a server that answers at once and hangs up may cut off who still sends."""
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=60)
    connection.putrequest("POST", "/upload")
    for name, value in {**api.headers, **form(GENERAL)[1], "Content-Length": str(21 << 20)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        return str(connection.getresponse().status)
    finally:
        connection.close()


HTML = "(text/html)"

CASES = (
    # --- /upload
    Case("/upload", "Data Science", _upload(DATA_SCIENCE), '200 {"id": "Data Science/quick-…"}'),
    Case(
        "/upload",
        "another scenario, loops and all_duration",
        _upload({"scenario": "Finance Whole Pipeline", "loops": "2", "all_duration": "1"}),
        '200 {"id": "Finance Whole Pipeline/…"}',
    ),
    Case("/upload", "a file", _upload(GENERAL, PDF), '200 {"id": "General Model Implementation/…"}'),
    Case("/upload", "no scenario", _upload({}), '400 {"error": "Invalid scenario"}', a=f"500 {HTML}"),
    Case(
        "/upload",
        "a scenario that is not known",
        _upload({"scenario": "x"}),
        '400 {"error": "Invalid scenario"}',
        a=f"500 {HTML}",
    ),
    Case(
        "/upload",
        "Data Science without a competition",
        _upload({"scenario": "Data Science"}),
        '400 {"error": "Invalid competition"}',
        a=f"500 {HTML}",
    ),
    Case(
        "/upload",
        "a competition without MLE-Bench:",
        _upload({**DATA_SCIENCE, "competition": "quick"}),
        '400 {"error": "Invalid competition"}',
        a="200, ten characters cut off whatever they are",
    ),
    Case(
        "/upload",
        "a competition of other characters",
        _upload({**DATA_SCIENCE, "competition": "MLE-Bench:../x"}),
        '400 {"error": "Invalid competition"}',
        a="200",
    ),
    Case(
        "/upload",
        "files as text",
        _upload({**GENERAL, "files": "http://x/y.pdf"}),
        '400 {"error": "Upload files directly; URLs and server paths are not accepted"}',
        a="200",
    ),
    Case(
        "/upload",
        "General Model Implementation without a file",
        _upload(GENERAL),
        '400 {"error": "Exactly one report file must be uploaded"}',
        a=f"500 {HTML}",
    ),
    Case(
        "/upload",
        "General Model Implementation with two",
        _upload(GENERAL, PDF, ("b.pdf", b"x")),
        '400 {"error": "Exactly one report file must be uploaded"}',
        a="200",
    ),
    Case(
        "/upload",
        "a pickle",
        _upload(GENERAL, ("a.pkl", b"x")),
        '400 {"error": "Invalid upload file"}',
        a='200, or 400 {"error": "Invalid file type"} for all but PDF',
    ),
    Case("/upload", "Python", _upload(GENERAL, ("a.PY", b"x")), '400 {"error": "Invalid upload file"}', a="200"),
    Case(
        "/upload",
        "a name of which nothing is left",
        _upload(GENERAL, ("...", b"x")),
        '400 {"error": "Invalid upload file"}',
        a="200",
    ),
    Case(
        "/upload",
        "a name with a path, which is cut to report.pdf",
        _upload(GENERAL, ("../../report.pdf", b"x")),
        '200 {"id": "General Model Implementation/…"}',
        a="200, written there",
    ),
    Case(
        "/upload",
        "two files that are called the same",
        _upload({"scenario": "Finance Data Building (Reports)"}, PDF, PDF),
        '409 {"error": "Upload file already exists"}',
        a="200",
    ),
    Case(
        "/upload",
        "more than 20 MB",
        _large,
        "413",
        a="200",
    ),
    Case(
        "/upload",
        "loops that are no number",
        _upload({**DATA_SCIENCE, "loops": "x"}),
        f"500 {HTML}",
        a="200",
        ours='400 {"error": "Invalid loops"}',
        why="it is the sender's mistake",
    ),
    Case(
        "/upload",
        "hours that are no number",
        _upload({**DATA_SCIENCE, "all_duration": "x"}),
        '200 {"id": "Data Science/quick-…"}',
        ours='400 {"error": "Invalid all_duration"}',
        why="it would fail later, unseen",
    ),
    Case(
        "/upload",
        "base factors for a scenario whose command takes no files",
        _upload({"scenario": "Finance Data Building"}, ("base_factors.json", b"{}")),
        '200 {"id": "Finance Data Building/…"}',
        ours='400 {"error": "cannot launch: Finance Data Building takes no files; its words in rd_agent.scenarios may"}',
        why="`rdagent fin_factor` cannot be told of them; see rd-agent.md",
    ),
    # --- /trace
    Case(
        "/trace",
        "all, reset; then all; then all, reset",
        _read({"all": True, "reset": True}, {"all": True}, {"all": True, "reset": True}),
        "6, then 0, then 6",
    ),
    Case("/trace", "neither: a few by lot", _few, "1 to 10"),
    Case("/trace", "two readers at one address", _read({"all": True, "reset": True}, {"all": True}), "6, then 0"),
    Case(
        "/trace",
        "two readers that say who they are, by `client`",
        _read({"all": True, "reset": True, "client": "one"}, {"all": True, "client": "two"}),
        "6, then 0",
        ours="6, then 6",
        why="they do not take each other's messages",
    ),
    Case(
        "/trace",
        "by the path instead of the id",
        lambda api, traces: (
            shown(api.post("/trace", {"id": api.path(traces.ended), "all": True, "reset": True}))[:3]
            + f" {api.tags(api.path(traces.ended))[-1:]}"
        ),
        "200 ['END']",
    ),
    Case(
        "/trace",
        "END after the process has ended",
        _end("ended"),
        '1 times {"end_code": 0, "error_msg": "RD-Agent process has completed."}',
        a="no END",
    ),
    Case(
        "/trace",
        "END after a stop",
        _end("stopped"),
        '1 times {"end_code": -1, "error_msg": "RD-Agent process was stopped by user."}',
        a="1 times {}",
    ),
    Case("/trace", "no id", _post("/trace", {"all": True}), '400 {"error": "Trace ID is required"}'),
    Case(
        "/trace",
        "an id that is not known",
        _unknown,
        "200 [], and it exists from now on",
        ours="200 [], and nothing is made",
        why="memory is bounded",
    ),
    Case(
        "/trace",
        "not said to be JSON",
        _post("/trace", b"{}"),
        f"415 {HTML}",
        ours='415 {"error": "the body must be JSON, and the header Content-Type must say so"}',
        why="in the shape of the other errors",
    ),
    # --- /receive
    Case("/receive", "one message", _receive(lambda path: {"id": path, "msg": MESSAGE}), '200 {"status": "success"}'),
    Case(
        "/receive",
        "a list of messages",
        _receive(lambda path: [{"id": path, "msg": MESSAGE}] * 2),
        '200 {"status": "success"}',
    ),
    Case("/receive", "nothing: {}", _post("/receive", {}), '400 {"error": "No JSON data received"}'),
    Case("/receive", "nothing: []", _post("/receive", []), '400 {"error": "No JSON data received"}'),
    Case("/receive", "no JSON", _post("/receive", b"{", JSON), '500 {"error": "Internal Server Error"}'),
    Case("/receive", "not said to be JSON", _post("/receive", b"{}"), '500 {"error": "Internal Server Error"}'),
    Case(
        "/receive",
        "no message",
        _receive(lambda path: {"id": path}),
        f"500 {HTML}",
        ours='400 {"error": "each message must be {id, msg}, msg an object with a tag of 256 characters at most"}',
        why="says what is wrong",
    ),
    Case(
        "/receive",
        "an id that is not known",
        _post("/receive", {"id": "/nobody", "msg": MESSAGE}),
        '200 {"status": "success"}',
        ours='404 {"error": "no worker has this id as its label `trace`; what was sent for it is dropped"}',
        why="memory is bounded; the sender looks at no answer",
    ),
    # --- /control
    Case(
        "/control",
        "pause",
        _control("running", "pause"),
        '400 {"error": "Only \'stop\' action is supported"}',
        a='200 {"status": "paused"}',
        ours='200 {"status": "paused"}',
        why="as in A; of the whole tree, not one process",
    ),
    Case(
        "/control",
        "resume",
        _control("running", "resume"),
        '400 {"error": "Only \'stop\' action is supported"}',
        a='200 {"status": "resumed"}',
        ours='200 {"status": "resumed"}',
        why="as in A",
    ),
    Case(
        "/control", "stop", lambda api, traces: shown(api.control(_fresh(api, 0), "stop")), '200 {"status": "stopped"}'
    ),
    Case(
        "/control",
        "stop of what has ended",
        _control("ended", "stop"),
        '200 {"status": "stopped"}',
        a='400 {"error": "Process has already terminated"}',
    ),
    Case(
        "/control",
        "pause of what has ended",
        _control("ended", "pause"),
        '400 {"error": "Only \'stop\' action is supported"}',
        a='400 {"error": "Process has already terminated"}',
        ours='400 {"error": "Process has already terminated"}',
        why="as in A",
    ),
    Case(
        "/control",
        "another action",
        _control("running", "dance"),
        '400 {"error": "Only \'stop\' action is supported"}',
        a='400 {"error": "Unknown action"}',
        ours='400 {"error": "Unknown action"}',
        why="as in A",
    ),
    Case(
        "/control",
        "no action",
        _post("/control", {"id": NOBODY}),
        "400 {\"error\": \"Missing 'id' or 'action' in request\"}",
    ),
    Case(
        "/control",
        "no id",
        _post("/control", {"action": "stop"}),
        "400 {\"error\": \"Missing 'id' or 'action' in request\"}",
    ),
    Case(
        "/control",
        "an id that is not known",
        _control(NOBODY, "stop"),
        '400 {"error": "No running process for given id"}',
    ),
    # --- the others
    Case("/stdout", "of a trace", _stdout, "200 text/plain, attachment NAME.log", a="no such route"),
    Case(
        "/stdout",
        "no id",
        lambda api, traces: shown(api.get("/stdout")),
        '400 {"error": "Trace ID is required or invalid"}',
        a="no such route",
    ),
    Case(
        "/stdout",
        "an id that is not known",
        lambda api, traces: shown(api.stdout(NOBODY)),
        '400 {"error": "Trace ID is required or invalid"}',
        a="no such route",
    ),
    Case("/traces", "all", _traces, "200 list of ids, sorted", a="no such route"),
    Case("/test", "all", _test, "200 ['msgs', 'pointers'], by path: last tag END, pointers {'int'}"),
    Case(
        "/user_interaction/submit",
        "an answer",
        lambda api, traces: shown(api.post("/user_interaction/submit", {"id": traces.running, "payload": {"a": 1}})),
        '200 {"status": "success"}',
        a="no such route",
    ),
    Case(
        "/user_interaction/submit",
        "no id",
        _post("/user_interaction/submit", {"payload": 1}),
        '400 {"error": "Trace ID is required"}',
        a="no such route",
    ),
    Case(
        "/user_interaction/submit",
        "no payload",
        _post("/user_interaction/submit", {"id": NOBODY}),
        '400 {"error": "Missing \'payload\'"}',
        a="no such route",
    ),
    Case(
        "/user_interaction/submit",
        "an id that is not known",
        _post("/user_interaction/submit", {"id": NOBODY, "payload": 1}),
        '200 {"status": "success"}',
        a="no such route",
        ours='400 {"error": "No running process for given id"}',
        why="memory is bounded, and nobody would ever read it",
    ),
)
