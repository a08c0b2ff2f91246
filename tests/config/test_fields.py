"""The fields of a spec, one mistake at a time."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from rdagentd.config.fields import SPEC
from rdagentd.config.problems import SpecError
from rdagentd.config.section import Section
from rdagentd.config.spec import decode_spec

from .reading import decode, refusal


def sections(section: Section) -> list[Section]:
    return [
        section,
        *(found for kind, _ in section.rows.values() if isinstance(kind, Section) for found in sections(kind)),
    ]


@pytest.mark.parametrize("section", sections(SPEC), ids=lambda section: section.make.__name__)
def test_every_field_of_the_model_has_its_row_in_the_same_order(section: Section) -> None:
    assert list(section.rows) == [field.name for field in attrs.fields(section.make)]
    assert all(meaning.endswith(".") for _, meaning in section.rows.values())


def test_text_for_restart_is_its_policy() -> None:
    assert decode(restart="always") == decode(restart={"policy": "always"})
    assert refusal(restart="alway") == ["restart.policy: 'alway' is not known (did you mean always?)"]


def test_a_default_that_would_contradict_follows_the_value_that_was_given() -> None:
    assert decode(restart={"delay": "10m"}).restart.max_delay == 600
    assert decode(restart={"delay": "1m"}).restart.max_delay == 300
    assert decode(log={"cap": 5000}).log.segment == 4096
    assert decode(log={"cap": "1G"}).log.segment == 10 << 20


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"limits": {"nofle": 1}}, "limits.nofle: unknown key (did you mean nofile?)"),
        ({"nofile": 10}, "nofile: unknown key (did you mean limits.nofile?)"),
        ({"comand": "x"}, "comand: unknown key (did you mean command?)"),
        ({"env": {"A": "x"}}, "env: unknown key (did you mean environment?)"),
        ({"restart": {"breaker": {"failure": 1}}}, "restart.breaker.failure: unknown key (did you mean failures?)"),
        ({"limits": {"as": 1}}, "limits.as: unknown key (did you mean address_space?)"),
        ({"umask": "99"}, "umask: '99' is not a umask (write it in octal: \"022\")"),
        ({"nice": True}, "nice: expected a whole number, not true or false"),
        ({"nice": 20}, "nice: 20 is out of range (-20 to 19)"),
        ({"nice": 1.0}, "nice: expected a whole number, not a number"),
        ({"queue": {"priority": 10**30}}, f"queue.priority: {10**30} is out of range (-1000000 to 1000000)"),
        ({"queue": {"priority": "high"}}, "queue.priority: 'high' is not a whole number (-1000000 to 1000000)"),
        ({"restart": {"stop_codes": [1, 256]}}, "restart.stop_codes[1]: 256 is out of range (0 to 255)"),
        ({"restart": {"jitter": 1.5}}, "restart.jitter: 1.5 is out of range (0 to 1)"),
        ({"restart": {"jitter": float("nan")}}, "restart.jitter: nan is out of range (0 to 1)"),
        ({"restart": {"delay": "unlimited"}}, "restart.delay: cannot be unlimited (write a duration)"),
        ({"restart": 5}, "restart: expected a table, not a whole number"),
        ({"timeout": 0}, 'timeout: must be more than 0 (for no limit write "unlimited")'),
        ({"stop": {"grace": -1}}, "stop.grace: -1 is out of range (a duration is 0 to 10 years)"),
        ({"stop": {"signals": ["SIGTEM"]}}, "stop.signals[0]: 'SIGTEM' is not a signal (did you mean SIGTERM?)"),
        ({"stop": {"signals": ["TERM"] * 17}}, "stop.signals: has 17 values (at most 16)"),
        ({"stop": {"signals": "TERM"}}, "stop.signals: expected a list, not text"),
        ({"log": {"cap": "1K"}}, "log.cap: '1K' is too small (at least 4096 bytes)"),
        ({"log": {"separate": 1}}, "log.separate: expected true or false, not a whole number"),
        ({"directory": "x"}, "directory: 'x' is relative (give the whole path, from /)"),
        ({"directory": "~/x"}, "directory: '~/x' is relative (~ is not expanded here)"),
        ({"environment_file": ["/a", 1]}, "environment_file[1]: expected text, not a whole number (write it in quotes)"),
        ({"user": -1}, "user: expected text, not a whole number (write it in quotes)"),
        ({"labels": {"a b": "x"}},
         "labels.'a b': is not a name for a label (1 to 63 of A-Z a-z 0-9 _ . / -, the first a letter or a digit)"),
        ({"labels": {"a": "\x1b[2J"}}, "labels.a: contains control characters"),
        ({"labels": dict.fromkeys(map(str, range(65)), "")}, "labels: has 65 labels (at most 64)"),
        ({"command": []}, "command: is empty (give the program and its arguments)"),
        ({"command": ""}, "command: is empty (give the program and its arguments)"),
        ({"command": ["", "x"]}, "command: is empty (give the program and its arguments)"),
        ({"command": ["x", "a\0b"]}, "command[1]: contains a NUL character"),
        ({"command": ["x", "\udc80"]}, "command[1]: is not UTF-8"),
        ({"command": "x 'y"}, "command: cannot be split into words: no closing quotation (write a list of words)"),
        ({"command": "x" * 9000}, "command: text of 9000 characters is too long to split (write a list of words)"),
        ({"command": ["x", "y" * (128 << 10)]}, "command[1]: is longer than 131071 bytes"),
        ({"command": {"a": 1}}, "command: expected a list of words, or text, not a table"),
    ],
)  # fmt: skip
def test_one_mistake(fields: dict[str, Any], told: str) -> None:
    assert refusal(**fields) == [told]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"restart": {"delay": "1h", "max_delay": "1m"}}, "restart.max_delay: 1 min is less than the delay of 1 h"),
        ({"restart": {"max_delay": "1s"}}, "restart.max_delay: 1 s is less than the delay of 10 s"),
        ({"log": {"cap": "1M", "segment": "4M"}}, "log.segment: 4 MiB is more than the cap of 1 MiB"),
        ({"log": {"segment": "1G"}}, "log.segment: 1 GiB is more than the cap of 50 MiB"),
        ({"restart": {"stop_codes": [3, 0, 1], "success_codes": [0, 1]}},
         "restart.stop_codes: 0, 1 also stands in success_codes"),
        ({"restart": {"restart_codes": [0]}}, "restart.restart_codes: 0 also stands in success_codes"),
        ({"restart": {"restart_codes": [7], "stop_codes": [7]}}, "restart.restart_codes: 7 also stands in stop_codes"),
    ],
)  # fmt: skip
def test_contradictions(fields: dict[str, Any], told: str) -> None:
    assert refusal(**fields) == [told]


@pytest.mark.parametrize("name", ["", "a/b", "-a", ".a", "a b", "ä", "a" * 65, "a\n", "../x", 5, None, True])
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(SpecError) as caught:
        decode_spec({"name": name, "command": ["x"]})
    assert caught.value.path == "name"
    with pytest.raises(SpecError) as caught:
        decode(queue={"group": name})
    assert caught.value.path == "queue.group"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"A=secret": "x"}, "environment.A: the name of a variable cannot contain ="),
        ({"": "x"}, "environment.'': is empty"),
        ({"A\0B": "x"}, "environment.'A\\x00B': contains a NUL character"),
        ({"A": "x\0"}, "environment.A: contains a NUL character"),
        ({"PORT": 80}, "environment.PORT: expected text, not a whole number (write it in quotes)"),
        ({"A": None}, "environment.A: expected text, not nothing"),
        ({"A": "x" * (128 << 10)}, "environment: takes 131075 bytes (at most 131072; put large values into a file)"),
        ({"A": "ä" * (64 << 10)}, "environment: takes 131075 bytes (at most 131072; put large values into a file)"),
        (["A=b"], "environment: expected a table of names and values, not a list"),
    ],
)
def test_environments_that_are_refused(environment: Any, told: str) -> None:
    assert refusal(environment=environment) == [told]


def test_an_environment_of_just_the_limit_is_accepted() -> None:
    value = "x" * ((128 << 10) - 3)
    assert decode(environment={"A": value}).environment == {"A": value}
