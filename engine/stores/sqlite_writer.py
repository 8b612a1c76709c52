"""Group commit: what is asked of the file while one transaction runs becomes the next transaction.

One thread owns the connection (the loop's executor interface is the seam where a simulation takes over). No timer: the running transaction is the batching window. Work is set-wise (few
SQL statements a group, whatever its size), because each statement lets go of the interpreter lock and has to win
it back from a busy event loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any, Final, TypeVar

from engine.errors import StoreError, StoreUnavailable
from engine.model import TIMER_IDS

LOG_BYTES_MAX = 16 << 20
"""SQLite's log is folded into the file when it is about this long: a pause of ~50 ms."""

_ROW_BYTES: Final = 1000  # what a row writes beside its values: its share of the pages that it changes
_ROWS_MAX: Final = 256  # rows of one INSERT; times columns it stays far below SQLite's limit of variables
_INSERT: Final = {
    "inbox": ("INSERT INTO inbox VALUES ", "(?,?,?,?,?)", ""),
    "outbox": ("INSERT INTO outbox VALUES ", "(?,?,?,?,?)", ""),
    "state": ("INSERT INTO state VALUES ", "(?,?,?)", " ON CONFLICT DO UPDATE SET state = excluded.state"),
    "seen": ("INSERT OR REPLACE INTO seen VALUES ", "(?,?,?)", ""),
    "parked": ("INSERT OR REPLACE INTO parked VALUES ", "(?,?,?,?,?,?,?)", ""),
    "timer": ("INSERT OR REPLACE INTO timer VALUES ", "(?,?,?,?,?,?)", ""),
    "alias": ("INSERT OR REPLACE INTO alias VALUES ", "(?,?)", ""),
    "dead": (
        "INSERT INTO dead (queue, id, key, scope, body, attempts, reason, at) VALUES ",
        "(?,?,?,?,?,?,?,?)",
        "",
    ),
}

Row = tuple[Any, ...]
T = TypeVar("T")


@dataclass(slots=True)
class Group:
    """What one transaction will do, by table; and who waits for it."""

    durable: bool = False
    """The power may fail once this is done: updates are about to be confirmed to Telegram."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    """Rows to insert, by table; those of state, seen, parked, timer and alias replace what is there."""

    places_gone: dict[str, list[int]] = field(default_factory=dict)
    """Places to delete from inbox, outbox and timer."""

    states: set[tuple[str, str]] = field(default_factory=set)
    """Keys and scopes of the states that it writes."""

    others: list[tuple[str, Row]] = field(default_factory=list)
    """Rare statements, with their values, after the rest."""

    waiting: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = field(default_factory=list)
    """Future, and what to do on the event loop when the group is committed; the future gets its result."""

    reads: list[tuple[asyncio.Future[Any], str, Row, Callable[[list[Row]], Any]]] = field(
        default_factory=list
    )
    """Future, a query made after the transaction, and what to do on the event loop with its rows, as above."""

    finished: bool = False
    """Committed or failed: the event loop knows the outcome."""

    def insert(self, table: str, *rows: Row) -> None:
        """Insert rows; where the table has a key, replace what is there."""
        self.rows.setdefault(table, []).extend(rows)

    def delete(self, queue: str, place: int) -> None:
        """Delete what stands at a place of a queue."""
        self.places_gone.setdefault("timer" if place & TIMER_IDS else queue, []).append(place)

    def see(self, segments: Mapping[int, bytearray], now: float) -> None:
        """Remember ids, by segment."""
        self.insert("seen", *((number, bytes(bits), now) for number, bits in segments.items()))

    def set_state(self, key: str, scope: str, state: bytes | None) -> None:
        """Set or delete a conversation state; once in a group for each."""
        self.states.add((key, scope))
        if state is None:
            self.others.append(("DELETE FROM state WHERE key = ? AND scope = ?", (key, scope)))
        else:
            self.insert("state", (key, scope, state))


class Writer:
    """Runs groups one after another on its thread. All public methods belong to the event loop's thread."""

    def __init__(self, connection: sqlite3.Connection, owner_epoch: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._owner_epoch = owner_epoch
        self._synchronous = ""
        self._log_bytes = 0
        self._next = Group()
        self._sent = self._next  # the last one that went to the thread, or is about to
        self._busy = False  # a group is with the thread, or about to be
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, "sqlite writer")
        self.suspect = False
        """After an I/O error: what the file holds is in doubt, and it has to be read anew."""

    def group(self) -> Group:
        """Return the group that collects now; fill it without awaiting, then call `done`."""
        return self._next

    def done(self, then: Callable[[], T]) -> asyncio.Future[T]:
        """Submit what was put into the group; `then()` runs on the loop once it is committed.

        It runs also when nobody waits for the future any more: what the file says, the lanes say.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._next.waiting.append((future, then))
        self._submit()
        return future

    def read(self, query: str, values: Row) -> asyncio.Future[Any]:
        """Return the query's one row, or None, as it is after what was submitted before."""
        return self.read_rows(query, values, _first)

    def read_rows(self, query: str, values: Row, then: Callable[[list[Row]], T]) -> asyncio.Future[T]:
        """Return what `then` makes of the query's rows, on the loop, before anything else is told of the file."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._next.reads.append((future, query, values, then))
        self._submit()
        return future

    def writes(self, key: str, scope: str) -> bool:
        """Return whether something is under way that writes this state."""
        name = (key, scope)
        return name in self._next.states or (not self._sent.finished and name in self._sent.states)

    async def close(self) -> None:
        """Finish what was submitted and end the thread; twice is harmless. What comes later is StoreUnavailable."""
        while self._busy:  # again: whoever was woken with us may have submitted more
            await self._idle.wait()
        self._closed = True
        self._thread.shutdown()  # nothing is under way: it does not wait

    # -- on the event loop ------------------------------------------------------------------------------------

    def _submit(self) -> None:
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        group, self._next = self._next, Group()
        self._sent = group
        if self._closed:  # nobody is there to take it
            self._failed(group, StoreUnavailable("the store is closed, or read anew"), suspect=self.suspect)
        else:
            working = self._loop.run_in_executor(self._thread, self._work, group)
            working.add_done_callback(self._worked)

    def _worked(self, working: "asyncio.Future[Callable[[], None]]") -> None:
        tell = working.result()
        tell()

    def _committed(self, group: Group, found: list[list[Row]], *, suspect: bool) -> None:
        group.finished = True
        self.suspect = self.suspect or suspect
        for future, then in group.waiting:
            result = then()
            if not future.done():
                future.set_result(result)
        for (future, _, _, use), rows in zip(group.reads, found, strict=True):
            result = use(rows)
            if not future.done():
                future.set_result(result)
        self._after(group)

    def _failed(self, group: Group, error: Exception, *, suspect: bool) -> None:
        group.finished = True
        self.suspect = self.suspect or suspect
        futures = [future for future, _ in group.waiting] + [read[0] for read in group.reads]
        for future in futures:
            if not future.done():
                future.set_exception(error)
        self._after(group)

    def _after(self, group: Group) -> None:
        group.reads.clear()
        group.waiting.clear()  # they know their lane, and the lane knows its group: nobody would free them
        if self._next.waiting or self._next.reads:
            self._send()
        else:
            self._busy = False
            self._idle.set()

    # -- on the writer's thread -------------------------------------------------------------------------------

    def _work(self, group: Group) -> Callable[[], None]:
        """Return what the event loop has to be told."""
        try:
            if group.waiting:
                self._write(group)
            found = [
                self._connection.execute(query, values).fetchall() for _, query, values, _ in group.reads
            ]
        except Exception as error:  # noqa: BLE001 - whoever waits for the group gets it
            self._roll_back()
            failure, suspect = translated(error)
            return partial(self._failed, group, failure, suspect=suspect)
        return partial(self._committed, group, found, suspect=not self._kept_log_short())

    def _write(self, group: Group) -> None:
        execute = self._connection.execute
        # The log is sequential: the sync of this transaction also covers every commit before it.
        synchronous = "FULL" if group.durable else "NORMAL"
        if synchronous != self._synchronous:
            execute(f"PRAGMA synchronous={synchronous}")
            self._synchronous = synchronous
        execute("BEGIN IMMEDIATE")
        if execute("SELECT value FROM meta WHERE name = 'owner_epoch'").fetchone() != (self._owner_epoch,):
            raise StoreError("another process has opened the store's file: only one may own it")
        for queue, places in group.places_gone.items():
            execute(
                f"DELETE FROM {queue} WHERE place IN (SELECT value FROM json_each(?))",
                (str(places),),
            )
            self._log_bytes += _ROW_BYTES * len(places)
        for table, rows in group.rows.items():
            self._insert(table, rows)
        for statement, values in group.others:
            execute(statement, values)
        execute("COMMIT")

    def _insert(self, table: str, rows: list[Row]) -> None:
        """Insert in as few statements as there are bits in the number of rows."""
        start = 0
        size = _ROWS_MAX
        while start < len(rows):
            while size > len(rows) - start:
                size >>= 1
            values = tuple(chain.from_iterable(rows[start : start + size]))
            self._connection.execute(_insert_statement(table, size), values)
            self._log_bytes += _ROW_BYTES * size + sum(len(v) for v in values if isinstance(v, bytes))
            start += size

    def _kept_log_short(self) -> bool:
        """Fold the log into the file if it is long; return False if the file's contents are in doubt.

        Not left to SQLite: it would tell nobody that a sync has failed.
        """
        if self._log_bytes < LOG_BYTES_MAX:
            return True
        self._log_bytes = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            return not translated(error)[1]
        return True

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the file will be opened anew


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


@cache
def _insert_statement(table: str, size: int) -> str:
    head, row, tail = _INSERT[table]
    return head + ",".join([row] * size) + tail


def translated(error: Exception) -> tuple[Exception, bool]:
    """Return what callers get for an error on the thread, and whether the file's contents are in doubt.

    After a failed sync the kernel may have dropped the pages: trying the same sync again would lie (SQLite and
    PostgreSQL, "fsyncgate"). So an I/O error means to read the file anew, as after a crash.
    """
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable("the disk is full: make room on it"), False
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable("another program has locked the store's file: close it"), False
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreUnavailable(f"the store's file cannot be written: {error}"), True
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreError(f"the store's file is damaged ({error}): restore it from a backup"), True
    return error, False
