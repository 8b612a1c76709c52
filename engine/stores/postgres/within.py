"""Transactions of handlers: the author's statements, and the commit of his update, in one transaction (docs/sql.md).

    open ── end of the block ──▶ ready ── commit ──▶ joined ── the writer's turn ──▶ committed
      │                            │                   │              │
      └─ error, cancelled ─────────┴── OPEN_MAX_S ─────┘              └── refused, connection lost ──▶ rolled back

* The author's statements run on a connection of their own, beside everything else. The group of the update (fence, ack,
  states, calls, timers) and COMMIT are run on it by the writer, in its turn: so the lanes in memory, the caches, the ids of
  calls and what the lane does next follow it in the same order as every other commit.
* The group is the last statement, and at top level: the author's are inside a savepoint, which is released at the end of
  the block, with those that he has left open. If the savepoint is gone, he has ended the transaction.
* Before COMMIT is sent, whatever fails has changed nothing: TransactionFailed, the handler runs again. If the answer to COMMIT
  is lost, the store is in doubt. It is read anew, after the session's row has waited for this transaction (session.py): an
  update that is still there runs again, one that is not was committed with all its effects.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
import structlog

from engine.errors import (
    RightLost,
    SqlFailed,
    StateChanged,
    StoreError,
    StoreUnavailable,
    TooManyTimers,
    TransactionFailed,
)
from engine.model import Sql
from engine.stores.postgres.connection import Connection
from engine.stores.postgres.errors import described, is_fault_of_values, outcome_of
from engine.stores.postgres.own_sql import LIMITS, check, commit, run_all
from engine.stores.postgres.transactions import STATEMENT_S, Transactions

log = structlog.get_logger(__name__)

OPEN_MAX_S: Final = STATEMENT_S
"""A transaction that is open for longer is rolled back: its locks, and what VACUUM may not remove, concern the whole database."""

_RELEASE: Final = "RELEASE SAVEPOINT chatlane_within; RESET ROLE"
_ENDS: Final = re.compile(
    r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*(begin|start|commit|end|abort|prepare|rollback(?!\s+(?:work\s+|transaction\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_OVER: Final = "the transaction is over"
_ENDED: Final = "the transaction was ended inside its block: it is committed with the update"
_ANSWERS: Final = (StateChanged, TooManyTimers, RightLost, SqlFailed)
_IN_DOUBT: Final = (StoreUnavailable, StoreError)  # what the group itself says of the session
_MISSING_HEAD: Final = "22012"
_PASSING: Final = {"08", "40", "53", "57"}  # classes of SQLSTATE, and one code
_OUTDATED: Final = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A table or type was changed after the driver had prepared the statement (asyncpg, issue 458)."""

_IDLE_TOO_LONG: Final = "25P03"
_CANCELLED: Final = "57014"  # a statement that ran for too long does so again


class Within:
    """One of them: see Transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._all = transactions
        self._connection: Connection | None = None  # until it is released
        self._is_open = False  # for the author's statements
        self._is_ready = False  # for a commit
        self._is_lent = False
        self._limit: asyncio.TimerHandle | None = None
        self._why = ""  # it was cut

    # -- for the author ------------------------------------------------------------------------------------------------

    async def execute(self, text: str, /, *values: Any) -> str:
        """See Transaction."""
        connection = self._usable(text)
        if values:
            return await connection.execute(text, *values)
        prepared = await connection.prepare(text)  # exactly one statement
        await prepared.fetch()
        return str(prepared.get_statusmsg())

    async def fetch(self, text: str, /, *values: Any) -> list[Any]:
        """See Transaction."""
        return await self._usable(text).fetch(text, *values)

    async def fetchrow(self, text: str, /, *values: Any) -> Any:
        """See Transaction."""
        return await self._usable(text).fetchrow(text, *values)

    async def fetchval(self, text: str, /, *values: Any) -> Any:
        """See Transaction."""
        return await self._usable(text).fetchval(text, *values)

    @property
    def connection(self) -> Any:
        """See Transaction."""
        connection = self._usable("")
        self._is_lent = True
        return connection

    async def __aenter__(self) -> Self:
        """See Transaction."""
        self._connection = await self._all.acquire()
        self._is_open = True
        self._limit = asyncio.get_running_loop().call_later(OPEN_MAX_S, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """See Transaction."""
        self._is_open = False
        if error is None:
            await self._check()
            return
        is_lost = self._connection is None or self._connection.is_closed()
        if is_outdated := isinstance(error, _OUTDATED):
            self._all.renew()
        self._release(is_sound=isinstance(error, Exception))
        if (
            is_outdated
            or _is_passing(error)
            or (is_lost and isinstance(error, asyncpg.InterfaceError | OSError))
        ):
            raise TransactionFailed(self._why or described(error)) from error

    async def _check(self) -> None:
        """Prepare for the commit: to the top level, the store's settings, and none of its tables."""
        connection = self._connection
        if connection is None:
            raise TransactionFailed(self._why or _OVER)
        try:
            await connection.execute(_RELEASE)
            await check(connection, self._all.schema, Sql("transaction"))
        except BaseException as error:  # noqa: BLE001 - sorted below
            is_lost = connection.is_closed()
            self._release(is_sound=False)
            if isinstance(error, Exception) and (is_lost or _is_passing(error)):
                raise TransactionFailed(self._why or described(error)) from None
            raise _at_the_end(error) from None
        self._is_ready = True

    # -- for the engine ------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """See Transaction."""
        if self._is_open or self._is_ready:
            is_sound = self._is_ready  # else a statement may be under way
            self._is_open = self._is_ready = False
            self._why = self._why or "it was given up"
            self._release(is_sound=is_sound)

    def drop(self) -> None:
        """Roll it back, if a commit that has joined it does not use it."""
        self._why = self._why or "it was given up"
        self._release(is_sound=True)

    def join(self) -> None:
        """Claim it for one commit; TransactionFailed if it is over."""
        if not self._is_ready:
            raise TransactionFailed(self._why or _OVER)
        self._is_ready = False

    async def commit(
        self, statements: tuple[Sql, ...], group: Callable[[Connection], Awaitable[None]]
    ) -> None:
        """Commit it with more statements of the author's, and the group.

        TransactionFailed, StateChanged, TooManyTimers, RightLost, SqlFailed: it is rolled back. Others leave the store in doubt.
        """
        connection = self._connection
        if connection is None:
            raise TransactionFailed(self._why or _OVER)
        self._no_limit()
        is_sound = False
        try:
            try:
                if statements:
                    await connection.execute(LIMITS)
                await run_all(connection, self._all.schema, statements)
                await group(connection)
            except (*_ANSWERS, *_IN_DOUBT) as error:
                is_sound = isinstance(error, _ANSWERS)
                raise
            except Exception as error:
                if is_fault_of_values(error) or getattr(error, "sqlstate", None) == _MISSING_HEAD:
                    raise
                raise TransactionFailed(described(error)) from None
            await self._end(connection)
            is_sound = True
        finally:
            self._release(is_sound=is_sound)

    async def _end(self, connection: Connection) -> None:
        try:
            tag = await commit(connection, Sql("COMMIT"))
        except SqlFailed:
            raise
        except Exception as error:
            if outcome_of(error)[1]:
                raise
            raise TransactionFailed(described(error)) from None
        if tag != "COMMIT":
            raise TransactionFailed("the server has rolled it back")

    # -- parts of the above --------------------------------------------------------------------------------------------

    def _usable(self, text: str) -> Connection:
        if self._why:
            raise TransactionFailed(self._why)
        if not self._is_open or self._connection is None:
            raise RuntimeError("the transaction is over: its statements are inside of its `async with` block")
        if found := _ENDS.match(text):
            raise RuntimeError(f"{found[1].upper()}: the transaction is committed with the update")
        return self._connection

    def _expire(self) -> None:
        self._why = f"the transaction was open for longer than {OPEN_MAX_S:g} s"
        log.warning(self._why)
        connection, self._is_ready = self._connection, False
        if self._is_open and connection is not None:
            connection.terminate()  # what is under way fails; the end of the block releases it
        else:
            self._release(is_sound=False)

    def _no_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _release(self, *, is_sound: bool) -> None:
        self._no_limit()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._all.release(connection, is_sound=is_sound and not self._is_lent)


def _at_the_end(error: BaseException) -> BaseException:
    """Return the error for the end of a block at which the transaction cannot be committed."""
    if isinstance(error, asyncpg.InvalidSavepointSpecificationError | asyncpg.NoActiveSQLTransactionError):
        return RuntimeError(_ENDED)
    if isinstance(error, asyncpg.PostgresError):  # as of a statement that has failed before
        return TransactionFailed(described(error))
    return error


def _is_passing(error: BaseException) -> bool:
    """Return whether the server, or another transaction, has ended it: the same statement may succeed the next time."""
    state = str(getattr(error, "sqlstate", None))
    return isinstance(error, asyncpg.PostgresError) and (
        (state[:2] in _PASSING and state != _CANCELLED) or state == _IDLE_TOO_LONG
    )
