"""The ledger that is a SQLite file: opened, read and written on one thread."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from engine.errors import StoreError, StoreUnavailable
from engine.model import Sql
from engine.stores.owned.ledger import Loader
from engine.stores.owned.writer import Doubted
from engine.stores.sqlite.errors import at_opening, outcome_of, translated
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.own_sql import create_tables, query
from engine.stores.sqlite.thread import JobThread, result_on
from engine.stores.sqlite.writer import Writer

T = TypeVar("T")


class FileLedger:
    """See Ledger."""

    pause_max_s = 30.0

    def __init__(self, file: StoreFile, thread: JobThread) -> None:
        self.file = file
        self.thread = thread
        self.notes = file.running

    @property
    def name(self) -> str:
        """See Ledger."""
        return str(self.file.path)

    async def open(self, loader: Loader[T]) -> T:
        """See Ledger."""
        build = loader()

        def load() -> T:
            self.file.open()
            try:
                return build(self.file)
            except (StoreError, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - whatever reading a damaged file may raise
                raise at_opening(self.file.path, error) from None

        return await result_on(self.thread, load)

    async def reopen(self, loader: Loader[T]) -> T:
        """See Ledger."""
        build = loader()

        def load() -> T:
            self.file.reopen()
            try:
                return build(self.file)
            except sqlite3.Error as error:
                known, _ = translated(error)
                if isinstance(known, sqlite3.Error):  # a table is missing
                    raise StoreError(f"cannot read {self.file.path}: {error}") from None
                raise known from None

        return await result_on(self.thread, load)

    def writer(self, doubted: Doubted, _: Callable[[], object]) -> Writer:
        """See Ledger. The file has a lock: no other process takes over."""
        return Writer(self.file, self.thread, doubted)

    async def query(self, asked: Sql) -> list[Any]:
        """See Ledger. On a thread of its own: the writer's does not wait for it."""
        try:
            return await asyncio.to_thread(query, self.file.path, asked)
        except sqlite3.Error as error:
            raise outcome_of(error)[0] from None

    async def create_tables(self, script: str) -> None:
        """See Ledger."""

        def create() -> None:
            connection = self.file.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                create_tables(connection, script)
                self.file.commit(connection)
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error | OSError):
                    raise outcome_of(error)[0] from None
                raise

        await result_on(self.thread, create)

    async def close(self) -> None:
        """See Ledger."""
        try:
            await result_on(self.thread, self.file.close)
        finally:
            self.thread.end()
        self.thread.join()  # not if cancelled: the file's last write may hang
