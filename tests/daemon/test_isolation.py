"""Each guarantee of an isolation, and a program that tries to get round it: it succeeds without, and not with."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, alive, eventually

pytestmark = pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")

PYTHON = "/usr/bin/python3"

TRIES = {
    "read_only_system": ("open(opt + '/new', 'w').write('x')", {"read_only_system": True}),
    "hidden_home": ("assert open(home + '/secret').read() == 'x'", {"hidden_home": True}),
    "private_tmp": ("assert open(tmp + '/secret').read() == 'x'", {"private_tmp": True}),
    "private shm": ("assert open(shm + '/secret').read() == 'x'", {"private_tmp": True}),
    "hidden_run": ("import socket; socket.socket(socket.AF_UNIX).connect(run + '/socket')", {"hidden_run": True}),
    "network": ("import socket; socket.create_connection(('127.0.0.1', int(port)), 5)", {"network": False}),
    "no_new_privileges": (
        "import os, subprocess; assert subprocess.check_output([opt + '/id', '-u'], text=True) != f'{os.getuid()}\\n'",
        {"no_new_privileges": True},
    ),
}
"""Guarantee → what a program tries, with the places below by name; the field that forbids it."""


@pytest.fixture
def places() -> Iterator[dict[str, str]]:
    """A directory in each place that can be forbidden, everybody's to use; a socket; a port; a set-user-ID program."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes directories in /opt, /home and /run, and a set-user-ID program")
    roots = {"opt": "/opt", "home": "/home", "tmp": "/tmp", "shm": "/dev/shm", "run": "/run"}
    made = {name: tempfile.mkdtemp(prefix="rdagentd-test-", dir=root) for name, root in roots.items()}
    with socket.socket(socket.AF_UNIX) as local, socket.create_server(("127.0.0.1", 0)) as server:
        for place in map(Path, made.values()):
            place.chmod(0o777)
            (place / "secret").write_text("x")
        local.bind(f"{made['run']}/socket")
        local.listen()
        os.chmod(f"{made['run']}/socket", 0o777)
        shutil.copy("/usr/bin/id", f"{made['opt']}/id")
        os.chmod(f"{made['opt']}/id", 0o4755)
        yield {**made, "port": str(server.getsockname()[1])}
    for place in made.values():
        shutil.rmtree(place)


def program(text: str, places: dict[str, str]) -> list[str]:
    names = "; ".join(f"{name} = {value!r}" for name, value in places.items())
    return [PYTHON, "-c", f"{names}\n{text}"]


def ended(client: Client, name: str) -> dict[str, Any]:
    (row,) = client.wait(name)
    exit_: dict[str, Any] = row["exit"]
    return exit_


@pytest.mark.parametrize("guarantee", TRIES)
def test_a_guarantee_holds_by_itself_and_with_all_others(
    client: Client, places: dict[str, str], guarantee: str
) -> None:
    text, field = TRIES[guarantee]
    for name, isolation in {"free": "none", "one": field, "all": "strict"}.items():
        client.submit(name, *program(text, places), user="nobody", isolation=isolation)
        end = ended(client, name)
        assert (end["kind"], end["code"] == 0) == ("code", name == "free"), (name, end, client.log(name))


def test_what_is_allowed_is_there_and_as_it_is_allowed(client: Client, places: dict[str, str]) -> None:
    text = """
assert open(tmp + '/secret').read() == open(home + '/secret').read() == 'x'
open(home + '/new', 'w').write('y')
try:
    open(tmp + '/new', 'w')
except OSError as error:
    print(error.strerror)
"""
    isolation = {"preset": "strict", "read_only": [places["tmp"]], "read_write": [places["home"]]}
    client.submit("w", *program(text, places), user="nobody", isolation=isolation)
    assert ended(client, "w")["code"] == 0, client.log("w")
    assert client.log("w") == b"Read-only file system\n"
    assert Path(places["home"], "new").read_text() == "y"


def test_a_part_of_what_can_be_written_can_be_for_reading_alone(client: Client, places: dict[str, str]) -> None:
    hooks = Path(places["home"], "hooks")
    hooks.mkdir(mode=0o777)
    hooks.chmod(0o777)
    isolation = {"preset": "strict", "read_write": [places["home"]], "read_only": [str(hooks)]}
    client.submit(
        "w", "sh", "-c", f"touch {places['home']}/new && ! touch {hooks}/new", user="nobody", isolation=isolation
    )
    assert ended(client, "w")["code"] == 0, client.log("w")
    assert Path(places["home"], "new").exists() and not (hooks / "new").exists()


def test_the_working_directory_can_be_written_and_home_is_empty(client: Client, places: dict[str, str]) -> None:
    text = "import os; open('new', 'w').close(); os.mkdir(os.environ['HOME'] + '/.cache'); print(os.listdir('/home'))"
    environment = {"HOME": "/home/somebody"}
    spec = {"user": "nobody", "environment": environment, "directory": places["tmp"], "isolation": "strict"}
    client.submit("w", *program(text, places), **spec)
    assert ended(client, "w")["code"] == 0, client.log("w")
    assert client.log("w") == b"['somebody']\n"
    assert Path(places["tmp"], "new").exists() and not Path("/home/somebody").exists()


def test_what_is_read_only_cannot_be_mounted_anew(client: Client, places: dict[str, str]) -> None:
    """Who has a user namespace may mount; yet not change what was mounted from outside of it."""
    script = "unshare --user --map-root-user --mount sh -c 'mount -o remount,rw,bind /opt; umount /home; umount /tmp'; "
    script += f"touch {places['opt']}/new {places['home']}/new"
    client.submit("w", "sh", "-c", script, user="nobody", isolation="strict")
    assert ended(client, "w")["code"] == 1
    assert not Path(places["opt"], "new").exists() and not Path(places["home"], "new").exists()


def test_stop_pause_and_restart_are_as_without(client: Client) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    person = {"user": "nobody"} if os.geteuid() == 0 else {}
    client.submit("w", "sh", "-c", script, isolation="strict", stop={"grace": "1h"}, **person)
    client.wait("w", until="running")
    eventually(lambda: client.log("w").count(b"ready") == 1, "the program to be ready")
    first = client.worker("w")["run"]["pid"]
    client.verb("pause", "w")
    client.verb("resume", "w")
    client.verb("restart", "w")
    eventually(lambda: client.log("w").count(b"ready") == 2, "the program to be ready again")
    assert not alive(first)
    client.verb("stop", "w")
    assert ended(client, "w")["code"] == 0
    assert client.log("w").count(b"bye") == 2


def test_a_start_that_fails_is_told_by_why(client: Client) -> None:
    person = {"user": "nobody"} if os.geteuid() == 0 else {}
    client.submit("program", "no-such-program", isolation="strict", environment={"PATH": "/usr/bin"}, **person)
    client.submit("place", "true", isolation={"network": False, "read_only": ["/no/such"]}, **person)
    assert ended(client, "program")["stage"] == "exec"
    assert "Can't find source path /no/such" in ended(client, "place")["reason"]
    told = client.call("why", select={"names": ["program"]})[0]["sentences"]
    assert any("exec no-such-program: no such file or directory" in text for text in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_not_confined_and_so_does_not_start(client: Client) -> None:
    client.submit("w", "true", isolation="strict")
    assert ended(client, "w")["reason"] == "could not start: isolation does not hold root; set user to somebody else"
