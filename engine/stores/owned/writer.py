"""Group commit: requests that arrive while one transaction runs become the next transaction.

No timer: the running transaction is the batching window. Each request has an outcome of its own: if the transaction fails
because of one request's values, each request gets its own transaction, in order. After an error that leaves in doubt what
the store has the writer does nothing any more: every request fails until all is read anew (loaded.py).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from engine.errors import StoreUnavailable
from engine.model import Groups
from engine.stores.owned.group import Group, Row
from engine.stores.owned.reads import Read

T = TypeVar("T")
Doubted = Callable[[Exception], None]
"""Called on the event loop with the reason why the store is in doubt; a StoreError means that it is lost."""


class GroupWriter(ABC):
    """Runs groups one after another. All public methods belong to the event loop's thread."""

    def __init__(self, doubted: Doubted) -> None:
        self._loop = asyncio.get_running_loop()
        self._doubted = doubted
        self._next = Group()
        self._sent = self._next  # the last one that was started
        self._busy = False  # a group runs, or is about to
        self._idle = asyncio.Event()
        self._idle.set()
        self.groups = Groups(0, 0)
        self.suspect = False
        """Nothing is written or read any more: the store is in doubt until it is read anew, or the writer is closed."""

    @abstractmethod
    def _start(self, group: Group) -> None:
        """Begin to write the steps of the group and to read; call `_committed` or `_failed` once, on the event loop."""

    def group(self) -> Group:
        """Return the group of the next transaction; fill it without an await, then call `done`."""
        group = self._next
        if len(group.steps) > group.whole:
            del group.steps[group.whole :]
        return group

    def done(self, then: Callable[[], T]) -> asyncio.Future[T]:
        """Submit what was put into the group; `then()` runs on the event loop once it is committed.

        It runs even if the future was cancelled: the lanes in memory must follow the file.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        group = self._next
        group.whole = end = len(group.steps)
        group.waiting.append((future, then, end))
        if not self._busy:
            self._submit()
        return future

    def read(self, what: Read, values: Row) -> asyncio.Future[Any]:
        """Return the first row, or None, as of after the transactions submitted before."""
        return self.read_rows(what, values, _first)

    def read_rows(self, what: Read, values: Row, then: Callable[[list[Row]], T]) -> asyncio.Future[T]:
        """Return `then(rows)`, called on the event loop before the outcome of any later transaction, unless it is cancelled."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._next.reads.append((future, what, values, then))
        self._submit()
        return future

    def writes(self, key: str, scope: str) -> bool:
        """Return whether an unfinished transaction writes this state."""
        name = (key, scope)
        return name in self._next.states or (not self._sent.finished and name in self._sent.states)

    def look(self) -> None:
        """Check that what the store keeps is still there, unless a group is running; if it is not, it is in doubt."""
        if not self._busy:
            self._next.looks = True
            self._submit()

    def doubt(self, reason: Exception) -> None:
        """Put the store in doubt: stop working, and report why."""
        self.suspect = True
        self._doubted(reason)

    async def close(self) -> None:
        """Finish what was submitted; may be repeated. Later requests fail with StoreUnavailable."""
        while self._busy:  # in a loop: a caller woken at the same time may have submitted more
            await self._idle.wait()
        self.suspect = True

    # -- on the event loop ------------------------------------------------------------------------------------

    def _submit(self) -> None:
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        group, self._next = self._next, Group()
        self._sent = group
        if self.suspect:
            self._failed(group, StoreUnavailable("the store is closed, or read anew"))
            return
        del group.steps[group.whole :]
        self._start(group)

    def _committed(
        self,
        group: Group,
        failures: dict[int, Exception],
        found: list[list[Row] | Exception],
        doubt: Exception | None,
    ) -> None:
        group.finished = True
        if group.waiting:
            self.groups = Groups(self.groups.transactions + 1, self.groups.requests + len(group.waiting))
        if doubt is not None:
            self.doubt(doubt)
        try:
            for index, (future, then, _) in enumerate(group.waiting):
                if failures and index in failures:
                    fail(future, failures[index])
                    continue
                try:
                    result = then()
                except Exception as error:  # noqa: BLE001 - its caller gets it
                    self._failed_after_commit(future, error)
                else:
                    if not future.done():
                        future.set_result(result)
            for (future, _, _, use), rows in zip(group.reads, found, strict=True):
                self._found(future, use, rows)
        except BaseException:
            self._failed(group, StoreUnavailable("the store is in doubt"), suspect=True)
            raise
        self._after(group)

    def _found(
        self, future: "asyncio.Future[Any]", use: Callable[[list[Row]], Any], rows: list[Row] | Exception
    ) -> None:
        if isinstance(rows, Exception):
            fail(future, rows)
            return
        if future.cancelled():  # who asks for the same now may have the same rows
            return
        try:
            result = use(rows)
        except Exception as error:  # noqa: BLE001 - its caller gets it
            self._failed_after_commit(future, error)
        else:
            if not future.done():
                future.set_result(result)

    def _failed_after_commit(self, future: "asyncio.Future[Any]", error: Exception) -> None:
        """Put the store in doubt: the lanes in memory may differ from it now."""
        self.doubt(StoreUnavailable(f"{type(error).__name__} after a commit: {error}"))
        fail(future, error)

    def _failed(self, group: Group, error: Exception, *, suspect: bool = False) -> None:
        group.finished = True
        if suspect:
            self.doubt(error)
        for future in [waiting[0] for waiting in group.waiting] + [read[0] for read in group.reads]:
            fail(future, error)
        self._after(group)

    def _after(self, group: Group) -> None:
        group.reads.clear()
        group.waiting.clear()  # breaks the reference cycle lane -> group -> callback -> lane
        if self._next.waiting or self._next.reads:
            self._send()
        else:
            self._busy = False
            self._idle.set()


def fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    """Set the error, unless the future has a result or was cancelled."""
    if not future.done():
        future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
