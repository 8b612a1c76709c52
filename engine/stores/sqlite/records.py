"""The records of one person or chat in the file of a bot that is stopped."""

import sqlite3
from pathlib import Path
from typing import Final

from engine.errors import StoreError
from engine.stores.records import COLUMNS, Owner, Record, owned
from engine.stores.sqlite.disk import connect, look, renew
from engine.stores.sqlite.errors import at_opening
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.space import allocate

_TABLES: Final = [table for table in COLUMNS if table != "mail"]
_PLACE: Final = {"inbox": "place", "outbox": "place", "timer": "place", "dead": "number", "state": None}
"""The column that names a row; None: key and scope do."""


class SqliteRecords:
    """Opened by `open_records`; owns the file until it is closed."""

    def __init__(self, path: Path, bot: str) -> None:
        self._path = path
        self._file = StoreFile(path, bot, connect, renew, look, allocate)

    async def open(self) -> None:
        """Lock and open the file; StoreError, also if there is none."""
        if not self._path.exists():
            raise StoreError(f"{self._path} does not exist: set STORE_URL to the bot's file")
        self._file.open()

    async def of(self, owner: Owner) -> list[Record]:
        """Return the records of one owner, by table."""
        owner = self._owned(owner)
        connection = self._file.connection
        return [
            Record(table, dict(zip(columns, row, strict=True)))
            for table in _TABLES
            for columns in [COLUMNS[table]]
            for row in connection.execute(
                f"SELECT {', '.join(columns)} FROM {table} ORDER BY {_PLACE[table] or 'key, scope'}"
            )
            if owner.owns(row[0], row[1])
        ]

    async def erase(self, owner: Owner) -> int:
        """Delete them, and rewrite the file without what was deleted; return how many there were."""
        owner = self._owned(owner)
        connection = self._file.connection
        try:
            # The places of deleted rows are overwritten with zeros; VACUUM below also leaves out what was deleted before.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            count = sum(_erase(connection, table, owner) for table in _TABLES)
            parked = connection.execute("SELECT queue, key FROM parked").fetchall()
            gone = [each for each in parked if owner.owns(each[1], "")]
            connection.executemany("DELETE FROM parked WHERE queue = ? AND key = ?", gone)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise at_opening(self._path, error) from None
        finally:
            self._file.watch.written()
        self._rewrite(connection)
        return count

    def _rewrite(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StoreError(
                f"erased, but {self._path} could not be rewritten, and may still contain parts ({error}): "
                "make room for a second file of its size, and repeat this"
            ) from None
        finally:
            self._file.watch.written()

    async def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _owned(self, owner: Owner) -> Owner:
        return owned(owner, [*self._file.aliases()])


def _erase(connection: sqlite3.Connection, table: str, owner: Owner) -> int:
    place = _PLACE[table]
    rows = [
        row
        for row in connection.execute(f"SELECT key, scope, {place or 'NULL'} FROM {table}")
        if owner.owns(row[0], row[1])
    ]
    if place is None:
        connection.executemany(f"DELETE FROM {table} WHERE key = ? AND scope = ?", [row[:2] for row in rows])
        return len(rows)
    connection.executemany(f"DELETE FROM {table} WHERE {place} = ?", [(row[2],) for row in rows])
    if table in {"inbox", "outbox"}:  # a head that had failed
        parked = [(table, row[2]) for row in rows]
        connection.executemany("DELETE FROM parked WHERE queue = ? AND place = ?", parked)
    return len(rows)
