"""Validation of a store's file: its tables and columns, and the types of the values.

Done once, when a process opens the file. A file may be truncated, restored from half a backup, edited by hand, or made by
another program; this reports it in one line at the start, instead of at the first delivery that meets it. States and timers
are not read: there may be millions, and an invalid one is reported when it is read.

SQLite itself detects a broken page when it reads it. Triggers and views are refused: they could run anything when the
store writes (SQLite, "Defense Against The Dark Arts": untrusted schemas), and a store has none.
"""

import sqlite3
from pathlib import Path
from typing import Final

from engine.embedded.seen import SEGMENT_BYTES
from engine.errors import StoreError
from engine.model import DELAY_MAX_S, TIMER_IDS
from engine.store import ID_MASK
from engine.stores.owned.ledger import damaged
from engine.stores.sqlite.schema import SCHEMA, execute_all

_NUMBER_MAX: Final = 2**53
_MOMENT_MAX: Final = 1e15
_TEXT: Final = "typeof({0}) <> 'text'"
_BYTES: Final = "typeof({0}) <> 'blob'"
_QUEUE: Final = "{0} NOT IN ('inbox', 'outbox')"
_MOMENT: Final = (
    f"typeof({{0}}) NOT IN ('real', 'integer') OR {{0}} NOT BETWEEN -{_MOMENT_MAX} AND {_MOMENT_MAX}"
)


def _whole(lowest: int, highest: int) -> str:
    return f"typeof({{0}}) <> 'integer' OR {{0}} NOT BETWEEN {lowest} AND {highest}"


_ENVELOPE: Final = {"key": _TEXT, "scope": _TEXT, "body": _BYTES, "at": _MOMENT}
_WRONG: Final = {
    "inbox": _ENVELOPE,
    "outbox": _ENVELOPE,
    "parked": {
        "queue": _QUEUE,
        "key": _TEXT,
        "reason": _TEXT,
        "attempts": _whole(0, _NUMBER_MAX),
        "until": _MOMENT,
        "delay_s": f"typeof({{0}}) NOT IN ('real', 'integer') OR {{0}} NOT BETWEEN 0 AND {DELAY_MAX_S}",
        "place": _whole(-1, 2**63 - 1),
    },
    "dead": {
        **_ENVELOPE,
        "queue": _QUEUE,
        "id": _whole(0, 2 * TIMER_IDS - 1),
        "attempts": _whole(0, _NUMBER_MAX),
        "reason": _TEXT,
    },
    "seen": {
        "segment": _whole(0, ID_MASK),
        "bits": f"{_BYTES} OR length({{0}}) <> {SEGMENT_BYTES}",
        "touched": _MOMENT,
    },
    "alias": {"name": _TEXT, "key": _TEXT},
}
"""SQL conditions that are true for an invalid value, by table and column."""

_TIMER: Final = {"at": _MOMENT, "place": _whole(TIMER_IDS, 2 * TIMER_IDS - 1)}
_META: Final = {
    "bot": _TEXT,
    "owner_epoch": _whole(0, _NUMBER_MAX),
    "calls": _whole(0, ID_MASK),
    "timers": _whole(0, TIMER_IDS - 1),
}
_TEXTS: Final = {"key", "scope", "reason", "name"}
_NOT_ASCII: Final = "*[^\x01-\x7f]*"


def check_contents(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError for a file that is not a store, or has invalid values."""
    try:
        _check_schema(connection)
        _check_values(connection)
    except StoreError as error:
        raise StoreError(f"cannot open {path}: {damaged(str(error))}") from None


def _check_schema(connection: sqlite3.Connection) -> None:
    foreign = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')"
    ).fetchone()
    if foreign is not None:
        raise StoreError(f"it has a trigger or a view: {foreign[0]!s:.40}")
    expected = sqlite3.connect(":memory:", isolation_level=None)
    try:
        execute_all(expected, SCHEMA)
        wanted = _objects(expected)
        for table in (name for kind, name in wanted if kind == "table"):
            if _columns(connection, table) != _columns(expected, table):
                raise StoreError(f"its table {table} is missing, or is another one")
    finally:
        expected.close()
    if missing := wanted - _objects(connection):
        raise StoreError(f"it has no {' '.join(min(missing))}")


def _check_values(connection: sqlite3.Connection) -> None:
    found = dict(connection.execute("SELECT name, value FROM meta"))
    for name, wrong in _META.items():
        if name not in found or _is(connection, wrong, found[name]):
            raise StoreError(f"its {name} is missing, or is no such value")
    # Only the lowest and highest of the timers, by an index: SQLite sorts text and blobs above all numbers.
    for column, wrong in _TIMER.items():
        for function in ("min", "max"):
            (value,) = connection.execute(f"SELECT {function}({column}) FROM timer").fetchone()
            if value is not None and _is(connection, wrong, value):
                raise StoreError(f"a timer's {column} has a wrong type, or is out of range")
    for table, columns in _WRONG.items():
        wrong = " OR ".join(f"({wrong.format(column)})" for column, wrong in columns.items())
        texts = sorted(_TEXTS & columns.keys()) or ["1"]
        not_ascii = " OR ".join(f"{text} GLOB ?1" for text in texts)
        query = f"SELECT {wrong}, {', '.join(texts)} FROM {table} WHERE {wrong} OR {not_ascii}"
        for is_wrong, *_ in connection.execute(
            query, (_NOT_ASCII,)
        ):  # fetching text that is not ASCII decodes it, which fails if it is not UTF-8
            if is_wrong:
                raise StoreError(f"a value in its table {table} has a wrong type, or is out of range")


def _is(connection: sqlite3.Connection, wrong: str, value: object) -> bool:
    (answer,) = connection.execute(f"SELECT {wrong.format('?1')}", (value,)).fetchone()
    return bool(answer)


def _objects(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Return (kind, name) of all tables and indexes, with those that SQLite makes for UNIQUE."""
    return set(connection.execute("SELECT type, name FROM sqlite_master WHERE name <> 'sqlite_sequence'"))


def _columns(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """Return name, type, "not null" and position in the primary key of each column."""
    return connection.execute(
        'SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)
    ).fetchall()
