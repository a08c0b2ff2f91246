"""`rdagentd fetch`: gets files once, each whole or not at all, and becomes the program."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Handler(BaseHTTPRequestHandler):
    """Has /a.pdf for ticket `t`; promises more of /torn.pdf than it sends."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        fits = self.headers["X-Ticket"] == "t"
        self.send_response(200 if fits else 403)
        self.send_header("Content-Length", "8" if "torn" in self.path else "4")
        self.end_headers()
        self.wfile.write(b"pdf\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """It is quiet."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


def fetch(
    server: ThreadingHTTPServer, directory: Path, *files: str, ticket: str = "t"
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "RDAGENTD_UPLOAD": f"http://127.0.0.1:{server.server_port}/",
        "RDAGENTD_UPLOAD_TOKEN": ticket,
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "rdagentd", "fetch", str(directory), *files]
    return subprocess.run(
        [*command, "--", "/bin/sh", "-c", "echo $0 $RDAGENTD_UPLOAD_TOKEN; exit 7", "ran"],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_gets_the_files_and_becomes_the_program_without_the_ticket(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    done = fetch(server, tmp_path / "new", "a.pdf", "b.pdf")
    assert (done.returncode, done.stdout) == (7, "ran\n"), done.stderr
    assert (tmp_path / "new" / "a.pdf").read_text() == "pdf\n"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.pdf", "b.pdf"]


def test_what_is_there_is_not_asked_for_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_text("mine")
    assert fetch(server, tmp_path, "a.pdf").returncode == 7
    assert server.asked == [] and (tmp_path / "a.pdf").read_text() == "mine"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("file", "ticket", "words"), [("a.pdf", "x", "403"), ("torn.pdf", "t", "bytes")])
def test_without_all_of_a_file_the_program_does_not_run(
    server: ThreadingHTTPServer, tmp_path: Path, file: str, ticket: str, words: str
) -> None:
    done = fetch(server, tmp_path, file, ticket=ticket)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("cannot fetch what was uploaded") and words in done.stderr
    assert not (tmp_path / file).exists()
