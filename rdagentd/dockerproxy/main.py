"""`rdagentd docker-proxy`: the program."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from rdagentd.dockerproxy import control
from rdagentd.dockerproxy.proxy import Proxy
from rdagentd.dockerproxy.served import passable
from rdagentd.dockerproxy.streams import shut
from rdagentd.journal import start_logging

STACK = 512 << 10
"""Bytes of stack for each of many threads."""


def main(arguments: Sequence[str]) -> int:
    """Serves until SIGTERM; returns the exit code."""
    options = _parser().parse_args(arguments)
    start_logging("rdagentd-docker-proxy")
    threading.stack_size(STACK)
    try:
        passable(options.runtime_dir)
        options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        proxy = Proxy(str(options.engine), options.runtime_dir, options.state_dir / "runs.json")
        proxy.start()
        listener = control.listen(options.socket, options.daemon_uid)
    except (OSError, ValueError) as error:
        logging.getLogger(__name__).error("cannot start: %s", error)
        return 1
    logging.getLogger(__name__).info("listening on %s, for the engine at %s", options.socket, options.engine)
    signal.signal(signal.SIGTERM, lambda *_: shut(listener))
    signal.signal(signal.SIGINT, lambda *_: shut(listener))
    control.serve(listener, proxy, options.daemon_uid)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rdagentd docker-proxy", description="The Docker engine as the runs of agents may use it."
    )
    parser.add_argument("--engine", type=Path, default=Path("/run/docker.sock"), help="the engine's socket")
    parser.add_argument("--socket", type=Path, required=True, help="where the daemon speaks to it")
    parser.add_argument("--runtime-dir", type=Path, required=True, help="the runs' sockets are made here")
    parser.add_argument("--state-dir", type=Path, required=True, help="the rules are kept here")
    parser.add_argument("--daemon-uid", type=int, default=0, help="who may speak to it, beside its own user")
    return parser
