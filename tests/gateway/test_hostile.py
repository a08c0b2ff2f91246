"""Strangers before the real program: it answers or hangs up, stays small, and the daemon behind it does not notice."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parse

from rdagentd.gateway.connections import IDLE
from tests.gateway.client import Answer, LiveGateway, ask
from tests.harness import DEADLINE, Client, LiveDaemon, eventually, free_port

OFFERED = 10_000
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
MOST_MEMORY = 256 << 20
"""Bytes that it may have at any time here. It has some 60 MB when nobody asks for anything."""


@pytest.fixture
def calm(gateway: LiveGateway, host: LiveDaemon) -> Iterator[LiveGateway]:
    """The program, which afterwards is the same process as before, well, and small; the daemon has the same few clients."""
    assert gateway.process is not None
    witness = host.connect()
    eventually(lambda: gateway.ask("/readyz").text == "ok\n", "it to be ready")  # it has its link by now
    before = clients(witness)
    yield gateway
    assert gateway.process.poll() is None, gateway.said()
    eventually(lambda: gateway.ask("/readyz").text == "ok\n", "it to be ready")
    assert "defect" not in gateway.said() and "Traceback" not in gateway.said()
    assert memory(gateway) < MOST_MEMORY
    assert witness.call("ping")["pid"]
    assert clients(witness) <= before + 1, "the link to the daemon is one connection, whoever asks"
    witness.close()


def clients(witness: Client) -> float:
    """Connections that the daemon has."""
    (family,) = (found for found in witness.call("metrics")["families"] if found["name"] == "rdagentd_connections")
    return float(family["samples"][0][1])


def memory(gateway: LiveGateway) -> int:
    """The most that was resident, in bytes."""
    assert gateway.process is not None
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def connect(gateway: LiveGateway) -> socket.socket:
    parts = urlsplit(gateway.url)
    made = socket.create_connection((str(parts.hostname), int(parts.port or 0)))
    made.settimeout(DEADLINE)
    return made


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other end closes, or resets."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 20):
            got += data
    connection.close()
    return got


def says(gateway: LiveGateway, data: bytes) -> bytes:
    """What comes first after these bytes: the head of an answer, or b"" if it hangs up."""
    with connect(gateway) as connection:
        try:
            connection.sendall(data)
            return connection.recv(1 << 16)
        except ConnectionError:
            return b""


# --- too many ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_connections_are_offered(calm: LiveGateway) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < OFFERED + 500:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"only {most} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (OFFERED + 500, most))
    parts = urlsplit(calm.url)
    offered: list[socket.socket] = []
    try:
        for number in range(OFFERED):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((parts.hostname, parts.port))
            offered.append(connection)
            if number % 3 == 0:
                with contextlib.suppress(OSError):
                    connection.send(HEAD)  # and never the rest
            if number % 1000 == 999:
                assert calm.ask("/livez").text == "ok\n", "somebody else is served meanwhile"
        count = float(values(calm.ask("/metrics"))["rdagentd_http_connections"])
        assert count <= values(calm.ask("/metrics"))["rdagentd_http_connections_max"] == 512
        assert calm.process is not None
        assert len(list(Path(f"/proc/{calm.process.pid}/fd").iterdir())) < 700
    finally:
        for connection in offered:
            connection.close()
    # An end that found the queue full comes again later and later; the gateway waits no longer than for any that is idle.
    gone = lambda: values(calm.ask("/metrics"))["rdagentd_http_connections"] == 1  # noqa: E731
    eventually(gone, "the others to be forgotten", IDLE + DEADLINE)


def values(answer: Answer) -> dict[str, float]:
    """Samples without labels, by name."""
    return {s.name: s.value for family in parse(answer.text) for s in family.samples if not s.labels}


def test_streams_that_are_opened_by_hundreds_leave_the_daemon_its_connections(calm: LiveGateway) -> None:
    """Here /metrics and /health stand for all: however many ask at once, the daemon is asked by one connection."""
    many = [connect(calm) for _ in range(200)]
    for number, connection in enumerate(many):
        path = (b"/metrics", b"/health", b"/readyz")[number % 3]
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert all(rest(connection).startswith(b"HTTP/1.1 200 ") for connection in many)


# --- too slow ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_slow_heads_and_bodies_hold_nobody_up_and_are_ended(calm: LiveGateway) -> None:
    slow = [connect(calm) for _ in range(200)]
    for number, connection in enumerate(slow):
        body = b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
        connection.sendall(body if number % 2 else HEAD)
    assert calm.ask("/livez").text == "ok\n"
    ended = [rest(connection) for connection in slow]
    assert set(ended[::2]) == {b""}
    assert all(answer.startswith(b"HTTP/1.1 405 ") for answer in ended[1::2]), "refused without waiting for the body"


# --- too large --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * (1 << 20) + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: y\r\n" * 100_000 + b"\r\n",
        b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez?" + b"a=b&" * (1 << 16) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"x" * (1 << 20),
    ],
    ids=["a long header", "many headers", "a long path", "a long query", "no end"],
)
def test_a_huge_head_is_refused(calm: LiveGateway, head: bytes) -> None:
    answer = says(calm, head)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]
    assert b"aiohttp" not in answer and b"Python" not in answer


def test_a_huge_body_is_refused_before_it_is_sent(calm: LiveGateway) -> None:
    head = b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\nConnection: close\r\n\r\n"
    assert says(calm, head).startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 405 "))


def test_a_body_without_an_end_is_not_taken_in(calm: LiveGateway) -> None:
    connection = connect(calm)
    connection.sendall(b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with pytest.raises(ConnectionError):
        for _ in range(1000):
            connection.sendall(chunk)
    connection.close()


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_what_follows_a_refused_upgrade_is_not_kept(calm: LiveGateway, upgrade: bytes) -> None:
    connection = connect(calm)
    connection.sendall(HEAD + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            connection.sendall(bytes(1 << 20))
    answer = rest(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200 ")


# --- malformed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n Host: localhost\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0" * 5000,
    ],
)
def test_what_is_no_request_gets_no_success(calm: LiveGateway, data: bytes) -> None:
    answer = says(calm, data)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/0.9 505", b"HTTP/9.9 505")), answer
    assert b"aiohttp" not in answer and b"Traceback" not in answer


@pytest.mark.parametrize(
    "target",
    [
        b"/../../../../etc/passwd", b"/static/../../../../etc/passwd", b"/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        b"/static/..%2f..%2f..%2fetc%2fpasswd", b"//etc/passwd", b"/%00", b"/static/%00/passwd", b"/%ff%fe", b"/\xff",
        b"file:///etc/passwd", b"http://evil.example/etc/passwd", b"*", b"/livez/", b"/./livez/../../etc/passwd",
        b"/api/v1/..%2f..%2fetc/passwd", b"/stdout?id=../../../../etc/passwd",
    ],
)  # fmt: skip
def test_a_tricky_path_leads_nowhere(calm: LiveGateway, target: bytes) -> None:
    answer = says(calm, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status = answer.partition(b"\r\n")[0]
    assert b" 40" in status or b" 42" in status, answer


def test_a_name_that_was_made_to_lead_here_gets_nothing(calm: LiveGateway) -> None:
    for path in ("/metrics", "/health", "/livez"):
        answer = calm.ask(path, headers={"Host": "evil.example"})
        assert answer.status == 421 and b"rdagentd_" not in answer.body


def test_a_thousand_wrong_tokens_open_nothing(calm: LiveGateway) -> None:
    connection = connect(calm)
    stream = connection.makefile("rb")
    for number in range(1000):
        connection.sendall(HEAD + f"Authorization: Bearer {number:064x}\r\n\r\n".encode())
        assert stream.readline().startswith(b"HTTP/1.1 401 ")
        length = 0
        while (line := stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        stream.read(length)
    connection.close()


def test_any_bytes_get_an_answer_or_an_end(calm: LiveGateway) -> None:
    pieces = st.sampled_from(
        [b"GET ", b"POST ", b"/livez", b"/metrics", b" HTTP/1.1", b"\r\n", b"\n", b"Host: localhost", b"Content-Length: ",
         b"7", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: Upgrade", b"Upgrade: x", b"\r\n\r\n",
         b"Cookie: a=\"", b"Authorization: Bearer ", b"\xff", b"\0", b"Accept: */*", b"Origin: null", b"%", b"?token="]
    )  # fmt: skip

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(pieces | st.binary(max_size=8), max_size=25).map(b"".join))
    def attempt(data: bytes) -> None:
        with connect(calm) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(data + b"\r\n\r\n" + HEAD + b"Connection: close\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1 << 16)
            # What is no HTTP/1 is told so; aiohttp 3.8 does in the version that it was asked in.
            assert answer == b"" or answer.startswith((b"HTTP/1.", b"HTTP/0.9 505 ")), answer[:100]
            assert b" 500 " not in answer.partition(b"\r\n")[0]

    attempt()


# --- with TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(host: LiveDaemon) -> Iterator[tuple[LiveGateway, str]]:
    """The program with a certificate for localhost, and where that is."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        certificate, key = f"{directory}/cert.pem", f"{directory}/key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        live = LiveGateway(Path(directory), host.socket)
        try:
            live.start(f'certificate = "{certificate}"\nkey = "{key}"\n')
            yield live, certificate
        finally:
            live.close()


def test_with_a_certificate_it_speaks_tls_and_nothing_else(secured: tuple[LiveGateway, str]) -> None:
    gateway, certificate = secured
    assert gateway.url.startswith("https://")
    port = urlsplit(gateway.url).port
    context = ssl.create_default_context(cafile=certificate)
    with context.wrap_socket(connect(gateway), server_hostname="localhost") as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 200" not in says(gateway, HEAD + b"\r\n")
    token = (gateway.state / "token").read_text().strip()
    with context.wrap_socket(connect(gateway), server_hostname="localhost") as connection:
        connection.sendall(
            f"GET /?token={token} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = connection.recv(1 << 16)
        assert b"303 See Other" in answer and b"Secure" in answer


def test_who_says_nothing_where_tls_is_spoken_holds_nobody_up(secured: tuple[LiveGateway, str]) -> None:
    gateway, certificate = secured
    silent = [connect(gateway) for _ in range(50)]
    context = ssl.create_default_context(cafile=certificate)
    with context.wrap_socket(connect(gateway), server_hostname="localhost") as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
    for connection_ in silent:
        connection_.close()


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    live = LiveGateway(tmp_path, tmp_path / "no.sock")
    live.start('certificate = "/dev/null"\nkey = "/nowhere"\n', ready=False)
    assert live.process is not None and live.process.wait(DEADLINE) == 1
    assert "cannot use certificate /dev/null with key /nowhere" in live.said()


# --- and ours ---------------------------------------------------------------------------------------------------------


def test_it_leaves_in_the_middle_of_requests(tmp_path: Path, host: LiveDaemon) -> None:
    live = LiveGateway(tmp_path, host.socket)
    live.start()
    half = connect(live)
    half.sendall(HEAD)
    assert ask(live.url, "/livez").status == 200
    assert live.close() == 0
    assert rest(half) == b""


def test_a_port_that_was_just_used_is_had_again(tmp_path: Path, host: LiveDaemon) -> None:
    live = LiveGateway(tmp_path, host.socket)
    live.start(f"port = {free_port()}\n")  # one that the kernel gives to nobody else meanwhile
    port = urlsplit(live.url).port
    kept = connect(live)  # the end that closes first keeps the port in TIME_WAIT
    kept.sendall(HEAD + b"\r\n")
    assert select.select([kept], [], [], DEADLINE)[0]
    live.close()
    live.start(f"port = {port}\n")
    assert urlsplit(live.url).port == port
    live.close()
    kept.close()
