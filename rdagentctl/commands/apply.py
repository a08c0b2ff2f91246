"""rdagentctl apply: makes workers as TOML files say. The daemon judges them; here they are only read."""

from __future__ import annotations

import os
import sys
import tomllib

from rdagentctl import changes, render
from rdagentctl.failure import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    dry = arguments.flag("dry-run")
    documents = [document for word in arguments.words for document in _documents(word)]
    answer = client.call("apply", {"documents": documents, "dry_run": dry, "prune": arguments.flag("prune")})
    if arguments.flag("json"):
        render.show_json(answer)
    else:
        changes.show(answer["changes"], dry=dry)
    return 0


def _documents(word: str) -> Iterator[dict[str, Any]]:
    """One document for each file that the word stands for. Raises UsageError."""
    if word == "-":
        yield _document("standard input", os.getcwd(), sys.stdin.buffer.read())
        return
    for path in _files(word):
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
        yield _document(path, os.path.dirname(os.path.abspath(path)), data)


def _files(word: str) -> list[str]:
    if not os.path.isdir(word):
        return [word]
    try:
        names = sorted(name for name in os.listdir(word) if name.endswith(".toml") and not name.startswith("."))
    except OSError as error:
        raise UsageError(f"cannot read {word}: {(error.strerror or str(error)).lower()}") from None
    if not names:  # with --prune a slip of the pen would remove everything
        raise UsageError(f"cannot apply {word}: there is no *.toml in it")
    return [os.path.join(word, name) for name in names]


def _document(where: str, base: str, data: bytes) -> dict[str, Any]:
    try:
        document = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {where}: byte {error.start} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error) or "nested too deeply"
        raise UsageError(f"cannot read {where}: {reason[0].lower()}{reason[1:]}") from None
    return {"where": where, "base": base, "document": document}
