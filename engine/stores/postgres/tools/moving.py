"""A bot's rows in a database, opened for copying: under a session that has the bot alone, without its lanes in memory."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final

from engine.errors import StoreError, StoreUnavailable
from engine.stores.moving import KINDS, MARKS, Batches, Row, portions
from engine.stores.owned.shares import share_of
from engine.stores.postgres.address import Address, read_address
from engine.stores.postgres.connection import Connection, connect, visit
from engine.stores.postgres.errors import at_opening
from engine.stores.postgres.keeper import Keeper
from engine.stores.postgres.ledger import RENEW_EVERY_S, TTL_S
from engine.stores.postgres.schema import prepare
from engine.stores.postgres.session import Held, Session
from engine.stores.postgres.statements import KEY_AT
from engine.stores.postgres.store import open_postgres

_LONG_S: Final = 86_400.0
_CLOSE_S: Final = 2.0
_IS_THERE: Final = "SELECT to_regclass($1) IS NOT NULL"
_BOTS: Final = "SELECT id FROM {0}.bot ORDER BY id"
_MAIL: Final = "SELECT count(*) FROM {0}.mail WHERE bot = $1"
_MARKS: Final = "SELECT kind, value FROM {0}.mark WHERE bot = $1"
_RAISE: Final = """
INSERT INTO {0}.mark (bot, kind, value) SELECT $1, w.* FROM unnest($2::text[], $3::bigint[]) AS w
ON CONFLICT (bot, kind) DO UPDATE SET value = greatest(mark.value, excluded.value)"""
_MOVED: Final = """
INSERT INTO {0}.meta VALUES ('moved ' || $1::text, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_HOLDS: Final = "SELECT FROM {0}.session WHERE id = $1 AND stint = $2 FOR KEY SHARE"
# A whole table is read or written.
_FOR_LONG: Final = """
SELECT set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),
 set_config('enable_seqscan', 'on', false)"""


async def bots_of(url: str) -> list[str]:
    """Return the numbers of the bots in a schema. StoreError if there is no store."""
    async with visit(url, "chatlane copy") as (address, connection):
        await _check_there(connection, address)
        return [str(row[0]) for row in await connection.fetch(_BOTS.format(address.schema))]


def _nothing(*, moved: bool) -> None:
    pass


class MovingBot:
    """See Moving. `again`: also a source that was moved before."""

    def __init__(self, url: str, bot: str, *, is_source: bool, again: bool = False) -> None:
        self._is_source = is_source
        self._url = url
        self._bot = bot
        self._address = read_address(url)
        self._session = Session(
            self._address.schema,
            int(bot),
            ttl_s=TTL_S,
            holder=f"process {os.getpid()} on {socket.gethostname()}",
            may_be_moved=again,
        )
        self._connections: list[Connection] = []
        self._keeper: Keeper | None = None
        self._held: Held | None = None
        self._transaction: Any = None
        self._lost = ""
        """Why the session does not have the bot any more."""

    @property
    def name(self) -> str:
        """See Moving."""
        return self._address.name

    async def open(self) -> None:
        """Take the bot; the tables are created for a target."""
        async with self._translated():
            connection = await self._connect()
            if self._is_source:
                await _check_there(connection, self._address)
            await prepare(connection, self._address)
            if self._is_source:
                await self._file_mail(connection)
            await self._join(connection)
            await connection.execute(_FOR_LONG)
            if self._is_source and await connection.fetchval(self._sql(_MAIL), int(self._bot)):
                raise StoreError(
                    f"{self.name} has mail that this version does not know: start the newer one on it"
                )

    async def count(self, kind: str) -> int:
        """See Moving."""
        async with self._translated():
            query = f"SELECT count(*) FROM {self._address.schema}.{kind} WHERE bot = $1"
            rows = await self._connections[0].fetch(query, int(self._bot), timeout=_LONG_S)
            return int(rows[0][0])

    async def rows(self, kind: str) -> AsyncGenerator[list[Row], None]:
        """See Moving. As of one moment: no other process writes meanwhile."""
        columns = ", ".join(KINDS[kind].columns)
        query = f"SELECT {columns} FROM {self._address.schema}.{kind} WHERE bot = $1"
        async with self._translated(), self._in_transaction():
            for part, size in portions(kind, "octet_length"):
                prepared = await self._connections[0].prepare(f"{query} AND {part}")
                cursor = await prepared.cursor(int(self._bot), timeout=_LONG_S)
                while batch := await cursor.fetch(size, timeout=_LONG_S):
                    yield [tuple(row) for row in batch]

    async def marks(self) -> dict[str, int]:
        """See Moving."""
        async with self._translated():
            rows = await self._connections[0].fetch(self._sql(_MARKS), int(self._bot))
            return {**dict.fromkeys(MARKS, 0), **{kind: value for kind, value in rows if kind in MARKS}}

    async def begin(self) -> None:
        """See Moving. The session's row is locked: it is not reaped before the end of the transaction."""
        async with self._translated():
            self._transaction = self._connections[0].transaction()
            await self._transaction.start()
            held = self._held
            if held is None or not await self._connections[0].fetch(
                self._sql(_HOLDS), held.session, held.stint
            ):
                raise StoreUnavailable("other processes have taken over")

    async def write(self, kind: str, batches: Batches) -> None:
        """See Moving."""
        key_at = KEY_AT.get(kind)
        bot = int(self._bot)

        async def records() -> AsyncGenerator[Row, None]:
            async for batch in batches:
                for row in batch:
                    yield (bot, *row) if key_at is None else (bot, *row, share_of(row[key_at]))

        columns = ["bot", *KINDS[kind].columns, *([] if key_at is None else ["share"])]
        driver: Any = self._connections[0]
        async with self._translated(kind), aclosing(records()) as given:
            await driver.copy_records_to_table(
                kind,
                records=given,
                columns=columns,
                schema_name=self._address.schema.strip('"'),
                timeout=_LONG_S,
            )

    async def raise_marks(self, marks: dict[str, int]) -> None:
        """See Moving."""
        async with self._translated():
            await self._connections[0].execute(self._sql(_RAISE), int(self._bot), [*marks], [*marks.values()])

    async def commit(self) -> None:
        """See Moving."""
        async with self._translated():
            await self._transaction.commit()
            self._transaction = None

    async def mark_moved(self, to: str) -> None:
        """See Moving."""
        async with self._translated():
            await self._connections[0].execute(self._sql(_MOVED), self._bot, to)

    async def others(self) -> list[str]:
        """See Moving. Which tables in a database are the author's is not known."""
        return []

    async def close(self) -> None:
        """See Moving."""
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_S):
                if self._transaction is not None:
                    self._connections[0].terminate()
                if self._keeper is not None:
                    await self._keeper.leave()
        if self._keeper is not None:
            self._keeper.stop()
        for connection in self._connections:
            connection.terminate()

    async def _file_mail(self, connection: Connection) -> None:
        """Let a store that has all lanes file the mail: it may be for any of them, in its order."""
        if int(self._bot) not in [row[0] for row in await connection.fetch(self._sql(_BOTS))]:
            raise StoreError(f"{self.name} has nothing of bot {self._bot}")
        if await connection.fetchval(self._sql(_MAIL), int(self._bot)):
            store = await open_postgres(self._url, self._bot, shared=False)
            try:
                await store.settle_mail()
            finally:
                await store.close()

    async def _join(self, connection: Connection) -> None:
        self._held = await self._session.join(connection, alone=True)
        if self._held is None:
            raise StoreError(
                f"{self.name} is in use by {await self._session.another(connection)}: stop it first"
            )
        keeping = await self._connect()
        self._keeper = Keeper(self._session, keeping, self._held, _nothing, self._doubt)
        await self._keeper.start(RENEW_EVERY_S)

    def _doubt(self, reason: str, *, is_over: bool = False) -> None:  # noqa: ARG002 - the store's
        self._lost = self._lost or reason
        self._connections[0].terminate()

    async def _connect(self) -> Connection:
        connection = await connect(self._address, self._session.application)
        self._connections.append(connection)
        return connection

    @asynccontextmanager
    async def _in_transaction(self) -> AsyncIterator[None]:
        if self._transaction is not None:
            yield
            return
        async with self._connections[0].transaction(isolation="repeatable_read"):
            yield

    @asynccontextmanager
    async def _translated(self, kind: str = "") -> AsyncIterator[None]:
        """Turn the driver's errors into the engine's."""
        try:
            yield
        except (StoreError, StoreUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            if self._lost:
                raise StoreUnavailable(f"{self.name}: {self._lost}") from None
            if kind and (getattr(error, "sqlstate", None) or "").startswith(("22", "23")):
                raise StoreError(f"{self.name} refuses a row of {kind}: {error}") from None
            raise at_opening(self.name, error) from None

    def _sql(self, text: str) -> str:
        return text.format(self._address.schema)


async def _check_there(connection: Connection, address: Address) -> None:
    if not await connection.fetchval(_IS_THERE, f"{address.schema}.meta"):
        raise StoreError(f"{address.name} has no tables of a bot")
