"""The author's own SQL in a SQLite file: his tables are in the store's file.

While it runs, an authorizer refuses everything but reading and changing rows of the author's tables (SQLite,
"sqlite3_set_authorizer"), and a progress handler ends it after STATEMENT_S. Some errors end the whole transaction, not the
statement: an interrupted write, and ON CONFLICT ROLLBACK (SQLite, "Response To Errors Within A Transaction").
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from engine.errors import SqlFailed
from engine.model import Sql
from engine.own_sql import check_count, failed, too_many_rows
from engine.statements import ROWS_MAX, STATEMENT_S
from engine.stores.sqlite.errors import is_full, translated

TABLES: Final = frozenset({
    "meta", "inbox", "outbox", "state", "parked", "dead", "seen", "alias", "timer", "timer_at", "dead_key",
})  # fmt: skip
"""Tables and indexes of the store, which the author's SQL neither reads nor changes."""

_STEPS: Final = 10_000  # of SQLite's virtual machine, between two looks at the clock
_ROWS: Final = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_READ}
_OTHER: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_CREATING: Final = {
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_REINDEX,
}  # fmt: skip
_SCHEMA_TABLES: Final = {"sqlite_master", "sqlite_schema", "sqlite_sequence"}


def may(action: int, first: str | None, second: str | None, database: str | None, _: str | None) -> int:
    """Return whether a statement may do this: the authorizer."""
    if action in _OTHER:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action in _ROWS and database in {"main", None} and not _is_ours(first):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def may_read(
    action: int, first: str | None, second: str | None, database: str | None, inner: str | None
) -> int:
    """Return whether a query may do this."""
    if action in _ROWS and action != sqlite3.SQLITE_READ:
        return sqlite3.SQLITE_DENY
    return may(action, first, second, database, inner)


def may_create(
    action: int, first: str | None, second: str | None, database: str | None, inner: str | None
) -> int:
    """Return whether a statement that creates the author's tables may do this."""
    if action in _CREATING and database in {"main", None} and not {first, second} & TABLES:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_ALTER_TABLE and second not in TABLES:
        return sqlite3.SQLITE_OK
    if action in _ROWS and first in _SCHEMA_TABLES:
        return sqlite3.SQLITE_OK
    return may(action, first, second, database, inner)


def _is_ours(table: str | None) -> bool:
    return table is None or table.lower() in TABLES or table.lower().startswith("sqlite_")


@contextmanager
def restricted(connection: sqlite3.Connection, authorizer: Any = may) -> Iterator[None]:
    """Run the author's SQL in here."""
    connection.set_authorizer(authorizer)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)


def run(connection: sqlite3.Connection, statements: tuple[Sql, ...]) -> None:
    """Run statements in the open transaction, inside `restricted`; SqlFailed if one is refused."""
    for each in statements:
        before = connection.total_changes
        with _translated(connection, each):
            for _ in connection.execute(each.text, _native(each)):
                pass  # of RETURNING
        check_count(each, connection.total_changes - before)


def run_in_savepoint(connection: sqlite3.Connection, statements: tuple[Sql, ...]) -> SqlFailed | None:
    """Run statements; if one is refused, undo all of them and return why. The transaction may have ended, too."""
    connection.execute("SAVEPOINT own")
    try:
        with restricted(connection):
            run(connection, statements)
    except SqlFailed as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO own")
            connection.execute("RELEASE own")
        return error
    connection.execute("RELEASE own")
    return None


def query(path: Path, asked: Sql) -> list[Any]:
    """Return the rows, as committed, over a connection of its own that only reads; SqlFailed."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        with restricted(connection, may_read), _translated(connection, asked):
            rows = connection.execute(asked.text, _native(asked)).fetchmany(ROWS_MAX + 1)
    if len(rows) > ROWS_MAX:
        raise too_many_rows(asked.text)
    return rows


def create_tables(connection: sqlite3.Connection, script: str) -> None:
    """Run a script of CREATE statements in the open transaction; SqlFailed."""
    with restricted(connection, may_create):
        for text in _split(script):
            with _translated(connection, statement := Sql(text)):
                connection.execute(text)
            if not connection.in_transaction:
                raise failed(statement, "it ended the transaction")


def _split(script: str) -> Iterator[str]:
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \t\r\n;"):
                yield statement
            statement = ""
    if statement.strip(" \t\r\n;"):
        yield statement  # SQLite says what is wrong with it


def _native(statement: Sql) -> Any:
    values = statement.values
    for each in values.values() if isinstance(values, dict) else values:
        if not isinstance(each, int | float | str | bytes | None):
            raise failed(statement, f"SQLite has no {type(each).__name__}: pass text or a number")
    return values


@contextmanager
def _translated(connection: sqlite3.Connection, statement: Sql) -> Iterator[None]:
    """Turn the errors of a statement into SqlFailed; those of the disk and of the file are raised unchanged."""
    until = time.monotonic() + STATEMENT_S
    connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        yield
    except SqlFailed:
        raise
    except (sqlite3.Error, sqlite3.Warning, ValueError, TypeError, OverflowError) as error:
        known, _ = translated(error)
        if known is not error or is_full(error):
            raise
        why = f"longer than {STATEMENT_S:g} s" if "interrupted" in str(error) else str(error)
        raise failed(statement, f"{type(error).__name__}: {why}") from None
