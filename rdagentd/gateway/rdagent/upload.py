"""/upload: a scenario and its files become a worker, which fetches the files when it starts."""

from __future__ import annotations

import contextlib
import hmac
import itertools
import logging
import math
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from aiohttp import web

from rdagentd.gateway.access import Role, needs
from rdagentd.gateway.link import Link
from rdagentd.gateway.rdagent.answers import RefusedError, refusing
from rdagentd.gateway.rdagent.filenames import safe_name
from rdagentd.gateway.rdagent.follow import look
from rdagentd.gateway.rdagent.form import Form, read_form
from rdagentd.gateway.rdagent.names import new_name
from rdagentd.gateway.rdagent.traces import Traces
from rdagentd.protocol.errors import CONFLICT, ProtocolError

log = logging.getLogger(__name__)

SCENARIOS = (
    "Finance Data Building",
    "Finance Model Implementation",
    "Finance Whole Pipeline",
    "Finance Data Building (Reports)",
    "General Model Implementation",
    "Data Science",
)
"""Those of RD-Agent 1.0.0; which words they stand for is the daemon's to know."""

_COMPETITION = re.compile(r"MLE-Bench:([a-z0-9][a-z0-9-]{0,99})")
_TRIES = 8
_TICKET = "ticket"
_FILES = "files"

_at = itertools.count(1)


class Uploads:
    """The routes. What is uploaded lies in `directory`, by the name of the trace, until its worker is over."""

    def __init__(self, link: Link, traces: Traces, directory: Path, most: int) -> None:
        self._link = link
        self._traces = traces
        self._directory = directory
        self._most = most
        self._under_way: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Those of uploads."""
        return [
            web.post("/upload", self.upload),
            web.get("/rd-agent/uploads/{trace}/{name}", self.fetch),
        ]

    @refusing
    async def upload(self, request: web.Request) -> web.Response:
        """Launches RD-Agent."""
        self._tidy()
        place = self._directory / f"coming-{os.getpid()}-{next(_at)}"
        self._under_way.add(place.name)
        try:
            place.mkdir(mode=0o700, parents=True)
            form = await read_form(request, place, self._most)
            asked = _asked(form)
            return web.json_response({"id": await self._launched(request, place, asked)})
        except web.HTTPRequestEntityTooLarge:
            raise RefusedError(413, f"the upload has more than {self._most} bytes") from None
        except OSError as error:
            log.error("cannot keep an upload: %s", error)
            raise RefusedError(507, f"cannot keep the upload: {error.strerror or error}") from None
        finally:
            self._under_way.discard(place.name)
            shutil.rmtree(place, ignore_errors=True)

    async def _launched(self, request: web.Request, place: Path, asked: dict[str, Any]) -> str:
        """Id of the new trace. Raises ProtocolError."""
        files: dict[str, Path] = asked.pop("files")
        port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        competition = asked["competition"]
        ticket = secrets.token_urlsafe(32)
        for tries in range(_TRIES):
            trace = new_name() if competition is None else f"{competition}-{new_name()}"
            kept = self._directory / trace
            self._under_way.add(trace)
            try:
                if files:
                    self._keep(kept, files, ticket)
                with self._traces.launching():
                    told = await self._link.call(
                        "launch", {**asked, "trace": trace, "port": port, "files": list(files), "ticket": ticket}
                    )
                    with contextlib.suppress(ProtocolError):  # if the daemon left just now it is seen when it is back
                        await look(self._link, self._traces, told["name"])
                return str(told["id"])
            except ProtocolError as error:
                if files:
                    self._give_back(kept, files)
                if error.code != CONFLICT or tries == _TRIES - 1:
                    raise
            finally:
                self._under_way.discard(trace)
        raise AssertionError("the last try returns or raises")

    def _keep(self, kept: Path, files: dict[str, Path], ticket: str) -> None:
        (kept / _FILES).mkdir(mode=0o700, parents=True)
        (kept / _TICKET).write_text(ticket)
        for name, path in files.items():
            path.rename(kept / _FILES / name)

    def _give_back(self, kept: Path, files: dict[str, Path]) -> None:
        for name, path in files.items():
            (kept / _FILES / name).rename(path)
        shutil.rmtree(kept, ignore_errors=True)

    @refusing
    @needs(Role.NONE)
    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """A file, for the worker that it was uploaded for: its ticket is what opens it."""
        trace, name = request.match_info["trace"], request.match_info["name"]
        kept = self._directory / trace
        try:
            if not re.fullmatch("[a-z0-9-]+", trace) or name != safe_name(name):
                raise FileNotFoundError
            ticket = (kept / _TICKET).read_text()
        except (OSError, ValueError):
            raise RefusedError(404, "no such file") from None
        if not hmac.compare_digest(request.headers.get("X-Ticket", "").encode(), ticket.encode()):
            raise RefusedError(403, "the ticket does not fit")
        path = kept / _FILES / name
        if not path.is_file():
            raise RefusedError(404, "no such file")
        return web.FileResponse(path)

    def _tidy(self) -> None:
        """Removes what was uploaded for workers that are over, and what an earlier gateway had not finished."""
        if not self._traces.seen or not self._directory.is_dir():
            return
        needed = {trace.id.rpartition("/")[2] for trace in self._traces if not trace.over} | self._under_way
        for place in self._directory.iterdir():
            if place.name not in needed:
                shutil.rmtree(place, ignore_errors=True)


def _asked(form: Form) -> dict[str, Any]:
    """Arguments of `launch`, with the files by name. Raises RefusedError with the texts of RD-Agent 1.0.0."""
    scenario = form.field("scenario")
    files = [(name, path) for name, path in form.files if name]
    if scenario not in SCENARIOS:
        raise RefusedError(400, "Invalid scenario")
    if form.fields.get("files"):
        raise RefusedError(400, "Upload files directly; URLs and server paths are not accepted")
    if scenario == "General Model Implementation" and (len(form.files) != 1 or not files):
        raise RefusedError(400, "Exactly one report file must be uploaded")
    competition = None
    if scenario == "Data Science":
        found = _COMPETITION.fullmatch(form.field("competition") or "")
        if found is None:
            raise RefusedError(400, "Invalid competition")
        competition = found[1]
    return {
        "scenario": scenario,
        "competition": competition,
        "loops": _number(form, "loops", int),
        "hours": _number(form, "all_duration", float),
        "files": _named(files),
    }


def _number(form: Form, name: str, kind: type[int | float]) -> int | float | None:
    text = form.field(name)
    if not text:
        return None
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not (math.isfinite(number) and number > 0):
        raise RefusedError(400, f"Invalid {name}")
    return number


def _named(files: list[tuple[str, Path]]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for given, path in files:
        try:
            name = safe_name(given)
        except ValueError:
            raise RefusedError(400, "Invalid upload file") from None
        if name in named:
            raise RefusedError(409, "Upload file already exists")
        named[name] = path
    return named
