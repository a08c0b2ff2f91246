"""One place where records go, with a queue and a thread of its own: whoever logs never waits for it."""

from __future__ import annotations

import errno
import logging
import queue
import threading
from itertools import chain, repeat

from rdagentd.outputs.sinks import Place, Standard, sink

log = logging.getLogger(__name__)

MOST = 8 << 20
"""Characters that may wait for one place; more are dropped."""

_RECORD = 1024
"""What a record takes besides its text."""

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds until the next try; the last one again and again."""


class Output(threading.Thread):
    """Not started yet. `after` has the same place or its kind before: this one begins when that one has ended.

    What cannot be delivered is tried again, in order; stderr and the journal alone are not waited for. What waits is bounded,
    what is dropped beyond is counted, and said here and in the other places once there is room again.
    """

    def __init__(self, place: Place, after: Output | None = None) -> None:
        super().__init__(name="log", daemon=True)
        self.place = place
        self._after = after
        self._leaving = threading.Event()
        self._handler = sink(place, self._leaving)
        self._queue: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._put = self._taken = 0  # each is counted by one thread alone
        self._dropped = 0
        self._missing = 0
        self._failing = False

    # --- for those who log, one at a time -----------------------------------------------------------------------------

    def put(self, record: logging.LogRecord) -> None:
        """Takes a record that nobody will change, or counts it as dropped. Never waits."""
        waiting = self._put - self._taken
        if waiting > (MOST // 2 if self._dropped else MOST):
            self._dropped += 1
            if self._dropped == 1:
                log.error("cannot log to %s: it does not keep up; messages are dropped", self.place)
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.error("%d messages are missing in the log to %s: it did not keep up", dropped, self.place)
        self._put += _size(record)
        self._queue.put(record)

    def leave(self) -> None:
        """No more will come. What waits is still delivered as long as that does not fail; then the thread ends."""
        self._queue.put(None)
        self._leaving.set()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Delivers until told to leave."""
        if self._after is not None:
            self._after.join()
            self._after = None
        while (record := self._queue.get()) is not None:
            if not self._delivered(record):
                self._missing += 1
                if self._leaving.is_set():
                    break
            self._taken += _size(record)
        while record is not None:
            record = self._queue.get()
            self._missing += record is not None
        if self._missing + self._dropped:
            log.error("%d messages are missing in the log to %s", self._missing + self._dropped, self.place)
        self._handler.close()

    def _delivered(self, record: logging.LogRecord) -> bool:
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            try:
                self._handler.emit(record)
            except Exception as error:
                hopeless = (
                    isinstance(self.place, Standard) or not isinstance(error, OSError) or error.errno == errno.EMSGSIZE
                )
                self._fails(error, "messages are dropped" if hopeless else "it is tried again")
                if hopeless or self._leaving.wait(next(pauses)):
                    return False
            else:
                self._works()
                return True

    def _fails(self, error: Exception, follows: str) -> None:
        if not self._failing:
            self._failing = True
            reason = getattr(error, "strerror", None) or str(error)
            log.error("cannot log to %s: %s; %s", self.place, reason.lower(), follows)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            missing, self._missing = self._missing, 0
            log.warning("logging to %s goes on; %d messages are missing there", self.place, missing)


def _size(record: logging.LogRecord) -> int:
    return _RECORD + len(record.msg) + len(record.exc_text or "")
