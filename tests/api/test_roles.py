"""Real users at a real daemon: who may look, operate, administer; and that each is noted."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import CallError, Client, LiveDaemon, eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")

OPERATORS, VIEWERS, ADMINS = 54321, 54322, 54323
ALICE, BOB = 65534, 54400
CONFIG = f"""
[access]
admins = ["@{ADMINS}"]
operators = ["@{OPERATORS}"]
viewers = ["@{VIEWERS}"]
"""


@pytest.fixture(scope="module")
def host() -> Iterator[LiveDaemon]:
    """A daemon whose socket lets everybody in."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        live = LiveDaemon(Path(directory))
        (live.state.parent / "rdagentd.toml").write_text(CONFIG)
        try:
            live.start("--config", str(live.state.parent / "rdagentd.toml"))
            for path, mode in ((directory, 0o711), (live.state, 0o711), (live.socket, 0o666)):
                os.chmod(path, mode)
            yield live
        finally:
            live.close()


@contextlib.contextmanager
def person(host: LiveDaemon, uid: int, *groups: int) -> Iterator[Client]:
    """A connection of that user: the kernel notes who connects."""
    before, me = os.getgroups(), os.geteuid()
    os.setgroups(groups)
    os.setresgid(-1, 54399, -1)
    os.setresuid(-1, uid, -1)
    try:
        client = Client(host.socket, 20)
    finally:
        os.setresuid(-1, me, -1)
        os.setresgid(-1, 0, -1)
        os.setgroups(before)
    yield client
    client.close()


def forbidden(client: Client, op: str, **args: object) -> str:
    with pytest.raises(CallError) as caught:
        client.call(op, **args)
    assert caught.value.code == "forbidden"
    return str(caught.value.message)


def noted(host: LiveDaemon, kind: str, by: int, count: int) -> list[str]:
    """The texts of these lines, as soon as there are so many: an answer that refuses does not wait for the disk."""
    client = host.connect()

    def lines() -> list[str]:
        return [item["text"] for item in client.stream("events") if (item["kind"], item["by"]) == (kind, by)]

    eventually(lambda: len(lines()) >= count, f"{count} lines")
    return lines()


def test_a_stranger_is_told_which_group_to_join(host: LiveDaemon) -> None:
    with person(host, 54401) as client:
        for op, args in (("ping", {}), ("status", {}), ("stop", {"select": {"names": ["*"]}}), ("reload", {})):
            said = forbidden(client, op, **args)
            assert said.startswith(f"cannot {op}: uid 54401 lacks the role ")
            assert said.endswith(f"join group {OPERATORS} and log in again, or ask an administrator")
    refused = noted(host, "refused", 54401, 4)
    assert [text.split(": ")[1] for text in refused] == ["cannot ping", "cannot status", "cannot stop", "cannot reload"]
    assert all(text.startswith(f"refused to process {os.getpid()}: ") for text in refused)


def test_a_viewer_looks(host: LiveDaemon) -> None:
    with person(host, 54402, VIEWERS) as client:
        assert client.call("ping")["pid"]
        assert "lacks the role operate" in forbidden(client, "submit", spec={"command": ["true"]})


def test_each_role_is_told_what_it_may(host: LiveDaemon) -> None:
    with person(host, 54402, VIEWERS) as viewer, person(host, ALICE, OPERATORS) as operator:
        told = viewer.call("whoami")
        assert (told["uid"], told["name"], told["role"], told["may"]) == (54402, None, "viewer", ["view"])
        told = operator.call("whoami")
        assert (told["uid"], told["role"], told["may"]) == (ALICE, "operator", ["view", "operate"])


def test_an_operator_operates_what_is_its_own(host: LiveDaemon) -> None:
    with person(host, ALICE, OPERATORS) as alice, person(host, BOB, OPERATORS) as bob:
        alice.submit("alices", "sh", "-c", "id -u; sleep 1000")
        alice.wait("alices", until="running")
        row = bob.worker("alices")
        assert row["owner"] == ALICE
        assert os.stat(f"/proc/{row['run']['pid']}").st_uid == ALICE, "it runs as who submitted it"
        for verb in ("stop", "kill", "restart", "pause", "remove", "start"):
            error = bob.verb(verb, "alices")[0]["error"]
            assert error["code"] == "forbidden"
            assert error["message"].startswith(f"cannot {verb} alices: it belongs to uid {ALICE}, you are uid {BOB}")
        assert bob.verb("signal", "alices", signal="SIGTERM")[0]["error"]["code"] == "forbidden"
        document = {"where": "x", "base": None, "document": {"worker": {"alices": {"command": ["true"]}}}}
        assert "belongs to uid" in forbidden(bob, "apply", documents=[document])
        assert "belongs to uid" in forbidden(bob, "apply", documents=[], prune=True)
        for verb in ("stop", "pause"):
            bob.verb(verb, "alices")  # once more: counted, not written
        assert alice.worker("alices")["state"] == "running" and alice.worker("alices")["run"] == row["run"]
        assert [text.split(": ")[1] for text in noted(host, "refused", BOB, 8)] == [
            f"cannot {verb} alices"
            for verb in ("stop", "kill", "restart", "pause", "remove", "start", "signal", "apply")
        ]
        refusals = [e for e in bob.stream("events", select={"names": ["alices"]}) if e["kind"] == "refused"]
        assert len(refusals) == 8 and refusals[0]["data"] == {"pid": os.getpid(), "op": "stop"}
        assert alice.verb("kill", "alices")[0]["error"] is None
        alice.wait("alices")
        asked = [text.partition(": ")[2] for text in noted(host, "asked", ALICE, 2)]
        assert asked == ["submit alices", "kill alices"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user": "root"}, "user"),
        ({"user": "0"}, "user"),
        ({"group": "0"}, "group"),
        ({"user": str(BOB), "group": "0"}, "user, group"),
        ({"credentials": {"key": "openai"}}, "credentials"),
        ({"secret_environment": {"KEY": "openai"}}, "secret_environment"),
        ({"nice": -5}, "nice below 0"),
        ({"limits": {"rtprio": "50"}}, "limits.rtprio"),
        ({"limits": {"nice": "40"}}, "limits.nice"),
    ],
)
def test_what_only_administrators_may_set(host: LiveDaemon, fields: dict[str, object], said: str) -> None:
    with person(host, ALICE, OPERATORS) as alice:
        spec = {"name": "sly", "command": ["true"], **fields}
        assert (
            forbidden(alice, "submit", spec=spec)
            == f"cannot submit sly: only administrators may set {said}; leave that out"
        )
        document = {"where": "x", "base": None, "document": {"worker": {"sly": spec | {"name": "sly"}}}}
        assert f"only administrators may set {said}" in forbidden(alice, "apply", documents=[document])
        assert all(row["name"] != "sly" for row in alice.status())


def test_files_and_directories_are_opened_as_the_owner(host: LiveDaemon) -> None:
    """A symbolic link to what only root may read, and a directory that only root may enter, lead nowhere."""
    secret = host.state.parent / "secret"
    secret.mkdir(mode=0o700, exist_ok=True)
    (secret / "env").write_text("STOLEN=yes\n")
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as open_to_all:
        os.chmod(open_to_all, 0o777)
        link = Path(open_to_all) / "link"
        link.symlink_to(secret)
        with person(host, ALICE, OPERATORS) as alice:
            for number, fields in enumerate(({"directory": str(link)}, {"environment_file": [str(link / "env")]})):
                alice.submit(f"prying-{number}", "env", **fields)
                ended = alice.wait(f"prying-{number}")[0]["exit"]
                assert ended["kind"] == "could_not_start" and "permission denied" in ended["reason"].lower()
                assert b"STOLEN" not in alice.log(f"prying-{number}")


def test_an_administrator_by_group_may_do_everything(host: LiveDaemon) -> None:
    with person(host, 54403, ADMINS) as admin:
        admin.submit("anybodys", "true", user="65534")
        admin.wait("anybodys")
        assert admin.worker("anybodys")["exit"]["code"] == 0
        assert admin.call("reload") == {"changes": []}
        assert admin.verb("remove", "anybodys")[0]["error"] is None


def test_roles_change_at_a_reload_for_those_who_are_connected(host: LiveDaemon) -> None:
    config = host.state.parent / "rdagentd.toml"
    with person(host, 54404) as client:
        assert "lacks the role" in forbidden(client, "ping")
        try:
            config.write_text(CONFIG.replace("viewers = [", 'viewers = ["54404", '))
            host.connect().call("reload")
            assert client.call("ping")["pid"]
        finally:
            config.write_text(CONFIG)
            host.connect().call("reload")
        assert "lacks the role" in forbidden(client, "ping")
