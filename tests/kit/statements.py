"""What a store asks of SQLite, watched on its own connection."""

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from engine.stores.sqlite.thread import result_on

T = TypeVar("T")


async def on_its_thread(store: Any, act: Callable[[sqlite3.Connection], T]) -> T:
    """Do something with the store's connection where the store uses it.

    Callbacks are set and removed there only. Elsewhere it is a deadlock: Python's sqlite3 waits for the connection's
    mutex with the interpreter's lock held, while the statement that has the mutex waits for the interpreter's lock, to call
    back (cpython: Modules/_sqlite/connection.c, set_progress_handler). No signal ends that.
    """
    return await result_on(store._ledger.thread, lambda: act(store._ledger.file.connection))


async def statements_of(store: Any) -> list[str]:
    """Return a list to which each statement is added from now on."""
    statements: list[str] = []
    await on_its_thread(store, lambda connection: connection.set_trace_callback(statements.append))
    return statements
