"""A multipart form as it comes in: its fields in memory, its files on disk, both bounded."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiohttp import BodyPartReader, MultipartReader, web
from attrs import Factory, define

from rdagentd.gateway.rdagent.answers import RefusedError

_MOST_PARTS = 1000
_MOST_TEXT = 500_000
"""Parts of a form, and bytes of all its fields together, as werkzeug has them."""

_CHUNK = 256 << 10


@define
class Form:
    """fields: values by name, in their order; files: (given name, where it is) of those in the field `files`."""

    fields: dict[str, list[str]] = Factory(dict)
    files: list[tuple[str, Path]] = Factory(list)

    def field(self, name: str) -> str | None:
        """The first value of a field."""
        return self.fields.get(name, [None])[0]


async def read_form(request: web.Request, directory: Path, most: int) -> Form:
    """The form of a request of at most `most` bytes; files are put into `directory` by number.

    A body that is no multipart form has nothing in it. Raises HTTPRequestEntityTooLarge, RefusedError, or OSError.
    """
    form = Form()
    if request.content_type == "application/x-www-form-urlencoded":
        for key, value in (await request.post()).items():
            form.fields.setdefault(key, []).append(str(value))
        return form
    if not request.content_type.startswith("multipart/"):
        return form
    try:
        await _read(await request.multipart(), form, directory, most)
    except (ValueError, AssertionError) as error:  # of aiohttp's parser
        raise RefusedError(400, f"the form cannot be read: {error}") from None
    return form


async def _read(reader: MultipartReader, form: Form, directory: Path, most: int) -> None:
    parts = size = text = 0
    while (part := await reader.next()) is not None:
        parts += 1
        if parts > _MOST_PARTS or not isinstance(part, BodyPartReader):
            raise web.HTTPRequestEntityTooLarge(most, size)
        if part.filename is None:
            value = b""
            while chunk := await part.read_chunk(_CHUNK):
                value += chunk
                size, text = size + len(chunk), text + len(chunk)
                if size > most or text > _MOST_TEXT:
                    raise web.HTTPRequestEntityTooLarge(most, size)
            form.fields.setdefault(part.name or "", []).append(value.decode(errors="replace"))
            continue
        path = directory / str(parts)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while chunk := await part.read_chunk(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise web.HTTPRequestEntityTooLarge(most, size)
                await asyncio.to_thread(_write, fd, chunk)
        finally:
            os.close(fd)
        if part.name == "files":
            form.files.append((part.filename, path))


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
