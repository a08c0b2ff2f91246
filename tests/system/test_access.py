"""Who may do what, on a machine: ownership, roles, the way to root, credentials, and what a worker can reach."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.harness import eventually

from .machine import Machine, Result

INSTALLED = True

HERE = Path(__file__).parent
UNITS = ("rdagentd.service", "rdagentd.socket", "rdagentd-executor.service")
POLICY = "/etc/rdagentd/executor.toml"
PERSONS = {
    "member": "rdagentd",
    "other": "rdagentd",
    "chief": "rdagentd,rdagentd-admin",
    "stranger": "",
    "zero": "root",
}
UID = {name: 1000 + number for number, name in enumerate(PERSONS)}
# capabilities(7) that the executor's unit leaves: CHOWN, KILL, SETGID, SETUID, SYS_NICE, SYS_RESOURCE
BOUNDING = sum(1 << number for number in (0, 5, 6, 7, 23, 24))

# Tells systemd tales, and then that this has been dealt with: the manager closes the descriptor, see sd_notify_barrier(3).
TELLER = """
import os, select, signal, socket
says = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
says.connect("/run/systemd/notify")
says.send(f"READY=1\\nSTOPPING=1\\nSTATUS=owned\\nMAINPID={os.getpid()}".encode())
read, write = os.pipe()
socket.send_fds(says, [b"BARRIER=1"], [write])
os.close(write)
heard = select.poll()
heard.register(read, 0)
heard.poll()
print("heard", flush=True)
signal.pause()
"""


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """The people, and a way to try things."""
    machine.put("/usr/local/lib/escape.py", (HERE / "escape.py").read_bytes())
    for name, groups in PERSONS.items():
        machine.check(f"useradd --create-home --uid {UID[name]} --shell /bin/sh --groups '{groups}' {name}")
    machine.check(
        "chmod 700 /home/*; echo secret >/home/other/secret; chown other: /home/other/secret; chmod 600 /home/other/secret"
    )


# --- words ------------------------------------------------------------------------------------------------------------


def ctl(machine: Machine, person: str, *words: str) -> Result:
    """`rdagentctl` as a person."""
    return machine.run(shlex.join(["runuser", "-u", person, "--", "rdagentctl", *words]), timeout=150)


def submit(machine: Machine, name: str, script: str, *options: str, by: str = "member") -> None:
    """Submit a shell script."""
    done = ctl(machine, by, "submit", "--directory", "/", "--name", name, *options, "--", "sh", "-c", script)
    assert done.code == 0, done.out


def ended(machine: Machine, name: str) -> str:
    """How the worker's run ended, in words."""
    return str(machine.wait(name)[0]["exit"]["reason"])


def ends(machine: Machine, *names: str) -> dict[str, str]:
    """The same of many workers, each name or glob with a match."""
    return {found["name"]: found["exit"]["reason"] for found in machine.wait(*names)}


def output(machine: Machine, name: str, script: str, *options: str, by: str = "member") -> str:
    """What a script prints that runs to its end as a worker; the worker is removed."""
    submit(machine, name, script, *options, by=by)
    end = ended(machine, name)
    assert end.startswith("exited"), end
    said = machine.check(f"rdagentctl logs {name}")
    machine.check(f"rdagentctl remove {name}")
    return said


def row(machine: Machine, name: str) -> dict[str, Any]:
    """What `rdagentctl status` says of one worker."""
    found: dict[str, Any] = json.loads(machine.check(f"rdagentctl status --json {name} || test $? = 3"))[0]
    return found


def running(machine: Machine, name: str) -> dict[str, Any]:
    """The worker's run once it is under way and has printed something."""
    run: dict[str, Any] = machine.wait(name, until="running")[0]["run"]
    machine.check(f'until [ -n "$(rdagentctl logs {name})" ]; do sleep 0.2; done')
    return run


@attrs.frozen
class Audit:
    """What the event log says since it was looked at."""

    machine: Machine
    since: int

    def events(self) -> list[dict[str, Any]]:
        """All of them."""
        said = self.machine.check(f"rdagentctl events --json --since {self.since}")
        return [json.loads(line) for line in said.splitlines()]

    def tells(self, texts: Sequence[str], kind: str = "", by: str = "") -> None:
        """Each of these sentences stands in it, as soon as it is on disk."""

        def missing() -> list[str]:
            events = [event for event in self.events() if not kind or event["kind"] == kind]
            said = [event["text"] for event in events if not by or event["by"] == UID[by]]
            return [text for text in texts if not any(text in line for line in said)]

        eventually(lambda: not missing(), f"the event log to tell {texts}", 240)


def audit(machine: Machine) -> Audit:
    """The event log from now on."""
    last = machine.check("rdagentctl events --json --tail 1").splitlines()
    return Audit(machine, json.loads(last[-1])["seq"] if last else 0)


def refused(machine: Machine, person: str, *words: str) -> str:
    """The sentence with which rdagentctl is refused to a person."""
    done = ctl(machine, person, *words)
    assert done.code == 5, (words, done)
    return done.out.strip()


def pids(machine: Machine) -> list[str]:
    """The daemon's and the executor's."""
    return machine.check(
        f"systemctl show --property=MainPID --value {UNITS[0]}; systemctl show --property=MainPID --value {UNITS[2]}"
    ).split()


# --- the unit ---------------------------------------------------------------------------------------------------------


def test_systemd_finds_nothing_wrong_with_the_units(machine: Machine) -> None:
    files = " ".join(f"$(systemctl show --property=FragmentPath --value {unit})" for unit in UNITS)
    assert machine.check(f"systemd-analyze verify --man=no {files} 2>&1") == ""


def test_the_executor_is_started_once_it_listens(machine: Machine) -> None:
    machine.check("systemctl stop rdagentd.socket rdagentd.service rdagentd-executor.service", timeout=120)
    machine.check("test ! -e /run/rdagentd/executor.sock")
    machine.check("systemctl start rdagentd-executor.service && test -S /run/rdagentd/executor.sock", timeout=120)
    machine.check("systemctl start rdagentd.service", timeout=120)


# --- whose is it ------------------------------------------------------------------------------------------------------


def test_a_member_sees_the_worker_of_another_and_may_do_nothing_to_it(machine: Machine) -> None:
    submit(machine, "mine", "id -un; exec sleep 1000", "--env", "TOKEN=sesame", "--restart", "always")
    run, told = running(machine, "mine"), audit(machine)
    assert ctl(machine, "other", "status", "mine").code == 0
    assert ctl(machine, "other", "logs", "mine").out == "member\n"
    assert "mine is running" in ctl(machine, "other", "why", "mine").out
    shown = ctl(machine, "other", "show", "mine").out
    assert "TOKEN" in shown
    assert "sesame" not in shown
    verbs = ["start", "stop", "restart", "pause", "resume", "kill", "remove"]
    sentences = [refused(machine, "other", verb, "mine") for verb in verbs]
    sentences.append(refused(machine, "other", "signal", "HUP", "mine"))
    sentences.append(refused(machine, "other", "remove", "--force", "mine"))
    machine.put("/tmp/mine.toml", b'[worker.mine]\ncommand = "true"\n')
    sentences.append(refused(machine, "other", "apply", "/tmp/mine.toml"))
    for sentence, verb in zip(sentences, [*verbs, "signal", "remove", "apply"], strict=True):
        assert sentence.startswith(
            f"cannot {verb} mine: it belongs to uid {UID['member']}, you are uid {UID['other']}; ask its owner"
        )
    told.tells(sorted(set(sentences)), kind="refused", by="other")
    assert "exists" in ctl(machine, "other", "submit", "--name", "mine", "--", "true").out
    assert refused(machine, "other", "stop", "*") == sentences[1]
    assert row(machine, "mine")["run"] == run


def test_roles_come_from_the_configuration_and_change_at_a_reload(machine: Machine) -> None:
    machine.put("/etc/rdagentd/conf.d/access.toml", b'[access]\noperators = ["member"]\nviewers = ["other"]\n')
    machine.check("useradd --groups rdagentd outsider; systemctl reload rdagentd")
    told = audit(machine)
    assert ctl(machine, "other", "logs", "mine").out == "member\n"
    viewer = [refused(machine, "other", *words) for words in (["stop", "mine"], ["submit", "--", "true"])]
    outsider = refused(machine, "outsider", "status")
    chief = [refused(machine, "member", *words) for words in (["reload"],)]
    machine.check("rm /etc/rdagentd/conf.d/access.toml; systemctl reload rdagentd; userdel outsider")
    told.tells(viewer, kind="refused", by="other")
    told.tells(chief, kind="refused", by="member")
    told.tells([outsider], kind="refused")
    assert ctl(machine, "chief", "restart", "mine").code == 0
    assert "permission denied. Group 'rdagentd' may: join it" in refused(machine, "stranger", "ping")


# --- nobody becomes root ----------------------------------------------------------------------------------------------


def test_an_operator_cannot_ask_for_another_user_group_or_credential(machine: Machine) -> None:
    told = audit(machine)
    sentences = [
        refused(machine, "member", "submit", "--name", f"trick{number}", *options, "--", "touch", "/tmp/was-here")
        for number, options in enumerate(
            (["--user", "root"], ["--user", "0"], ["--user", "other"], ["--group", "root"], ["--group", "0"],
             ["--user", "member"], ["--nice", "-5"], ["--set", "credentials.key=openai"])
        )
    ]  # fmt: skip
    for number, what in enumerate(["user", "user", "user", "group", "group", "user", "nice below 0", "credentials"]):
        assert sentences[number] == f"cannot submit trick{number}: only administrators may set {what}; leave that out"
    told.tells(sentences, kind="refused", by="member")
    machine.check("test ! -e /tmp/was-here")


TRICKS = {
    "root": ('user = "root"', f"user root (uid 0) is refused by {POLICY}: allow_root is false"),
    "number": ("user = 0", "allow_root is false"),
    "zeros": ('user = "000"', "allow_root is false"),
    "nobody-said": ("", "user rdagentd"),
    "system": ('user = "daemon"', f"user daemon (uid 1) is refused by {POLICY}: minimum_uid is 1000"),
    "the-daemon": ('user = "rdagentd"', "minimum_uid is 1000"),
    "in-group-0": ('user = "zero"', f"user zero (uid {UID['zero']}) is refused by {POLICY}: it is in group 0"),
    "unknown-uid": ("user = 4242", "4242"),
    "group-root": (
        'user = "member"\ngroup = "root"',
        f"group 0 is refused by {POLICY}: user member (uid {UID['member']}) is not a member of it",
    ),
    "group-shadow": ('user = "member"\ngroup = "shadow"', "is not a member of it"),
}  # fmt: skip


def test_not_even_an_administrator_runs_something_as_root_or_beyond_the_user_s_own_groups(machine: Machine) -> None:
    told = audit(machine)
    tables = [
        f'[worker.{name}]\ncommand = ["touch", "/tmp/was-here"]\n{fields}\n' for name, (fields, _) in TRICKS.items()
    ]
    machine.put("/home/chief/tricks.toml", "\n".join(tables).encode())
    machine.check("chmod 755 /home/chief")
    done = ctl(machine, "chief", "apply", "/home/chief/tricks.toml")
    # Without a user what chief applies is chief's own, and that is no trick.
    assert done.code == 0, done.out
    reasons = ends(machine, *TRICKS)
    machine.check("rm /tmp/was-here; rdagentctl remove nobody-said")
    machine.put("/etc/rdagentd/workers.d/nobody-said.toml", b'command = ["touch", "/tmp/was-here"]\n')
    machine.check("systemctl reload rdagentd")
    reasons["nobody-said"] = ended(machine, "nobody-said")
    machine.check("rm /etc/rdagentd/workers.d/nobody-said.toml; systemctl reload rdagentd")
    for name, (_, said) in TRICKS.items():
        assert said in reasons[name], reasons
    told.tells(list(reasons.values()))
    machine.check(f"test ! -e /tmp/was-here && rdagentctl remove {' '.join(TRICKS)}")


def test_names_are_no_paths(machine: Machine) -> None:
    asks = """if True:
        import socket, sys
        from rdagentd.protocol import frames
        control = socket.socket(socket.AF_UNIX)
        control.connect("/run/rdagentd/rdagentd.sock")
        for number, name in enumerate(sys.argv[1:]):
            spec = {"name": name, "command": ["true"]}
            control.sendall(frames.pack({"v": 1, "id": number, "op": "submit", "args": {"spec": spec}}))
            decoder, answers = frames.Decoder(frames.MAX_FRAME, None), []
            while not answers:
                answers = decoder.feed(control.recv(65536))
            print(answers[0]["error"]["code"], answers[0]["error"]["message"].splitlines()[0])
    """
    names = ["../../etc/x", "a/b", "/etc", "..", ".", ".hidden", "a\nb"]
    said = machine.check(shlex.join(["runuser", "-u", "member", "--", "python3", "-c", asks, *names])).splitlines()
    assert len(said) == len(names)
    assert all(re.match("invalid cannot .*: name: .* is not a name", line) for line in said), said


def test_a_directory_that_is_a_link_is_entered_with_the_user_s_rights(machine: Machine) -> None:
    machine.check("runuser -u member -- ln -s /root /home/member/link")
    told = audit(machine)
    assert (
        ctl(machine, "member", "submit", "--name", "linked", "--directory", "/home/member/link", "--", "true").code == 0
    )
    sentence = "could not start: working directory /home/member/link: permission denied"
    assert ended(machine, "linked") == sentence
    told.tells([sentence])
    machine.check("rdagentctl remove linked")


def test_a_link_in_the_place_of_a_log_is_not_followed(machine: Machine) -> None:
    """Nobody but root can put it there; even then what it points to is neither written nor removed."""
    machine.check(
        "mkdir /srv/precious; touch /srv/precious/file; chmod 777 /srv/precious; ln -s /srv/precious /var/log/rdagentd/planted"
    )
    submit(machine, "planted", "echo hello")
    assert ended(machine, "planted") == "exited with code 0"
    machine.check("rdagentctl remove planted")
    assert machine.check("ls /srv/precious") == "file\n"


def test_environment_files_are_read_with_the_user_s_rights(machine: Machine) -> None:
    _, executor = pids(machine)
    machine.check("runuser -u member -- ln -sf /etc/shadow /home/member/env")
    told = audit(machine)
    files = ["/etc/shadow", "/home/other/secret", "/home/member/env", f"/proc/{executor}/environ", "/proc/self/environ",
             "/proc/self/fd/3", "/proc/self/fd/5"]  # fmt: skip
    tables = [
        f'[worker.env{number}]\ncommand = "env"\nenvironment_file = "{file}"\n' for number, file in enumerate(files)
    ]
    machine.put("/tmp/env.toml", "\n".join(tables).encode())
    assert ctl(machine, "member", "apply", "/tmp/env.toml").code == 0
    reasons = ends(machine, "env*")
    assert list(reasons.values()) == [f"could not start: environment file {file}: permission denied" for file in files]
    told.tells(list(reasons.values()))
    machine.check("rdagentctl remove 'env*'")


HOSTILE = {
    "LD_PRELOAD": "/tmp/evil.so", "LD_LIBRARY_PATH": "/tmp", "PATH": "/tmp:/usr/bin:/bin", "PYTHONPATH": "/tmp",
    "PYTHONSTARTUP": "/tmp/evil.py", "RDAGENTD_HANDOVER": "3", "RDAGENTD_FAILPOINTS": "before-spawn:1:kill",
    "RDAGENTD_RUN": "01zzzzzzzzzzzzzzzzzz", "RDAGENTD_WORKER": "mine", "RDAGENTD_MAX_WORKERS": "1",
    "NOTIFY_SOCKET": "/run/systemd/notify", "CREDENTIALS_DIRECTORY": "/run/credentials/rdagentd-executor.service",
    "LISTEN_FDS": "3", "LISTEN_PID": "1", "RUNTIME_DIRECTORY": "/tmp",
}  # fmt: skip


def test_the_environment_of_a_worker_is_the_worker_s_alone(machine: Machine) -> None:
    def environments() -> str:
        return machine.check("; ".join(f"tr '\\0' '\\n' </proc/{pid}/environ" for pid in pids(machine)))

    before, same = environments(), pids(machine)
    machine.check(
        "printf '#!/bin/sh\\ntouch /tmp/owned\\n' >/tmp/systemctl; cp /tmp/systemctl /tmp/evil.py; chmod 755 /tmp/systemctl"
    )
    options = [word for key, value in HOSTILE.items() for word in ("--env", f"{key}={value}")]
    told = dict(
        line.split("=", 1)
        for line in output(machine, "hostile", "env 2>/dev/null", *options).splitlines()
        if "=" in line
    )
    assert {key for key in HOSTILE if told[key] != HOSTILE[key]} == {"NOTIFY_SOCKET", "RDAGENTD_RUN", "RDAGENTD_WORKER"}
    assert told["RDAGENTD_WORKER"] == "hostile"
    assert (environments(), pids(machine)) == (before, same)
    machine.check("systemctl restart rdagentd && test ! -e /tmp/owned", timeout=120)


def test_systemd_does_not_heed_what_a_worker_says(machine: Machine) -> None:
    """It is in the executor's control group, so its messages reach the manager as the executor's unit's."""
    before = pids(machine)
    submit(machine, "teller", f"exec python3 -c {shlex.quote(TELLER)}")
    machine.check("until rdagentctl logs teller | grep --quiet heard; do sleep 0.2; done", timeout=120)
    machine.check("rdagentctl kill teller; rdagentctl wait teller; rdagentctl remove teller", timeout=120)
    assert pids(machine) == before
    assert (
        machine.check("systemctl show --property=ActiveState,StatusText rdagentd-executor")
        == "StatusText=\nActiveState=active\n"
    )


def test_a_setuid_shell_that_a_worker_makes_is_its_owner_s_and_no_more(machine: Machine) -> None:
    said = output(
        machine, "maker",
        # Not in /tmp, which ignores such bits on Debian 13.
        "cd /var/tmp; cp /bin/bash shell; chown root shell; chmod 6755 shell; ./shell -p -c 'id -u'; chgrp root shell",
    )  # fmt: skip
    assert said.splitlines() == [
        "chown: changing ownership of 'shell': Operation not permitted",
        str(UID["member"]),
        "chgrp: changing group of 'shell': Operation not permitted",
    ]
    assert output(machine, "taker", "/var/tmp/shell -p -c 'id -un; id -gn'", by="other") == "member\nmember\n"


def test_a_setuid_root_helper_is_bounded_by_the_capabilities_of_the_unit(machine: Machine) -> None:
    """An administrator put it there, so it is root; what the documents say of it."""
    machine.check("install -m 4755 /bin/bash /usr/local/bin/helper; chmod 600 /home/other/secret")
    tries = {
        "mount": "mount -t tmpfs none /mnt",
        "load a module": "modprobe --ignore-install dummy",
        "change the network": "ip link set lo down",
        "make a device": "mknod /tmp/device b 254 0",
        "leave the root": "chroot / true",
        "rename the host": "hostname owned",
        "set the clock": "date --set=2000-01-01",
        "read past permissions": "cat /home/other/secret",
        "write past permissions": "echo x >>/home/other/secret",
    }
    script = "\n".join(f"({command}) >/dev/null 2>&1 && echo 'open: {what}'" for what, command in tries.items())
    script += "\necho $EUID; grep -E 'CapBnd|CapEff' /proc/self/status; head -c 1 /etc/shadow >/dev/null && echo reads"
    said = output(machine, "helped", f"exec /usr/local/bin/helper -p -c {shlex.quote(script)}").splitlines()
    # Root's own files are open to it, /etc/shadow for one.
    assert said == ["0", f"CapEff:\t{BOUNDING:016x}", f"CapBnd:\t{BOUNDING:016x}", "reads"]
    machine.check("rm /usr/local/bin/helper /var/tmp/shell")


# --- what a worker can reach ------------------------------------------------------------------------------------------


def test_a_worker_gets_at_nothing_but_what_is_its_user_s(machine: Machine) -> None:
    submit(machine, "hers", "echo x; exec sleep 1000", by="other")
    run, before = running(machine, "hers"), pids(machine)
    secret = f"/run/rdagentd-executor/credentials/{run['id']}/key"
    tried = output(
        machine, "escape", f"echo x; exec python3 -I /usr/local/lib/escape.py {' '.join(before)} {run['pid']} {secret}"
    )
    ways, _, left = tried.splitlines()[-1].partition(", open: ")
    assert (left, int(ways.split()[0]) > 80) == ("[]", True), tried
    assert (pids(machine), row(machine, "hers")["run"]) == (before, run)
    machine.check("rdagentctl kill hers; rdagentctl wait hers; rdagentctl remove hers")


# --- credentials ------------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    """The examples in a language in the documents' part on secrets."""
    part = (HERE.parents[1] / "docs" / "operations.md").read_text().partition("\n## Secrets\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


def test_a_credential_reaches_the_worker_that_names_it_and_nobody_else(machine: Machine) -> None:
    """By what the documents say to do."""
    [console], [spec] = blocks("console"), blocks("toml")
    machine.put("/root/openai.key", b"sk-proven")
    machine.check("export HOME=/root\n" + re.sub("^# ", "", console, flags=re.MULTILINE), timeout=300)
    look = "cd $CREDENTIALS_DIRECTORY; ls -l; wc -c <key; touch x; trap 'exit 0' TERM; while :; do sleep 1; done"
    held = spec.replace("exec agent --key-file $CREDENTIALS_DIRECTORY/key", look).replace("alice", "member")
    machine.put("/etc/rdagentd/workers.d/held.toml", held.encode())
    machine.check("systemctl reload rdagentd")
    run = running(machine, "held")
    place = f"/run/rdagentd-executor/credentials/{run['id']}"
    assert machine.check(f"stat --format='%a %U %G' {place} {place}/key") == "750 root member\n400 member member\n"
    assert machine.check(f"runuser -u member -- cat {place}/key") == "sk-proven"
    machine.check("until rdagentctl logs held | grep --quiet denied; do sleep 0.2; done")
    said = machine.check("rdagentctl logs held")
    assert re.search(r"-r-------- 1 member member 9 .* key\n9\ntouch: .*Permission denied", said), said

    own = output(machine, "without", f"echo $CREDENTIALS_DIRECTORY; ls {place}/..; env")
    assert own.startswith("\nls: cannot open directory"), own
    assert "CREDENTIALS_DIRECTORY" not in own
    for path in (f"{place}/key", "/run/credentials/rdagentd-executor.service/openai"):
        for person in ("other", "rdagentd"):
            assert "Permission denied" in machine.run(f"runuser -u {person} -- cat {path}").out

    asked = ["credentials.key=openai", "secret_environment.OPENAI_API_KEY=openai"]
    script = "echo $OPENAI_API_KEY; cat $CREDENTIALS_DIRECTORY/key; ls /$OPENAI_API_KEY"
    options = ["--user", "member", *(word for setting in asked for word in ("--set", setting))]
    mark = "[redacted OPENAI_API_KEY]"
    said = output(machine, "told", script, *options, by="root")
    assert said.startswith(f"{mark}\n{mark}ls: cannot access '/{mark}'"), said
    daemon = "$(systemctl show --property MainPID --value rdagentd)"
    assert re.search(r"Max core file size +0 ", machine.check(f"cat /proc/{daemon}/limits"))

    machine.check("sync; journalctl --sync")
    everywhere = "/var/lib/rdagentd /var/lib/rdagentd-executor /var/log/rdagentd /var/log/journal /run/log"
    assert machine.run(f"grep --recursive --text --files-with-matches sk-proven {everywhere}").out == ""
    assert machine.run("journalctl --no-pager | grep sk-proven").out == ""
    assert (
        machine.run(
            "grep --text --files-with-matches sk-prove[n] /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
        ).out
        == ""
    )
    for words in ("show --json held", "status --json", "why held", "events --json --tail 1000"):
        assert "sk-proven" not in machine.check(f"rdagentctl {words}")

    machine.check("rm /etc/rdagentd/workers.d/held.toml; rdagentctl stop held; rdagentctl wait held", timeout=120)
    assert machine.check("ls -A /run/rdagentd-executor/credentials") == ""
    machine.check(f"test ! -e {place} && systemctl reload rdagentd; rdagentctl remove held")


# --- the policy -------------------------------------------------------------------------------------------------------

POLICIES = {
    f"chown member {POLICY}": f"belongs to uid {UID['member']}; chown root it",
    f"chown root {POLICY}; chmod 666 {POLICY}": "others can write to it (mode 0666); chmod 0644 it",
    f"mv {POLICY} /home/member/x; ln -s /home/member/x {POLICY}": "Too many levels of symbolic links",
    f"rm {POLICY}; echo 'allow_root = \"yes\"' >{POLICY}": "allow_root = 'yes': must be true or false",
}


@pytest.fixture
def policy(machine: Machine) -> Iterator[None]:
    """The policy file is as it was afterwards, and in force."""
    machine.check(f"cp --archive {POLICY} /root/policy")
    yield
    machine.check(f"rm -f {POLICY}; mv /root/policy {POLICY}; systemctl reset-failed rdagentd-executor")
    machine.check("systemctl restart rdagentd-executor", timeout=120)


@pytest.mark.usefixtures("policy")
def test_the_executor_does_not_start_with_a_policy_that_root_alone_does_not_hold(machine: Machine) -> None:
    for script, said in POLICIES.items():
        machine.check(script)
        assert machine.run("systemctl restart rdagentd-executor", timeout=120).code != 0
        status = machine.run("journalctl --sync; systemctl status --no-pager --full rdagentd-executor").out
        assert f"policy {POLICY}: " in status
        assert said in status
        shown = machine.check("systemctl show --property=ExecMainStatus,NRestarts,ActiveState rdagentd-executor")
        assert set(shown.split()) == {"ExecMainStatus=78", "NRestarts=0", "ActiveState=failed"}
    assert ctl(machine, "member", "ping").code == 0, "the daemon answers, and can tell"


@pytest.mark.usefixtures("policy")
def test_the_policy_alone_opens_the_way_to_root(machine: Machine) -> None:
    text = f'allow_root = true\nminimum_uid = {UID["other"]}\ndeny_users = ["chief"]\n'
    machine.put(POLICY, text.encode())
    machine.check("systemctl restart rdagentd-executor", timeout=120)
    assert output(machine, "as-root", "id -u", "--user", "root", by="chief") == "0\n"
    told = audit(machine)
    asked = refused(machine, "member", "submit", "--user", "root", "--", "true")
    for person in ("member", "chief"):
        submit(machine, f"of-{person}", "true", by=person)
    reasons = ends(machine, "of-*")
    assert f"(uid {UID['member']}) is refused by {POLICY}: minimum_uid is {UID['other']}" in reasons["of-member"]
    assert "deny_users" in reasons["of-chief"]
    told.tells([asked, *reasons.values()])
