"""What is written into a log has no secrets in it, however the program writes them and whatever happens meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executor.conftest import PYTHON, Executor, lines_of
from tests.executor.test_handover import replace

SECRET = "hunter22-and-more"
GHP = "ghp_" + "Ab1" * 12


@pytest.fixture
def vault(idle: Executor, tmp_path: Path) -> Iterator[Executor]:
    """An executor with a credential."""
    (tmp_path / "given").mkdir(mode=0o700)
    (tmp_path / "given" / "openai").write_text(SECRET + "\n")
    (tmp_path / "run").mkdir(mode=0o711)
    idle.environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "given"), "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    yield idle.start()


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **more}


def test_credentials_and_variables_that_hold_secrets(vault: Executor, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(
        "GITHUB_TOKEN=from-a-file\nHARMLESS=stays-as-it-is\nDB_PASSWORD=${GITHUB_TOKEN}-more\n"
    )
    ended = vault.run(
        "sh", "-c", 'echo "$K; $DB_PASSWORD; $HARMLESS"; cat "$CREDENTIALS_DIRECTORY/key"; ls "/$API_KEY"; echo $GITHUB_TOKEN',
        env=environment(API_KEY="given-in-the-spec"), env_files=[str(tmp_path / "env")],
        credentials={"key": "openai"}, secret_environment={"K": "openai"},
    )  # fmt: skip
    assert ended["code"] == 0, vault.log()
    first, second, third, fourth = vault.log().decode().splitlines()
    assert first == "[redacted K]; [redacted DB_PASSWORD]; stays-as-it-is"
    assert (second, fourth) == ("[redacted K]", "[redacted GITHUB_TOKEN]")
    assert "/[redacted API_KEY]" in third and "No such file" in third
    assert ended["log"] == {"out": len(vault.log())}, "offsets are those of what was written"


def test_both_streams_and_what_looks_like_a_key(vault: Executor) -> None:
    log = {"cap": 1 << 20, "segment": 1 << 18, "separate": True}
    vault.run("sh", "-c", f"echo {GHP}; echo $API_KEY >&2", env=environment(API_KEY=SECRET), log=log)
    assert vault.log() == b"ghp_[redacted]\n"
    assert vault.log(stream="err") == b"[redacted API_KEY]\n"


def test_a_log_can_be_kept_as_it_comes(vault: Executor) -> None:
    log = {"cap": 1 << 20, "segment": 1 << 18, "separate": False, "redact": False}
    vault.run("sh", "-c", f"echo $K {GHP}", secret_environment={"K": "openai"}, log=log)
    assert vault.log() == f"{SECRET} {GHP}\n".encode()


def test_one_that_comes_byte_by_byte(vault: Executor) -> None:
    text = (  # four bytes at once, which are held for as long as it takes
        "import os, time\nk = os.environb[b'API_KEY'] + b'.'\nos.write(1, k[:4])\n"
        "for c in k[4:]:\n os.write(1, bytes([c])); time.sleep(0.002)"
    )
    vault.python(text, env=environment(API_KEY=SECRET))
    assert vault.log() == b"[redacted API_KEY]."


def test_one_over_the_edge_of_what_is_read_at_once(vault: Executor) -> None:
    text = (
        "import os\nk = os.environb[b'API_KEY']\nfor n in range(40):\n os.write(1, b'.' * (65530 + n % 9) + k + b'\\n')"
    )
    ended = vault.python(
        text, env=environment(API_KEY=SECRET), log={"cap": 8 << 20, "segment": 4 << 20, "separate": False}
    )
    assert ended["code"] == 0 and ended["dropped"] == 0
    lines = vault.log().splitlines()
    assert len(lines) == 40 and all(line.lstrip(b".") == b"[redacted API_KEY]" for line in lines)


def test_a_line_that_goes_no_further_is_shown(vault: Executor) -> None:
    """Its last letter could begin the secret: it comes when nothing follows, by a deadline."""
    assert vault.client is not None
    run = vault.spawn("sh", "-c", "printf 'in dept'; printf h; sleep 1000", env=environment(API_KEY=SECRET))
    end = 0
    while vault.log() != b"in depth":
        vault.client.send("watch", worker="w", stream="out", offset=end)
        end = vault.client.wait("grew", worker="w")["end"]
    vault.client.send("kill", run=run)
    assert vault.client.wait("exited", run=run)["log"] == {"out": 8}
    assert vault.log() == b"in depth"


def test_what_was_held_back_comes_when_the_run_or_its_pipe_ends(vault: Executor) -> None:
    assert vault.client is not None
    begun = SECRET[:-1]
    assert vault.run("sh", "-c", f"printf {begun}", env=environment(API_KEY=SECRET))["log"] == {"out": len(begun)}
    run = vault.spawn(
        "sh", "-c", f"printf {begun}; exec >&- 2>&-; sleep 1000", worker="b", env=environment(API_KEY=SECRET)
    )
    vault.client.send("watch", worker="b", stream="out", offset=0)
    assert vault.client.wait("grew", worker="b")["end"] == len(begun)
    vault.client.send("kill", run=run)
    vault.client.wait("exited", run=run)


@pytest.mark.parametrize("known", [True, False])
def test_one_that_is_half_read_when_the_executor_is_replaced(vault: Executor, tmp_path: Path, known: bool) -> None:
    """Again and again; the journal and all other files know nothing of it."""
    assert vault.client is not None
    secret = SECRET if known else GHP
    os.mkfifo(tmp_path / "go")
    text = ("import os, sys\nsecret = os.environb[b'X']\nos.write(1, b'begun\\n' + secret[:10])\nopen(sys.argv[1]).read()\n"
            "os.write(1, secret[10:] + b'\\nover\\n')")  # fmt: skip
    more = {"API_KEY": secret} if known else {}
    run = vault.spawn(PYTHON, "-c", text, str(tmp_path / "go"), env=environment(X=secret, **more))
    lines_of(vault, 1)
    for _ in range(2):
        replace(vault)
    (tmp_path / "go").write_text("")
    vault.client.wait("exited", run=run)
    assert vault.log() == (b"begun\n[redacted API_KEY]\nover\n" if known else b"begun\nghp_[redacted]\nover\n")
    for path in (*vault.state.rglob("*"), *vault.logs.rglob("*")):
        assert path.is_dir() or secret[:10].encode() not in path.read_bytes()


def test_many_large_variables_do_not_block_the_start(vault: Executor, tmp_path: Path) -> None:
    """More than a pipe takes at once."""
    lines = [f"N{number}_KEY=" + f"{number:04d}" * 500 for number in range(100)]
    (tmp_path / "env").write_text("\n".join(lines))
    ended = vault.run("sh", "-c", "echo $N7_KEY", env_files=[str(tmp_path / "env")])
    assert ended["code"] == 0
    assert vault.log() == b"[redacted N7_KEY][redacted N7_KEY]\n", "in pieces"


def test_a_start_that_fails_behind_the_secrets(vault: Executor, tmp_path: Path) -> None:
    ended = vault.run("/nonexistent", env=environment(API_KEY=SECRET))
    assert (ended["kind"], ended["stage"]) == ("could_not_start", "exec")
    assert ended["reason"] == "cannot start: exec /nonexistent: no such file or directory"
    (tmp_path / "env").write_text("GITHUB_TOKEN=from-a-file\nno line\n")
    ended = vault.run("true", env_files=[str(tmp_path / "env")])
    assert ended["stage"] == "environment file" and "line 2" in ended["reason"]
