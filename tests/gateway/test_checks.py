"""Who may ask what: names, origins, tokens, sizes. The whole application, with handlers that look and handlers that change."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from rdagentd.gateway import app
from rdagentd.gateway.access import Role, needs, require
from rdagentd.gateway.checks import COOKIE, cookie_of
from tests.gateway.client import FakeLink, Serve, ask

TOKEN = "0123456789abcdef-good"
LOOK, CHANGE, OPEN, LATE, READS = "/look", "/change", "/open", "/late", "/reads"


async def anything(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


@needs(Role.NONE)
async def open_to_all(request: web.Request) -> web.Response:
    return web.Response(text="open")


@needs(Role.VIEW)
async def reads(request: web.Request) -> web.Response:
    return web.Response(text="read")


@needs(Role.VIEW)
async def late(request: web.Request) -> web.Response:
    require(request, Role.OPERATE)
    return web.Response(text="late")


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers of this file in place of the gateway's own."""
    module = ModuleType("parts")
    module.routes = lambda link, settings: [  # type: ignore[attr-defined]
        web.get(LOOK, anything),
        web.post(CHANGE, anything),
        web.post(OPEN, open_to_all),
        web.post(LATE, late),
        web.post(READS, reads),
        web.get("/", anything),
    ]
    monkeypatch.setattr(app, "MODULES", (module,))


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_who_has_the_token_may_do_everything(serve: Serve) -> None:
    url = serve(FakeLink(), tokens=("another-token-of-long-ago", TOKEN), anonymous="none")
    for path, method in ((LOOK, "GET"), (CHANGE, "POST"), (OPEN, "POST"), (LATE, "POST"), (READS, "POST")):
        assert ask(url, path, method, headers=bearer()).status == 200, path


@pytest.mark.parametrize(
    ("anonymous", "may"),
    [("none", {OPEN}), ("view", {OPEN, LOOK, READS}), ("operate", {OPEN, LOOK, READS, CHANGE, LATE})],
)
def test_what_this_host_may_do_without_a_token_is_configured(serve: Serve, anonymous: str, may: set[str]) -> None:
    url = serve(FakeLink(), tokens=(TOKEN,), anonymous=anonymous)
    for path in (LOOK, CHANGE, OPEN, LATE, READS):
        answer = ask(url, path, "GET" if path == LOOK else "POST")
        assert (answer.status == 200) == (path in may), path
        if path not in may:
            assert answer.status == 401 and answer.headers["www-authenticate"] == 'Bearer realm="rdagentd"'
            assert "give the token" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "wrong", ["Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"bearer  {TOKEN} {TOKEN}", "Bearer \xe9\xfc"]
)
def test_a_wrong_token_is_refused_even_where_none_is_needed(serve: Serve, wrong: str) -> None:
    url = serve(FakeLink(), tokens=(TOKEN,), anonymous="operate")
    answer = ask(url, LOOK, headers={"Authorization": wrong})
    assert answer.status == 401 and "the token is wrong" in answer.json["error"]["message"]
    assert TOKEN not in answer.text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_what_comes_through_a_proxy_does_not_count_as_of_this_host(serve: Serve, header: str) -> None:
    url = serve(FakeLink(), tokens=(TOKEN,), anonymous="operate")
    assert ask(url, LOOK, headers={header: "192.0.2.1"}).status == 401
    assert ask(url, LOOK, headers={header: "192.0.2.1", **bearer()}).status == 200


def test_the_token_in_the_address_becomes_a_cookie_that_opens(serve: Serve) -> None:
    url = serve(FakeLink(), tokens=(TOKEN,), anonymous="none")
    answer = ask(url, f"/?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    sent = {"Cookie": cookie.partition(";")[0]}
    assert ask(url, LOOK, headers=sent).status == 200
    assert ask(url, CHANGE, "POST", headers=sent).status == 403, "a browser says where a change comes from"
    assert ask(url, CHANGE, "POST", headers={**sent, "Origin": url.rstrip("/")}).status == 200
    assert ask(url, CHANGE, "POST", headers={**sent, "Referer": f"{url}page"}).status == 200
    assert ask(url, "/?token=wrong-wrong-wrong-wrong").status == 401
    assert ask(url, LOOK, headers={"Cookie": f"{COOKIE}={cookie_of('another-token-0123')}"}).status == 401
    assert ask(url, LOOK, headers={"Cookie": f"{COOKIE}={TOKEN}"}).status == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "", "x y"]
)
def test_a_name_that_is_not_ours_is_refused(serve: Serve, host: str) -> None:
    url = serve(FakeLink(), anonymous="operate")
    assert ask(url, LOOK, headers={"Host": host}).status in (400, 421)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:19899", "[::1]", "192.0.2.7", "agents.example.org:80"]
)
def test_our_names_and_bare_addresses_are_taken(serve: Serve, host: str) -> None:
    url = serve(FakeLink(), anonymous="operate", hosts=("agents.example.org",))
    assert ask(url, LOOK, headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_page_of_somebody_else_changes_nothing(serve: Serve, origin: str) -> None:
    url = serve(FakeLink(), tokens=(TOKEN,), anonymous="operate")
    for headers in ({"Origin": origin}, {"Referer": f"{origin}/x"}, {"Origin": origin, **bearer()}):
        assert ask(url, CHANGE, "POST", headers=headers).status == 403
    answer = ask(url, LOOK, headers={"Origin": origin})
    assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


def test_a_page_that_is_listed_may(serve: Serve) -> None:
    listed = "https://grafana.example.org"
    url = serve(FakeLink(), anonymous="operate", origins=(listed,))
    assert ask(url, CHANGE, "POST", headers={"Origin": listed}).status == 200
    preflight = {"Origin": listed, "Access-Control-Request-Method": "POST"}
    for path, method in ((LOOK, "GET"), (CHANGE, "OPTIONS")):
        answer = ask(url, path, method, headers=preflight)
        assert answer.headers["access-control-allow-origin"] == listed and answer.headers["vary"] == "Origin"
    assert "POST" in ask(url, CHANGE, "OPTIONS", headers=preflight).headers["access-control-allow-methods"]
    other = ask(url, CHANGE, "OPTIONS", headers={**preflight, "Origin": "https://evil.example"})
    assert not any(name.startswith("access-control-allow") for name in other.headers)


def test_our_own_page_may(serve: Serve) -> None:
    url = serve(FakeLink(), anonymous="operate")
    assert ask(url, CHANGE, "POST", headers={"Origin": f"http://{urlsplit(url).netloc}"}).status == 200


def test_every_answer_has_the_headers_of_a_careful_server(serve: Serve) -> None:
    url = serve(FakeLink(), anonymous="view")
    for path, method, status in (
        (LOOK, "GET", 200),
        ("/nowhere", "GET", 404),
        (CHANGE, "POST", 401),
        (LOOK, "PUT", 405),
    ):
        answer = ask(url, path, method)
        assert answer.status == status
        assert answer.headers["server"] == "rdagentd" and answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        if status >= 400:
            assert answer.json["error"]["message"].startswith(f"cannot {method} {path}: ")
    assert ask(url, LOOK, "PUT").headers["allow"] == "GET,HEAD"


@pytest.mark.parametrize(("size", "status"), [(1 << 20, 200), ((1 << 20) + 1, 413)])
def test_a_body_beyond_the_limit_is_refused(serve: Serve, size: int, status: int) -> None:
    url = serve(FakeLink(), anonymous="operate", body=1 << 20)
    assert ask(url, CHANGE, "POST", b"x" * size).status == status


def test_a_body_that_comes_compressed_is_refused(serve: Serve) -> None:
    url = serve(FakeLink(), anonymous="operate")
    answer = ask(url, CHANGE, "POST", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert answer.status == 400 and "without Content-Encoding" in answer.json["error"]["message"]


def test_a_defect_is_told_by_a_number_that_stands_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("secret thing")

    monkeypatch.setattr("rdagentd.gateway.checks._need", broken)
    answer = ask(serve(FakeLink()), LOOK)
    error = answer.json["error"]
    assert answer.status == 500 and error["code"] == "internal" and "secret" not in answer.text
    assert any(error["details"]["id"] in record.getMessage() for record in caplog.records)
