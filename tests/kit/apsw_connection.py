"""What the SQLite store expects of a `sqlite3.Connection`, on a disk of ours: APSW has its own SQLite and its own VFS."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw

from tests.kit.disk import Disk

_CLASSES: Final = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISUSE: sqlite3.ProgrammingError,
}


class ApswConnection:
    """A connection on `disk`.

    * `synchronous` overrides whatever the store asks for.
    * `is_busy` is asked before each transaction, and makes it fail.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        *,
        synchronous: str | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._synchronous = synchronous
        self._is_busy = is_busy
        try:
            self._connection = apsw.Connection(str(path), vfs=disk.name)
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # else WAL needs shared memory
        except apsw.Error as error:
            raise _translated(error) from None

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, statement: str, values: Any = ()) -> "_Rows":
        if self._synchronous and statement.startswith("PRAGMA synchronous="):
            statement = f"PRAGMA synchronous={self._synchronous}"
        try:
            if statement == "BEGIN IMMEDIATE" and self._is_busy():
                raise apsw.exception_for(apsw.SQLITE_BUSY)
            return _Rows(self._connection.execute(statement, values))
        except apsw.Error as error:
            raise _translated(error) from None

    def executemany(self, statement: str, rows: Any) -> None:
        for row in rows:
            self.execute(statement, row)

    def close(self) -> None:
        """As SQLite: what cannot be written is left for the next opening."""
        with suppress(apsw.Error):
            self._connection.close(force=True)


class _Rows:
    """A cursor whose errors are those of `sqlite3`."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def fetchone(self) -> Any:
        return next(self, None)

    def fetchall(self) -> list[Any]:
        return list(self)

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> Any:
        try:
            return next(self._cursor)
        except apsw.Error as error:
            raise _translated(error) from None


def _translated(error: apsw.Error) -> sqlite3.Error:
    code = getattr(error, "extendedresult", 0) or apsw.SQLITE_MISUSE
    translated: sqlite3.Error = _CLASSES.get(code & 0xFF, sqlite3.OperationalError)(str(error))
    translated.sqlite_errorcode = code
    return translated
