"""The daemon's own log under systemd: what the sandbox lets through, and the drop-ins that open it. One machine's life."""

import pytest

from .machine import Machine

INSTALLED = True

CONFIG = "/etc/rdagentd/conf.d/logging.toml"
DROP_INS = "/etc/systemd/system/rdagentd.service.d"
FILE = "/var/log/rdagentd-daemon/rdagentd.log"

SINK = """
import socket
listener = socket.create_server(("127.0.0.1", 5959))
open("/root/listening", "w")
while True:
    connection, _ = listener.accept()
    with connection.makefile("rb") as lines, open("/root/sink", "ab", 0) as kept:
        for line in lines:
            kept.write(line)
"""


def reload(machine: Machine, text: str) -> str:
    """What `systemctl reload` and its journal say with this [logging]."""
    machine.put(CONFIG, f"[logging]\n{text}".encode())
    return machine.run("rdagentctl reload 2>&1", timeout=120).out


def until(machine: Machine, condition: str) -> None:
    """Waits for a command to succeed."""
    machine.check(f"timeout 480 sh -c 'until {condition}; do sleep 0.2; done'", timeout=180)


def test_the_journal_has_fields(machine: Machine) -> None:
    machine.check("systemctl reload rdagentd", timeout=120)
    until(machine, 'journalctl LOGGER=rdagentd.daemon -o cat | grep -q "configuration reloaded"')


def test_a_file_in_the_state_directory_and_the_local_syslog_need_no_drop_in(machine: Machine) -> None:
    reload(machine, 'file = {path = "/var/lib/rdagentd/own.log", format = "json"}\nsyslog = {}\n')
    until(machine, 'grep -q "\\"message\\": \\"configuration reloaded" /var/lib/rdagentd/own.log')
    until(machine, 'journalctl _TRANSPORT=syslog SYSLOG_IDENTIFIER=rdagentd -o cat | grep -q "configuration reloaded"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'file = {{path = "{FILE}"}}', f"cannot log to {FILE}: no such file or directory"),
        ('file = {path = "/var/log/x.log"}', "cannot log to /var/log/x.log: read-only file system"),
    ],
)
def test_what_the_sandbox_does_not_let_through_is_refused_in_words(machine: Machine, text: str, said: str) -> None:
    answer = reload(machine, text)
    assert said in answer and '"The daemon\'s own log"' in answer


def test_with_the_drop_in_it_logs_to_a_file_and_to_a_server(machine: Machine) -> None:
    machine.put("/root/sink.py", SINK.encode())
    machine.check("systemd-run --unit sink python3 /root/sink.py")
    until(machine, "test -e /root/listening")
    machine.check(f"mkdir -p {DROP_INS} && cp /usr/share/rdagentd/rdagentd.service.d/*.conf {DROP_INS}")
    machine.put(CONFIG, f'[logging]\nfile = {{path = "{FILE}"}}\ntcp = {{address = "127.0.0.1:5959"}}\n'.encode())
    machine.check("systemctl daemon-reload && systemctl restart rdagentd", timeout=180)
    until(machine, f'grep -q "\\[INFO\\] rdagentd.daemon: ready on" {FILE}')
    until(machine, 'grep -q "\\"message\\": \\"ready on" /root/sink')
    assert machine.check(f"stat -c '%U %a' {FILE}").split() == ["rdagentd", "640"]


def test_a_file_that_logrotate_takes_away_begins_anew(machine: Machine) -> None:
    assert "/var/log/rdagentd-daemon/*.log" in machine.check("cat /etc/logrotate.d/rdagentd")
    machine.check(f"mv {FILE} {FILE}.1; systemctl reload rdagentd", timeout=120)
    until(machine, f'grep -q "configuration reloaded" {FILE}')
    assert "ready on" in machine.check(f"cat {FILE}.1")
