"""As whom runs may happen: the file, the judgement, and the real executor that holds to it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from rdagentd.executor import policy as module
from rdagentd.executor.policy import Policy, PolicyError, read_policy
from tests.executor.conftest import PYTHON, TIMEOUT, Executor, needs_root

SHIPPED = Path(__file__).parents[2] / "etc" / "executor.toml"
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy file as it should be."""
    path = tmp_path / "executor.toml"
    path.write_text('minimum_uid = 500\nallow_users = ["nobody", 1001]\ndeny_users = ["bin"]\n')
    path.chmod(0o644)
    return path


def test_a_file_is_read(file: Path) -> None:
    assert read_policy(str(file)) == Policy(str(file), 500, False, ("nobody", "1001"), ("bin",))


def test_the_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    as_shipped = tmp_path / "shipped.toml"
    as_shipped.write_bytes(SHIPPED.read_bytes())
    shown = tmp_path / "shown.toml"
    lines = SHIPPED.read_text().splitlines()
    shown.write_text("\n".join(line[1:] for line in lines if line.startswith("#") and " = " in line and line[1] != " "))
    assert len(shown.read_text().splitlines()) == 4
    for path in (as_shipped, shown):
        path.chmod(0o644)
        assert read_policy(str(path)) == Policy(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("minimum_uid = -1", "minimum_uid = -1: must be a uid"),
        ("minimum_uid = true", "minimum_uid = True: must be a uid"),
        ("allow_root = 1", "allow_root = 1: must be true or false"),
        ('allow_users = "alice"', "must be a list of users"),
        ("allow_users = [1.5]", "must be a list of users"),
        ("minimum-uid = 5", "minimum-uid: unknown key; known are minimum_uid, allow_root"),
        ('path = "x"', "path: unknown key"),
        ("minimum_uid", "cannot read policy"),
        ("x" * (module.MAX_FILE + 1), "larger than"),
    ],
)
def test_a_mistake_is_told(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=r"cannot (read|use) policy") as caught:
        read_policy(str(file))
    assert said in str(caught.value) and str(file) in str(caught.value)


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="cannot read policy"):
        read_policy(str(file))


@pytest.mark.parametrize("bits", [stat.S_IWGRP, stat.S_IWOTH])
def test_a_file_that_others_can_write(file: Path, bits: int) -> None:
    file.chmod(0o644 | bits)
    with pytest.raises(ValueError, match="others can write to it"):
        read_policy(str(file))


@needs_root
def test_a_file_of_somebody_else(file: Path) -> None:
    os.chown(file, 65534, 0)
    with pytest.raises(ValueError, match="belongs to uid 65534; chown root"):
        read_policy(str(file))


def test_what_is_no_plain_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "missing", "."):
        with pytest.raises(ValueError, match="cannot read policy"):
            read_policy(str(tmp_path / name))


# --- the judgement ----------------------------------------------------------------------------------------------------

USERS = {0: ("root", 0), 7: ("lp", 7), 1000: ("alice", 1000), 1001: ("bob", 1001), 1002: ("zero", 1002)}
GROUPS = {"root": [0], "lp": [7], "alice": [1000, 27], "bob": [1001], "zero": [1002, 0]}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a few users."""

    def getpwuid(uid: int) -> pwd.struct_passwd:
        name, gid = USERS[uid]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", ""))

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: GROUPS[name])
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("policy", "asked", "given"),
    [
        (Policy(), (1000, None), (1000, 1000, [1000, 27])),
        (Policy(), (1000, 27), (1000, 27, [1000, 27])),
        (Policy(allow_root=True), (None, None), (0, 0, [0])),
        (Policy(allow_root=True), (1002, 0), (1002, 0, [1002, 0])),
        (Policy(allow_users=("lp",)), (7, 7), (7, 7, [7])),
        (Policy(allow_users=("7",)), (7, 7), (7, 7, [7])),
        (Policy(minimum_uid=5), (7, 7), (7, 7, [7])),
        (Policy(allow_root=True, allow_users=("root",)), (0, None), (0, 0, [0])),
    ],
)
def test_allowed(policy: Policy, asked: tuple[int, int | None], given: tuple[int, int, list[int]]) -> None:
    assert policy.judge(*asked) == given


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("policy", "asked", "said"),
    [
        (Policy("/f"), (0, 0), "user root (uid 0) is refused by /f: allow_root is false"),
        (Policy("/f"), (None, None), "user root (uid 0) is refused by /f: allow_root is false"),
        (Policy("/f", minimum_uid=0), (0, 0), "allow_root is false"),
        (Policy("/f", allow_users=("root", "0")), (0, 0), "allow_root is false"),
        (Policy("/f"), (7, 7), "user lp (uid 7) is refused by /f: minimum_uid is 1000"),
        (Policy("/f", allow_users=("alice",)), (1001, 1001), "user bob (uid 1001) is refused by /f: it is not in allow_users"),
        (Policy("/f", allow_root=True, allow_users=("alice",)), (0, 0), "it is not in allow_users"),
        (Policy("/f", deny_users=("alice",), allow_users=("alice",)), (1000, None), "it is in deny_users"),
        (Policy("/f", deny_users=("1000",)), (1000, None), "it is in deny_users"),
        (Policy("/f"), (1000, 0), "group 0 is refused by /f: user alice (uid 1000) is not a member of it"),
        (Policy("/f"), (1000, 1001), "group 1001 is refused by /f"),
        (Policy("/f"), (1002, 1002), "it is in group 0 and allow_root is false"),
        (Policy("/f"), (4242, 4242), "uid 4242 is refused by /f: no such user on this host"),
    ],
)  # fmt: skip
def test_refused(policy: Policy, asked: tuple[int | None, int | None], said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy.judge(*asked)
    assert said in str(caught.value)


# --- the executor -----------------------------------------------------------------------------------------------------


def begin(executor: Executor, file: Path, text: str) -> Executor:
    file.write_text(text)
    executor.arguments = ["--policy", str(file)]
    return executor.start()


@needs_root
@pytest.mark.parametrize("fields", [{}, {"uid": 0, "gid": 0, "groups": [0]}, {"uid": 0}])
def test_nothing_runs_as_root(idle: Executor, file: Path, tmp_path: Path, fields: dict[str, object]) -> None:
    begin(idle, file, "")
    ended = idle.run("touch", str(tmp_path / "was-here"), **fields)
    assert (ended["kind"], ended["stage"], ended["errno"]) == ("could_not_start", "policy", 1)
    assert ended["reason"] == f"cannot start: policy: user root (uid 0) is refused by {file}: allow_root is false"
    assert not (tmp_path / "was-here").exists()


@needs_root
def test_groups_are_the_user_s_own(idle: Executor, file: Path) -> None:
    """Whatever is asked for: neither the executor's groups nor those that the daemon made up."""
    begin(idle, file, "")
    for number, fields in enumerate(({"groups": [0, 4]}, {"groups": None}, {"gid": NOBODY.pw_gid, "groups": [0]})):
        worker = f"w{number}"
        text = "import os; print(os.getresuid(), os.getresgid(), os.getgroups())"
        ended = idle.run("/usr/bin/python3", "-c", text, worker=worker, uid=NOBODY.pw_uid, **fields)
        assert ended["code"] == 0, ended
        uids, gids = (NOBODY.pw_uid,) * 3, (NOBODY.pw_gid,) * 3
        assert idle.log(worker).decode() == f"{uids} {gids} {os.getgrouplist('nobody', NOBODY.pw_gid)}\n"
    ended = idle.run("true", uid=NOBODY.pw_uid, gid=0)
    assert ended["stage"] == "policy" and "group 0 is refused" in ended["reason"]


def test_a_refusal_is_told_until_it_is_acknowledged(idle: Executor, file: Path) -> None:
    begin(idle, file, f"deny_users = [{os.geteuid()}]")
    ended = idle.run("true")
    assert ended["stage"] == "policy"
    assert idle.connect() is idle.client and idle.client is not None
    assert idle.client.ask("hello", "hello")["exits"] == [ended]


def test_a_bad_policy_is_no_policy_at_all(idle: Executor, file: Path) -> None:
    with pytest.raises(AssertionError, match=r"cannot start: cannot use policy .*: minimum_uid = 'x': must be a uid"):
        begin(idle, file, "minimum_uid = 'x'")
    assert idle.process is not None and idle.process.wait(TIMEOUT) == 78  # for RestartPreventExitStatus=


def test_read_again_when_it_replaces_itself(idle: Executor, file: Path) -> None:
    begin(idle, file, "allow_root = true\nminimum_uid = 0\n")
    assert idle.run("true")["code"] == 0
    file.write_text("nonsense")
    assert idle.client is not None
    refused = idle.client.ask("reexec", "refused")
    assert "cannot read the policy" in refused["reason"]
    file.write_text(f"deny_users = [{os.geteuid()}]")
    idle.client.send("reexec")
    assert idle.client.closed()
    idle.connect()
    assert idle.run("true")["stage"] == "policy"


@needs_root
def test_orders_of_another_user_need_no_file_to_be_bound(idle: Executor) -> None:
    """The built-in policy, in a program of its own: the socket's peer is that other user."""
    idle.arguments = ["--daemon-uid", "65534"]
    idle.start()
    assert "built-in policy" in idle.run(PYTHON, "-c", "")["reason"]


@needs_root
def test_root_alone_is_not_bound(executor: Executor) -> None:
    assert executor.run("true")["code"] == 0
