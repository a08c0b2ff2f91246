"""All places where records go: the one handler of the root logger, and the levels."""

from __future__ import annotations

import copy
import logging
import logging.config
import time
from typing import Self

from rdagentd.config.outputs import Logging, LogLevel, Main
from rdagentd.journal import to_journal
from rdagentd.outputs.output import Output
from rdagentd.outputs.sinks import Place, Standard, probe

log = logging.getLogger(__name__)

_PATIENCE = 3.0
"""Seconds for all places together, and then for stderr or the journal, to take what still waits when the daemon leaves."""


class Outputs(logging.Handler):
    """Hands each record to every output, without waiting for any; one lock makes a change of them lose and double nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._outputs: tuple[Output, ...] = ()
        self._levels: dict[str, LogLevel] = {}
        self._before = logging.getLogger().handlers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure(self, wanted: Logging, level: LogLevel) -> None:
        """Logs to these places from now on; those that stay are left alone. level: of loggers of which nothing is said.

        Raises LogError, and leaves everything as it was. May wait for a disk.
        """
        places = places_of(wanted)
        now = {output.place: output for output in self._outputs}
        for place in places:
            if place not in now:
                probe(place)
        kinds = {type(output.place): output for output in self._outputs}
        outputs = tuple(now.get(place) or Output(place, kinds.get(type(place))) for place in places)
        self._set_levels(dict(wanted.levels), level)
        with self.lock:  # type: ignore[union-attr]
            before, self._outputs = self._outputs, outputs
        for output in outputs:
            if output not in before:
                output.start()
        for output in before:
            if output not in outputs:
                output.leave()
        logging.getLogger().handlers = [self]

    def _set_levels(self, levels: dict[str, LogLevel], level: LogLevel) -> None:
        loggers = {name: {"level": "NOTSET"} for name in self._levels.keys() - levels.keys()}
        loggers |= {name: {"level": own.upper()} for name, own in levels.items()}
        root = {"level": level.upper()}
        logging.config.dictConfig({"version": 1, "incremental": True, "root": root, "loggers": loggers})
        self._levels = levels

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record = _settled(record)
        except Exception:
            self.handleError(record)
            return
        for output in self._outputs:
            output.put(record)

    def close(self) -> None:
        """Waits for what is still to be delivered, but not for long; from then on it is as before the first `configure`."""
        last = [output for output in self._outputs if isinstance(output.place, Standard)]
        self._end([output for output in self._outputs if output not in last])
        self._end(last)  # it may have been told that others miss something
        if not any(output.is_alive() for output in last):  # else who logs from now on would be stuck, too
            logging.getLogger().handlers = self._before
        super().close()

    def _end(self, ending: list[Output]) -> None:
        with self.lock:  # type: ignore[union-attr]
            self._outputs = tuple(output for output in self._outputs if output not in ending)
        deadline = time.monotonic() + _PATIENCE
        for output in ending:
            output.leave()
        for output in ending:
            output.join(max(0.0, deadline - time.monotonic()))
            if output.is_alive():
                log.error("cannot wait for the log to %s any longer: its last messages are missing", output.place)


def places_of(wanted: Logging) -> tuple[Place, ...]:
    """The places, what is `auto` found out."""
    output = wanted.output
    if output is Main.AUTO:
        output = Main.JOURNAL if to_journal() else Main.TEXT
    first = () if output is Main.OFF else (Standard(output),)
    return (*first, *(place for place in (wanted.file, wanted.syslog, wanted.tcp) if place is not None))


def _settled(record: logging.LogRecord) -> logging.LogRecord:
    """A copy that holds text in the place of objects, which may change before a thread comes to it."""
    record = copy.copy(record)
    record.msg, record.args = record.getMessage(), None
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    record.exc_info = None
    return record
