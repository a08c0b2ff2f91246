"""What is pure in the Docker driver: what the engine is asked for, what its answers mean, leases, progress, copied output."""

from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from rdagentd.drivers import docker_options as options
from rdagentd.drivers.docker_engine import EngineAwayError, _understood
from rdagentd.drivers.docker_log import LogHome, RunLog
from rdagentd.drivers.docker_ports import Ports, is_conflict
from rdagentd.drivers.docker_pull import Progress
from rdagentd.drivers.docker_state import exit_of, state_of
from rdagentd.model.container import Container, DriverName, Network
from rdagentd.model.requests import NOTHING, Requests
from rdagentd.model.run import ExitKind, Run
from rdagentd.model.spec import Limits, Log, Rlimit, Spec, Stop
from rdagentd.model.worker import Worker
from rdagentd.supervisor.logs import LogReader

ABLE = dict.fromkeys(options.CAPABLE.values(), True) | {"CgroupVersion": "2"}


def asked(
    container: Container, ports: tuple[int, ...] = (), holds: Requests = NOTHING, **fields: Any
) -> dict[str, Any]:
    spec = Spec("w", driver=DriverName.DOCKER, container=container, **fields)
    return options.container_config(Worker("w", spec, 0, run=Run("r1", "w", 1, holds=holds)), "7:8", "me", ABLE, ports)


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_an_engine_that_takes_containers_along_ends_them_as_their_spec_says() -> None:
    config = asked(Container("image"), stop=Stop(("SIGINT", "SIGINT", "SIGTERM"), interval=2, grace=10.5))
    assert (config["StopSignal"], config["StopTimeout"]) == ("SIGINT", 15)
    config = asked(Container("image"), stop=Stop((), grace=10))
    assert (config.get("StopSignal"), config["StopTimeout"]) == (None, 0)


def test_the_variables_that_say_who_it_is_are_ours_alone() -> None:
    config = asked(Container("image"), environment={"A": "1", "RDAGENTD_RUN": "x", "RDAGENTD_WORKER": "y"})
    assert sorted(config["Env"]) == ["A=1", "RDAGENTD_RUN=r1", "RDAGENTD_WORKER=w"]


def test_nothing_is_given_that_was_not_asked_for() -> None:
    config = asked(Container("image"))
    assert "Cmd" not in config and "Entrypoint" not in config and "WorkingDir" not in config
    assert (config["User"], config["Env"]) == ("7:8", ["RDAGENTD_WORKER=w", "RDAGENTD_RUN=r1"])
    host = config["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"], host["SecurityOpt"]) == (["ALL"], [], ["no-new-privileges"])
    assert (host["NetworkMode"], host["RestartPolicy"], host["Init"]) == ("bridge", {"Name": "no"}, True)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "100m", "max-file": "3"}}
    assert host["Ulimits"] == [{"Name": "core", "Soft": 0, "Hard": 0}]
    assert not {"Memory", "NanoCpus", "PidsLimit", "Privileged", "PidMode", "Devices", "ShmSize"} & host.keys()
    assert config["Labels"] == {
        "rdagentd.host": "me", "rdagentd.worker": "w", "rdagentd.run": "r1", "rdagentd.ports": "",
        "rdagentd.log": "52428800:10485760:0", "rdagentd.redact": "",
    }  # fmt: skip


def test_which_secrets_are_taken_out_of_its_output_stands_in_a_label_by_name() -> None:
    environment = {"B_TOKEN": "hunter22", "PLAIN": "not a secret", "A_KEY": "=hunter=23"}
    config = asked(Container("image"), environment=environment)
    assert config["Labels"][options.REDACT] == "A_KEY=B_TOKEN"
    told = options.secrets_of(config["Labels"][options.REDACT], [*config["Env"], "GPG_KEY=of the image"])
    assert told == options.secrets_in(Spec("w", environment=environment))
    assert told == [("A_KEY", b"=hunter=23"), ("B_TOKEN", b"hunter22")]
    assert options.REDACT not in asked(Container("image"), log=Log(redact=False))["Labels"]


def test_every_limit_is_in_the_words_of_the_engine() -> None:
    limits = Limits(
        memory=48 << 30, swap=2 << 30, cpu=2.5, cpu_weight=100, cpuset="0-1", tasks=512,
        nofile=Rlimit(10, None), cpu_time=Rlimit(60, 90),
    )  # fmt: skip
    host = asked(Container("i", shm=16 << 30, read_only=True), limits=limits)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (48 << 30, 50 << 30, 2_500_000_000)
    assert (host["CpusetCpus"], host["PidsLimit"], host["ShmSize"], host["ReadonlyRootfs"]) == (
        "0-1",
        512,
        16 << 30,
        True,
    )
    assert {"Name": "nofile", "Soft": 10, "Hard": -1} in host["Ulimits"]
    assert {"Name": "cpu", "Soft": 60, "Hard": 90} in host["Ulimits"]
    assert 1 + (host["CpuShares"] - 2) * 9999 // 262_142 in (99, 100), "what runc makes of it"
    assert asked(Container("i"), limits=Limits(memory=1 << 20))["HostConfig"]["MemorySwap"] == -1


def test_a_container_sees_the_gpus_that_its_run_has_on_lease_and_no_others() -> None:
    host = asked(Container("i"), holds=Requests(gpus=("0", "3")))["HostConfig"]
    assert host["DeviceRequests"] == [{"Capabilities": [["gpu"]], "DeviceIDs": ["0", "3"]}]
    assert "DeviceRequests" not in asked(Container("i"), requests=Requests(gpus=2))["HostConfig"], "none was leased"


def test_volumes_are_mounted_read_only_unless_said_and_never_made() -> None:
    mounts = asked(Container("i", volumes=("/a:/b:ro", "/c:/d:rw")))["HostConfig"]["Mounts"]
    assert mounts == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
        {"Type": "bind", "Source": "/c", "Target": "/d", "ReadOnly": False},
    ]


def test_a_container_has_the_socket_on_which_it_tells_of_itself() -> None:
    spec = Spec("w", driver=DriverName.DOCKER, container=Container("i"), watchdog=2.0)
    config = options.container_config(Worker("w", spec, 0, run=Run("r1", "w", 1)), "7:8", "me", ABLE, (), "/run/x/r1")
    assert config["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/run/x/r1", "Target": "/run/rdagentd/notify", "ReadOnly": True}
    ]
    assert {"NOTIFY_SOCKET=/run/rdagentd/notify/socket", "WATCHDOG_USEC=2000000"} <= set(config["Env"])


def test_leased_ports_are_published_on_loopback_and_told() -> None:
    config = asked(Container("i", ports=("80/tcp", "53/udp")), (19899, 19900))
    assert config["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "19899"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "19900"}],
    }
    assert {"RDAGENTD_PORT_80=19899", "RDAGENTD_PORT_53=19900"} < set(config["Env"])
    assert config["Labels"]["rdagentd.ports"] == "19899,19900"
    assert "PortBindings" not in asked(Container("i", network=Network.HOST))["HostConfig"]


def test_a_limit_that_the_engine_cannot_enforce_is_named() -> None:
    limits = Limits(memory=1 << 30, swap=0, cpu=1)
    (swap,) = options.unmet(limits, {**ABLE, "SwapLimit": False})
    assert (swap.field, swap.required) == ("swap", False) and "has no SwapLimit" in swap.text
    assert [limit.required for limit in options.unmet(limits, {})] == [True, False, False]
    assert options.unmet(Limits(swap=0, require=True), {})[0].required
    assert not options.unmet(Limits(memory=1 << 30, require=False), {})[0].required


# --- what its answers mean --------------------------------------------------------------------------------------------


def container(status: str, code: int = 0, **state: Any) -> dict[str, Any]:
    began = {"StartedAt": "2026-01-02T03:04:05.5Z", "FinishedAt": "2026-01-02T03:04:07.123456789Z"}
    return {
        "Id": "c1",
        "State": {"Status": status, "ExitCode": code, **began, **state},
        "HostConfig": {"Memory": 32 << 20},
        "Config": {},
    }


@pytest.mark.parametrize(
    ("code", "state", "kind", "signal", "reason"),
    [
        (0, {}, ExitKind.CODE, None, "exited with code 0"),
        (3, {}, ExitKind.CODE, None, "exited with code 3"),
        (143, {}, ExitKind.SIGNAL, "SIGTERM", "killed by SIGTERM"),
        (128, {}, ExitKind.CODE, None, "exited with code 128"),
        (255, {}, ExitKind.CODE, None, "exited with code 255"),
        (137, {"OOMKilled": True}, ExitKind.OUT_OF_MEMORY, "SIGKILL",
         "out of memory: its limit is 32 MiB; killed by SIGKILL"),
        (0, {"OOMKilled": True}, ExitKind.OUT_OF_MEMORY, None,
         "out of memory: its limit is 32 MiB; exited with code 0"),
    ],
)  # fmt: skip
def test_ends_are_told_apart(code: int, state: dict[str, Any], kind: ExitKind, signal: str | None, reason: str) -> None:
    ended = exit_of(state_of(container("exited", code, **state)))
    assert (ended.kind, ended.signal, ended.reason) == (kind, signal, reason)
    assert ended.code == (None if signal else code)


@pytest.mark.parametrize("code", [0, 255])
def test_a_code_that_the_engine_may_have_made_up_is_not_believed(code: int) -> None:
    """It says 0 or 255 of an end that it missed; any other it was told."""
    ended = exit_of(state_of(container("exited", code)), seen=False)
    assert (ended.kind, ended.code) == (ExitKind.LOST, code)
    assert ended.reason == f"lost: Docker was restarted, and may not have seen how it ended; it says exit code {code}"
    assert exit_of(state_of(container("exited", 3)), seen=False).reason == "exited with code 3"
    assert exit_of(state_of(container("exited", 143)), seen=False).kind is ExitKind.SIGNAL


def test_what_was_made_and_not_started_is_no_end() -> None:
    never = {"StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"}
    waiting = state_of(container("created", **never))
    assert waiting.is_waiting and not waiting.is_over and waiting.began is None
    failed = state_of(container("created", 127, Error="no such file", **never))
    assert failed.is_over and not failed.is_waiting
    assert (
        exit_of(failed).kind is ExitKind.COULD_NOT_START and exit_of(failed).reason == "could not start: no such file"
    )
    assert state_of(container("exited")).began == 1767323045.5


# --- ports ------------------------------------------------------------------------------------------------------------


def test_a_port_has_one_lease_at_a_time() -> None:
    ports = Ports(range(100, 103))
    assert (ports.lease("a", 2), ports.lease("b", 2)) == ((100, 101), (102,))
    ports.free("a")
    assert ports.lease("b", 2) == (100, 101)
    ports.taken("c", "102,")
    assert ports.lease("d", 1) == () and str(ports) == "100-102"


def test_a_port_that_somebody_else_listens_on_is_left_out_of_the_next_lease() -> None:
    ports = Ports(range(100, 103))
    assert ports.lease("a", 1) == (100,) and ports.refused("a")
    assert ports.lease("a", 1) == (101,) and ports.lease("b", 1) == (100,)
    assert is_conflict("Bind for 127.0.0.1:100 failed: port is already allocated") and not is_conflict("no such file")
    assert not Ports(range(1, 2)).refused("nobody")


# --- progress ---------------------------------------------------------------------------------------------------------


def test_fetching_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = [0.0]
    monkeypatch.setattr("rdagentd.drivers.docker_pull.time.monotonic", lambda: now[0])
    progress = Progress("image:1", told.append)
    progress.begin()
    for megabytes in range(100):
        now[0] += 0.1
        detail = {"current": megabytes * 10**6, "total": 100 * 10**6}
        progress.heard({"status": "Downloading", "id": "layer", "progressDetail": detail})
    progress.done()
    assert told == [
        "pulling image image:1",
        "pulling image image:1: 50 of 100 MB of 1 layers",
        "pulled image image:1 in 10 s",
    ]


# --- output -----------------------------------------------------------------------------------------------------------


def record(at: int, data: bytes, number: int = 1) -> bytes:
    """As the engine sends it; at: nanoseconds after a moment of 2026."""
    text = b"2026-01-02T03:04:%02d.%09dZ " % (5 + at // 10**9, at % 10**9) + data
    return struct.pack(">BxxxL", number, len(text)) + text


def read(home: Path, stream: str = "out") -> bytes:
    reader = LogReader(home / "w" / stream)
    return b"".join(piece.data for piece in reader.pieces(0, reader.bounds()[1]))


def copied(log: RunLog, *chunks: bytes) -> None:
    for _ in log.copy(chunks):
        pass
    log.close()


def test_the_same_records_are_written_once_however_often_they_are_read(tmp_path: Path) -> None:
    home = LogHome(tmp_path)
    records = [record(5, b"a\n"), record(5, b"b\n"), record(4, b"err\n", 2), record(6, b"c\n")]
    copied(home.open("w", "r1", Log()), *records[:1])
    copied(home.open("w", "r1", Log()), *records[:3])
    copied(home.open("w", "r1", Log()), *records)
    assert read(tmp_path) == b"a\nb\nerr\nc\n"
    log = home.open("w", "r1", Log())
    assert log.begin == {"out": 0} and log.ends() == {"out": 10}


def test_records_may_be_cut_anywhere_on_their_way(tmp_path: Path) -> None:
    stream = b"".join(record(number, b"%d\n" % number) for number in range(50))
    copied(LogHome(tmp_path).open("w", "r1", Log()), *(stream[place : place + 7] for place in range(0, len(stream), 7)))
    assert read(tmp_path) == b"".join(b"%d\n" % number for number in range(50))


def test_what_was_written_and_not_noted_before_a_crash_comes_again_to_the_same_place(tmp_path: Path) -> None:
    home = LogHome(tmp_path)
    copied(home.open("w", "r1", Log()), record(1, b"noted\n"))
    segment = tmp_path / "w" / "out" / f"{0:020d}.log"
    with segment.open("ab") as file:
        file.write(b"half a li")
    log = home.open("w", "r1", Log())
    assert log.ends() == {"out": 6}
    copied(log, record(1, b"noted\n"), record(2, b"half a line\n"))
    assert read(tmp_path) == b"noted\nhalf a line\n"


def test_streams_are_kept_apart_and_runs_one_after_the_other(tmp_path: Path) -> None:
    home = LogHome(tmp_path)
    copied(home.open("w", "r1", Log(separate=True)), record(1, b"out\n"), record(1, b"err\n", 2))
    second = home.open("w", "r2", Log(separate=True))
    assert second.begin == {"out": 4, "err": 4} and second.since == 0
    copied(second, record(1, b"more\n"))
    assert (read(tmp_path), read(tmp_path, "err")) == (b"out\nmore\n", b"err\n")
    home.forget("w")
    home.forget("w")
    assert list(tmp_path.iterdir()) == []


def test_since_finds_the_moment_at_which_it_was_written(tmp_path: Path) -> None:
    copied(LogHome(tmp_path).open("w", "r1", Log()), record(0, b"first\n"), record(3 * 10**9, b"later\n"))
    reader = LogReader(tmp_path / "w" / "out")
    now = time.time()
    assert reader.at_time(1767323045 + 1, now) == 6 and reader.at_time(1767323045, now) == 0


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    log = LogHome(tmp_path).open("w", "r1", Log(cap=50_000, segment=10_000))
    copied(log, *(record(number, b"%099d\n" % number) for number in range(1000)))
    oldest, end = LogReader(tmp_path / "w" / "out").bounds()
    assert end == 100_000 and end - oldest <= 60_000 and read(tmp_path).endswith(b"%099d\n" % 999)


def test_secrets_are_taken_out_however_the_records_cut_them(tmp_path: Path) -> None:
    log = LogHome(tmp_path).open("w", "r1", Log(separate=True), [("API_KEY", b"hunter22-and-more")])
    for _ in log.copy(
        [record(1, b"<hunter22-"), record(2, b"err hunter\n", 2), record(3, b"and-more>\n"), record(4, b"hunt")]
    ):
        pass
    assert (read(tmp_path), read(tmp_path, "err")) == (b"<[redacted API_KEY]>\n", b"err hunter\n")
    assert log.ends()["out"] == len(b"<[redacted API_KEY]>\n"), "the rest may be the beginning of one"
    log.finish()
    assert read(tmp_path) == b"<[redacted API_KEY]>\nhunt"
    assert b"hunter22" not in (tmp_path / "w" / "copied").read_bytes()


@pytest.mark.parametrize("crash", range(1, 8))
def test_what_was_copied_with_a_secret_half_read_comes_again_to_the_same_place(tmp_path: Path, crash: int) -> None:
    secrets = [("API_KEY", b"hunter22-and-more")]
    records = [record(1, b"<hunter22-"), record(2, b"and-more>"), record(3, b" ghp_" + b"a" * 20), record(4, b"a" * 20),
               record(5, b"a\n"), record(6, b"plain\n"), record(7, b"hunter")]  # fmt: skip
    first = LogHome(tmp_path).open("w", "r1", Log(), secrets)
    for _ in first.copy(records[:crash]):  # and nothing more is done: the daemon has crashed
        pass
    shown = read(tmp_path)
    again = LogHome(tmp_path).open("w", "r1", Log(), secrets)
    assert again.begin == {"out": 0}
    for _ in again.copy(records):
        pass
    again.finish()
    assert read(tmp_path) == b"<[redacted API_KEY]> ghp_[redacted]\nplain\nhunter"
    assert read(tmp_path).startswith(shown), "an offset that somebody has read stays"


def test_an_engine_that_we_may_not_use_says_what_to_do() -> None:
    def refused() -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(
        EngineAwayError, match="Permission denied: put our user into its group, usually docker, and restart"
    ):
        _understood(refused)
