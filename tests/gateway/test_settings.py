"""Where the token comes from: a file, a credential of the unit, or made once and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdagentd.config.gateway import Gateway
from rdagentd.config.problems import ConfigError
from rdagentd.gateway.settings import Settings, load_settings

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


def load(directory: Path, config: str = "", credentials: Path | None = None) -> Settings:
    """The settings by these lines in [gateway]."""
    (directory / "rdagentd.toml").write_text(f"[gateway]\n{config}")
    environ = {} if credentials is None else {"CREDENTIALS_DIRECTORY": str(credentials)}
    places = (directory / "s", directory / "state", directory / "run")
    return load_settings(*places, str(directory / "rdagentd.toml"), environ)


def test_without_a_file_everything_is_as_built_in(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path / "s", tmp_path / "state", tmp_path / "run", None, {})
    assert loaded.config == Gateway() and loaded.config.addresses == ("127.0.0.1", "::1")


def test_a_token_is_made_once_for_nobody_else_to_read(tmp_path: Path) -> None:
    first = load(tmp_path)
    (token,) = first.tokens
    assert len(token) == 64 and load(tmp_path).tokens == (token,)
    assert (tmp_path / "state/token").stat().st_mode & 0o777 == 0o600


def test_a_file_comes_before_a_credential_and_both_before_one_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    assert len(load(tmp_path, credentials=tmp_path / "credentials").tokens[0]) == 64
    (tmp_path / "credentials/gateway-token").write_text(f"{ONE}\n")
    assert load(tmp_path, credentials=tmp_path / "credentials").tokens == (ONE,)
    (tmp_path / "tokens").write_text(f"{TWO}\n{ONE}\n")
    assert load(tmp_path, f'token_file = "{tmp_path}/tokens"', tmp_path / "credentials").tokens == (TWO, ONE)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\n", "there is no token in it"), (b"short", "fewer than 16 characters"), (b"\xff" * 20, "of ASCII letters")],
)
def test_a_file_that_holds_no_token_is_a_mistake(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "tokens").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as refused:
        load(tmp_path, f'token_file = "{tmp_path}/tokens"')
    assert "short" not in str(refused.value)


def test_a_state_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match=r"gateway\.token_file: cannot be made"):
        load(tmp_path)
