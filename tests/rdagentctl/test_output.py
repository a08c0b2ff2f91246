"""`logs` and `events`: bytes unchanged, lines found, and nothing lost or doubled when the daemon goes away."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from rdagentd.protocol.errors import ProtocolError
from rdagentd.protocol.frames import pack
from tests.rdagentctl.conftest import CTL, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, Raw, Stream, row

BYTES = b"one\ntw\xffo\r\n\x00three\nlast"
PIECES = [(0, BYTES[:2]), (2, BYTES[2:9]), (9, BYTES[9:])]


def items(*pieces: tuple[int, bytes]) -> list[dict[str, Any]]:
    return [{"offset": offset, "time": 100.0 + offset, "data": data} for offset, data in pieces]


def raw(fake: FakeDaemon, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*CTL, "--socket", fake.path, *words], capture_output=True, timeout=50, env=environment(), check=False
    )


def test_bytes_are_unchanged(fake: FakeDaemon) -> None:
    fake.answers = {"logs": lambda args: Stream(items(*PIECES))}
    done = raw(fake, "logs", "web")
    assert (done.returncode, done.stdout, done.stderr) == (0, BYTES, b"")
    assert fake.args("logs") == [
        {"name": "web", "stream": "out", "run": None, "since": None, "until": None, "tail": None, "follow": False}
    ]


def test_options_are_sent(fake: FakeDaemon) -> None:
    fake.answers = {"logs": lambda args: Stream([])}
    raw(fake, "logs", "web", "-f", "-n", "7", "--run", "-1", "--stream", "err", "--since", "@5", "--until", "@6.5")
    raw(fake, "logs", "web", "--run", "01abc")
    sent = fake.args("logs")
    assert sent[0] == {"name": "web", "stream": "err", "run": -1, "since": 5.0, "until": 6.5, "tail": 7, "follow": True}
    assert sent[1]["run"] == "01abc"


def test_grep_joins_pieces_to_lines(fake: FakeDaemon) -> None:
    fake.answers = {"logs": lambda args: Stream(items(*PIECES))}
    assert raw(fake, "logs", "web", "--grep", "^tw|st$").stdout == b"tw\xffo\r\nlast"
    assert raw(fake, "logs", "web", "--grep", "t", "-v").stdout == b"one\n"
    done = raw(fake, "logs", "web", "--grep", "(")
    assert (done.returncode, done.stderr) == (
        2,
        b"cannot read --grep (: missing ), unterminated subpattern at position 0\n",
    )
    assert raw(fake, "logs", "web", "-v").returncode == 2


def of_run(run: str | None, *pieces: tuple[int, bytes]) -> list[dict[str, Any]]:
    return [{**item, "run": run} for item in items(*pieces)]


def test_json_has_all_of_each_line(fake: FakeDaemon) -> None:
    told = [
        *of_run("r1", *PIECES),
        {"dropped": 5, "offset": 30},
        *of_run("r1", (30, b"cut")),
        *of_run("r2", (33, b"end\n")),
    ]
    fake.answers = {"logs": lambda args: Stream(told)}
    lines = [json.loads(line) for line in raw(fake, "logs", "web", "--json").stdout.splitlines()]
    of = {"worker": "web", "stream": "out"}
    assert lines == [
        {**of, "offset": 0, "time": 100.0, "run": "r1", "text": "one"},
        {**of, "offset": 4, "time": 102.0, "run": "r1", "text": "tw\\xffo\r"},
        {**of, "offset": 10, "time": 109.0, "run": "r1", "text": "\x00three"},
        {**of, "offset": 17, "time": 109.0, "run": "r1", "text": "last"},
        {**of, "offset": 30, "dropped": 5},
        {**of, "offset": 30, "time": 130.0, "run": "r1", "text": "cut"},
        {**of, "offset": 33, "time": 133.0, "run": "r2", "text": "end"},
    ]
    assert fake.args("logs")[0]["runs"] is True


def several(fake: FakeDaemon) -> None:
    """Two workers, each of which has written its name twice."""

    def logs(args: dict[str, Any]) -> Stream:
        return Stream(of_run("r", (0, args["name"].encode() + b"\n" + args["name"].encode())))

    fake.answers = {"status": lambda args: [row("a"), row("long")], "logs": logs}


@pytest.mark.parametrize("words", [("a", "long"), ("*",), ("--label", "k=v")])
def test_of_several_workers_each_line_has_the_name(fake: FakeDaemon, words: tuple[str, ...]) -> None:
    several(fake)
    done = raw(fake, "logs", *words)
    assert done.stdout == b"a    | a\na    | a\nlong | long\nlong | long\n"
    assert raw(fake, "logs", *words, "--grep", "l").stdout == b"long | long\nlong | long\n"
    asked = fake.args("status")[0]["select"]
    assert asked == {"names": [word for word in words if "=" not in word and word[0] != "-"], "labels": asked["labels"]}


def test_json_of_several_workers_and_both_streams(fake: FakeDaemon) -> None:
    several(fake)
    done = raw(fake, "logs", "a", "long", "--json", "-f", "--stream", "both")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted((line["worker"], line["stream"], line["offset"], line["text"]) for line in lines) == [
        (name, stream, offset, name)
        for name in ("a", "long")
        for stream in ("err", "out")
        for offset in (0, len(name) + 1)
    ]


def test_too_many_logs_at_once_are_refused(fake: FakeDaemon) -> None:
    fake.answers = {"status": lambda args: [row(f"w{number}") for number in range(201)]}
    done = raw(fake, "logs", "w*", "-f")
    assert (done.returncode, done.stderr) == (
        2,
        b"cannot follow 201 logs: at most 200 at a time; name fewer workers\n",
    )


def test_a_gap_is_told(fake: FakeDaemon) -> None:
    fake.answers = {"logs": lambda args: Stream([{"dropped": 9, "offset": 9}, *items((9, b"x\n"))])}
    done = raw(fake, "logs", "web")
    assert (done.stdout, done.stderr) == (b"x\n", b"[9 bytes before offset 9 are gone: the log has a cap]\n")


def following(fake: FakeDaemon, second: Callable[[str], FakeDaemon], *words: str) -> tuple[bytes, bytes]:
    """Outputs of a following command whose daemon dies once it was asked, and is followed by another one."""
    client = subprocess.Popen(
        [*CTL, "--socket", fake.path, *words], bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    assert client.stdout is not None
    begun = client.stdout.read(1)  # so that something was passed on
    fake.close()
    os.unlink(fake.path)
    with second(fake.path):
        out, err = client.communicate(timeout=40)
    assert client.returncode == 0, err
    return begun + out, err


@pytest.mark.parametrize("words", [("logs", "web", "-f", "-n", "1"), ("logs", "web", "-f", "--grep", ".")])
def test_following_goes_on_with_the_next_daemon(fake: FakeDaemon, words: tuple[str, ...]) -> None:
    asked: list[dict[str, Any]] = []
    fake.answers = {"logs": lambda args: Stream(items((0, b"one\ntw")), then="stay")}

    def second(path: str) -> FakeDaemon:
        def logs(args: dict[str, Any]) -> Stream:
            asked.append(args)
            return Stream(items((3, BYTES[3:9]), (9, BYTES[9:])))  # begins too early: known bytes are not shown twice

        return FakeDaemon(path, {"logs": logs})

    out, err = following(fake, second, *words)
    assert out == BYTES
    assert err == b"rdagentd went away; waiting up to 30 s for it to come back\n"
    assert (asked[0]["offset"], asked[0]["tail"], asked[0]["since"], asked[0]["follow"]) == (6, None, None, True)


def event(seq: int, **more: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": 0.0,
        "worker": "web",
        "run": None,
        "kind": "k",
        "text": f"t{seq}",
        "by": None,
        "data": {},
        **more,
    }


def test_events_are_lines(fake: FakeDaemon, ctl: Ctl) -> None:
    odd = [event(1, by=0), event(2, worker=None, text="a\x1b\n"), event(3, by=4_000_000)]
    fake.answers = {"events": lambda args: Stream(odd)}
    assert ctl("events").stdout == (
        "1970-01-01 00:00:00  web                   t1  (by root)\n"
        "1970-01-01 00:00:00  rdagentd              a\\x1b\\n\n"
        "1970-01-01 00:00:00  web                   t3  (by uid 4000000)\n"
    )
    ctl("events", "we*", "--since", "7", "-n", "2")
    assert fake.args("events") == [
        {"select": {"names": [], "labels": {}}, "since": 0, "tail": 50, "follow": False},
        {"select": {"names": ["we*"], "labels": {}}, "since": 7, "tail": 2, "follow": False},
    ]


def test_events_by_kind_and_since_a_time(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"events": lambda args: Stream([event(1)])}
    ctl("events", "--kind", "exited", "--kind", "refused", "--since", "@5.5")
    asked = {"select": {"names": [], "labels": {}}, "since": 0, "tail": None, "follow": False}
    assert fake.args("events") == [{**asked, "kinds": ["exited", "refused"], "after": 5.5}]
    done = ctl("events", "--since", "soon")
    assert (done.returncode, "cannot read --since soon: a time is expected" in done.stderr) == (2, True)


def test_who_is_too_slow_for_events_goes_on_from_the_store(fake: FakeDaemon, ctl: Ctl) -> None:
    def events(args: dict[str, Any]) -> Any:
        if args["since"] == 0:
            frames = [pack({"id": 1, "item": event(number)}) for number in (1, 2)]
            return Raw(b"".join(frames) + pack({"id": 1, "ok": False, "error": too_slow.to_wire()}), stay=True)
        if args["since"] == 2:
            return Stream([event(3), event(4)])
        raise too_slow

    too_slow = ProtocolError("over_capacity", "cannot follow events: this client is too slow; go on with since=2")
    fake.answers = {"events": events}
    done = ctl("events", "-f", "--json")
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [1, 2, 3, 4]
    assert (done.returncode, done.stderr) == (0, "")
    fake.answers = {"events": lambda args: (_ for _ in ()).throw(too_slow)}
    assert ctl("events", "-f").returncode != 0, "without progress there is no going on"


def test_events_go_on_with_the_next_daemon(fake: FakeDaemon) -> None:
    asked: list[dict[str, Any]] = []
    fake.answers = {"events": lambda args: Stream([event(1), event(2)], then="stay")}

    def second(path: str) -> FakeDaemon:
        def events(args: dict[str, Any]) -> Stream:
            asked.append(args)
            return Stream([event(2), event(3)])

        return FakeDaemon(path, {"events": events})

    out, _ = following(fake, second, "events", "-f", "--json")
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [1, 2, 3]
    assert asked[0]["since"] in (1, 2)  # the second may still have been under way
    assert asked[0]["tail"] is None


def test_who_follows_ends_when_nobody_reads_any_more(fake: FakeDaemon) -> None:
    fake.answers = {"logs": lambda args: Stream(items((0, b"one\n")), then="stay")}
    following = subprocess.Popen(
        [*CTL, "--socket", fake.path, "logs", "web", "--follow"], stdout=subprocess.PIPE, env=environment()
    )
    assert following.stdout is not None
    assert following.stdout.readline() == b"one\n"
    following.stdout.close()
    assert following.wait(50) == 141
