"""What a container may be: every trick with HostConfig, and what is put in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rdagentd.dockerproxy import binds
from rdagentd.dockerproxy.refusal import RefusedError
from tests.dockerproxy.conftest import Behind
from tests.dockerproxy.fake import LABELS, MIB, OWN, PARENT
from tests.harness import eventually

CREATE = "/v1.41/containers/create"

REFUSED: dict[str, Any] = {
    "privileged": {"Privileged": True},
    "privileged in small letters": {"privileged": True},
    "privileged as a number": {"Privileged": 1},
    "host network": {"NetworkMode": "host"},
    "host network in capitals": {"NetworkMode": "Host"},
    "a network of others": {"NetworkMode": "their-net"},
    "host pid": {"PidMode": "host"},
    "host ipc": {"IpcMode": "host"},
    "host uts": {"UTSMode": "host"},
    "host users": {"UsernsMode": "host"},
    "host cgroups": {"CgroupnsMode": "host"},
    "network of another": {"NetworkMode": "container:theirs"},
    "pid of another": {"PidMode": "container:theirs"},
    "ipc of another": {"IpcMode": "container:theirs"},
    "pid of one that looks own": {"PidMode": "container:impostor"},
    "pid of nobody": {"PidMode": "container:"},
    "devices": {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]},
    "device rules": {"DeviceCgroupRules": ["a *:* rwm"]},
    "a GPU that is not leased": {"DeviceRequests": [{"DeviceIDs": ["2"], "Capabilities": [["gpu"]]}]},
    "a GPU that is not leased beside one that is": {"DeviceRequests": [{"DeviceIDs": ["1", "2"], "Capabilities": [["gpu"]]}]},
    "all GPUs and another": {"DeviceRequests": [{"DeviceIDs": ["all", "2"], "Capabilities": [["gpu"]]}]},
    "a GPU in the second request": {
        "DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}, {"DeviceIDs": ["2"], "Capabilities": [["gpu"]]}]
    },
    "GPUs by number and by id": {"DeviceRequests": [{"Count": 1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}]},
    "no GPU at all": {"DeviceRequests": [{"Driver": "nvidia", "Capabilities": [["gpu"]]}]},
    "a device that is no GPU": {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"], ["tpu"]]}]},
    "too many GPUs": {"DeviceRequests": [{"Count": 3, "Capabilities": [["gpu"]]}]},
    "another driver's device": {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["x=all"], "Capabilities": [["gpu"]]}]},
    "options of the driver": {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]], "Options": {"a": "b"}}]},
    "capabilities": {"CapAdd": ["SYS_ADMIN"]},
    "capabilities by their old name": {"Capabilities": ["ALL"]},
    "seccomp": {"SecurityOpt": ["seccomp=unconfined"]},
    "apparmor": {"SecurityOpt": ["no-new-privileges", "apparmor=unconfined"]},
    "labels off": {"SecurityOpt": ["label=disable"]},
    "paths unmasked": {"MaskedPaths": ["/nothing"]},
    "paths writable": {"ReadonlyPaths": ["/nothing"]},
    "kernel settings": {"Sysctls": {"kernel.shm_rmid_forced": "0"}},
    "another cgroup": {"CgroupParent": "/"},
    "another runtime": {"Runtime": "evil"},
    "annotations": {"Annotations": {"run.oci.handler": "krun"}},
    "no OOM killer": {"OomKillDisable": True},
    "OOM score": {"OomScoreAdj": -1000},
    "real time": {"CpuRealtimeRuntime": 950000},
    "a limit for real time": {"Ulimits": [{"Name": "rtprio", "Soft": 99, "Hard": 99}]},
    "a volume driver": {"VolumeDriver": "nfs"},
    "storage options": {"StorageOpt": {"size": "1000G"}},
    "all ports": {"PublishAllPorts": True},
    "a port of others": {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
    "any port": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}},
    "a port to the world": {"PortBindings": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "19900"}]}},
    "links": {"Links": ["theirs:x"]},
    "volumes of another": {"VolumesFrom": ["theirs"]},
    "volumes of another, for reading": {"VolumesFrom": ["theirs:ro"]},
    "a restart by the engine": {"RestartPolicy": {"Name": "always"}},
    "bind": {"Binds": ["/etc:/x"]},
    "bind of the socket": {"Binds": ["/var/run/docker.sock:/var/run/docker.sock"]},
    "bind through ..": {"Binds": ["{binds}/../../etc:/x"]},
    "bind beside": {"Binds": ["{binds}-other:/x"]},
    "bind of nothing": {"Binds": ["{binds}/missing:/x"]},
    "bind of a file": {"Binds": ["{binds}/file:/x"]},
    "bind of a link": {"Binds": ["{binds}/link:/x"]},
    "bind below a link": {"Binds": ["{binds}/link/etc:/x"]},
    "bind with two slashes": {"Binds": ["//etc:/x"]},
    "bind with shared mounts": {"Binds": ["{binds}:/x:rshared"]},
    "bind without a target": {"Binds": ["{binds}"]},
    "bind as a text": {"Binds": "/etc:/x"},
    "bind as an object": {"Binds": [{"Source": "/etc"}]},
    "mount": {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}]},
    "mount without a source": {"Mounts": [{"Type": "bind", "Target": "/x"}]},
    "mount in small letters": {"Mounts": [{"type": "bind", "source": "/etc", "Target": "/x"}]},
    "mount with shared mounts": {
        "Mounts": [{"Type": "bind", "Source": "{binds}", "Target": "/x", "BindOptions": {"Propagation": "rshared"}}]
    },
    "mount of a volume that binds": {
        "Mounts": [
            {"Type": "volume", "Source": "v", "Target": "/x",
             "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/etc"}}}}
        ]
    },
    "mount of an unnamed volume that binds": {
        "Mounts": [{"Type": "volume", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Options": {"device": "/etc"}}}}]
    },
    "mount of a pipe": {"Mounts": [{"Type": "npipe", "Source": "/etc", "Target": "/x"}]},
    "mount of an image": {"Mounts": [{"Type": "image", "Source": "host", "Target": "/x"}]},
    "a volume of others": {"Binds": ["foreign:/x"]},
    "a volume of others, mounted": {"Mounts": [{"Type": "volume", "Source": "foreign", "Target": "/x"}]},
    "a volume of the proxy": {"Binds": ["rdagentd-run-2-0:/x"]},
    "what nobody knows yet": {"FutureOption": {"on": True}},
}  # fmt: skip


def fill(value: Any, directory: Path) -> Any:
    """{binds} in texts."""
    if isinstance(value, str):
        return value.replace("{binds}", str(directory))
    if isinstance(value, list):
        return [fill(one, directory) for one in value]
    return {name: fill(one, directory) for name, one in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("host", REFUSED.values(), ids=REFUSED.keys())
def test_a_container_is_refused(behind: Behind, host: dict[str, Any]) -> None:
    (behind.binds / "file").touch()
    (behind.binds / "link").symlink_to("/")
    answer = behind.ask("POST", CREATE, {"Image": "a", "HostConfig": fill(host, behind.binds)})
    assert answer.status in (400, 403, 404)
    assert answer.message.startswith("cannot ")
    assert behind.engine.got == []


@pytest.mark.parametrize(
    "body",
    [
        {"hostconfig": {"Privileged": True}},
        {"HostConfig": {}, "HOSTCONFIG": {"Privileged": True}},
        {"HostConfig": [{"Privileged": True}]},
        {"Labels": {"rdagentd.run": "run-2"}},
        {"Labels": {"rdagentd.anything": "x"}},
        {"NetworkingConfig": {"EndpointsConfig": {"host": {}}}},
        {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.1"}}}}},
        {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"DriverOpts": {"a": "b"}}}}},
        {"Volumes": {"/etc:/x": {}}},
        {"Image": ["a"]},
        {"OnBuild": ["x"]},
        {"MacAddress": "00:00:00:00:00:01"},
    ],
)
def test_a_container_is_refused_for_what_stands_beside_its_host_config(behind: Behind, body: dict[str, Any]) -> None:
    assert behind.ask("POST", CREATE, body).status in (400, 403)
    assert behind.engine.got == []


def test_a_plain_container_gets_all_that_the_rules_say(behind: Behind) -> None:
    got = behind.passed("POST", f"{CREATE}?name=x", {"Image": "a", "Labels": {"my": "own"}}).document
    assert got == {
        "Image": "a",
        "Labels": {"my": "own", **LABELS},
        "Env": ["NVIDIA_VISIBLE_DEVICES=0,1"],
        "HostConfig": {
            "NetworkMode": "default", "Memory": 512 * MIB, "MemorySwap": 512 * MIB, "PidsLimit": 100, "NanoCpus": 2 * 10**9,
            "ShmSize": 64 * MIB, "CgroupParent": PARENT, "CapDrop": ["MKNOD"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "100m", "max-file": "3"}},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"Memory": 5 * MIB}, {"Memory": 5 * MIB, "MemorySwap": 5 * MIB}),
        ({"Memory": 5 * MIB, "MemorySwap": -1}, {"Memory": 5 * MIB, "MemorySwap": 5 * MIB}),
        ({"Memory": 48 << 30, "MemorySwap": 48 << 30}, {"Memory": 512 * MIB, "MemorySwap": 512 * MIB}),
        ({"Memory": -1}, {"Memory": 512 * MIB}),
        ({"NanoCpus": 5 * 10**8}, {"NanoCpus": 5 * 10**8}),
        ({"NanoCpus": 5 * 10**9}, {"NanoCpus": 2 * 10**9}),
        ({"CpuQuota": 50000}, {"NanoCpus": 5 * 10**8}),
        ({"CpuCount": 1}, {"NanoCpus": 10**9}),
        ({"CpuCount": 1, "NanoCpus": 5 * 10**8}, {"NanoCpus": 5 * 10**8}),
        ({"CpuQuota": 50000, "CpuPeriod": 10000}, {"NanoCpus": 2 * 10**9}),
        ({"CpuQuota": -1}, {"NanoCpus": 2 * 10**9}),
        ({"CpuPeriod": 1000}, {"NanoCpus": 2 * 10**9}),
        ({"PidsLimit": 0}, {"PidsLimit": 100}),
        ({"PidsLimit": -1}, {"PidsLimit": 100}),
        ({"PidsLimit": 7}, {"PidsLimit": 7}),
        ({"ShmSize": 16 << 30}, {"ShmSize": 64 * MIB}),
        ({"ShmSize": MIB}, {"ShmSize": MIB}),
        ({"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://x"}}}, {}),
        ({"CapDrop": ["ALL"]}, {"CapDrop": ["ALL", "MKNOD"]}),
        ({"NetworkMode": "none"}, {"NetworkMode": "none"}),
        ({"NetworkMode": "container:mine"}, {"NetworkMode": f"container:{OWN}"}),
        ({"VolumesFrom": ["mine:ro"]}, {"VolumesFrom": [f"{OWN}:ro"]}),
        ({"MaskedPaths": [], "ReadonlyPaths": []}, {}),
        ({"Privileged": False, "Devices": [], "CapAdd": None, "Runtime": ""}, {"Privileged": False, "Runtime": ""}),
        (
            {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]},
            {"DeviceRequests": [{"Capabilities": [["gpu"]], "DeviceIDs": ["0", "1"]}]},
        ),
        (
            {"DeviceRequests": [{"Driver": "nvidia", "Count": 1, "Capabilities": [["compute", "gpu"]], "Options": {}}]},
            {"DeviceRequests": [{"Driver": "nvidia", "Capabilities": [["compute", "gpu"]], "DeviceIDs": ["0"]}]},
        ),
        (
            {"DeviceRequests": [{"Count": 0, "Capabilities": [["gpu"]], "DeviceIDs": ["1"]}]},
            {"DeviceRequests": [{"Capabilities": [["gpu"]], "DeviceIDs": ["1"]}]},
        ),
        (
            {"PortBindings": {"80/tcp": [{"HostPort": "19900"}]}},
            {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "19900"}]}},
        ),
        ({"Binds": ["data:/x:ro"]}, {"Binds": ["data:/x:ro"]}),
        ({"Mounts": [{"Type": "tmpfs", "Target": "/x"}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x"}]}),
    ],
)  # fmt: skip
def test_what_is_asked_is_given_as_far_as_the_rules_go(
    behind: Behind, asked: dict[str, Any], given: dict[str, Any]
) -> None:
    plain = behind.passed("POST", CREATE, {"Image": "a"}).document["HostConfig"]
    assert behind.passed("POST", CREATE, {"Image": "a", "HostConfig": asked}).document["HostConfig"] == {
        **plain,
        **given,
    }


@pytest.mark.parametrize(
    ("leased", "asked", "given"),
    [
        (("3", "5"), [], "3,5"),
        (("3", "5"), ["all"], "3,5"),
        (("3", "5"), ["5"], "5"),
        (("3", "5"), ["0", "3"], "3"),  # the last one counts
        (("3", "5"), ["none"], "void"),
        ((), [], "void"),
        ((), ["all"], "void"),
        ((), ["void"], "void"),
    ],
)
def test_a_runtime_that_gives_gpus_by_a_variable_gives_leased_ones(
    make: Callable[..., Behind], leased: tuple[str, ...], asked: list[str], given: str
) -> None:
    behind = make(gpus=leased)
    body = {
        "Image": "a",
        "Env": ["A=b", *(f"NVIDIA_VISIBLE_DEVICES={one}" for one in asked), "NVIDIA_VISIBLE_DEVICES_X"],
    }
    got = behind.passed("POST", CREATE, body).document["Env"]
    assert got == ["A=b", "NVIDIA_VISIBLE_DEVICES_X", f"NVIDIA_VISIBLE_DEVICES={given}"]


def test_the_variable_agrees_with_what_is_asked_for_in_the_other_way(make: Callable[..., Behind]) -> None:
    behind = make(gpus=("3", "5"))
    asked = {"DeviceRequests": [{"DeviceIDs": ["5"], "Capabilities": [["gpu"]]}]}
    got = behind.passed("POST", CREATE, {"Image": "a", "HostConfig": asked}).document
    assert got["Env"] == ["NVIDIA_VISIBLE_DEVICES=5"]


@pytest.mark.parametrize(
    ("leased", "body", "message"),
    [
        ((), {"HostConfig": {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}},
         "cannot use GPUs (all): none is leased to this run; the worker needs requests.gpus"),
        (("1",), {"HostConfig": {"DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}]}},
         "cannot use GPUs (2): leased to this run: 1"),
        (("1", "4"), {"HostConfig": {"DeviceRequests": [{"DeviceIDs": ["0"], "Capabilities": [["gpu"]]}]}},
         "cannot use GPUs (0): leased to this run: 1, 4"),
        (("1",), {"Env": ["NVIDIA_VISIBLE_DEVICES=0,1"]}, "cannot use GPUs (0, 1): leased to this run: 1"),
        (("1",), {"Env": ["NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"]},
         "cannot use GPUs (nvidia.com/gpu=all): leased to this run: 1"),
    ],
)  # fmt: skip
def test_gpus_that_are_not_leased_are_refused_in_words(
    make: Callable[..., Behind], leased: tuple[str, ...], body: dict[str, Any], message: str
) -> None:
    behind = make(gpus=leased)
    answer = behind.ask("POST", CREATE, {"Image": "a", **body})
    assert (answer.status, answer.message) == (403, message)
    assert behind.engine.got == []


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"Memory": 1 << 40}, {"Memory": 512 * MIB, "MemorySwap": 512 * MIB}),
        ({"MemorySwap": -1}, {"MemorySwap": 512 * MIB}),
        ({"PidsLimit": 0}, {"PidsLimit": 100}),
        ({"PidsLimit": -1}, {"PidsLimit": 100}),
        ({"CpuQuota": -1}, {"NanoCpus": 2 * 10**9}),
        ({"NanoCpus": 9 * 10**9}, {"NanoCpus": 2 * 10**9}),
        ({"CpuShares": 5}, {"CpuShares": 5}),
    ],
)
def test_an_update_raises_nothing_above_the_rules(behind: Behind, asked: dict[str, Any], given: dict[str, Any]) -> None:
    assert behind.passed("POST", "/v1.41/containers/mine/update", asked).document == given


@pytest.mark.parametrize("body", [{"RestartPolicy": {"Name": "always"}}, {"Devices": [{"PathOnHost": "/dev/sda"}]}])
def test_an_update_gives_nothing_that_a_create_would_not(behind: Behind, body: dict[str, Any]) -> None:
    assert behind.ask("POST", "/v1.41/containers/mine/update", body).status == 403


def test_an_exec_is_never_privileged(behind: Behind) -> None:
    for body in ({"Cmd": ["a"], "Privileged": True}, {"Cmd": ["a"], "privileged": True}):
        assert behind.ask("POST", "/v1.41/containers/mine/exec", body).status == 403
    got = behind.passed("POST", "/v1.41/containers/mine/exec", {"Cmd": ["a"], "Privileged": False, "Tty": True})
    assert got.document == {"Cmd": ["a"], "Privileged": False, "Tty": True}


def test_nothing_is_capped_where_the_rules_have_no_bound(make: Callable[..., Behind]) -> None:
    behind = make(memory=None, swap=None, cpus=None, pids=None, shm=None)
    asked = {"Memory": 1 << 40, "PidsLimit": -1, "CpuQuota": 5}
    got = behind.passed("POST", CREATE, {"Image": "a", "HostConfig": asked}).document["HostConfig"]
    assert {name: got[name] for name in asked} == asked


def test_without_a_bridge_the_default_is_no_network(make: Callable[..., Behind]) -> None:
    behind = make(networks=("none",))
    assert behind.passed("POST", CREATE, {"Image": "a"}).document["HostConfig"]["NetworkMode"] == "none"
    assert behind.ask("POST", CREATE, {"Image": "a", "HostConfig": {"NetworkMode": "bridge"}}).status == 403


def test_a_bound_directory_is_a_volume_that_is_this_directory_and_no_other(behind: Behind) -> None:
    work = behind.binds / "work"
    work.mkdir()
    inode = work.stat().st_ino
    host = {"Binds": [f"{work}:/x:ro,z"], "Mounts": [{"Type": "bind", "Source": str(work), "Target": "/y"}]}
    got = behind.passed("POST", CREATE, {"Image": "a", "HostConfig": host}).document["HostConfig"]
    name = got["Binds"][0].partition(":")[0]
    assert got["Binds"] == [f"{name}:/x:ro,nocopy"]
    assert got["Mounts"] == [{"Type": "volume", "Source": name, "Target": "/y", "VolumeOptions": {"NoCopy": True}}]
    work.rename(behind.binds / "moved")
    work.symlink_to("/etc")
    made = behind.engine.volumes[name]
    assert made["Labels"] == LABELS
    assert made["Options"] | {"device": ""} == {"type": "none", "o": "bind", "device": ""}
    assert os.stat(made["Options"]["device"]).st_ino == inode


def test_directories_that_no_container_uses_are_let_go(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binds, "SWEEP_AT", 3)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        (behind.binds / str(number)).mkdir()
        behind.served.scope.binds.volume(str(behind.binds / str(number)))
    most = before + 3 + 1
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= most, "them and the engine's connections to be closed")


def test_what_was_bound_before_the_proxy_restarted_is_not_started_again(behind: Behind) -> None:
    kept = behind.served.scope.binds
    name = kept.volume(str(behind.binds))
    kept.check([{"Type": "volume", "Name": name}, {"Type": "tmpfs"}])
    with pytest.raises(RefusedError, match=r"^cannot start: the proxy was restarted"):
        kept.check([{"Type": "volume", "Name": "rdagentd-run-1-0000"}])
