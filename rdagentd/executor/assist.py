"""Assistants: bounded children that look at what belongs to a worker, which the daemon itself may not. Answered for once.

To the tree an assistant is a run, whose name begins with "." as no run's does. The journal knows of none: whoever asked and is
gone will ask again.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rdagentd.executor.run import Notice, Run

MOST = 64
"""At one time."""

MAX_TIMEOUT = 3600.0
"""Longest that one may take, in seconds."""

MAX_OUTPUT = 1 << 19
"""Most output that can be asked for, in bytes: an answer is one frame."""

_FLOOD = 1 << 20
"""Bytes beyond what was asked for, after which one is ended: else it would be the executor's time that it wastes."""

_PIECE = 1 << 16
_LAST = 2
"""Pieces taken when all has ended: what a pipe holds, and its end. Whoever else was given the pipe could fill it for ever."""


class Assistant(Run):
    """timeout: in seconds; most: bytes of output that are wanted. fd: where that comes, -1 once its end is come.

    written: bytes of output until now. wanted: somebody waits for the answer.
    """

    __slots__ = ("fd", "most", "output", "reason", "timeout", "wanted", "written")

    def __init__(self, id: str, worker: str, timeout: float = 0.0, most: int = 0) -> None:  # noqa: A002
        super().__init__(id, worker, linger=0.0)
        self.timeout = timeout
        self.most = most
        self.fd = -1
        self.output = b""
        self.written = 0
        self.reason = ""
        self.wanted = True

    def answer(self) -> Notice:
        """The notice `assisted`, when nothing of it is left."""
        late = f"it did not end within {self.timeout:g} s" if self.deadline is None else ""
        end = self._end()
        return answer(self.id, self.reason or late or end.get("reason", ""), end, self.output)


class Assistants:
    """Those that live. kill: ends all of one."""

    def __init__(self, epoll: select.epoll, kill: Callable[[Run], None]) -> None:
        self.live: dict[str, Assistant] = {}
        self.outputs: dict[int, Assistant] = {}
        self._epoll = epoll
        self._kill = kill

    def begin(self, assistant: Assistant, fd: int) -> None:
        """It has been forked; `fd`: where its output comes."""
        assistant.fd = fd
        assistant.deadline = time.monotonic() + assistant.timeout
        self.outputs[fd] = assistant
        self._epoll.register(fd, select.EPOLLIN)

    def hear(self, fd: int) -> bool:
        """Takes a piece of the output; False at its end."""
        assistant = self.outputs[fd]
        data = os.read(fd, _PIECE)
        assistant.output += data[: assistant.most - len(assistant.output)]
        assistant.written += len(data)
        if not data:
            self._close(assistant)
        elif assistant.written > assistant.most + _FLOOD and not assistant.killing:
            assistant.reason = f"it wrote more than {assistant.most + _FLOOD} bytes"
            self._kill(assistant)
        return bool(data)

    def over(self, assistant: Assistant) -> Notice | None:
        """Nothing of it is left: takes what is still in the pipe; the answer, if somebody waits for it."""
        with suppress(BlockingIOError):
            for _ in range(_LAST):
                if assistant.fd < 0 or not self.hear(assistant.fd):
                    break
        if assistant.fd >= 0:  # something that is not of its tree has it
            self._close(assistant)
        del self.live[assistant.id]
        return assistant.answer() if assistant.wanted else None

    def dismiss(self) -> None:
        """Nobody waits for their answers any more."""
        for assistant in self.live.values():
            assistant.wanted = False
            self._kill(assistant)

    def _close(self, assistant: Assistant) -> None:
        self._epoll.unregister(assistant.fd)
        os.close(assistant.fd)
        del self.outputs[assistant.fd]
        assistant.fd = -1


def answer(id: str, reason: str, end: dict[str, Any], output: bytes = b"") -> Notice:  # noqa: A002
    """The notice `assisted`."""
    about = {key: end.get(key) for key in ("code", "signal")}
    return {"notice": "assisted", "id": id.removeprefix("."), **about, "output": output, "reason": reason}


def as_spawn(request: dict[str, Any], *, beside: bool) -> dict[str, Any]:
    """What an assistant begins with, in the words of `spawn`. beside: it has no run whose limits hold for it."""
    own = {} if beside else {"cgroup": {}, "egress": ""}
    return {
        **request,
        **own,
        "of": request["run"] or "",
        "run": f".{request['id']}",
        "umask": 0o077,
        "nice": None,
        "rlimits": {},
        "env_files": [],
        "log": {"redact": False},
    }
