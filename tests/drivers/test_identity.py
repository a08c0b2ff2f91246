"""As whom a run happens."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from rdagentd.drivers.identity import UnknownUserError, identify


def test_who_owns_the_executor_runs_as_it_is() -> None:
    who = identify(None, None, os.geteuid(), os.geteuid())
    assert (who.uid, who.gid, who.groups) == (None, None, None)
    assert who.environment["HOME"] == pwd.getpwuid(os.geteuid()).pw_dir


def test_the_daemon_s_own_worker_does_not_run_as_the_executor() -> None:
    who = identify(None, None, os.geteuid(), 4242)
    assert who.uid == os.geteuid() and who.gid == pwd.getpwuid(os.geteuid()).pw_gid


def test_a_user_by_name_or_number_with_its_groups() -> None:
    entry = pwd.getpwnam("daemon")
    for user in ("daemon", str(entry.pw_uid)):
        who = identify(user, None, 0, os.geteuid())
        assert (who.uid, who.gid) == (entry.pw_uid, entry.pw_gid)
        assert entry.pw_gid in (who.groups or [])
        assert who.environment["USER"] == who.environment["LOGNAME"] == "daemon"


def test_a_group_replaces_the_login_group() -> None:
    gid = grp.getgrnam("sys").gr_gid
    for group in ("sys", str(gid)):
        assert identify("daemon", group, 0, os.geteuid()).gid == gid


def test_an_owner_without_a_name_is_a_number() -> None:
    who = identify(None, None, 54321, 0)
    assert (who.uid, who.gid, who.groups) == (54321, 54321, [54321])
    assert who.environment["HOME"] == "/" and who.environment["USER"] == "54321"


@pytest.mark.parametrize(
    ("user", "group"), [("no-such-user", None), ("54321", None), ("²", None), ("daemon", "no-such-group")]
)
def test_who_is_unknown_is_named(user: str, group: str | None) -> None:
    with pytest.raises(UnknownUserError, match=f"cannot find (user|group) '{group or user}'"):
        identify(user, group, 0, 0)
