"""A store's file, opened for copying."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from engine.errors import StoreError, StoreUnavailable
from engine.stores.moving import KINDS, MARKS, Batches, Row, portions
from engine.stores.sqlite.disk import connect, look, renew
from engine.stores.sqlite.errors import at_opening
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.own_sql import TABLES
from engine.stores.sqlite.space import allocate

T = TypeVar("T")

_BOT: Final = "SELECT value FROM meta WHERE name = 'bot'"
_RAISE: Final = "UPDATE meta SET value = max(value, ?) WHERE name = ?"
_LETTERS: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'dead'"


def bots_of(path: Path) -> list[str]:
    """Return the number of the bot of a file. StoreError if it is none of a bot's."""
    if not path.exists():
        raise StoreError(f"{path} does not exist")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(_BOT).fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path} is no store of a bot: {error}") from None
    return [] if row is None else [str(row[0])]


class MovingFile:
    """See Moving. Each step of SQLite runs in a thread: the connections to a database go on meanwhile."""

    def __init__(self, path: Path, bot: str, *, is_source: bool, again: bool = False) -> None:
        """`again`: also a source that was moved before."""
        self._path = path
        self._is_source = is_source
        self._file = StoreFile(path, bot, connect, renew, look, allocate)
        self._file.may_be_moved = again

    @property
    def name(self) -> str:
        """See Moving."""
        return f"sqlite:{self._path}"

    async def open(self) -> None:
        """Lock and open the file, created for a target."""
        if self._is_source and not self._path.exists():
            raise StoreError(f"{self._path} does not exist")
        await self._do(self._file.open)

    async def count(self, kind: str) -> int:
        """See Moving."""
        return int((await self._do(lambda: self._execute(f"SELECT count(*) FROM {kind}").fetchone()))[0])

    async def rows(self, kind: str) -> AsyncGenerator[list[Row], None]:
        """See Moving."""
        columns = KINDS[kind].columns
        query = f"SELECT {', '.join(columns)} FROM {kind}"
        for part, size in portions(kind, "length"):
            cursor = await self._do(partial(self._execute, f"{query} WHERE {part}"))
            while batch := await self._do(partial(cursor.fetchmany, size)):
                yield _storable(columns, batch)
            await self._do(cursor.close)

    async def marks(self) -> dict[str, int]:
        """See Moving."""
        return await self._do(self._marks)

    async def begin(self) -> None:
        """See Moving."""
        await self._do(lambda: self._execute("BEGIN IMMEDIATE").close())

    async def write(self, kind: str, batches: Batches) -> None:
        """See Moving."""
        columns = KINDS[kind].columns
        query = f"INSERT INTO {kind} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        async for batch in batches:
            await self._do(partial(self._insert, query, batch))

    async def raise_marks(self, marks: dict[str, int]) -> None:
        """See Moving."""
        await self._do(lambda: self._raise(marks))

    async def commit(self) -> None:
        """See Moving. The log is folded into the file, which could be moved alone then."""
        await self._do(lambda: self._file.commit(self._file.connection))
        await self._do(self._file.fold_log)

    async def mark_moved(self, to: str) -> None:
        """See Moving."""
        await self._do(lambda: self._execute("INSERT OR REPLACE INTO meta VALUES ('moved', ?)", to).close())

    async def others(self) -> list[str]:
        """See Moving."""
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        )
        return [name for (name,) in await self._do(lambda: [*self._execute(query)]) if name not in TABLES]

    async def close(self) -> None:
        """See Moving."""
        await asyncio.to_thread(self._file.close)

    def _insert(self, query: str, batch: list[Row]) -> None:
        # Closed here: one that is left over resets its statement when it is freed, on any thread, while the next batch uses
        # the same statement (cpython: Modules/_sqlite/cursor.c, cursor_dealloc; statements are cached by their text).
        self._file.connection.executemany(query, batch).close()

    def _execute(self, query: str, *values: object) -> sqlite3.Cursor:
        return self._file.connection.execute(query, values)

    def _marks(self) -> dict[str, int]:
        marks = {
            name: int(value) for name, value in self._execute("SELECT name, value FROM meta") if name in MARKS
        }
        return {**marks, "letters": int(self._execute(_LETTERS).fetchone()[0])}

    def _raise(self, marks: dict[str, int]) -> None:
        for kind in ("calls", "timers"):
            self._execute(_RAISE, marks[kind], kind)
        letters = max(marks["letters"], self._marks()["letters"])
        self._execute("DELETE FROM sqlite_sequence WHERE name = 'dead'")
        self._execute("INSERT INTO sqlite_sequence VALUES ('dead', ?)", letters)

    async def _do(self, step: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(step)
        except (StoreError, StoreUnavailable):
            raise
        except (sqlite3.Error, OSError) as error:
            raise at_opening(self._path, error) from None
        finally:
            self._file.watch.written()


def _storable(columns: tuple[str, ...], batch: list[Any]) -> list[Row]:
    """Return rows that a database can have, too: no reason has a NUL in it (PostgreSQL, "Character Types")."""
    if "reason" not in columns:
        return batch
    at = columns.index("reason")
    return [(*row[:at], row[at].replace("\0", "\\0"), *row[at + 1 :]) for row in batch]
