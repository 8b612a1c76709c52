"""Connections for the queries of handlers, apart from the one that writes: a few, made when they are needed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from engine.errors import StoreUnavailable
from engine.model import Sql
from engine.stores.postgres import own_sql
from engine.stores.postgres.address import Address
from engine.stores.postgres.errors import outcome_of

CONNECTIONS_MAX: Final = 4
_TIME_S: Final = 10.0  # for a connection to be free, and for an answer


class Reader:
    """Runs queries, and the script that creates the author's tables: SqlFailed, or StoreUnavailable."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pool: Any = None
        self._is_closed = False

    async def query(self, asked: Sql) -> list[Any]:
        """Return the rows."""
        async with self._connection() as connection:
            return await own_sql.query(connection, asked)

    async def create_tables(self, script: str) -> None:
        """Run the script."""
        async with self._connection() as connection:
            await own_sql.create_tables(connection, script)

    def close(self) -> None:
        """Cut the connections; later queries fail."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                **self._address.options,
                min_size=0,
                max_size=CONNECTIONS_MAX,
                command_timeout=_TIME_S,
                timeout=_TIME_S,
                server_settings={"jit": "off", "application_name": "chatlane queries"},
            )
        try:
            await self._pool  # connects at the first time only
            async with self._pool.acquire(timeout=_TIME_S) as connection:
                yield connection
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise outcome_of(error)[0] from None
