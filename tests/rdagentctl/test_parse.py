"""The command line against the table."""

from __future__ import annotations

import pytest

from rdagentctl.failure import UsageError
from rdagentctl.parse import Arguments, duration, parse


def parsed(*argv: str) -> Arguments:
    arguments = parse(list(argv))
    assert arguments is not None
    return arguments


def test_words_and_options_in_any_order() -> None:
    arguments = parsed("--socket", "/s", "stop", "a", "--wait", "b*", "--label", "k=v", "--label=x=y=z", "--timeout=1m")
    assert arguments.words == ["a", "b*"]
    assert (arguments.text("socket"), arguments.flag("wait"), arguments.seconds("timeout")) == ("/s", True, 60.0)
    assert arguments.pairs("label") == {"k": "v", "x": "y=z"}


def test_short_options_with_their_value_and_bundled() -> None:
    for argv in (["-n5", "-f"], ["-fn5"], ["-fn", "5"], ["-f", "-n", "5"], ["--tail=5", "--follow"]):
        arguments = parsed("logs", "web", *argv)
        assert (arguments.number("tail"), arguments.flag("follow"), arguments.words) == (5, True, ["web"]), argv


def test_everything_after_dashes_belongs_to_the_command() -> None:
    assert parsed("submit", "--name", "n", "--", "ls", "--json", "--", "-x").rest == ["ls", "--json", "--", "-x"]
    assert parsed("stop", "--", "-odd").words == ["-odd"]


def test_a_negative_number_is_a_value() -> None:
    assert parsed("logs", "web", "--run", "-1").text("run") == "-1"
    assert parsed("submit", "--nice", "-5", "--", "ls").text("nice") == "-5"


def test_a_label_stands_for_names() -> None:
    assert parsed("stop", "--label", "k=v").words == []


def test_help_needs_nothing_else() -> None:
    assert parsed("stop", "--help").flag("help")
    assert parsed("-h", "stop").flag("help")
    assert parse(["--help"]) is None
    assert parse([]) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stauts", "cannot stauts: no such command; did you mean status?"),
        ("zzz", "cannot zzz: no such command; see --help"),
        ("status --jsno", "cannot status: no option --jsno; did you mean --json?"),
        ("--wiat stop a", "cannot read --wiat: no option before a command; see --help"),
        ("status -x", "cannot status: no option -x; see --help"),
        ("status --json=1", "cannot read --json=1: --json takes no value"),
        ("logs web --tail", "cannot read --tail: N is missing after it"),
        ("submit --restart sometimes -- ls",
         "cannot read --restart sometimes: one of always, on-failure, never, unless-stopped is expected"),
        ("submit", "cannot submit: no command given; it stands after --: … -- COMMAND [ARGUMENT…]"),
        ("submit ls -l", "cannot submit: no option -l; see --help"),
        ("submit ls", "cannot submit: what to run stands after --: rdagentctl submit -- ls …"),
        ("stop", "cannot stop: NAME… is missing; for all workers: '*'"),
        ("logs", "cannot logs: NAME… is missing; for all workers: '*'"),
        ("completion bash zsh", "cannot completion: 'zsh' is one word too many"),
        ("logs analyse a b", "cannot analyse: 'b' is one word too many"),
        ("logs analyse a -f", "cannot analyse: no option --follow; see --help"),
        ("ping pong", "cannot ping: 'pong' is one word too many"),
        ("--json", "cannot tell what to do: no command given; see rdagentctl --help"),
        ("-- ls", "cannot tell what to do: no command before --; see rdagentctl --help"),
    ],
)  # fmt: skip
def test_usage_errors_say_what_to_do(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_values_of_the_wrong_kind() -> None:
    arguments = parsed("logs", "web", "--tail", "many")
    with pytest.raises(UsageError, match="cannot read --tail many: a whole number is expected"):
        arguments.number("tail")
    with pytest.raises(UsageError, match="cannot read --label k: KEY=VALUE is expected"):
        parsed("stop", "--label", "k").pairs("label")
    with pytest.raises(UsageError, match="cannot read --timeout soon: a time is expected"):
        parsed("stop", "a", "--timeout", "soon").seconds("timeout")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5s", 1.5), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172800), ("5min", 300), ("1w", 604800),
     ("", None), ("m", None), ("1h30", None), ("1x", None), (".", None), ("-5", None), ("today", None)],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "line",
    ["logs analyse web --json", "--socket /s logs analyse web --json", "logs --json analyse web", "analyse web --json"],
)
def test_logs_analyse_is_analyse(line: str) -> None:
    arguments = parse(line.split())
    assert arguments is not None
    assert (arguments.command.name, arguments.words, arguments.flag("json")) == ("analyse", ["web"], True)


def test_a_worker_may_be_called_analyse() -> None:
    for line in ("logs analyse", "logs web analyse", "start logs analyse web"):
        arguments = parse(line.split())
        assert arguments is not None and arguments.command.name == line.split()[0]
    asked = parse(["logs", "analyse", "--help"])
    assert asked is not None and asked.command.name == "analyse"
