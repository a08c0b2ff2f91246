"""What RD-Agent's messages say about its work comes to the daemon, where a reporter of the worker wants it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.gateway.rdagent.reports import MOST_METRICS, found
from tests.gateway.rdagent.site import Site
from tests.harness import eventually

FEEDBACK = {"decision": True, "reason": "better", "exception": None}


@pytest.mark.parametrize(
    ("tag", "content", "values", "added"),
    [
        ("feedback.hypothesis_feedback", FEEDBACK, {}, {"iteration": 1, "experiments": 1, "accepted": 1, "errors": 0}),
        ("feedback.hypothesis_feedback", {"decision": "False", "exception": "boom"}, {},
         {"iteration": 1, "experiments": 1, "accepted": 0, "errors": 1}),
        ("feedback.metric", {"result": json.dumps({"IC": 0.01, "1day.return": 2, "acc": {"ensemble": 0.5}, "t": "x"})},
         {"ic": 0.01, "ensemble": 0.5}, {}),
        ("feedback.metric", {"result": "no json"}, {}, {}),
        ("feedback.metric", {"result": '{"a": NaN}'}, {}, {}),
        ("feedback.metric", "text", {}, {}),
        ("feedback.config", {"config": 1}, {}, {}),
        ("END", {}, {}, {}),
    ],
)  # fmt: skip
def test_what_a_message_says(tag: str, content: Any, values: dict[str, float], added: dict[str, float]) -> None:
    assert found({"tag": tag, "content": content}) == (values, added)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(["feedback.metric", "feedback.hypothesis_feedback"]), JSON, st.booleans())
def test_whatever_is_sent_is_bounded_and_breaks_nothing(tag: str, content: Any, inner: bool) -> None:
    values, added = found({"tag": tag, "content": {"result": json.dumps(content)} if inner else content})
    assert len(values) <= MOST_METRICS and len(added) <= 4


def test_a_message_is_in_the_row_of_its_worker(site: Site) -> None:
    client = site.daemon.connect()
    rules = [{"source": "receive", "measure": name} for name in ("iteration", "experiments", "accuracy")]
    client.submit("told", "/bin/sleep", "1000", labels={"trace": "/t/told"}, reporters=rules)
    client.submit("deaf", "/bin/sleep", "1000", labels={"trace": "/t/deaf"})
    client.wait("told", "deaf", until="running")
    eventually(lambda: {"Workers/told", "Workers/deaf"} <= set(site.get("/traces").json), "the traces")
    messages = [
        {"id": f"/t/{name}", "msg": {"tag": tag, "timestamp": "", "content": content}}
        for name in ("deaf", "told")
        for tag, content in (
            ("feedback.hypothesis_feedback", FEEDBACK),
            ("feedback.metric", {"result": '{"accuracy": 0.75}'}),
            ("feedback.hypothesis_feedback", FEEDBACK),
        )
    ]
    eventually(lambda: site.post("/receive", messages[:1]).status == 200, "a trace that is known")
    assert site.post("/receive", messages).json == {"status": "success"}
    row = eventually(lambda: (r := client.worker("told"))["iteration"] == 2 and r, "a report")
    assert row["measures"] == {"accuracy": 0.75, "experiments": 2.0}
    assert client.worker("deaf")["iteration"] is None
    client.verb("kill", "told", "deaf")
