"""The author's own SQL in a PostgreSQL database: his tables are in the default schema of the role.

Each delivery that has some is a transaction of its own: BEGIN, his statements, a check, the group with the fence, COMMIT.
The group is the last statement, so that a process that has lost the bot writes nothing of his, either.

He cannot end the transaction, since each statement is a prepared one, which is exactly one statement, and begins with INSERT,
UPDATE, DELETE, MERGE or WITH. The check asks pg_locks whether the transaction has touched the store's tables, however
(a function, a view, a trigger), and sets what the group relies on.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from engine.errors import SqlFailed
from engine.model import Sql
from engine.own_sql import check_count, failed, too_many_rows
from engine.statements import ROWS_MAX, STATEMENT_S
from engine.stores.postgres.connection import Connection, check_replicated

TABLES: Final = [
    "meta", "canary", "session", "share", "mail", "bot", "mark", "inbox", "outbox", "state", "timer", "parked", "dead", "seen", "alias",
    "desk", "asked", "answered", "journal",
]  # fmt: skip

_MS: Final = int(STATEMENT_S * 1000)
LIMITS: Final = (
    f"SET LOCAL statement_timeout = {_MS}; SET LOCAL lock_timeout = {_MS}; SET LOCAL enable_seqscan = on"
)
"""Of a statement for which other commits wait."""

_BEGIN: Final = f"BEGIN; {LIMITS}; SET LOCAL chatlane.own = 'yes'"
_BEGIN_READ: Final = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {_MS}; SET LOCAL enable_seqscan = on"
_CHECK: Final = """
SELECT current_setting('chatlane.own', true) = 'yes', EXISTS (
 SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND quote_ident(n.nspname) = ANY($1) AND c.relname = ANY($2)),
 set_config('synchronous_commit', 'on', true), set_config('client_min_messages', 'warning', true), set_config('enable_seqscan', 'off', true),
 set_config('statement_timeout', '10s', true), set_config('lock_timeout', '5s', true)"""

# They reach beyond the transaction: settings and locks of the session, other sessions, files.
_BEYOND: Final = re.compile(
    r"\b(set_config|pg_(try_)?advisory_\w+|pg_(terminate|cancel)_backend|pg_reload_conf|pg_read_\w+|pg_ls_\w+|pg_write_\w+|"
    r"pg_export_snapshot|pg_notify|lo_\w+|dblink\w*|query_to_xml\w*)\s*\(",
    re.IGNORECASE,
)
_NOT_ITS_FAULT: Final = {"08", "40", "53", "57", "58", "XX"}
"""Classes of SQLSTATE in which it is not the statement that is wrong, except a statement that was cancelled."""

_CANCELLED: Final = "57014"


async def commit_with(
    connection: Connection,
    schema: str,
    statements: tuple[Sql, ...],
    group: Callable[[], Awaitable[None]],
) -> None:
    """Run statements and the group in one transaction; SqlFailed if a statement is refused, and what `group` raises."""
    await connection.execute(_BEGIN)
    try:
        await run_all(connection, schema, statements)
        await group()
        await commit(connection, statements[-1])
    except BaseException:
        await roll_back(connection)
        raise


async def run_all(connection: Connection, schema: str, statements: tuple[Sql, ...]) -> None:
    """Run statements in the open transaction, and check it; SqlFailed."""
    for each in statements:
        await _run(connection, each)
    if statements:
        await check(connection, schema, statements[0])


async def check(connection: Connection, schema: str, statement: Sql) -> None:
    """Set what the group relies on; SqlFailed if the transaction has touched the store's tables, or is another one."""
    row = await connection.fetchrow(_CHECK, [schema, schema.strip('"')], TABLES)
    if row is None or not row[0] or row[1]:
        raise failed(statement, "the store's own tables, and its transaction, are not for SQL of your own")


async def query(connection: Connection, asked: Sql) -> list[Any]:
    """Return the rows, as committed; SqlFailed."""
    _check(asked)
    await connection.execute(_BEGIN_READ)
    try:
        try:
            prepared = await connection.prepare(asked.text)
            cursor = await prepared.cursor(*_values(asked))
            rows: list[Any] = await cursor.fetch(ROWS_MAX + 1)
        except Exception as error:  # noqa: BLE001 - sorted there
            raise sorted_error(asked, error, connection) from None
    finally:
        await roll_back(connection)
    if len(rows) > ROWS_MAX:
        raise too_many_rows(asked.text)
    return rows


async def create_tables(connection: Connection, script: str) -> None:
    """Run a script in a transaction of its own; SqlFailed."""
    statement = Sql(script)
    try:
        await connection.execute("BEGIN; SELECT pg_advisory_xact_lock(1128811854)")  # one process at a time
        await connection.execute(script)
        await connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - sorted there
        await roll_back(connection)
        raise sorted_error(statement, error, connection) from None


async def roll_back(connection: Connection) -> None:
    """End the transaction; cut the connection if that fails, since the next group would be inside it."""
    try:
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except BaseException:
        connection.terminate()
        raise


async def _run(connection: Connection, statement: Sql) -> None:
    _check(statement)
    try:
        prepared = await connection.prepare(statement.text)
        await prepared.fetch(*_values(statement))
        tag = str(prepared.get_statusmsg())
    except Exception as error:  # noqa: BLE001 - sorted there
        raise sorted_error(statement, error, connection) from None
    count = tag.rpartition(" ")[2]
    check_count(statement, int(count) if count.isdecimal() else 0)


async def commit(connection: Connection, statement: Sql) -> str:
    """Send COMMIT, and return its tag; SqlFailed for a deferred constraint or trigger, and the driver's errors."""
    try:
        tag = await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        # An ERROR has rolled it back; what ends the connection says nothing about that.
        if error.severity_en == "ERROR":
            raise sorted_error(statement, error, connection) from None
        raise
    check_replicated(connection)
    return tag


def _check(statement: Sql) -> None:
    if found := _BEYOND.search(statement.text):
        raise failed(statement, f"{found[1]} is not for ctx.sql")


def _values(statement: Sql) -> tuple[Any, ...]:
    if isinstance(statement.values, dict):
        raise failed(statement, "PostgreSQL has values by position ($1)")
    return statement.values


def sorted_error(statement: Sql, error: Any, connection: Connection) -> Any:
    """Return SqlFailed if the statement is at fault, else the error. The text has no values: DETAIL and messages may."""
    if isinstance(error, SqlFailed):
        return error
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state[:2] in _NOT_ITS_FAULT and state != _CANCELLED:
            return error
        text = str(error.args[0]) if state[:2] == "42" else _place(error)
        why = f"longer than {STATEMENT_S:g} s" if state == _CANCELLED else text
        return failed(statement, f"{type(error).__name__}: {why}")
    if connection.is_closed() or not isinstance(error, asyncpg.InterfaceError | ValueError | TypeError):
        return error
    return failed(
        statement, f"{type(error).__name__}: a value of another type or number than the statement has"
    )


def _place(error: asyncpg.PostgresError) -> str:
    """Return what the error names of the schema: constraint, table and column."""
    names = ("constraint_name", "table_name", "column_name")
    return " ".join(str(name) for each in names if (name := getattr(error, each, None))) or "refused"
