"""What the page is made of, as HTTP has it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from rdagentd.gateway import fresh
from rdagentd.gateway.page import STATIC
from tests.gateway.client import LiveGateway, Serve, ask
from tests.gateway.page.crowd import Crowd, row
from tests.harness import eventually


def test_the_document_and_all_that_it_names_are_served_with_their_types(gateway: LiveGateway) -> None:
    kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    document = gateway.ask("/")
    assert document.status == 200 and document.headers["content-type"] == "text/html; charset=utf-8"
    named = set(re.findall(r'"static/([^"]+)"', document.text))
    assert {"base.css", "main.js", "theme.js", "favicon.svg"} <= named
    for path in STATIC.iterdir():
        answer = gateway.ask(f"/static/{path.name}")
        assert answer.body == path.read_bytes()
        assert answer.headers["content-type"].startswith(kinds[path.suffix[1:]])
        for imported in re.findall(r'from "\./([^"]+)"', answer.text):
            assert (STATIC / imported).exists(), f"{path.name} imports {imported}"


def test_nothing_in_it_is_inline_or_from_elsewhere() -> None:
    document = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=|javascript:", document)
    for path in STATIC.iterdir():
        text = path.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path.name
        )


def test_its_policy_lets_nothing_in_and_no_text_become_markup(gateway: LiveGateway) -> None:
    policy = dict(part.strip().split(" ", 1) for part in gateway.ask("/").headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["trusted-types"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert gateway.ask("/").headers["x-content-type-options"] == "nosniff"


def test_what_a_browser_has_is_not_sent_again(gateway: LiveGateway) -> None:
    mark = gateway.ask("/static/main.js").headers["etag"]
    again = gateway.ask("/static/main.js", headers={"If-None-Match": mark})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", mark)
    assert gateway.ask("/static/main.js", headers={"If-None-Match": '"other"'}).status == 200


def test_there_are_no_other_files(gateway: LiveGateway) -> None:
    for path in (
        "/static/",
        "/static/nothing.js",
        "/static/..%2fpage.py",
        "/static/%2e%2e/page.py",
        "/static/../page.py",
    ):
        assert gateway.ask(path).status in (403, 404), path


def test_whoami_is_the_lesser_of_what_gateway_and_client_may(serve: Serve) -> None:
    crowd = Crowd([row("a")], "operator")
    url = serve(crowd, tokens=("a-token-of-enough-letters",))
    assert ask(url, "/whoami").json == {"uid": 1000, "role": "viewer"}
    token = {"Authorization": "Bearer a-token-of-enough-letters"}
    assert ask(url, "/whoami", headers=token).json == {"uid": 1000, "role": "operator"}


def test_the_host_is_told_without_the_series_of_workers_and_asked_for_once_for_all(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "time", SimpleNamespace(monotonic=lambda: 1.0))
    crowd = Crowd([row("a")])
    url = serve(crowd)
    told = [ask(url, "/host").json for _ in range(3)]
    expected = {"cpu": 41.6, "memory": 95.2, "disk": 12.0, "slots": {"gpu": 2}, "held": {"memory": 1, "cpu": 0}}
    assert told == [expected] * 3
    assert crowd.asked["metrics"] == 1


def test_the_host_of_a_real_daemon_has_numbers(gateway: LiveGateway) -> None:
    told = eventually(lambda: (answer := gateway.ask("/host")).status == 200 and answer.json, "an answer of the daemon")
    assert 0 <= told["cpu"] <= 100 and 0 < told["memory"] < 100 and 0 < told["disk"] <= 100
    assert set(told["held"]) == {"cpu", "io", "memory"}
