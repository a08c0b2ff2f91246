"""Targets: one path, one query."""

from __future__ import annotations

import posixpath
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rdagentd.dockerproxy.refusal import RefusedError
from rdagentd.dockerproxy.target import parse_target, write_target

HOSTILE = [
    "/v1.41/../containers/json", "/v1.41/./info", "//info", "/v1.41//info", "/info/", "/", "/v1.41", "/v1.41/",
    "/v1.41/%2e%2e/info", "/%2e/info", "/containers%2fjson", "/containers%2Fjson", "/containers/a%2f..%2fb/json",
    "/info%00", "/info%0d%0aX: y", "/info%", "/info%2", "/info%zz", "/info%252e", "/info;a", "/info?a;b", "/info#a",
    "/info?a#b",
    "/v1.23/info", "/v1/info", "/v2.0/info", "/v1.041/info", "/v1.41x/info", "/v1.400/info", "/v1./info", "/v01.41/info",
    "/v1.41/v1.41/../info", "/caf%c3%a9", "/%ff", "/a b", "/a\\b", "/info?=x", "/info?a[]=x", "/info?%61ll=1", "/info?a=%ff",
    "/info?a=%00", "/info?a=%",
]  # fmt: skip


@pytest.mark.parametrize("target", HOSTILE)
def test_a_path_that_means_another_path_is_refused(target: str) -> None:
    with pytest.raises(RefusedError, match=r"^cannot ") as refused:
        parse_target(target)
    assert refused.value.status == 400


def test_what_clients_send_is_read() -> None:
    found = parse_target("/v1.41/images/ghcr.io/a/b%40sha256:00/json?filters=%7B%22a%22%3A1%7D&t=x&t=y&all=")
    assert (found.version, found.path) == ("/v1.41", "/images/ghcr.io/a/b@sha256:00/json")
    assert found.query == {"filters": ['{"a":1}'], "t": ["x", "y"], "all": [""]}


@given(some.text("/.%2efEF5Cc0v141;?&=+#\\abinfo", max_size=30))
def test_a_target_that_is_taken_has_one_reading(text: str) -> None:
    target = "/" + text
    try:
        found = parse_target(target)
    except RefusedError:
        return
    parts = urlsplit("unix://docker" + target)
    assert unquote(parts.path) == found.version + found.path
    assert posixpath.normpath(found.path) == found.path
    assert unquote(found.path) == found.path, "nothing is left to decode for a second reader"
    assert parse_qs(parts.query, keep_blank_values=True, encoding="utf-8") == found.query
    assert parse_target(write_target(found.version, found.path, found.query)) == found
