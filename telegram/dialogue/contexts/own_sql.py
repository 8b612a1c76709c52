"""The author's own SQL in handlers: `ctx.sql`, `ctx.transaction`, `ctx.fetch` and `ctx.once` (docs/sql.md)."""

import inspect
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from engine.statements import WRITES, check_statement, query_of, statement_of
from telegram.botapi.collecting import Collected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engine import Delivery, Sql, Transaction, Work
    from engine.store import Database
    from telegram.dialogue.contexts.tools import Tools

log = structlog.get_logger(__name__)

ONCE_TABLE: Final = "CREATE TABLE IF NOT EXISTS chatlane_once (delivery TEXT PRIMARY KEY)"
"""The table that `ctx.once` needs in the other database."""

_INSERT: Final = "INSERT INTO chatlane_once (delivery) VALUES ({}) ON CONFLICT DO NOTHING"
_COLLECTED: Final = Collected("sql")


class OwnSql:
    """What a context has for the author's own tables, in the store's database or in another one."""

    __slots__ = ()

    _tools: "Tools"
    _delivery: "Delivery"
    _sql: "tuple[Sql, ...]"
    _calls: Any
    within: "Transaction | None"
    work: "Work | None"

    def sql(self, text: str, /, *values: Any, expect: int | None = None, **named: Any) -> None:
        """Run a statement at the commit, in its transaction: INSERT, UPDATE, DELETE or WITH on tables of your own.

        Placeholders are those of the database (SQLite: `?` or `:name`; PostgreSQL: `$1`). If it changes another number of rows
        than `expect`, nothing of this update is committed, and `@router.error(SqlMismatch)` decides; SqlFailed for other errors
        of the database. RuntimeError without a database, ValueError or TypeError for what is no such statement.
        """
        if self._calls is None:
            raise RuntimeError("sql: the handler has returned, this statement would be lost")
        self._database("sql")
        statement = statement_of(text, values, named, expect)
        check_statement(statement, WRITES)
        self._sql = (*self._sql, statement)  # type: ignore[misc] # a slot of Context
        return _COLLECTED  # type: ignore[return-value]  # explains `await ctx.sql(...)`

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[Transaction]":
        """Run SQL of your own, and use its answers, in the transaction that is committed with this update (PostgreSQL).

            async with ctx.transaction() as tx:
                left = await tx.fetchval("UPDATE goods SET n = n - 1 WHERE id = $1 AND n > 0 RETURNING n", 7)
            ctx.reply("Sold out." if left is None else "Yours.")

        The commit comes when the handler has returned: update, state, replies, timers and your rows, or nothing of it. An
        error that leaves the block rolls your rows back. One transaction an update, at most OPEN_MAX_S until the commit; do
        slow things before it. RuntimeError without PostgreSQL. TransactionFailed, which is a Retry: it is lost.
        """
        database, work = self._tools.database, self.work
        tx = None if database is None else database.transaction()
        if tx is None or work is None:
            raise RuntimeError(
                "ctx.transaction needs PostgreSQL: set STORE_URL to postgres://..., or use ctx.sql, which SQLite has, too"
            )
        if self._calls is None:
            raise RuntimeError("transaction: the handler has returned")
        if work.within is not None:
            raise RuntimeError("transaction: the update has one, which is committed when the handler returns")
        work.within = tx  # so that it is rolled back whatever becomes of this task
        try:
            async with tx:
                yield tx
        except BaseException:
            work.within = None
            raise
        self.within = tx  # type: ignore[misc] # a slot of Context

    def _note_call(self) -> None:
        """Warn, once for each place in the code, of a call to Telegram while a transaction is open."""
        if self.work is not None and self.work.within is not None:
            code = sys._getframe(2)  # noqa: SLF001 - the author's line
            place = f"{code.f_code.co_filename}:{code.f_lineno}"
            if place not in self._tools.warned:
                self._tools.warned.add(place)
                log.warning("a call to Telegram while a transaction is open, which keeps its locks", at=place)

    async def fetch(self, text: str, /, *values: Any, **named: Any) -> list[Any]:
        """Return the rows of a SELECT on your own tables, at most 10,000: `rows[0]["stock"]`, or by position.

        It sees what is committed: neither the statements of this handler nor what others commit afterwards. SqlFailed for
        errors of the database, StoreUnavailable if it cannot answer; otherwise as `sql`.
        """
        database = self._database("fetch")
        return await database.query(query_of(text, values, named))

    async def once(self, connection: Any, name: str = "") -> bool:
        """Return whether this is the first transaction of another database that has this update; False: it was done before.

        It inserts a row into the table chatlane_once, over an open connection of asyncpg, aiosqlite, sqlite3, or the like,
        in the transaction that is open there: commit it together with your changes. With a `name`, once for each name.
        RuntimeError for a connection of asyncpg without a transaction: the row would be committed before your changes.
        """
        key = f"{self._of_bot()}:{self._identity()}:{name}"
        if _is_asyncpg(connection):
            if not connection.is_in_transaction():
                raise RuntimeError(
                    "once: begin a transaction of yours on this connection, which commits both"
                )
            return str(await connection.execute(_INSERT.format("$1"), key)).endswith(" 1")
        done = connection.execute(_INSERT.format("?"), (key,))
        cursor = await done if inspect.isawaitable(done) else done
        return bool(cursor.rowcount == 1)

    def _identity(self) -> str:
        """Return the same text for each run of this update, timer or event."""
        envelope = self._delivery.envelope
        if envelope.is_timer:  # the number may come again with a new store, not at the same moment
            return f"timer:{envelope.id}:{envelope.at!r}"
        return str(envelope.id)

    def _of_bot(self) -> int:
        client = self._tools.client
        return 0 if client is None else client.bot_id

    def _database(self, method: str) -> "Database":
        found = self._tools.database
        if found is None:
            raise RuntimeError(
                f"ctx.{method} needs a database: set STORE_URL to sqlite:FILE or postgres://..."
            )
        return found


def _is_asyncpg(connection: Any) -> bool:
    return hasattr(connection, "fetchrow") and hasattr(connection, "is_in_transaction")
