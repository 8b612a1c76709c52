"""One transaction: the steps of all requests that share it, in the order of the requests.

Steps are combined per table into few SQL statements, because each statement releases the interpreter lock and has to
win it back from a busy event loop. The result is the same as of the steps one by one:

* Rows of inbox, outbox and timer are deleted by their place, dead letters by their number, before rows are inserted.
  A caller learns a place or a number only after the transaction that inserted it, so no row is inserted and deleted in
  one transaction.
* Tables with another key keep the last step for each key. Of the marks of one kind the highest counts.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

from engine.errors import TooManyTimers
from engine.model import TIMER_IDS

if TYPE_CHECKING:
    import asyncio

Row = tuple[Any, ...]
Steps = list[Any]
"""Alternating: the operation, then its rows, place or values. One flat list costs less than a tuple per step."""

_ROWS_MAX: Final = 256  # rows per INSERT; times columns, far below SQLite's limit of bound variables
_LOGS: Final = {
    "inbox": ("INSERT INTO inbox VALUES ", "(?,?,?,?,?)", ""),
    "outbox": ("INSERT INTO outbox VALUES ", "(?,?,?,?,?)", ""),
    "dead": (
        "INSERT INTO dead (queue, id, key, scope, body, attempts, reason, at) VALUES ",
        "(?,?,?,?,?,?,?,?)",
        "",
    ),
}
_KEYED: Final = {
    "state": ("INSERT INTO state VALUES ", "(?,?,?)", " ON CONFLICT DO UPDATE SET state = excluded.state"),
    "seen": ("INSERT OR REPLACE INTO seen VALUES ", "(?,?,?)", ""),
    "parked": ("INSERT OR REPLACE INTO parked VALUES ", "(?,?,?,?,?,?,?)", ""),
    "timer": ("INSERT OR REPLACE INTO timer VALUES ", "(?,?,?,?,?,?)", ""),
    "alias": ("INSERT OR REPLACE INTO alias VALUES ", "(?,?)", ""),
}
_KEYS: Final = {
    "state": (slice(2), "DELETE FROM state WHERE key = ? AND scope = ?"),
    "seen": (slice(1), "DELETE FROM seen WHERE segment = ?"),
    "parked": (slice(2), "DELETE FROM parked WHERE queue = ? AND key = ?"),
    "timer": (slice(1, 4), "DELETE FROM timer WHERE key = ? AND scope = ? AND name = ?"),
    "alias": (slice(1), "DELETE FROM alias WHERE name = ?"),
}
"""The key's columns in a row, and the statement that deletes by it."""

_DELETE_FROM: Final = {"inbox": "-inbox", "outbox": "-outbox", "timer": "-timer", "dead": "-dead"}
_GONE: Final = {step: queue for queue, step in _DELETE_FROM.items()}
_DELETED: Final = None
_RAISE: Final = "UPDATE meta SET value = max(value, ?) WHERE name = ?"

_TOO_MANY_TIMERS: Final = """
SELECT column1 FROM (VALUES {rows}) WHERE (SELECT 1 FROM timer WHERE key = column1 LIMIT 1 OFFSET ?) IS NOT NULL LIMIT 1
"""


class Group:
    """The steps of one transaction, the callers that wait for it, and queries to run after it."""

    __slots__ = ("durable", "finished", "looks", "reads", "states", "steps", "waiting", "whole")

    def __init__(self) -> None:
        self.durable = False
        """Sync before it counts as committed: its updates will be confirmed to Telegram."""

        self.steps: Steps = []
        self.whole = 0
        """Number of `steps` that were submitted; the rest are of a caller that failed before `done`."""

        self.waiting: list[tuple[asyncio.Future[Any], Callable[[], Any], int]] = []
        """Future, callback on the event loop after the commit, and end of the caller's steps in `steps`."""

        self.reads: list[tuple[asyncio.Future[Any], str, Row, Callable[[list[Row]], Any]]] = []
        """Future, query and values to run after the transaction, and callback on the event loop for its rows."""

        self.states: set[tuple[str, str]] = set()
        """(key, scope) of the states that it writes."""

        self.looks = False
        """Whether to check that the file is still there, even if nothing is written."""

        self.finished = False
        """Committed or failed, with the outcome delivered on the event loop."""

    def insert(self, table: str, *rows: Row) -> None:
        """Insert rows; in a table with a key other than its place, replace rows of the same key."""
        self.steps += (table, rows)

    def delete(self, queue: str, place: int) -> None:
        """Delete the row at a place of a queue, or the timer at that place."""
        self.steps += ("-timer" if place & TIMER_IDS else _DELETE_FROM[queue], place)

    def drop_letter(self, number: int) -> None:
        """Delete a dead letter."""
        self.steps += ("-dead", number)

    def forget(self, table: str, *key: Any) -> None:
        """Delete the row of this key from state, seen, parked, timer or alias."""
        self.steps += (f"~{table}", key)

    def bound_timers(self, key: str, most: int) -> None:
        """Fail the transaction (TooManyTimers) if the lane has more than `most` timers at its end."""
        self.steps += ("#timer", (key, most))

    def raise_mark(self, kind: str, last: int) -> None:
        """Raise the high-water mark of the ids of this kind to `last`, unless it is higher."""
        self.steps += ("#mark", (kind, last))

    def see(self, segments: Mapping[int, bytearray], now: float) -> None:
        """Store segments of seen ids; `now` is Unix time."""
        self.insert("seen", *((number, bytes(bits), now) for number, bits in segments.items()))

    def set_state(self, key: str, scope: str, state: bytes | None) -> None:
        """Set or delete a conversation state."""
        self.states.add((key, scope))
        if state is None:
            self.forget("state", key, scope)
        else:
            self.insert("state", (key, scope, state))

    def parts(self) -> list[Steps]:
        """Return the steps of each waiting caller."""
        ends = [0, *(end for _, _, end in self.waiting)]
        return [self.steps[start:end] for start, end in pairwise(ends)]


def only_deletes(steps: Steps) -> bool:
    """Return whether these steps only delete, so need no more space in the file."""
    return all(what[:1] in {"-", "~"} for what in steps[::2])


def apply(connection: sqlite3.Connection, steps: Steps) -> None:
    """Execute the steps in as few statements as possible, inside the open transaction."""
    gone: dict[str, list[int]] = {}
    new: dict[str, list[Row]] = {}
    keyed: dict[str, dict[Row, Row | None]] = {}
    bounded: dict[str, int] = {}
    marks: dict[str, int] = {}
    last = ""
    add: Callable[[Any], None]
    by_turns = iter(steps)
    for what, value in zip(by_turns, by_turns, strict=True):
        if what != last:
            if what in _GONE:
                add = gone.setdefault(_GONE[what], []).append
            elif what in _LOGS:
                add = new.setdefault(what, []).extend
            elif what in _KEYED:
                add = partial(_replace, keyed.setdefault(what, {}), _KEYS[what][0])
            elif what == "#timer":
                add = partial(_bound, bounded)
            elif what == "#mark":
                add = partial(_raise, marks)
            else:
                add = partial(_forget, keyed.setdefault(what[1:], {}))
            last = what
        add(value)
    _flush(connection, gone, new, keyed)
    for kind, mark in marks.items():
        connection.execute(_RAISE, (mark, kind))
    for most in set(bounded.values()):
        _check_timers(connection, [key for key in bounded if bounded[key] == most], most)


def _forget(rows: dict[Row, Row | None], key: Row) -> None:
    rows.pop(key, None)
    rows[key] = _DELETED


def _replace(rows: dict[Row, Row | None], key: slice, by: Iterable[Row]) -> None:
    for row in by:
        rows.pop(row[key], None)
        rows[row[key]] = row


def _bound(bounded: dict[str, int], bound: tuple[str, int]) -> None:
    bounded[bound[0]] = bound[1]


def _raise(marks: dict[str, int], mark: tuple[str, int]) -> None:
    kind, last = mark
    marks[kind] = max(last, marks.get(kind, last))


def _check_timers(connection: sqlite3.Connection, keys: list[str], most: int) -> None:
    for start in range(0, len(keys), _ROWS_MAX):
        some = keys[start : start + _ROWS_MAX]
        rows = ",".join(["(?)"] * len(some))
        found = connection.execute(_TOO_MANY_TIMERS.format(rows=rows), (*some, most)).fetchone()
        if found is not None:
            raise TooManyTimers(found[0], most)


def _flush(
    connection: sqlite3.Connection,
    gone: dict[str, list[int]],
    new: dict[str, list[Row]],
    keyed: dict[str, dict[Row, Row | None]],
) -> None:
    for queue, places in gone.items():
        if len(places) == 1:  # most transactions of a bot that is not busy
            connection.execute(f"DELETE FROM {queue} WHERE rowid = ?", places)
        else:
            connection.execute(
                f"DELETE FROM {queue} WHERE rowid IN (SELECT value FROM json_each(?))", (str(places),)
            )
    for table, rows in new.items():
        _insert(connection, table, rows)
    for table, by_key in keyed.items():
        for key, row in by_key.items():
            if row is _DELETED:
                connection.execute(_KEYS[table][1], key)
        _insert(connection, table, [row for row in by_key.values() if row is not _DELETED])


def _insert(connection: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    """Insert in batches of powers of two, so that few distinct statements are compiled."""
    start = 0
    size = _ROWS_MAX
    while start < len(rows):
        while size > len(rows) - start:
            size >>= 1
        values = tuple(chain.from_iterable(rows[start : start + size]))
        connection.execute(_insert_statement(table, size), values)
        start += size


@cache
def _insert_statement(table: str, size: int) -> str:
    head, row, tail = _LOGS.get(table) or _KEYED[table]
    return head + ",".join([row] * size) + tail
