"""The connections of handlers' transactions (within.py): a few, made when they are needed.

A connection is used again after what may outlast a transaction was reset; one that was cut off, or that the author had in his hands,
is not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import asyncpg

from engine.errors import StoreUnavailable, TransactionFailed
from engine.stores.postgres.connection import Connection
from engine.stores.postgres.errors import described

AT_ONCE_MAX: Final = 8
"""Transactions at the same time in one process; others wait."""

STATEMENT_S: Final = 5.0
"""A statement of the author's takes no longer: as long as his whole transaction may."""

_IDLE_MAX_S: Final = 3
"""Between two statements: after this long the server rolls back, also if this process is stopped."""

_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": f"{_IDLE_MAX_S}s",
    "statement_timeout": f"{STATEMENT_S:g}s",
    "enable_seqscan": "on",
}
# A statement whose client is gone is ended, with its locks. Not every system can (PostgreSQL documentation, 20.3).
_LOOKS: Final = {"client_connection_check_interval": "1s"}
_BEGIN: Final = "BEGIN; SET LOCAL chatlane.own = 'yes'; SAVEPOINT chatlane_within"
# As DISCARD ALL, but for the prepared statements, which are the driver's.
_RESET: Final = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();"
    " DISCARD TEMP; DISCARD SEQUENCES"
)


class Transactions:
    """The connections for them. `connect` returns a new one, with these settings."""

    def __init__(self, schema: str, connect: Callable[[Mapping[str, str]], Awaitable[Connection]]) -> None:
        self.schema = schema
        self._connect = connect
        self._free = asyncio.Semaphore(AT_ONCE_MAX)
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._outdated: set[Connection] = set()  # not to be used again
        self._resetting: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def cut(self) -> None:
        """Cut all connections: what is open is rolled back."""
        for connection in self._connections:
            connection.terminate()
        self._connections.clear()
        self._outdated.clear()
        self._idle.clear()

    async def close(self) -> None:
        """Cut all connections, for ever."""
        self._is_closed = True
        self.cut()
        await asyncio.gather(*self._resetting, return_exceptions=True)

    async def acquire(self) -> Connection:
        """Return a connection with an open transaction; `release` it. TransactionFailed if there is none."""
        await self._free.acquire()
        connection: Connection | None = None
        try:
            while True:
                is_new = not self._idle
                connection = await self._new() if is_new else self._idle.pop()
                try:
                    await connection.execute(_BEGIN)
                except Exception:
                    self._end(connection)
                    if is_new:
                        raise
                else:
                    return connection
        except BaseException as error:
            if connection is not None:
                self._end(connection)
            self._free.release()
            if isinstance(error, Exception):
                raise TransactionFailed(f"no transaction can begin: {described(error)}") from None
            raise

    def renew(self) -> None:
        """Use no connection again that there is now: what is prepared on it is for tables that have changed."""
        self._outdated |= self._connections
        while self._idle:
            self._end(self._idle[-1])

    def release(self, connection: Connection, *, is_sound: bool) -> None:
        """Take a connection back; it is cut unless it `is_sound`: no request is under way, and the author has not had it."""
        if is_sound and connection in self._connections - self._outdated:
            task = asyncio.create_task(self._reset(connection), name="resetting a connection")
            self._resetting.add(task)
            task.add_done_callback(self._resetting.discard)
            task.add_done_callback(lambda _: self._free.release())
        else:
            self._end(connection)
            self._free.release()

    async def _new(self) -> Connection:
        try:
            connection = await self._connect({**_SETTINGS, **_LOOKS})
        except asyncpg.InvalidParameterValueError:
            connection = await self._connect(_SETTINGS)
        self._connections.add(connection)
        if self._is_closed:
            self._end(connection)
            raise StoreUnavailable("the store is closed")
        return connection

    async def _reset(self, connection: Connection) -> None:
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            await connection.execute(_RESET)
        except BaseException as error:
            self._end(connection)
            if not isinstance(error, Exception):
                raise
        else:
            if connection in self._connections - self._outdated:
                self._idle.append(connection)
            else:
                self._end(connection)

    def _end(self, connection: Connection) -> None:
        for known in (self._connections, self._outdated):
            known.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.terminate()
