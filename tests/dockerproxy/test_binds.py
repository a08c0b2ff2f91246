"""Whose directories may be bound, and how: a container's root is root for their files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdagentd.dockerproxy.refusal import RefusedError
from tests.dockerproxy.conftest import Behind

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives directories to another user")

ALICE = 4242


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory of Alice's."""
    path = tmp_path / "home"
    path.mkdir()
    os.chown(path, ALICE, ALICE)
    return path


@pytest.fixture
def bind(make: Callable[..., Behind], home: Path, tmp_path: Path) -> Callable[..., str]:
    """Binds for a run of Alice's, whose own directory is `home`; others are granted below `shared`."""
    (tmp_path / "shared").mkdir()
    behind = make(uid=ALICE, gid=ALICE, owned=(str(home),), binds=(str(tmp_path / "shared"),))
    return behind.served.scope.binds.volume


def test_her_own_directory_is_bound_with_all_below(bind: Callable[..., str], home: Path) -> None:
    (home / "sub").mkdir()
    os.chown(home / "sub", 0, 0)  # a container of hers made it
    assert bind(str(home)) != bind(str(home / "sub"))


def test_a_directory_that_she_chose_and_that_is_not_hers_is_refused(bind: Callable[..., str], home: Path) -> None:
    os.chown(home, 0, 0)
    with pytest.raises(RefusedError, match="belongs to uid 0, not to this run's user"):
        bind(str(home), True)


def test_a_link_that_she_put_in_its_place_leads_nowhere(bind: Callable[..., str], home: Path) -> None:
    home.rename(home.with_name("aside"))
    other = home.with_name("other")
    other.mkdir()
    os.chown(other, ALICE, ALICE)
    home.symlink_to(other)
    with pytest.raises(
        RefusedError, match="Not a directory; a directory that exists is expected, and no symbolic link"
    ):
        bind(str(home))


@pytest.fixture
def mounted(home: Path) -> Iterator[Path]:
    """Something of the administrator's in Alice's directory."""
    where = home / "mounted"
    where.mkdir()
    if subprocess.run(["mount", "--bind", "/etc", str(where)], check=False).returncode:
        pytest.skip("no mounts here")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_what_is_mounted_in_her_directory_is_not_hers(bind: Callable[..., str], mounted: Path) -> None:
    with pytest.raises(RefusedError, match="something else is mounted there"):
        bind(str(mounted), True)


def test_what_is_granted_and_not_hers_is_bound_read_only(bind: Callable[..., str], tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "hers").mkdir()
    os.chown(shared / "hers", ALICE, ALICE)
    assert bind(str(shared), True)
    assert bind(str(shared / "hers"))
    with pytest.raises(RefusedError, match="it belongs to uid 0; bind it read-only"):
        bind(str(shared))


def test_a_process_of_hers_is_no_directory_to_bind(make: Callable[..., Behind]) -> None:
    """/proc/PID/root would be the host's, for root in a container."""
    with subprocess.Popen(["sleep", "60"], user=ALICE, group=ALICE, extra_groups=[]) as process:
        own = f"/proc/{process.pid}"
        assert os.stat(own).st_uid == ALICE
        for given in ({"owned": (own,)}, {"binds": ("/proc",)}):
            behind = make(**{"uid": ALICE, "binds": (), **given})
            with pytest.raises(RefusedError, match="it is a file system of the kernel's own"):
                behind.served.scope.binds.volume(own)
        process.kill()
