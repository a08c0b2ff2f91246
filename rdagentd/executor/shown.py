"""What a confined run sees of its own places: a socket, credentials, directories."""

from __future__ import annotations

_BINDS = {"--bind": True, "--dev-bind": True, "--bind-try": True, "--ro-bind": False, "--ro-bind-try": False}
"""Options of bwrap(1) that show a directory of the host, and whether it can be written there."""


def show(sandbox: list[str], place: str, writable: bool = False) -> None:
    """Adds a place to bubblewrap's options, unless it is seen there already: since 0.12 bubblewrap reads the directories above
    what it adds, and ours may be passed, but not read.
    """
    seen = False
    for number, word in enumerate(sandbox):
        if word in _BINDS and _covers(sandbox[number + 2], place):
            seen = sandbox[number + 1] == sandbox[number + 2] and (_BINDS[word] or not writable)
        elif word == "--tmpfs" and _covers(sandbox[number + 1], place):
            seen = False
    if not seen:
        sandbox += ["--bind" if writable else "--ro-bind", place, place]


def _covers(above: str, place: str) -> bool:
    return f"{place}/".startswith(above.rstrip("/") + "/")
