"""A place of a run's own is added to what bubblewrap shows, where it is not seen already."""

from __future__ import annotations

import pytest

from rdagentd.executor.shown import show


@pytest.mark.parametrize(
    ("options", "writable", "added"),
    [
        ([], False, "--ro-bind"),
        (["--dev-bind", "/", "/"], False, None),
        (["--dev-bind", "/", "/"], True, None),
        (["--ro-bind", "/run", "/run"], False, None),
        (["--ro-bind", "/run", "/run"], True, "--bind"),
        (["--ro-bind", "/ru", "/ru", "--unshare-net"], False, "--ro-bind"),
        (["--dev-bind", "/", "/", "--perms", "755", "--tmpfs", "/run"], False, "--ro-bind"),
        (["--dev-bind", "/", "/", "--perms", "1777", "--tmpfs", "/tmp"], False, None),
        (["--ro-bind", "/srv", "/run"], False, "--ro-bind"),
    ],
)
def test_what_is_seen_is_not_added(options: list[str], writable: bool, added: str | None) -> None:
    place = "/run/rdagentd-executor/notify/one"
    sandbox = list(options)
    show(sandbox, place, writable)
    assert sandbox == [*options, *([added, place, place] if added else [])]
