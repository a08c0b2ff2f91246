"""A blocking client of server-sent events, as a browser reads them (HTML, 9.2.6)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from tests.harness import DEADLINE


@frozen
class Event:
    """kind: "message" unless it has a name. mark: its id, "" if it has none."""

    kind: str
    mark: str
    data: Any


class Listener:
    """Events of one response. last: the id of the last event that had one."""

    def __init__(self, url: str, path: str, last: str | None = None) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=DEADLINE)
        self.connection.request("GET", path, headers={"Last-Event-ID": last} if last else {})
        self.response = self.connection.getresponse()
        self.last = last

    def __iter__(self) -> Iterator[Event]:
        """Until the response ends."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            name, _, value = line.rstrip("\n").partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            elif line == "\n" and "data" in fields:
                self.last = fields.get("id", self.last)
                yield Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
            if line == "\n":
                fields = {}

    def until(self, **wanted: Any) -> list[Event]:
        """All events up to the first whose data has these."""
        found = []
        for event in self:
            found.append(event)
            if isinstance(event.data, dict) and wanted.items() <= event.data.items():
                return found
        raise AssertionError(f"the stream ended without {wanted}; it told {found}")

    def close(self) -> None:
        self.connection.close()
