"""What a run asks of the host, and what the host is said to have: the ways to write it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdagentd.config.config import load_config
from rdagentd.config.host import Host, Reserve
from rdagentd.config.problems import ConfigError
from rdagentd.config.spec import decode_spec, diff_specs, encode_spec
from rdagentd.model.requests import ALL, Requests, Thresholds

from .reading import decode, refusal


@pytest.mark.parametrize(
    ("written", "requests"),
    [
        ({}, Requests()),
        ({"memory": "2G", "cpu": 1.0, "disk": "20G", "gpus": 2}, Requests(2 << 30, 1.0, 20 << 30, 2)),
        ({"memory": "1024", "cpu": "0.5", "gpus": "1"}, Requests(1024, 0.5, 0, 1)),
        ({"memory": 0, "cpu": 0, "gpus": 0}, Requests()),
        ({"gpus": []}, Requests()),
        ({"gpus": [0, "3", "3"]}, Requests(gpus=("0", "3"))),
        ({"gpus": ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"]}, Requests(gpus=("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",))),
        ({"gpus": "all"}, Requests(gpus=ALL)),
    ],
)  # fmt: skip
def test_ways_to_write_a_request(written: dict[str, Any], requests: Requests) -> None:
    spec = decode(requests=written)
    assert spec.requests == requests and decode_spec(encode_spec(spec)) == spec


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"requests": {"memory": "unlimited"}}, "requests.memory: cannot be unlimited (write a size)"),
        ({"requests": {"cpu": 0.001}}, "requests.cpu: 0.001 is out of range (0.01 to 8192)"),
        ({"requests": {"cpu": "unlimited"}}, "requests.cpu: cannot be unlimited (write a number of CPUs)"),
        ({"requests": {"cpu": False}}, "requests.cpu: expected a number of CPUs, not true or false"),
        ({"requests": {"gpus": -1}}, "requests.gpus: -1 is out of range (0 to 64)"),
        ({"requests": {"gpus": True}},
         'requests.gpus: expected a number of GPUs, "all", or a list of their ids, not true or false'),
        ({"requests": {"gpus": ["a b"]}},
         "requests.gpus[0]: 'a b' is not a GPU (an index such as \"0\", or an id as nvidia-smi -L tells it)"),
        ({"requests": {"gpus": ["0", "all"]}},
         "requests.gpus[1]: 'all' is not a GPU (an index such as \"0\", or an id as nvidia-smi -L tells it)"),
        ({"requests": {"gpus": list(range(65))}}, "requests.gpus: has 65 values (at most 64)"),
        ({"gpus": 1}, "gpus: unknown key (did you mean requests.gpus?)"),
        ({"requests": {"gpu": 1}}, "requests.gpu: unknown key (did you mean gpus?)"),
        ({"container": {"image": "i", "gpus": "all"}},
         "container.gpus: unknown key (requests.gpus stands beside container, not in it)"),
        ({"requests": {"memory": "4G"}, "limits": {"memory": "2G"}},
         "requests.memory: 4 GiB is more than limits.memory, 2 GiB"),
        ({"requests": {"cpu": 2}, "limits": {"cpu": 1.5}}, "requests.cpu: 2 is more than limits.cpu, 1.5"),
        ({"memory": "4G"}, "memory: unknown key (did you mean limits.memory?)"),
    ],
)  # fmt: skip
def test_one_mistake(fields: dict[str, Any], told: str) -> None:
    assert refusal(**fields) == [told]


def test_a_change_of_a_request_is_told_by_its_field() -> None:
    old, new = decode(requests={"gpus": 1}), decode(requests={"gpus": ["0"], "cpu": 1})
    assert diff_specs(old, new) == [("requests.cpu", 0.0, 1.0), ("requests.gpus", 1, ["0"])]


def configured(directory: Path, text: str) -> Any:
    path = directory / "rdagentd.toml"
    path.write_text(text)
    return load_config(str(path), {}).config


def test_the_host_and_its_reserve(tmp_path: Path) -> None:
    text = '[host]\nmemory = "14G"\ncpu = 3.5\ngpus = [0, "GPU-aa"]\n[host.reserve]\nmemory = "1G"\ncpu = 0.5\n'
    config = configured(tmp_path, text)
    assert config.host == Host(14 << 30, 3.5, None, ("0", "GPU-aa"), Reserve(1 << 30, 0.5, 1 << 30))
    assert configured(tmp_path, "[host]\ngpus = []\n").host.gpus == ()
    assert config.pressure == Thresholds()


def test_thresholds_of_pressure(tmp_path: Path) -> None:
    text = '[pressure]\ncpu_60s = 90\nmemory_10s = "off"\nio_10s = 50.5\n'
    assert configured(tmp_path, text).pressure == Thresholds(cpu_60s=90.0, memory_10s=None, io_10s=50.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[pressure]\ncpu = 90\n", "pressure.cpu: unknown key"),
        ("[pressure]\ncpu_10s = 0\n", 'pressure.cpu_10s: 0 is out of range (1 to 100, or "off")'),
        ("[pressure]\ncpu_10s = '90%'\n", 'pressure.cpu_10s: expected per cent, or "off", not text'),
        ("[pressure]\ncpu_10s = nan\n", "pressure.cpu_10s: nan is out of range"),
        ("[host]\nmemory = 'much'\n", "host.memory: 'much' is not a size"),
        ("[host.reserve]\ngpus = 1\n", "host.reserve.gpus: unknown key"),
    ],
)
def test_a_mistake_in_the_configuration(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, text)
    assert told in str(caught.value)
