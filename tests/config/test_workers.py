"""Documents with specs, from workers.d and from a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdagentd.config.problems import ConfigError, SpecError
from rdagentd.config.workers import decode_document, load_workers
from rdagentd.model.spec import Spec

EXAMPLE = Path(__file__).parents[2] / "etc" / "workers.d" / "example.toml.disabled"


def told(document: dict[str, Any], where: str = "x.toml") -> list[str]:
    with pytest.raises(SpecError) as caught:
        decode_document(document, where, None)
    return str(caught.value).splitlines()


def test_a_document_is_one_spec_called_like_its_file() -> None:
    assert decode_document({"command": ["x"]}, "/etc/agents/night.toml", None) == [Spec("night", ("x",))]
    assert decode_document({"name": "y", "command": ["x"]}, "/etc/agents/night.toml", None) == [Spec("y", ("x",))]
    assert told({"command": ["x"]}, "standard input") == ["cannot read worker in standard input: name: missing"]


def test_a_document_may_hold_many_workers() -> None:
    document = {"worker": {"a": {"command": ["x"]}, "b": {"name": "b", "command": "y z"}}}
    assert decode_document(document, "x.toml", None) == [Spec("a", ("x",)), Spec("b", ("y", "z"))]
    assert decode_document({"worker": {}}, "x.toml", None) == []
    assert set(document["worker"]["a"]) == {"command"}


def test_relative_paths_begin_at_the_base() -> None:
    document = {"worker": {"a": {"command": ["x"], "directory": "w"}}}
    assert decode_document(document, "x.toml", "/srv")[0].directory == "/srv/w"
    assert told(document) == [
        "cannot read worker 'a' in x.toml: directory: 'w' is relative (give the whole path, from /)"
    ]


def test_all_mistakes_of_all_workers_are_told() -> None:
    document = {
        "command": ["x"],
        "worker": {
            "a": {"comand": ["x"]},
            "b": 5,
            "c": {"name": "d", "command": ["x"]},
            "e": {"command": ["x"], "nice": 99},
            "f g": {"command": ["x"]},
        },
    }
    names = "1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or a digit"
    assert told(document) == [
        "cannot read x.toml: command: stands beside [worker.NAME] (put it into a table)",
        "cannot read x.toml: worker.b: expected a table, not a whole number",
        "cannot read x.toml: worker.c.name: differs from the name of the table (leave it out)",
        "cannot read worker 'a' in x.toml: comand: unknown key (did you mean command?)",
        "cannot read worker 'a' in x.toml: command: missing",
        "cannot read worker 'e' in x.toml: nice: 99 is out of range (-20 to 19)",
        f"cannot read worker 'f g' in x.toml: name: 'f g' is not a name ({names})",
    ]
    assert told({"worker": []}) == ["cannot read x.toml: worker: expected tables [worker.NAME], not a list"]


def test_what_a_client_sends_cannot_make_a_huge_answer() -> None:
    document = {"worker": {str(number): {"command": [1] * 20} for number in range(1000)}}
    with pytest.raises(SpecError) as caught:
        decode_document(document, "x" * 100_000, None)
    assert len(str(caught.value)) < 200_000


def test_the_files_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("command = 'x'\ndirectory = 'w'")
    (tmp_path / "a.toml").write_text("[worker.two]\ncommand = ['y']\n[worker.one]\ncommand = ['z']\n")
    (tmp_path / "c.toml.disabled").write_text("broken")
    a, b = str(tmp_path / "a.toml"), str(tmp_path / "b.toml")
    assert load_workers(str(tmp_path)) == [
        (a, Spec("two", ("y",))),
        (a, Spec("one", ("z",))),
        (b, Spec("b", ("x",), directory=str(tmp_path / "w"))),
    ]


def test_mistakes_of_all_files_are_told_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[worker.same]\ncommand = ['y']\n")
    (tmp_path / "b.toml").write_text("a =")
    (tmp_path / "c.toml").write_text("name = 'same'\ncommand = 'x'\n")
    (tmp_path / "d.toml").write_text("command = ''\n")
    with pytest.raises(ConfigError) as caught:
        load_workers(str(tmp_path))
    assert str(caught.value).splitlines() == [
        f"cannot read {tmp_path}/b.toml: not TOML: invalid value (at end of document)",
        f"cannot read worker 'same' in {tmp_path}/c.toml: name: 'same' is already the name of a worker in {tmp_path}/a.toml",
        f"cannot read worker 'd' in {tmp_path}/d.toml: command: is empty (give the program and its arguments)",
    ]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^cannot read {tmp_path}/x: no such file or directory$"):
        load_workers(str(tmp_path / "x"))


def test_the_example_that_is_shipped_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "example.toml").write_text(EXAMPLE.read_text())
    ((_, spec),) = load_workers(str(tmp_path))
    assert spec.name == "example"
    assert spec != Spec(spec.name, spec.command)
