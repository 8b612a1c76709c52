"""The errors of the author's own SQL: they name the statement, never the values."""

from engine.errors import SqlFailed, SqlMismatch
from engine.model import Sql
from engine.statements import ROWS_MAX, shown


def failed(statement: Sql, why: str) -> SqlFailed:
    """Return the error of a statement that the database refused."""
    return SqlFailed(f"{why}: {shown(statement.text)}", statement.text)


def check_count(statement: Sql, count: int) -> None:
    """Raise SqlMismatch if the statement has changed another number of rows than expected."""
    if statement.expect is not None and count != statement.expect:
        raise SqlMismatch(
            f"{count} rows instead of {statement.expect}: {shown(statement.text)}", statement.text, count
        )


def too_many_rows(text: str) -> SqlFailed:
    """Return the error for a query with more than ROWS_MAX rows."""
    return SqlFailed(f"more than {ROWS_MAX} rows: {shown(text)}", text)
