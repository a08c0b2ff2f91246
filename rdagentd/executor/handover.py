"""The executor replaces itself by another version: same pid, same children, same descriptors; the rest goes by a memfd."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import msgpack

from rdagentd.executor.assist import Assistant
from rdagentd.executor.notify import Channel
from rdagentd.executor.pipes import Stream
from rdagentd.executor.run import Run
from rdagentd.executor.spawn import HANDLED
from rdagentd.protocol.redaction import Redactor

if TYPE_CHECKING:
    from rdagentd.executor.executor import Executor

VARIABLE = "RDAGENTD_HANDOVER"
"""Environment variable that gives the new program the number of the memfd."""

_TRIAL = """
import sys
from rdagentd.executor.main import settings
try:
    settings(sys.argv[1:])
except ValueError as error:
    sys.exit(f"rdagentd executor: {error}")
"""
"""What the new program will need: once the old one is gone it is too late to find out that something is missing."""

_KEPT = [name for name in Run.__slots__ if name not in ("channel", "streams", "secrets", "told")]


def replace(executor: Executor) -> None:
    """Does not return. Raises OSError if the new program cannot be executed or loaded; then nothing has changed."""
    command = [sys.executable, "-c", _TRIAL, *executor.arguments]
    if os.waitpid(os.posix_spawn(sys.executable, command, os.environ), 0)[1]:
        raise OSError(f"{sys.executable} cannot load rdagentd.executor, or cannot read the policy; its log tells more")
    memfd = os.memfd_create("rdagentd-executor")
    kept = [memfd, executor.lock, executor.journal.fd, executor.link.listener.fileno()]
    kept += [run.report for run in executor.runs.values() if run.report >= 0]
    kept += [stream.fd for run in executor.runs.values() for stream in run.streams if stream.fd >= 0]
    kept += [channel.socket.fileno() for channel in _channels(executor)]
    with open(memfd, "wb", closefd=False) as file:
        file.write(msgpack.packb(_state(executor)))
    old = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # a signal that comes now waits for the new program
    try:
        for fd in kept:
            os.set_inheritable(fd, True)
        os.execve(sys.executable, sys.orig_argv, {**os.environ, VARIABLE: str(memfd)})
    finally:
        for fd in kept:
            os.set_inheritable(fd, False)
        os.close(memfd)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def received() -> dict[str, Any] | None:
    """What the program that was replaced has left for us; None if there was none."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    with open(int(text), "rb") as file:
        file.seek(0)
        state: dict[str, Any] = msgpack.unpackb(file.read(), strict_map_key=False)
    return state


def resume(executor: Executor, state: dict[str, Any]) -> socket.socket:
    """Takes up all runs; returns the listening socket."""
    executor.leaving = state["leaving"]
    channels = executor.channels.resume(state.get("channels", []))
    for fields, streams in state["runs"]:
        run = Run(fields["id"], fields["worker"], fields["linger"])
        for name, value in fields.items():
            setattr(run, name, value)
        for fd, stream, start, dropped, cap, segment, unmarked, why in streams:
            log = executor.pipes.log(run.worker, stream)
            log.begin(cap, segment)
            log.unmarked, log.why = unmarked, why
            run.streams.append(Stream(fd, log, start, dropped))
            executor.pipes.adopt(run.streams[-1])
        run.secrets, run.told, redactors = state.get("redaction", {}).get(run.id, (None, b"", ()))
        run.channel = channels.get(run.id)
        for opened, redactor in zip(run.streams, redactors, strict=False):
            opened.redactor = redactor and Redactor.restored(redactor)
        executor.adopt(run)
    for fields in state.get("assistants", ()):
        assistant = Assistant(fields["id"], fields["worker"])
        for name, value in fields.items():
            setattr(assistant, name, value)
        assistant.report = -1
        executor.adopt(assistant)
    executor.assistants.dismiss()
    executor.tree.resume(state)
    return socket.socket(fileno=state["listener"])


def _state(executor: Executor) -> dict[str, Any]:
    return {
        "lock": executor.lock,
        "journal": executor.journal.fd,
        "pending": executor.journal.pending,
        "listener": executor.link.listener.fileno(),
        "nofile": executor.spawner.nofile,
        "oom": executor.spawner.oom,
        "leaving": executor.leaving,
        **executor.tree.state(),
        "runs": [
            ({name: getattr(run, name) for name in _KEPT}, [_stream(stream) for stream in run.streams])
            for run in executor.runs.values()
        ],
        "assistants": [{name: getattr(run, name) for name in _KEPT} for run in executor.assistants.live.values()],
        "redaction": {  # apart: a program without it can take up the rest
            run.id: (run.secrets, run.told, [stream.redactor and stream.redactor.state() for stream in run.streams])
            for run in executor.runs.values()
        },
        "channels": [channel.state() for channel in _channels(executor)],
    }


def _channels(executor: Executor) -> list[Channel]:
    own = [run.channel for run in executor.runs.values() if run.channel is not None]
    return [*own, *executor.channels.contained.values()]


def _stream(stream: Stream) -> tuple[int, str, int, int, int, int, int, str]:
    log = stream.log
    return stream.fd, log.stream, stream.start, stream.dropped, log.cap, log.segment, log.unmarked, log.why
