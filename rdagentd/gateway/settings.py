"""What the gateway is told: places by its command line, the section [gateway] of rdagentd.toml, and tokens from a file."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, frozen

from rdagentd.config.config import load_config
from rdagentd.config.gateway import Gateway
from rdagentd.config.problems import ConfigError, Problem

CREDENTIAL = "gateway-token"
"""Name of the unit's credential (systemd.exec(5), LoadCredential=) that holds the token."""

SHORTEST_TOKEN = 16
"""Characters. A token is all that stands between a network and the workers."""

MADE = "token"
"""In the state directory: the token that is made where none was given."""

_LONGEST_FILE = 64 << 10


@frozen
class Settings:
    """socket: the daemon's. state: what is kept over restarts. runtime: where it is told where we listen. tokens: any opens."""

    socket: Path
    state: Path
    runtime: Path
    config: Gateway = Factory(Gateway)
    tokens: tuple[str, ...] = ()


def load_settings(
    socket: Path, state: Path, runtime: Path, config: str | None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings, from the configuration file if there is one. Makes a token if there is none. Raises ConfigError."""
    gateway = load_config(config, environ).config.gateway
    return Settings(socket, state, runtime, gateway, _tokens(gateway, state, environ))


def _tokens(gateway: Gateway, state: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the file that is named, else of the credential, else one of our own, which stays the same."""
    if gateway.token_file is not None:
        return _read(Path(gateway.token_file))
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", ""), CREDENTIAL)
    if "CREDENTIALS_DIRECTORY" in environ and credential.exists():
        return _read(credential)
    return _read(_made(state / MADE))


def _made(path: Path) -> Path:
    """The file of our own token, written unless it is there. For nobody else to read."""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
    except OSError as error:
        raise _bad(path, f"cannot be made: {(error.strerror or str(error)).lower()}") from None
    return path


def _read(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="ascii") as file:
            tokens = tuple(file.read(_LONGEST_FILE).split())
    except OSError as error:
        raise _bad(path, (error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError:
        raise _bad(path, "a token is of ASCII letters and digits") from None
    if not tokens:
        raise _bad(path, "there is no token in it; make one with: openssl rand -hex 32")
    if any(len(token) < SHORTEST_TOKEN for token in tokens):
        text = f"a token has fewer than {SHORTEST_TOKEN} characters; make one with: openssl rand -hex 32"
        raise _bad(path, text)
    return tokens


def _bad(path: Path, reason: str) -> ConfigError:
    return ConfigError([Problem("gateway.token_file", reason, where=str(path))])
