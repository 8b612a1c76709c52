"""The SQL of one transaction: few statements, because each releases the interpreter lock and has to win it back from a busy
event loop.
"""

import sqlite3
from functools import cache
from itertools import chain
from typing import Final

from engine.errors import TooManyTimers
from engine.stores.owned.group import DELETED, Combined, Row, Steps, combined

_ROWS_MAX: Final = 256  # rows per INSERT; times columns, far below SQLite's limit of bound variables
_INSERT: Final = {
    "inbox": ("INSERT INTO inbox VALUES ", "(?,?,?,?,?)", ""),
    "outbox": ("INSERT INTO outbox VALUES ", "(?,?,?,?,?)", ""),
    "dead": (
        "INSERT INTO dead (queue, id, key, scope, body, attempts, reason, at) VALUES ",
        "(?,?,?,?,?,?,?,?)",
        "",
    ),
    "state": ("INSERT INTO state VALUES ", "(?,?,?)", " ON CONFLICT DO UPDATE SET state = excluded.state"),
    "seen": ("INSERT OR REPLACE INTO seen VALUES ", "(?,?,?)", ""),
    "parked": ("INSERT OR REPLACE INTO parked VALUES ", "(?,?,?,?,?,?,?)", ""),
    "timer": ("INSERT OR REPLACE INTO timer VALUES ", "(?,?,?,?,?,?)", ""),
    "alias": ("INSERT OR REPLACE INTO alias VALUES ", "(?,?)", ""),
}
_DELETE: Final = {
    "state": "DELETE FROM state WHERE key = ? AND scope = ?",
    "seen": "DELETE FROM seen WHERE segment = ?",
    "parked": "DELETE FROM parked WHERE queue = ? AND key = ?",
    "timer": "DELETE FROM timer WHERE key = ? AND scope = ? AND name = ?",
    "alias": "DELETE FROM alias WHERE name = ?",
}
_RAISE: Final = "UPDATE meta SET value = max(value, ?) WHERE name = ?"
_TOO_MANY_TIMERS: Final = """
SELECT column1 FROM (VALUES {rows}) WHERE (SELECT 1 FROM timer WHERE key = column1 LIMIT 1 OFFSET ?) IS NOT NULL LIMIT 1
"""


def apply(connection: sqlite3.Connection, steps: Steps) -> None:
    """Execute the steps in as few statements as possible, inside the open transaction."""
    parts = combined(steps)
    _flush(connection, parts)
    for kind, mark in parts.marks.items():
        connection.execute(_RAISE, (mark, kind))
    bounded = parts.bounded
    for most in set(bounded.values()):
        _check_timers(connection, [key for key in bounded if bounded[key] == most], most)


def _check_timers(connection: sqlite3.Connection, keys: list[str], most: int) -> None:
    for start in range(0, len(keys), _ROWS_MAX):
        some = keys[start : start + _ROWS_MAX]
        rows = ",".join(["(?)"] * len(some))
        found = connection.execute(_TOO_MANY_TIMERS.format(rows=rows), (*some, most)).fetchone()
        if found is not None:
            raise TooManyTimers(found[0], most)


def _flush(connection: sqlite3.Connection, parts: Combined) -> None:
    for queue, places in parts.gone.items():
        if len(places) == 1:  # most transactions of a bot that is not busy
            connection.execute(f"DELETE FROM {queue} WHERE rowid = ?", places)
        else:
            connection.execute(
                f"DELETE FROM {queue} WHERE rowid IN (SELECT value FROM json_each(?))", (str(places),)
            )
    for table, rows in parts.new.items():
        _insert(connection, table, rows)
    for table, by_key in parts.keyed.items():
        for key, row in by_key.items():
            if row is DELETED:
                connection.execute(_DELETE[table], key)
        _insert(connection, table, [row for row in by_key.values() if row is not DELETED])


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
    head, row, tail = _INSERT[table]
    return head + ",".join([row] * size) + tail
