"""The configuration in layers: who wins, where values came from, and all mistakes at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import attrs
import pytest

from rdagentd.config.config import CONFIG, Config, Group, load_config
from rdagentd.config.problems import ConfigError
from rdagentd.model.provider import Provider

ETC = Path(__file__).parents[2] / "etc"


def written(directory: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return str(directory / "rdagentd.toml")


def refusal(path: str | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    return str(caught.value).splitlines()


def test_without_files_the_defaults_hold() -> None:
    loaded = load_config(None, {})
    assert loaded.config == Config()
    assert loaded.config.groups == {"default": Group(None)}
    assert set(loaded.origins.values()) == {"default"}
    keys = {field.name for field in attrs.fields(Config)}
    assert set(loaded.origins) == keys - {"groups"} | {"groups.default"}


def test_later_layers_win_and_each_value_tells_its_origin(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        {
            "rdagentd.toml": "keep_runs = 1\nkeep_events = 1\nkeep_revisions = 1\n"
            "[groups.gpu]\nslots = 1\n[groups.cpu]\nslots = 1\n",
            "conf.d/20.toml": "keep_revisions = 3\n[groups.gpu]\nslots = 'unlimited'\n",
            "conf.d/10.toml": "keep_events = 2\nkeep_revisions = 2\nlog_level = 'warning'\n",
            "conf.d/30.conf": "broken",
            "conf.d/.40.toml": "broken",
        },
    )
    config_d = tmp_path / "conf.d"
    loaded = load_config(main, {"RDAGENTD_LOG_LEVEL": "debug", "RDAGENTD_SOCKET": "/x", "KEEP_RUNS": "9"})
    groups = {"default": Group(None), "gpu": Group(None), "cpu": Group(1)}
    assert loaded.config == Config(groups, keep_runs=1, keep_events=2, keep_revisions=3, log_level="debug")  # type: ignore[arg-type]
    assert loaded.origins == {
        "groups.default": "default",
        "groups.gpu": str(config_d / "20.toml"),
        "groups.cpu": main,
        "keep_runs": main,
        "keep_events": str(config_d / "10.toml"),
        "keep_revisions": str(config_d / "20.toml"),
        "max_workers": "default",
        "log_level": "RDAGENTD_LOG_LEVEL",
        "workers_dir": "default",
        "access": "default",
        "docker": "default",
        "host": "default",
        "pressure": "default",
        "metrics": "default",
        "rd_agent": "default",
        "gateway": "default",
        "logging": "default",
        "providers": "default",
        "budgets": "default",
    }


def test_every_key_can_be_set_by_a_variable() -> None:
    environ = {
        "RDAGENTD_GROUPS": "default=2, gpu=unlimited,",
        "RDAGENTD_KEEP_RUNS": "1",
        "RDAGENTD_KEEP_EVENTS": "2",
        "RDAGENTD_KEEP_REVISIONS": "3",
        "RDAGENTD_MAX_WORKERS": "4",
        "RDAGENTD_LOG_LEVEL": "error",
        "RDAGENTD_WORKERS_DIR": "/w",
    }
    loaded = load_config(None, environ)
    groups = {"default": Group(2), "gpu": Group(None)}
    assert loaded.config == Config(groups, 1, 2, 3, 4, "error", "/w")  # type: ignore[arg-type]
    by_variable = loaded.origins.keys() - {
        "budgets",
        "access",
        "docker",
        "host",
        "pressure",
        "rd_agent",
        "gateway",
        "metrics",
        "logging",
        "providers",
    }
    assert {key: loaded.origins[key].partition("_")[2].lower() for key in by_variable} == {
        key: key.partition(".")[0] for key in by_variable
    }


@pytest.mark.parametrize("file", ["rdagentd.toml", "conf.d/a.toml"])
def test_a_relative_workers_dir_begins_at_the_main_file(tmp_path: Path, file: str) -> None:
    main = written(tmp_path, {"rdagentd.toml": "", file: "workers_dir = 'workers.d'"})
    assert load_config(main, {}).config.workers_dir == str(tmp_path / "workers.d")


def test_a_workers_dir_is_absolute_even_for_a_relative_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {"rdagentd.toml": "workers_dir = 'workers.d'"})
    monkeypatch.chdir(tmp_path)
    assert load_config("rdagentd.toml", {}).config.workers_dir == str(tmp_path / "workers.d")


def test_all_mistakes_of_all_layers_are_told(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        {
            "rdagentd.toml": "kep_runs = 1\nkeep_events = true\n",
            "conf.d/a.toml": "a = \n",
            "conf.d/b.toml": "log_level = 'inf'\n[groups]\n'a b' = {}\ngpu = {slots = -1}\ncpu = 2\ntpu = {slot = 1}\n",
        },
    )
    names = "1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or a digit"
    assert refusal(main, {"RDAGENTD_KEEP_RUNS": "0", "RDAGENTD_GROUPS": "gpu", "RDAGENTD_WORKERS_DIR": "w"}) == [
        f"cannot read {main}: kep_runs: unknown key (did you mean keep_runs?)",
        f"cannot read {main}: keep_events: expected a whole number, not true or false",
        f"cannot read {tmp_path}/conf.d/a.toml: not TOML: invalid value (at line 1, column 5)",
        f"cannot read {tmp_path}/conf.d/b.toml: log_level: 'inf' is not known (did you mean info?)",
        f"cannot read {tmp_path}/conf.d/b.toml: groups.'a b': 'a b' is not a name ({names})",
        f"cannot read {tmp_path}/conf.d/b.toml: groups.gpu.slots: -1 is out of range (0 to 100000)",
        f"cannot read {tmp_path}/conf.d/b.toml: groups.cpu: expected a table, not a whole number",
        f"cannot read {tmp_path}/conf.d/b.toml: groups.tpu.slot: unknown key (did you mean slots?)",
        "cannot read RDAGENTD_GROUPS: groups.gpu.slots: '' is not a whole number (0 to 100000)",
        "cannot read RDAGENTD_KEEP_RUNS: keep_runs: '0' is out of range (1 to 1000000)",
        "cannot read RDAGENTD_WORKERS_DIR: workers_dir: 'w' is relative (give the whole path, from /)",
    ]


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    main = tmp_path / "rdagentd.toml"
    assert refusal(str(main)) == [f"cannot read {main}: no such file or directory"]
    main.mkdir()
    assert refusal(str(main)) == [f"cannot read {main}: is a directory"]


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    main = written(tmp_path, {"rdagentd.toml": ""})
    Path(main).chmod(0)
    if os.geteuid() == 0:  # root may read every file: somebody else asks
        shown = Path(tempfile.mkdtemp())
        shown.chmod(0o755)
        main = str(Path(main).rename(shown / "rdagentd.toml"))
        os.seteuid(65534)
    try:
        assert refusal(main) == [f"cannot read {main}: permission denied"]
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
            shutil.rmtree(shown)


def test_a_conf_d_that_is_no_directory_is_told(tmp_path: Path) -> None:
    main = written(tmp_path, {"rdagentd.toml": "x = 1", "conf.d": ""})
    assert refusal(main) == [
        f"cannot read {tmp_path}/conf.d: not a directory",
        f"cannot read {main}: x: unknown key (known are {', '.join(CONFIG.rows)})",
    ]


def test_the_file_that_is_shipped_says_the_defaults_and_nothing_else(tmp_path: Path) -> None:
    shipped = (ETC / "rdagentd.toml").read_text()
    assert load_config(str(ETC / "rdagentd.toml"), {}).config == Config()
    lines = [
        line.removeprefix("#") for line in shipped.splitlines() if line.startswith("#") and not line.startswith("# ")
    ]
    loaded = load_config(written(tmp_path, {"rdagentd.toml": "\n".join(lines)}), {})
    assert attrs.evolve(loaded.config, workers_dir=None) == Config()
    assert loaded.config.workers_dir == str(tmp_path / "workers.d")
    assert set(loaded.origins.values()) == {str(tmp_path / "rdagentd.toml")}


def test_the_network_of_the_host_is_none_that_a_run_may_join(tmp_path: Path) -> None:
    path = tmp_path / "rdagentd.toml"
    path.write_text('[docker]\nnetworks = ["none", "qlib"]\n')
    assert load_config(str(path), {}).config.docker.networks == ("none", "qlib")
    path.write_text('[docker]\nnetworks = ["host"]\n')
    with pytest.raises(ConfigError, match=r"docker\.networks\[0\]: 'host' is no network of its own"):
        load_config(str(path), {})


def test_providers_of_several_layers_are_put_together(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        {
            "rdagentd.toml": "[providers.openai]\nerrors = 5\n[providers.local]\ncooldown = '10s'\n",
            "conf.d/10.toml": "[providers.openai]\nwindow = '1h'\n",
        },
    )
    loaded = load_config(main, {})
    assert loaded.config.providers == {"openai": Provider(window=3600.0), "local": Provider(cooldown=10.0)}
    assert loaded.origins["providers"] == str(tmp_path / "conf.d" / "10.toml")
