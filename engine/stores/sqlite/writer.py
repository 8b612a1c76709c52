"""Group commit: requests that arrive while one transaction runs become the next transaction.

One thread uses the connection (thread.py). No timer: the running transaction is the batching window.

Each request has an outcome of its own: if the transaction fails because of one request's values, each request gets its
own transaction, in order. After an error that leaves the file's contents in doubt the writer does nothing any more: every
request fails until the file has been reloaded (loaded.py).
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from engine.errors import StoreError, StoreUnavailable
from engine.stores.sqlite.errors import is_fault_of_values, is_full, outcome_of, translated
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.group import Group, Row, Steps, apply, only_deletes
from engine.stores.sqlite.space import LOG_BYTES_MIN, RESERVE_BYTES_MAX
from engine.stores.sqlite.thread import JobThread, fail

LOG_BYTES_MAX = RESERVE_BYTES_MAX
"""The WAL is checkpointed into the database when it is longer than this on the disk, or than the reserve; ~50 ms each."""

_MEASURE_EVERY: Final = 4

T = TypeVar("T")
Doubted = Callable[[Exception], None]
"""Called on the event loop with the reason why the file is in doubt; a StoreError means that it is lost."""


class Writer:
    """Runs groups one after another on its thread. All public methods belong to the event loop's thread."""

    def __init__(self, file: StoreFile, thread: JobThread, doubted: Doubted) -> None:
        self._loop = asyncio.get_running_loop()
        self._file = file
        self._connection = file.connection
        self._thread = thread
        self._doubted = doubted
        self._owner_epoch = file.owner_epoch
        self._synchronous = ""
        self._fold_at = 0  # WAL size for the next checkpoint after one that was incomplete; else 0
        self._unmeasured = 0  # transactions since the WAL's size was measured
        self._is_scarce = False  # the reserve was freed: only deletions are allowed
        self._next = Group()
        self._sent = self._next  # the last one given to the thread
        self._busy = False  # a group is on the thread, or about to be
        self._idle = asyncio.Event()
        self._idle.set()
        self.suspect = False
        """Nothing is written or read any more: the file is in doubt until it is reloaded, or the writer is closed."""

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

    def read(self, query: str, values: Row) -> asyncio.Future[Any]:
        """Return the query's first row, or None, as of after the transactions submitted before."""
        return self.read_rows(query, values, _first)

    def read_rows(self, query: str, values: Row, then: Callable[[list[Row]], T]) -> asyncio.Future[T]:
        """Return `then(rows)`, called on the event loop before the outcome of any later transaction."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._next.reads.append((future, query, values, then))
        self._submit()
        return future

    def writes(self, key: str, scope: str) -> bool:
        """Return whether an unfinished transaction writes this state."""
        name = (key, scope)
        return name in self._next.states or (not self._sent.finished and name in self._sent.states)

    def look(self) -> None:
        """Check that the file is still there, unless a group is running; if it is not, it is in doubt."""
        if not self._busy:
            self._next.looks = True
            self._submit()

    def doubt(self, reason: Exception) -> None:
        """Put the file in doubt: stop working, and report why."""
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
        self._thread.submit(partial(self._work, group), partial(self._broke, group))

    def _broke(self, group: Group, error: BaseException) -> None:
        self._failed(group, StoreError(f"the store's thread failed: {error!r}"), suspect=True)

    def _committed(
        self,
        group: Group,
        failures: dict[int, Exception],
        found: list[list[Row] | Exception],
        doubt: Exception | None,
    ) -> None:
        group.finished = True
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
            self._failed(group, StoreUnavailable("the store's file is in doubt"), suspect=True)
            raise
        self._after(group)

    def _found(
        self, future: "asyncio.Future[Any]", use: Callable[[list[Row]], Any], rows: list[Row] | Exception
    ) -> None:
        if isinstance(rows, Exception):
            fail(future, rows)
            return
        try:
            result = use(rows)
        except Exception as error:  # noqa: BLE001 - its caller gets it
            self._failed_after_commit(future, error)
        else:
            if not future.done():
                future.set_result(result)

    def _failed_after_commit(self, future: "asyncio.Future[Any]", error: Exception) -> None:
        """Put the file in doubt: the lanes in memory may differ from it now."""
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

    # -- on the writer's thread -------------------------------------------------------------------------------

    def _work(self, group: Group) -> Callable[[], None]:
        """Run one group; return the function that delivers its outcome on the event loop."""
        failures: dict[int, Exception] = {}
        doubt: Exception | None = None
        log_bytes: int | None = None
        try:
            if group.waiting:
                failures, doubt = self._write(group)
            if group.durable and doubt is None:
                # After the commit: confirms that it was written to the file at the store's path.
                log_bytes = self._file.watch.check()
            if group.looks:
                self._file.look()
        except Exception as error:  # noqa: BLE001 - the group's callers get it
            self._roll_back()
            failure, suspect = translated(error)
            return partial(self._failed, group, failure, suspect=suspect)
        found: list[list[Row] | Exception] = []
        for _, query, values, _ in group.reads:
            rows, why = self._rows(query, values, doubt)
            found.append(rows)
            doubt = doubt or why
        return partial(self._committed, group, failures, found, doubt or self._keep_log_short(log_bytes))

    def _rows(
        self, query: str, values: Row, doubt: Exception | None
    ) -> tuple[list[Row] | Exception, Exception | None]:
        """Return the rows or the error; and why the file is in doubt because of it, or None."""
        if doubt is not None:
            return doubt, None
        try:
            return self._connection.execute(query, values).fetchall(), None
        except Exception as error:  # noqa: BLE001 - the caller gets it
            failure, suspect = translated(error)
            if isinstance(failure, sqlite3.Error):  # SQLite cannot run our query: the file is wrong
                failure, suspect = StoreUnavailable(f"the store's file cannot be read: {error!r}"), True
            return failure, failure if suspect else None

    def _write(self, group: Group) -> tuple[dict[int, Exception], Exception | None]:
        """Return the failures by index of the caller; and why the file is in doubt, or None."""
        if self._is_scarce and self._file.reserve.keep():
            self._is_scarce = False
        if not self._is_scarce:
            try:
                self._transact(group.steps, durable=group.durable)
            except Exception as error:  # noqa: BLE001 - returned below
                self._roll_back()
                if is_full(error):
                    self._make_room()
                elif not is_fault_of_values(error) or len(group.waiting) == 1:
                    failure, suspect = outcome_of(error)
                    return dict.fromkeys(range(len(group.waiting)), failure), failure if suspect else None
            else:
                return {}, None
        return self._write_one_by_one(group)

    def _write_one_by_one(self, group: Group) -> tuple[dict[int, Exception], Exception | None]:
        failures: dict[int, Exception] = {}
        doubt: Exception | None = None
        for index, steps in enumerate(group.parts()):
            if doubt is None and self._is_scarce and not only_deletes(steps):
                failures[index] = StoreUnavailable("the disk is full: make room on it")
                continue
            try:
                if doubt is None:
                    self._transact_alone(steps, durable=group.durable)
                else:
                    failures[index] = doubt
            except Exception as error:  # noqa: BLE001 - its caller gets it
                self._roll_back()
                failures[index], suspect = outcome_of(error)
                doubt = failures[index] if suspect else None
        return failures, doubt

    def _transact_alone(self, steps: Steps, *, durable: bool) -> None:
        try:
            self._transact(steps, durable=durable)
        except Exception as error:
            if not (is_full(error) and only_deletes(steps) and self._give_up_reserve()):
                raise
            self._roll_back()
            self._transact(steps, durable=durable)

    def _transact(self, steps: Steps, *, durable: bool) -> None:
        execute = self._connection.execute
        # The WAL is sequential: the sync of this transaction also covers every commit before it.
        synchronous = "FULL" if durable else "NORMAL"
        if synchronous != self._synchronous:
            execute(f"PRAGMA synchronous={synchronous}")
            self._synchronous = synchronous
        execute("BEGIN IMMEDIATE")
        if execute("SELECT value FROM meta WHERE name = 'owner_epoch'").fetchone() != (self._owner_epoch,):
            raise StoreError("another process has opened the store's file: only one may own it")
        apply(self._connection, steps)
        self._file.commit(self._connection)

    def _keep_log_short(self, size: int | None) -> Exception | None:
        """Checkpoint the WAL if it is long; return why the file's contents are in doubt, or None.

        An unknown size is measured every few transactions only, since measuring releases the interpreter lock, too.
        SQLite's automatic checkpoint is off: it would not report a failed sync.
        """
        self._unmeasured += 1
        if size is None and self._unmeasured < _MEASURE_EVERY:
            return None
        self._unmeasured = 0
        try:
            if size is None:
                size = self._file.watch.log_bytes()
            longest = min(LOG_BYTES_MAX, max(self._file.reserve.size, LOG_BYTES_MIN))
            if size > max(longest, self._fold_at):
                self._fold_log(size, longest)
        except Exception as error:  # noqa: BLE001 - returned if it matters
            failure, suspect = translated(error)
            return failure if suspect else None
        return None

    def _fold_log(self, size: int, longest: int) -> None:
        # SQLite truncates the WAL to this size when it starts over. While another program reads, it keeps growing.
        self._connection.execute(f"PRAGMA journal_size_limit={longest}")
        try:
            self._fold_at = 0 if self._file.fold_log() else size + longest // 4
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            self._make_room()
        if not self._is_scarce:
            self._file.reserve.keep()

    def _make_room(self) -> None:
        """Checkpoint the WAL, so that it starts over in the space it has; free the reserve if that needs space."""
        for _ in range(2):
            try:
                self._file.fold_log()
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                self._give_up_reserve()
            else:
                return

    def _give_up_reserve(self) -> bool:
        self._is_scarce = True
        return self._file.reserve.give_up()

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the file will be reopened


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
