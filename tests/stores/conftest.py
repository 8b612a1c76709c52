"""A PostgreSQL server for the tests of this folder: one for all of them, a bot for each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any, Final

import asyncpg
import pytest

from engine.stores.postgres import (
    connection,
    ledger,
    open_postgres,
    reading,
    session,
    transactions,
    within,
    writer,
)
from tests.kit.bounds import WITHIN_S
from tests.kit.database import WHERE_FROM, Server, can_start

_FIRST_OF_USERS: Final = 16384
"""Types below have the same number and form in each database (PostgreSQL, access/transam.h: FirstNormalObjectId)."""


@contextmanager
def _types_are_looked_up_once() -> Iterator[None]:
    """Each connection of asyncpg looks up the types of the arrays that it sends: a third of what opening a store costs."""
    look_up = asyncpg.Connection._introspect_types
    known: dict[frozenset[int], Any] = {}

    async def introspect(connection: Any, numbers: set[int], timeout: float | None) -> Any:
        wanted = frozenset(numbers)
        if wanted in known:
            return known[wanted], SimpleNamespace(name="not asked for")
        found, statement = await look_up(connection, numbers, timeout)
        if max(wanted) < _FIRST_OF_USERS:
            known[wanted] = found
        return found, statement

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "_introspect_types", introspect)
        yield


@pytest.fixture(scope="session")
def database() -> Iterator[Server]:
    """A server of our own."""
    if not can_start():
        pytest.skip(WHERE_FROM)
    server = Server()
    with _types_are_looked_up_once():
        yield server
    server.remove()


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit of production ends what a busy machine does slowly: a test that is about one sets it itself."""
    long_s = 10 * WITHIN_S
    for where in (connection, writer):
        monkeypatch.setattr(where, "COMMAND_S", long_s)
    monkeypatch.setattr(connection, "_CONNECT_S", long_s)
    monkeypatch.setattr(reading, "_TIME_S", long_s)
    monkeypatch.setattr(ledger, "_CLOSE_S", WITHIN_S / 3)
    monkeypatch.setattr(within, "OPEN_MAX_S", long_s)
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(connection._SETTINGS, limit, f"{long_s:.0f}s")
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(transactions._SETTINGS, limit, f"{long_s:.0f}s")
    monkeypatch.setitem(open_postgres.__kwdefaults__ or {}, "ttl_s", long_s)
    monkeypatch.setattr(session, "_AHEAD_S", 2 * long_s)


_numbers = count(1)


@pytest.fixture
def new_bot() -> Callable[[], str]:
    """Return a function that returns the number of a bot that no other test has."""
    return lambda: str(next(_numbers))


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    """What is to be closed at the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def bot(new_bot: Callable[[], str]) -> str:
    """The number of the test's bot."""
    return new_bot()


@pytest.fixture
def open_it(database: Server, bot: str, closing: AsyncExitStack) -> Callable[..., Awaitable[Any]]:
    """Return a function that opens the bot's store, as one more process, until the end of the test."""

    async def open_(url: str = "", **named: Any) -> Any:
        store = await open_postgres(url or database.url(), bot, **named)
        closing.push_async_callback(store.close)
        return store

    return open_


@pytest.fixture
async def sql(database: Server, closing: AsyncExitStack) -> Any:
    """A connection of a person at the database."""
    connection = await asyncpg.connect(database.url().partition("?")[0])
    closing.push_async_callback(connection.close)
    return connection
