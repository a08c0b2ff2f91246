"""Who may do what, as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdagentd.config.access import Grants
from rdagentd.config.config import load_config
from rdagentd.config.problems import ConfigError


def read(directory: Path, text: str) -> Grants:
    path = directory / "rdagentd.toml"
    path.write_text(text)
    return load_config(str(path), {}).config.access


def test_what_is_not_named_stays_as_it_is(tmp_path: Path) -> None:
    grants = read(tmp_path, '[access]\nadmins = ["alice", "@wheel", 1000, "@27", "host$"]\n')
    assert grants == Grants(admins=("alice", "@wheel", "1000", "@27", "host$"))
    assert grants.operators == ("@rdagentd",) and grants.viewers == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"alice"', "access.viewers: expected a list, not text"),
        ('[""]', "access.viewers[0]: '' is not a name"),
        ('["@"]', "'@' is not a name"),
        ('["a b"]', "'a b' is not a name (a user, such as alice or 1000, or a group, such as @staff)"),
        ("[-1]", "expected a user or an @group"),
        ("[true]", "expected a user or an @group"),
    ],
)
def test_mistakes(tmp_path: Path, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[access]\nviewers = {value}\n")
    assert said in str(caught.value)


def test_no_variable_sets_it() -> None:
    with pytest.raises(ConfigError, match="RDAGENTD_ACCESS: access: expected a table"):
        load_config(None, {"RDAGENTD_ACCESS": "admins=alice"})
