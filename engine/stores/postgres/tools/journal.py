"""A journal in the database: lines of text that are only added, in order, for one bot."""

from typing import Any, Final

import asyncpg

from engine.errors import StoreUnavailable
from engine.stores.postgres.address import read_address
from engine.stores.postgres.connection import connect
from engine.stores.postgres.errors import described
from engine.stores.postgres.schema import JOURNAL

_APPLICATION: Final = "chatlane journal"
_LOCK: Final = 0x43484C4A  # "CHLJ"; of the advisory lock for creating the table
_ADD: Final = "INSERT INTO {0}.journal (bot, line) VALUES ($1, $2)"
_NEWEST: Final = "SELECT line FROM {0}.journal WHERE bot = $1 ORDER BY n DESC LIMIT $2"
_IS_THERE: Final = "SELECT to_regclass($1) IS NOT NULL"


class Journal:
    """Each call has a connection of its own: lines are rare. StoreUnavailable for any trouble."""

    def __init__(self, url: str, bot: str) -> None:
        self._address = read_address(url)
        self._bot = int(bot)

    async def add(self, line: str) -> None:
        """Add a line, durable on return."""
        try:
            connection = await connect(self._address, _APPLICATION)
            try:
                if not await self._is_there(connection):
                    async with connection.transaction():
                        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
                        await connection.execute(self._sql(JOURNAL))
                await connection.execute(self._sql(_ADD), self._bot, line)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"{self._address.name} cannot be used: {described(error)}") from None

    async def newest(self, limit: int) -> list[str]:
        """Return the newest lines, newest first."""
        try:
            connection = await connect(self._address, _APPLICATION)
            try:
                if not await self._is_there(connection):
                    return []
                return [row[0] for row in await connection.fetch(self._sql(_NEWEST), self._bot, limit)]
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"{self._address.name} cannot be used: {described(error)}") from None

    async def _is_there(self, connection: Any) -> bool:
        return bool(await connection.fetchval(_IS_THERE, f"{self._address.schema}.journal"))

    def _sql(self, text: str) -> str:
        return text.format(self._address.schema)
