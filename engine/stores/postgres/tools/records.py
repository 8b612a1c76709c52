"""The records of one person or chat in a database, while no process uses the bot."""

from typing import Any, Final

from engine.errors import StoreError
from engine.stores.postgres.address import read_address
from engine.stores.postgres.connection import Connection, connect
from engine.stores.postgres.errors import at_opening
from engine.stores.postgres.store import PostgresStore, open_postgres
from engine.stores.records import COLUMNS, Owner, Record, owned

_PLACE: Final = {"inbox": "place", "outbox": "place", "timer": "place", "dead": "number", "mail": "n"}
"""The column that names a row; none: key and scope do."""

_LONG_S: Final = 3600.0  # it reads whole tables
_FOUND: Final = "bot = $1 AND (strpos(key, $2) > 0 OR strpos(scope, $2) > 0 OR key = ANY($3))"


class PostgresRecords:
    """Opened by `open_records`; has the bot alone until it is closed."""

    def __init__(self, url: str, bot: str) -> None:
        self._url = url
        self._bot = bot
        self._address = read_address(url)
        self._store: PostgresStore | None = None
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Take the bot, and connect; StoreError, also if a process has it."""
        self._store = await open_postgres(self._url, self._bot, shared=False)
        try:
            self._connection = await connect(self._address, "chatlane records")
            await self._connection.execute("SET statement_timeout = 0; SET enable_seqscan = on")
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise StoreError(str(at_opening(self._address.name, error))) from None

    async def of(self, owner: Owner) -> list[Record]:
        """Return the records of one owner, by table."""
        owner, keys = await self._owned(owner)
        return [
            Record(table, dict(zip(columns, row, strict=True)))
            for table, columns in COLUMNS.items()
            for row in await self._found(table, ", ".join(columns), owner, keys)
        ]

    async def erase(self, owner: Owner) -> int:
        """Delete them in one transaction; return how many there were."""
        owner, keys = await self._owned(owner)
        connection, schema, bot = self._open, self._address.schema, int(self._bot)
        count = 0
        async with connection.transaction():
            for table in COLUMNS:
                place = _PLACE.get(table)
                rows = await self._found(table, f"key, scope, {place or 'NULL'}", owner, keys)
                count += len(rows)
                if place is None:
                    keyed = "bot = $1 AND (key, scope) IN (SELECT * FROM unnest($2::text[], $3::text[]))"
                    values: list[Any] = [[row[0] for row in rows], [row[1] for row in rows]]
                    await connection.execute(f"DELETE FROM {schema}.{table} WHERE {keyed}", bot, *values)
                    continue
                places = [row[2] for row in rows]
                await connection.execute(
                    f"DELETE FROM {schema}.{table} WHERE bot = $1 AND {place} = ANY($2::bigint[])",
                    bot,
                    places,
                )
                await connection.execute(
                    f"DELETE FROM {schema}.parked WHERE bot = $1 AND queue = $2 AND place = ANY($3::bigint[])",
                    *(bot, table, places),
                )
            parked = await self._found("parked", "key, ''", owner, keys, scope="''")
            lanes = [row[0] for row in parked]
            await connection.execute(
                f"DELETE FROM {schema}.parked WHERE bot = $1 AND key = ANY($2::text[])", bot, lanes
            )
        return count

    async def close(self) -> None:
        """Give the bot up."""
        if self._connection is not None:
            await self._connection.close()
        if self._store is not None:
            await self._store.close()

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise StoreError(f"{self._address.name} is not open")
        return self._connection

    async def _owned(self, owner: Owner) -> tuple[Owner, list[str]]:
        """Return the owner with his aliases, and the keys that they add."""
        query = f"SELECT name, key FROM {self._address.schema}.alias WHERE bot = $1"
        aliases = [(name, key) for name, key in await self._open.fetch(query, int(self._bot))]
        owner = owned(owner, aliases)
        return owner, [each for pair in aliases for each in pair if owner.owns(each, "")]

    async def _found(
        self, table: str, columns: str, owner: Owner, keys: list[str], scope: str = "scope"
    ) -> list[Any]:
        """Return the rows of one owner; the first two columns are key and scope."""
        condition = _FOUND.replace("scope", scope)
        query = f"SELECT {columns} FROM {self._address.schema}.{table} WHERE {condition} ORDER BY 1, 2, 3"
        query = query if columns.count(",") > 1 else query.removesuffix(", 3")
        rows = await self._open.fetch(query, int(self._bot), owner.text, keys, timeout=_LONG_S)
        return [row for row in rows if owner.owns(row[0], row[1])]
