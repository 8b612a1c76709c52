"""The ledger that is a SQLite file: opened, read and written on one thread."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from engine.errors import StoreError, StoreUnavailable
from engine.stores.owned.ledger import Loader
from engine.stores.owned.writer import Doubted
from engine.stores.sqlite.errors import at_opening, translated
from engine.stores.sqlite.file import StoreFile
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

    async def close(self) -> None:
        """See Ledger."""
        try:
            await result_on(self.thread, self.file.close)
        finally:
            self.thread.end()
        self.thread.join()  # not if cancelled: the file's last write may hang
