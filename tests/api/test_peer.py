"""Who asks, as the kernel says."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from pathlib import Path

import pytest

from rdagentd.api import peer as module
from rdagentd.api.peer import Access, Peer, Roles, peer_of, roles_of
from rdagentd.config.access import Grants

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


def seen(tmp_path: Path, uid: int, gid: int, groups: list[int], roles: Roles) -> Peer:
    """How a client with this uid, gid and these groups is seen over a real socket."""
    path = tmp_path / "s"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen()
        ready, done = os.pipe(), os.pipe()
        directory = os.open(tmp_path, os.O_RDONLY)
        child = os.fork()
        if child == 0:
            try:
                os.fchdir(directory)
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect("s")
                    os.write(ready[1], b"x")
                    os.read(done[0], 1)
            finally:
                os._exit(0)
        try:
            os.set_blocking(ready[0], True)
            connection, _ = listener.accept()
            with connection:
                return peer_of(connection, roles)
        finally:
            os.write(done[1], b"x")
            os.waitpid(child, 0)
            for descriptor in (*ready, *done, directory):
                os.close(descriptor)


NOBODY_IN_PARTICULAR = Grants(admins=(), operators=(), viewers=())


def test_the_daemon_s_own_user_is_an_administrator_always() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        peer = peer_of(left, roles_of(NOBODY_IN_PARTICULAR))
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.role is Access.ADMIN and peer.owns(12345)


@ROOT_ONLY
@pytest.mark.parametrize(
    ("grants", "role"),
    [
        (NOBODY_IN_PARTICULAR, Access.NONE),
        (Grants(), Access.NONE),
        (Grants(viewers=("12345",)), Access.VIEW),
        (Grants(viewers=("@54321",)), Access.VIEW),
        (Grants(operators=("@77",)), Access.OPERATE),
        (Grants(operators=("@77",), viewers=("12345",)), Access.OPERATE),
        (Grants(operators=("12345",), viewers=("12345", "@77")), Access.OPERATE),
        (Grants(admins=("@78",), operators=("@77",)), Access.ADMIN),
        (Grants(admins=("12346", "@12345"), operators=("@54320", "54321")), Access.NONE),
    ],
)
def test_the_highest_role_counts(tmp_path: Path, grants: Grants, role: Access) -> None:
    os.chmod(tmp_path, 0o755)
    peer = seen(tmp_path, 12345, 54321, [77, 78], roles_of(grants))
    assert (peer.uid, peer.gid, peer.role) == (12345, 54321, role)
    assert peer.owns(12345) and peer.owns(0) is (role is Access.ADMIN)


@ROOT_ONLY
def test_groups_are_those_of_the_process(tmp_path: Path) -> None:
    """Not those of the host's database: who left a group by newgrp or a container has left it."""
    os.chmod(tmp_path, 0o755)
    roles = roles_of(Grants(admins=("@78",)))
    assert seen(tmp_path, 0, 54321, [], roles).role is Access.ADMIN
    assert seen(tmp_path, 12345, 54321, [], roles).role is Access.NONE
    assert seen(tmp_path, 12345, 54321, list(range(78, 278)), roles).role is Access.ADMIN


@ROOT_ONLY
def test_more_groups_than_there_is_room_for_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chmod(tmp_path, 0o755)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("somebody", "x", uid, 5, "", "/", "")))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 78] if name == "somebody" else [])
    many = list(range(1000, 1300))
    assert seen(tmp_path, 12345, 54321, many, roles_of(Grants(admins=("@78",)))).role is Access.ADMIN
    monkeypatch.setattr(pwd, "getpwuid", _unknown)
    assert seen(tmp_path, 12345, 54321, many, roles_of(Grants(admins=("@78",)))).role is Access.NONE


def test_names_become_numbers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    groups = {"rdagentd": 50, "staff": 51}
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", groups[name], [])))
    monkeypatch.setattr(
        pwd, "getpwnam", lambda name: pwd.struct_passwd((name, "x", {"alice": 60}[name], 0, "", "", ""))
    )
    roles = roles_of(Grants(admins=("@rdagentd-admin", "alice", "bob"), viewers=("@staff", "@guests")))
    assert dict(roles.groups) == {50: Access.OPERATE, 51: Access.VIEW}
    assert roles.users[60] is Access.ADMIN
    said = [record.getMessage().partition(" is not known")[0] for record in caplog.records]
    assert said == ["access: bob", "access: @guests"], "the defaults need not exist"
    assert roles.how == "join group rdagentd and log in again, or ask an administrator"
    assert roles_of(Grants(operators=("alice",))).how == module._ASK


def _unknown(name: object) -> None:
    raise KeyError(name)
