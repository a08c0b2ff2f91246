"""A scene becomes lines that fit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentctl.render import width_of
from rdagentctl.top import deeds
from rdagentctl.top.columns import NAMES
from rdagentctl.top.draw import REVERSE, batch, picture, window_height
from rdagentctl.top.glyphs import Glyphs
from rdagentctl.top.pane import LogPane
from rdagentctl.top.scene import Scene
from tests.rdagentctl.fake import row
from tests.rdagentctl.top.values import PING, rows, sample, scene, some, texts, used

RICH = Glyphs()


def text(made: Scene, columns: int = 110, height: int = 20, glyphs: Glyphs = RICH) -> list[str]:
    return ["".join(part for part, _ in line).rstrip() for line in picture(made, columns, height, 10.0, glyphs)]


def test_the_whole_picture() -> None:
    made = scene(some())
    used(made, web=(1.0, 1.5), frozen=(1.0, 1.0))
    for one in made.board.rows:
        if one["state"] in ("paused", "running"):
            one["run"] = None  # or the time would run
    assert text(made) == [
        "rdagentd 0.1.0, up 1h01m   daemon 0.4% 60M   executor - -",
        "host     cpu ████████░░░░░░░░  50% of 2 CPUs   memory ██████░░░░░░░░░░ 3.0G of 8.0G   load 0.50 0.25 0.12",
        "workers  6   1 failed   1 backoff   1 paused   1 queued   1 running   1 completed",
        "queue    1 waiting: 1 for a slot of batch",
        "",
        "NAME    STATE       CPU%  MEMORY  TASKS  READ/s  WRITE/s  LOG/s       TIME  RESTARTS  DETAIL",
        "broken  failed         -       -      -       -        -      -  2h05m ago         5  exit code 3",
        "again   backoff        -       -      -       -        -      -      in 8s         0  exit code 1; restarts a…",
        "frozen  paused       0.0    1.0M      1       0        0      0          -         0  paused by request",
        "new     queued         -       -      -       -        -      -          -         0  waits for a slot of gro…",
        "web     running     50.0    1.0M      1       0        0      0          -         3  sleep 1000",
        "done    completed      -       -      -       -        -      -  2h05m ago         0  exit code 0",
        *[""] * 7,
        "↑ ↓ choose   / filter   < > sort   ? keys   q leave",
    ]


def test_what_workers_tell_of_themselves_has_columns_only_where_one_does() -> None:
    made = scene(some())
    next(one for one in made.board.rows if one["name"] == "broken").update(progress=0.425, cost_usd=1234.5)
    heading, first = text(made, 130)[5:7]
    assert "PROGRESS      COST  DETAIL" in heading
    assert "42%  $1234.50  exit code 3" in first
    assert "COST" not in text(made, 60)[5]


NARROW = {
    80: "NAME    STATE       CPU%  MEMORY  WRITE/s  LOG/s       TIME  DETAIL",
    60: "NAME    STATE       CPU%  MEMORY  DETAIL",
    40: "NAME    STATE      DETAIL",
    20: "NAME    STATE",
    9: "NAME    S",
}


@pytest.mark.parametrize("columns", NARROW)
def test_a_narrow_screen_has_fewer_columns(columns: int) -> None:
    assert text(scene(some()), columns)[5] == NARROW[columns]


def test_a_low_screen_has_no_head() -> None:
    made = scene(some())
    assert text(made, height=4)[0].startswith("NAME")
    assert len(text(made, height=4)) == 4
    assert text(made, height=1) == ["↑ ↓ choose   / filter   < > sort   ? keys   q leave"]
    made.gone = "connection refused"
    assert text(made, height=5)[0].startswith("rdagentd does not answer")


def test_a_daemon_that_went_away_is_told_with_the_reason() -> None:
    made = scene(some())
    made.gone, made.since = "connection refused", 3.0
    assert text(made)[0] == "rdagentd does not answer since 7s; waiting for it: connection refused"
    made.gone, made.told = "", {**PING, "problem": "no space left on device"}
    assert "problem  cannot keep what it promises: no space left on device" in text(made)


def test_the_chosen_line_goes_from_edge_to_edge_and_says_its_keys() -> None:
    made = scene(some())
    made.board.move(3)
    lines = picture(made, 110, 20, 10.0, RICH)
    line = next(line for line in lines if line and "frozen" in line[0][0])
    assert {style for _, style in line} == {REVERSE}
    assert sum(width_of(part) for part, _ in line) == 110
    assert text(made)[-1].startswith("s stop   p resume   r restart   k kill   l logs")


def test_only_keys_that_mean_something_are_told() -> None:
    made = scene([row("web", "failed")])
    made.board.move(1)
    assert text(made)[-1] == "s start   l logs   w why   / filter   < > sort   ? keys   q leave"


def test_questions_filters_and_words_stand_in_the_last_line() -> None:
    made = scene(some())
    made.question = ("stop", "web")
    assert text(made)[-1] == "stop web? y: yes, any other key: no"
    made.question, made.typing = None, True
    made.board.filter("we")
    assert text(made)[-1] == "/we    Enter: keep it, Esc: all"
    made.typing = False
    assert text(made)[-1].startswith("/we  1 of 6   ↑ ↓ choose")
    made.said = ("web: stopping", "")
    assert text(made)[-1] == "web: stopping"


def test_there_is_a_word_where_there_is_no_worker() -> None:
    made = scene([])
    assert "no workers yet. Begin with: rdagentctl submit -- COMMAND" in text(made)
    made.board.filter("x")
    assert "no worker has these words" in text(made)


def test_a_log_takes_the_place_of_the_table() -> None:
    made = scene([row("web", run=None)])
    made.pane = LogPane("web")
    assert "nothing yet" in text(made)
    made.pane.take("out", 0, b"".join(b"line %d\n" % number for number in range(50)))
    shown = text(made, height=10)
    assert shown[0] == "logs web  running  -  cpu -%  memory -  log -/s"
    assert shown[2:9] == [f"line {number}" for number in range(43, 50)]
    assert window_height(made, 10, RICH) == 7
    deeds.press(made, "page up", 7)
    assert text(made, height=10)[2:9] == [f"line {number}" for number in range(36, 43)]
    assert text(made, height=10)[-1] == "↑ ↓ scroll   Esc back    7 lines below; End: to the end"


def test_ascii_is_enough() -> None:
    made = scene([row("日本", labels={"ü": "ö"}, command=["sleep", "…"]), *some()])
    made.pane = None
    lines = text(made, glyphs=Glyphs("ascii"))
    assert all(line.isascii() for line in lines)
    assert any(line.startswith("??      running") for line in lines)
    assert lines[1].startswith("host     cpu ########........  50%")
    assert lines[-1].startswith("^ v choose")


def test_a_file_gets_all_of_it() -> None:
    made = scene([row(f"w{number}", command=["x" * 500]) for number in range(200)])
    lines = ["".join(part for part, _ in line) for line in batch(made, None, 10.0, Glyphs())]
    assert sum("x" * 500 in line for line in lines) == 200
    assert max(map(len, ("".join(part for part, _ in line) for line in batch(made, 90, 10.0, Glyphs())))) <= 90


@settings(max_examples=300)
@given(
    rows, st.sampled_from(NAMES), st.integers(1, 200), st.integers(0, 40), st.integers(-1, 12), texts,
    st.sampled_from(["", "question", "typing", "said", "gone", "logs", "why", "help"]),
    st.sampled_from(["utf-8", "ascii", "latin-1"]),
)  # fmt: skip
def test_whatever_there_is_it_fits(
    found: list[dict[str, object]],
    sort: str,
    columns: int,
    height: int,
    move: int,
    words: str,
    mode: str,
    encoding: str,
) -> None:
    made = scene(found, sort)
    made.board.use(1.0, [{"name": one["name"], "usage": sample(1.0)} for one in found])
    made.board.move(move)
    made.board.filter(words[:3])
    made.typing = mode == "typing"
    made.question = ("stop", words) if mode == "question" else None
    made.said = (words, "1") if mode == "said" else None
    made.gone = words if mode == "gone" else ""
    if mode == "logs":
        made.pane = LogPane(words)
        made.pane.take("out", 0, words.encode() * 30)
    elif mode in ("why", "help"):
        deeds.press(made, {"why": "w", "help": "?"}[mode], 5)
    glyphs = Glyphs(encoding)
    lines = picture(made, columns, height, 10.0, glyphs)
    assert len(lines) == height
    assert window_height(made, height, glyphs) >= 1
    for line in lines:
        said = "".join(part for part, _ in line)
        assert width_of(said) <= columns, said
        assert said.isprintable()
        said.encode(encoding)
