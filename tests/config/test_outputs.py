"""[logging]: what can be written, and what is said of mistakes in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from rdagentd.config.config import load_config
from rdagentd.config.outputs import LOGGING, Address, File, Format, Logging, LogLevel, Main, Syslog, Tcp
from rdagentd.config.problems import ConfigError, InvalidError

ETC = Path(__file__).parents[2] / "etc"


def read(text: str) -> Logging:
    made = LOGGING.parse(tomllib.loads(text))
    assert isinstance(made, Logging)
    return made


def test_nothing_configured_is_the_journal_or_stderr() -> None:
    assert read("") == Logging(Main.AUTO, (), None, None, None)


def test_all_of_it() -> None:
    text = """
    output = "json"
    [levels]
    "rdagentd.drivers" = "debug"
    asyncio = "error"
    [file]
    path = "/x/y.log"
    format = "json"
    size = "100M"
    files = 10
    [syslog]
    address = "127.0.0.1:514"
    [tcp]
    address = "[::1]:5959"
    """
    assert read(text) == Logging(
        Main.JSON,
        (("asyncio", LogLevel.ERROR), ("rdagentd.drivers", LogLevel.DEBUG)),
        File("/x/y.log", Format.JSON, 100 << 20, 10),
        Syslog(Address("127.0.0.1", 514)),
        Tcp(Address("::1", 5959)),
    )


def test_a_table_alone_has_the_defaults() -> None:
    made = read("[file]\npath = '/x.log'\n[syslog]\n")
    assert (made.file, made.syslog) == (File("/x.log", Format.TEXT, 10 << 20, 5), Syslog("/dev/log"))


def test_where_logrotate_rotates_nobody_else_does() -> None:
    assert read("file = {path = '/var/log/rdagentd-daemon/a.log'}").file == File(
        "/var/log/rdagentd-daemon/a.log", size=None
    )
    assert read("file = {path = '/x.log', size = 'unlimited'}").file == File("/x.log", size=None)
    with pytest.raises(InvalidError, match=r'file\.size: logrotate rotates what is in .*; write "unlimited"'):
        read("file = {path = '/var/log/rdagentd-daemon/a.log', size = '1M'}")


def test_that_directory_is_the_one_that_the_package_rotates() -> None:
    from rdagentd.config.outputs import LOGROTATED

    packaged = (ETC.parent / "packaging/deb/debian/rdagentd.logrotate").read_text()
    assert packaged.startswith(f"{LOGROTATED}/*.log {{\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("output = 'journald'", "output: 'journald' is not known (did you mean journal?)"),
        ("level = 'debug'", "level: unknown key (did you mean log_level, outside of [logging]?)"),
        (
            "[levels]\nrdagentd.api = 'debug'",
            "expected a level for rdagentd, not a table (a name with dots is written in quotes)",
        ),
        ("[levels]\n'a b' = 'debug'", "'a b' is not the name of a logger"),
        ("[levels]\na = 'loud'", "'loud' is not known"),
        ("[file]\nformat = 'json'", "file.path: missing"),
        ("[file]\npath = 'x.log'", "file.path: 'x.log' is relative"),
        ("[file]\npath = '/x.log'\nsize = 5", "file.size: 5 is too small (at least 4096 bytes)"),
        ("[tcp]\n", "tcp.address: missing"),
        ("[tcp]\naddress = 'localhost'", "tcp.address: 'localhost' is not an address"),
        ("[tcp]\naddress = 'localhost:70000'", "tcp.address: 'localhost:70000' is not an address"),
        ("[tcp]\naddress = 5959", "tcp.address: expected text, not a whole number"),
        ("[syslog]\naddress = 'dev/log'", "syslog.address: 'dev/log' is not an address"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read(text)
    assert said in str(caught.value)
    head, _, rest = text.partition("[")
    (tmp_path / "c.toml").write_text(f"[logging]\n{head}{rest and '[logging.'}{rest}")
    with pytest.raises(ConfigError, match="logging"):
        load_config(str(tmp_path / "c.toml"), {})


def test_the_examples_in_the_file_that_is_shipped_can_be_used(tmp_path: Path) -> None:
    shipped = (ETC / "rdagentd.toml").read_text().partition("#[logging]\n")[2]
    lines = [line.removeprefix("#   ") for line in shipped.splitlines() if line.startswith("#   ")]
    (tmp_path / "c.toml").write_text("\n".join(lines).replace('"10M" ', '"unlimited" '))
    made = load_config(str(tmp_path / "c.toml"), {}).config.logging
    assert made.file and made.syslog and made.tcp and made.levels
