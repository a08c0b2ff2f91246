"""The writer thread: takes all calls that wait, writes them in one transaction, and tells each when it is on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from attrs import frozen

from rdagentd.store.errors import StoreError
from rdagentd.store.tables import Keep, write
from rdagentd.store.writes import Write

GROUP = 256
"""Calls in one transaction at most: keeps the wait of the first one short."""


@frozen
class _Call:
    writes: Sequence[Write]
    done: Future[list[int]]


class Writer:
    """Owns the connection from its start to its close.

    failpoint is called in the thread with "before-commit" and "after-commit"; it may end the process, and raise at the first.
    """

    def __init__(self, connection: sqlite3.Connection, keep: Keep, failpoint: Callable[[str], None]) -> None:
        self.error: str | None = None
        self._connection = connection
        self._keep = keep
        self._failpoint = failpoint
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._closed = False
        self._gate = Lock()
        self._thread = Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether commits are still taken and carried out."""
        return self._thread.is_alive()

    def commit(self, writes: Sequence[Write]) -> Future[list[int]]:
        """Hand over writes. The future cannot be cancelled: what was handed over is kept."""
        call = _Call(writes, Future())
        call.done.set_running_or_notify_cancel()
        with self._gate:
            if not self._closed:
                self._calls.put(call)
                return call.done
        call.done.set_exception(StoreError("cannot write to the state database: it is closed; start the daemon again"))
        return call.done

    def close(self) -> None:
        """Carry out what was handed over, then close the connection. May be called twice."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            group, last = self._gather(call)
            self._carry_out(group)
            if last:
                break
        self._connection.close()

    def _gather(self, first: _Call) -> tuple[list[_Call], bool]:
        """The call and those that wait behind it; whether the close was among them."""
        group = [first]
        while len(group) < GROUP:
            try:
                call = self._calls.get_nowait()
            except Empty:
                break
            if call is None:
                return group, True
            group.append(call)
        return group, False

    def _carry_out(self, group: list[_Call]) -> None:
        try:
            results = self._transaction(group)
        except Exception as error:  # whatever a write holds must not end the thread
            if len(group) > 1:
                for call in group:
                    self._carry_out([call])
                return
            failure = StoreError(f"cannot write to the state database: {error}; {_advice(error)}")
            failure.__cause__ = error
            self.error = str(failure) if isinstance(error, sqlite3.Error) else self.error
            group[0].done.set_exception(failure)
            return
        self.error = None
        for call, numbers in zip(group, results, strict=True):
            call.done.set_result(numbers)

    def _transaction(self, group: list[_Call]) -> list[list[int]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [write(self._connection, self._keep, call.writes) for call in group]
            self._failpoint("before-commit")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._failpoint("after-commit")
        return results


def _advice(error: Exception) -> str:
    """What a person does about it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "this is a fault of rdagentd, please report it"
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return "make room on its disk, and try again"
    return "see the kernel's log for faults of the disk, and try again"
