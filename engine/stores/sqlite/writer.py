"""How the groups of requests become transactions of a SQLite file.

One thread uses the connection (thread.py). After an error that leaves the file's contents in doubt the file is reloaded
(engine/stores/owned/loaded.py).
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

from engine.errors import StoreError, StoreUnavailable
from engine.model import Sql
from engine.stores.owned.group import Group, Row, Steps, only_deletes
from engine.stores.owned.reads import Read
from engine.stores.owned.writer import Doubted, GroupWriter
from engine.stores.sqlite.apply import apply
from engine.stores.sqlite.errors import is_fault_of_values, is_full, outcome_of, translated
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.own_sql import restricted, run, run_in_savepoint
from engine.stores.sqlite.queries import QUERIES
from engine.stores.sqlite.space import LOG_BYTES_MIN, RESERVE_BYTES_MAX
from engine.stores.sqlite.thread import JobThread

LOG_BYTES_MAX = RESERVE_BYTES_MAX
"""The WAL is checkpointed into the database when it is longer than this on the disk, or than the reserve; ~50 ms each."""

_MEASURE_EVERY: Final = 4


class Writer(GroupWriter):
    """Runs groups one after another on its thread."""

    def __init__(self, file: StoreFile, thread: JobThread, doubted: Doubted) -> None:
        super().__init__(doubted)
        self._file = file
        self._connection = file.connection
        self._thread = thread
        self._owner_epoch = file.owner_epoch
        self._synchronous = ""
        self._fold_at = 0  # WAL size for the next checkpoint after one that was incomplete; else 0
        self._unmeasured = 0  # transactions since the WAL's size was measured
        self._is_scarce = False  # the reserve was freed: only deletions are allowed

    def _start(self, group: Group) -> None:
        self._thread.submit(partial(self._work, group), partial(self._broke, group))

    def _broke(self, group: Group, error: BaseException) -> None:
        self._failed(group, StoreError(f"the store's thread failed: {error!r}"), suspect=True)

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
        for _, what, values, _ in group.reads:
            rows, why = self._rows(what, values, doubt)
            found.append(rows)
            doubt = doubt or why
        return partial(self._committed, group, failures, found, doubt or self._keep_log_short(log_bytes))

    def _rows(
        self, what: Read, values: Row, doubt: Exception | None
    ) -> tuple[list[Row] | Exception, Exception | None]:
        """Return the rows or the error; and why the file is in doubt because of it, or None."""
        if doubt is not None:
            return doubt, None
        try:
            values = tuple(str(each) if type(each) is list else each for each in values)
            return self._connection.execute(QUERIES[what], values).fetchall(), None
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
                if group.sql:
                    return self._transact_with_sql(group), None
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
            sql = group.sql.get(index, ())
            if doubt is None and self._is_scarce and (sql or not only_deletes(steps)):
                failures[index] = StoreUnavailable("the disk is full: make room on it")
                continue
            try:
                if doubt is None:
                    self._transact_alone(steps, sql, durable=group.durable)
                else:
                    failures[index] = doubt
            except Exception as error:  # noqa: BLE001 - its caller gets it
                self._roll_back()
                failures[index], suspect = outcome_of(error)
                doubt = failures[index] if suspect else None
        return failures, doubt

    def _transact_alone(self, steps: Steps, sql: tuple[Sql, ...], *, durable: bool) -> None:
        if sql:
            self._transact(steps, sql, durable=durable)
            return
        try:
            self._transact(steps, durable=durable)
        except Exception as error:
            if not (is_full(error) and only_deletes(steps) and self._give_up_reserve()):
                raise
            self._roll_back()
            self._transact(steps, durable=durable)

    def _transact(self, steps: Steps, sql: tuple[Sql, ...] = (), *, durable: bool) -> None:
        self._begin(durable=durable)
        if sql:
            with restricted(self._connection):
                run(self._connection, sql)
        apply(self._connection, steps)
        self._file.commit(self._connection)

    def _transact_with_sql(self, group: Group) -> dict[int, Exception]:
        """Run the author's SQL, each caller's in a savepoint; a caller whose SQL is refused is left out, and is returned."""
        failures: dict[int, Exception] = {}
        is_begun = False
        while not is_begun:
            self._begin(durable=group.durable)
            is_begun = True
            for index, statements in group.sql.items():
                refused = None if index in failures else run_in_savepoint(self._connection, statements)
                if refused is not None:
                    failures[index] = refused
                if not self._connection.in_transaction:  # the statement has ended it: all again, without it
                    is_begun = False
                    break
        parts = enumerate(group.parts())
        apply(self._connection, [step for index, steps in parts if index not in failures for step in steps])
        self._file.commit(self._connection)
        return failures

    def _begin(self, *, durable: bool) -> None:
        execute = self._connection.execute
        # The WAL is sequential: the sync of this transaction also covers every commit before it.
        synchronous = "FULL" if durable else "NORMAL"
        if synchronous != self._synchronous:
            execute(f"PRAGMA synchronous={synchronous}")
            self._synchronous = synchronous
        execute("BEGIN IMMEDIATE")
        if execute("SELECT value FROM meta WHERE name = 'owner_epoch'").fetchone() != (self._owner_epoch,):
            raise StoreError("another process has opened the store's file: only one may own it")

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
