"""Specs: what decodes, what is refused and how it is told, and the way back to plain data."""

from __future__ import annotations

import tomllib
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.config.problems import SpecError
from rdagentd.config.spec import HIDDEN, decode_spec, diff_specs, encode_spec
from rdagentd.model.spec import Limits, Log, Policy, Restart, Rlimit, Spec, Stop

from .reading import SMALL, decode, refusal
from .strategies import ANYTHING, SPECS


@given(SPECS)
@settings(max_examples=100)
def test_what_is_encoded_decodes_to_an_equal_spec(spec: Spec) -> None:
    data = msgpack.unpackb(msgpack.packb(encode_spec(spec)))
    assert decode_spec(data) == spec
    assert encode_spec(decode_spec(data)) == data


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in attrs.fields(Spec)]) | st.text(max_size=9), ANYTHING, max_size=6
    )
)
@settings(max_examples=120)
def test_anything_gives_a_spec_or_a_spec_error(raw: dict[str, Any]) -> None:
    try:
        spec = decode_spec(raw, "x")
    except SpecError as error:
        assert error.problems
        assert all(line.startswith("cannot read worker ") for line in str(error).split("\n"))
    else:
        assert decode_spec(encode_spec(spec)) == spec


@given(SPECS, st.data())
@settings(max_examples=120)
def test_a_spec_with_one_damaged_value_gives_a_spec_or_a_spec_error(spec: Spec, data: st.DataObject) -> None:
    raw = encode_spec(spec)
    table = raw
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if type(table[key]) is not dict or not table[key] or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = data.draw(ANYTHING)
    try:
        assert isinstance(decode_spec(raw), Spec)
    except SpecError as error:
        assert error.problems


def test_the_smallest_spec_has_the_defaults_of_the_model() -> None:
    assert decode() == Spec("w", ("true",))


def test_a_full_spec_from_toml() -> None:
    text = """
        name = "agent"
        command = "python3 -m agent --name 'a b'"
        directory = "/srv"
        environment_file = "/etc/agent.env"
        environment = { TOKEN = "x" }
        user = 1000
        umask = 0o027
        timeout = "2h"
        restart = { policy = "on-failure", delay = "5s", factor = 2, window = "1h" }
        stop = { signals = ["int", "SIGTERM", 2], grace = "1m" }
        labels = { team = "a" }
        [limits]
        address_space = "4G"
        nofile = "1024:4096"
        cpu_time = "1h"
        rttime = "950ms"
        stack = { soft = "8M", hard = "unlimited" }
        core = "unlimited"
        [log]
        cap = "1M"
    """
    assert decode_spec(tomllib.loads(text)) == Spec(
        name="agent",
        command=("python3", "-m", "agent", "--name", "a b"),
        directory="/srv",
        environment_file=("/etc/agent.env",),
        environment={"TOKEN": "x"},
        user="1000",
        umask=0o27,
        timeout=7200.0,
        restart=Restart(Policy.ON_FAILURE, delay=5.0, factor=2.0, window=3600.0),
        stop=Stop(("SIGINT", "SIGTERM", "SIGINT"), grace=60.0),
        labels={"team": "a"},
        limits=Limits(
            address_space=Rlimit(4 << 30, 4 << 30),
            nofile=Rlimit(1024, 4096),
            cpu_time=Rlimit(3600, 3600),
            rttime=Rlimit(950_000, 950_000),
            stack=Rlimit(8 << 20, None),
            core=Rlimit(None, None),
        ),
        log=Log(1 << 20, (1 << 20) // 5),
    )


def test_all_mistakes_are_told_at_once() -> None:
    told = refusal(
        command="",
        nice="x",
        limits={"nofle": 1, "stack": "4Q"},
        restart={"policy": "x", "delay": "1h", "max_delay": "1m", "jitter": 2},
    )
    paths = ["command", "nice", "limits.nofle", "limits.stack", "restart.policy", "restart.jitter", "restart.max_delay"]
    assert [line.split(":")[0] for line in told] == paths


def test_a_contradiction_is_not_told_of_a_value_that_cannot_be_read() -> None:
    assert refusal(restart={"delay": "x", "max_delay": "1s"}) == [
        "restart.delay: 'x' is not a duration (write seconds, or \"500ms\", \"10s\", \"1h30m\", \"7d\")"
    ]  # fmt: skip


def test_mistakes_beyond_count_are_not_all_told() -> None:
    assert len(refusal(**{f"x{i}": 1 for i in range(10_000)})) == 20
    assert len(refusal(command=[1] * 10_000)) == 20


def test_missing_keys_are_told() -> None:
    with pytest.raises(SpecError) as caught:
        decode_spec({}, "x.toml")
    assert (
        str(caught.value)
        == "cannot read worker in x.toml: name: missing\ncannot read worker in x.toml: command: missing"
    )


def test_an_error_tells_its_parts_to_programs() -> None:
    with pytest.raises(SpecError) as caught:
        decode_spec({**SMALL, "restart": {"policy": "alwys"}}, "x.toml")
    error = caught.value
    assert isinstance(error, ValueError)
    assert (error.path, error.value, error.hint, error.where) == (
        "restart.policy",
        "'alwys'",
        "did you mean always?",
        "x.toml",
    )


SECRET = "c2VjcmV0-value"


@pytest.mark.parametrize(
    "fields",
    [
        {"environment": SECRET},
        {"environment": [f"KEY={SECRET}"]},
        {"environment": {"A": f"{SECRET}\0"}},
        {"environment": {"A": f"\udc80{SECRET}"}},
        {"environment": {"": SECRET}},
        {"environment": {f"A={SECRET}": "x"}},
        {"environment": {"A\0": SECRET}},
        {"environment": {"A": {"B": SECRET}}},
        {"environment": {"A": SECRET * 10_000}},
        {"environment": {str(number): SECRET * 1000 for number in range(100)}},
        {"environment": {SECRET.encode(): "x", "B": SECRET.encode()}},
        {"env": {"A": SECRET}},
        {"env": SECRET},
        {"enviroment": {"A": SECRET}},
        {"A": SECRET},
        {"environment_file": {"A": SECRET}},
        {"labels": {"A": {"B": SECRET}}},
        {"limits": {"A": SECRET}},
    ],
)
def test_a_value_of_the_environment_is_never_told(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        decode_spec({**SMALL, **fields}, "x.toml")
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.args} {error.problems!r} {error.value} {error.__context__!r}"


def test_relative_paths_begin_at_the_base() -> None:
    raw = {**SMALL, "directory": "work/./x", "environment_file": ["a.env", "/b.env", "../c.env"]}
    spec = decode_spec(raw, base="/srv/agents")
    assert spec.directory == "/srv/agents/work/x"
    assert spec.environment_file == ("/srv/agents/a.env", "/b.env", "/srv/agents/../c.env")
    assert decode_spec({**SMALL, "directory": ".", "environment_file": "e"}, base="/srv").environment_file == (
        "/srv/e",
    )
    assert raw["directory"] == "work/./x"


@pytest.mark.parametrize("field", ["directory", "environment_file"])
@pytest.mark.parametrize("value", ["", "~/x", 1, [""], {"a": 1}])
def test_a_base_makes_no_bad_path_good(field: str, value: Any) -> None:
    with pytest.raises(SpecError):
        decode_spec({**SMALL, field: value}, base="/srv")


def test_a_relative_base_is_no_base() -> None:
    with pytest.raises(SpecError, match="'srv/x' is relative"):
        decode_spec({**SMALL, "directory": "x"}, base="srv")


def test_equal_sections_are_one_object() -> None:
    one, two = decode(), decode(name="x", restart={}, limits={}, log={"cap": "50M"}, stop={"grace": 10})
    for section in ("restart", "stop", "queue", "limits", "log"):
        assert getattr(one, section) is getattr(two, section) is getattr(Spec("y", ("x",)), section)
    given = {"restart": {"policy": "always", "breaker": {"failures": 3}}, "limits": {"nofile": 7, "nproc": 7}}
    three, four = decode(**given), decode(**given)
    assert three.restart is four.restart
    assert three.limits is four.limits
    assert three.limits.nofile is three.limits.nproc


def test_the_spec_does_not_share_tables_with_what_it_was_read_from() -> None:
    environment, labels = {"A": "1"}, {"a": "1"}
    spec = decode(environment=environment, labels=labels)
    environment["A"] = labels["a"] = "2"
    assert (spec.environment, spec.labels) == ({"A": "1"}, {"a": "1"})


def test_hidden_data_shows_names_and_no_values() -> None:
    shown = encode_spec(decode(environment={"B": SECRET, "A": SECRET}), hide=True)
    assert list(shown["environment"].items()) == [("A", HIDDEN), ("B", HIDDEN)]
    assert SECRET not in repr(shown)


def test_a_diff_names_what_differs_and_hides_the_environment() -> None:
    old = decode(environment={"A": SECRET, "B": SECRET, "C": "same"}, restart={"delay": 1}, labels={"x": "1"})
    new = decode(
        environment={"A": f"{SECRET}2", "D": SECRET, "C": "same"},
        command=["false"],
        restart={"delay": 2},
        limits={"nofile": "1:2"},
    )
    assert diff_specs(old, new) == [
        ("command", ["true"], ["false"]),
        ("environment.A", HIDDEN, HIDDEN),
        ("environment.B", HIDDEN, None),
        ("environment.D", None, HIDDEN),
        ("restart.delay", 1.0, 2.0),
        ("limits.nofile", None, {"soft": 1, "hard": 2}),
        ("labels.x", "1", None),
    ]


@given(SPECS, SPECS)
@settings(max_examples=30)
def test_a_diff_is_empty_for_equal_specs_only(one: Spec, two: Spec) -> None:
    assert diff_specs(one, one) == []
    assert bool(diff_specs(one, two)) == (one != two)
    assert {path.split(".")[0] for path, _, _ in diff_specs(one, two)} <= {field.name for field in attrs.fields(Spec)}


def test_credentials_are_names() -> None:
    spec = decode_spec({"name": "w", "command": ["x"], "credentials": {"key": "openai.key"}})
    assert spec.credentials == {"key": "openai.key"}
    for wrong, said in (
        ({"a/b": "x"}, "'a/b' is not a name"),
        ({"key": "../x"}, "'../x' is not a name"),
        ({"key": 5}, "expected a name"),
        (["key"], "expected a table of names and names"),
        ({f"n{number}": "x" for number in range(65)}, "has 65 credentials"),
    ):
        with pytest.raises(SpecError, match="credentials") as caught:
            decode_spec({"name": "w", "command": ["x"], "credentials": wrong})
        assert said in str(caught.value)


def test_a_docker_socket_is_for_processes_and_for_one_engine() -> None:
    assert decode(docker_socket=True).docker_socket and not decode().docker_socket
    (problem,) = refusal(docker_socket=True, container={"image": "busybox"})
    assert problem.startswith("docker_socket: is not for containers")
    (problem,) = refusal(docker_socket=True, environment={"DOCKER_HOST": "tcp://elsewhere"})
    assert problem.startswith("docker_socket: stands in environment too")


def test_secret_variables_are_names_of_credentials() -> None:
    raw = {"name": "w", "command": ["x"], "secret_environment": {"OPENAI_API_KEY": "openai.key"}}
    assert decode_spec(raw).secret_environment == {"OPENAI_API_KEY": "openai.key"}
    for wrong, said in (
        ({"A=b": "x"}, "the name of a variable cannot contain ="),
        ({"KEY": "../x"}, "'../x' is not a name"),
        ({f"N{number}": "x" for number in range(65)}, "has 65 credentials"),
    ):
        with pytest.raises(SpecError, match="secret_environment") as caught:
            decode_spec({**raw, "secret_environment": wrong})
        assert said in str(caught.value)
    with pytest.raises(SpecError, match="secret_environment: OPENAI_API_KEY also stands in environment"):
        decode_spec({**raw, "environment": {"OPENAI_API_KEY": "x"}})
    with pytest.raises(SpecError, match="secret_environment: is not for containers"):
        decode_spec({**raw, "container": {"image": "x"}})
