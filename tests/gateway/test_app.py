"""The program starts, says where it listens, answers, and leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rdagentd.gateway.errors import STATUS
from rdagentd.protocol.errors import CODES
from tests.gateway.client import LiveGateway


def test_it_answers_on_both_loopbacks_of_one_port(gateway: LiveGateway) -> None:
    assert gateway.ask("/livez").text == "ok\n"
    assert len({url.rpartition(":")[2] for url in gateway.urls}) == 1


def test_an_unknown_path_is_an_error_in_the_shape_of_all_errors(gateway: LiveGateway) -> None:
    answer = gateway.ask("/nowhere")
    assert answer.status == 404
    assert answer.json == {"error": {"code": "not_found", "message": "cannot GET /nowhere: not found", "details": {}}}


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(CODES)


def test_it_leaves_when_asked_and_takes_its_file_along(tmp_path: Path) -> None:
    live = LiveGateway(tmp_path, tmp_path / "no.sock")
    live.start()
    assert json.loads((live.runtime / "gateway.json").read_text())["pid"] == live.process.pid  # type: ignore[union-attr]
    assert live.close() == 0
    assert not (live.runtime / "gateway.json").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('addresses = ["0.0.0.256"]', "'0.0.0.256' is not an address"),
        ('body = "101M"', "out of range (1M to 100M)"),
        ('certificate = "/c"', "certificate and key belong together"),
        ('hosts = ["http://x"]', "not the name of a host"),
        ('origins = ["x"]', "not an origin"),
        ('anonymous = "all"', "'all' is not known"),
        ('token_file = "/nowhere"', "gateway.token_file: no such file"),
    ],
)
def test_a_mistake_in_its_section_is_told_and_ends_it(tmp_path: Path, config: str, words: str) -> None:
    live = LiveGateway(tmp_path, tmp_path / "no.sock")
    live.start(config, ready=False)
    assert live.process is not None and live.process.wait(60) == 78
    assert words in live.said()
