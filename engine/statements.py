"""The author's own SQL in a commit (`Effects.sql`): what is accepted, for every store that has a database.

A statement is written as its database reads it (SQLite: `?` or `:name`; PostgreSQL: `$1`) and is not rewritten. It reads and
changes rows of the author's tables; everything else is refused here by its first word, and by the database (sqlite/own_sql.py,
postgres/own_sql.py). Values never appear in an error; the statement's text does, so values do not belong into it.
"""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from engine.model import Sql

STATEMENTS_MAX: Final = 32
"""Maximum number of statements in one commit."""

STATEMENT_S: Final = 2.0
"""Time limit of one statement, in seconds: all other commits wait meanwhile."""

ROWS_MAX: Final = 10_000
"""Maximum number of rows of one query."""

WRITES: Final = frozenset({"insert", "update", "delete", "replace", "merge", "with"})
READS: Final = frozenset({"select", "with", "values"})

_TEXT_MAX: Final = 100_000
_SHOWN_MAX: Final = 100
_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*([a-z]+)", re.IGNORECASE | re.DOTALL)
_PLAIN: Final = (type(None), bool, int, float, str, bytes)
_EXACT: Final = frozenset({*_PLAIN, date, datetime, time, timedelta, Decimal, UUID})


def checked_sql(given: object) -> tuple[Sql, ...]:
    """Return the statements of a commit; TypeError or ValueError for what no database can run."""
    if not isinstance(given, tuple | list):
        raise TypeError(f"sql is a tuple of Sql, not {type(given).__name__}")
    if len(given) > STATEMENTS_MAX:
        raise ValueError(f"a commit has at most {STATEMENTS_MAX} statements, not {len(given)}")
    for each in given:
        if type(each) is not Sql:
            raise TypeError(f"a statement is a Sql, not {type(each).__name__}")
        check_statement(each, WRITES)
    return tuple(given)


def check_statement(statement: Sql, words: frozenset[str]) -> None:
    """Raise TypeError or ValueError, unless it begins with one of these words and has values of plain types."""
    text, values, expect = statement
    if type(text) is not str:
        raise TypeError(f"a statement is a str, not {type(text).__name__}")
    text.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    found = _FIRST_WORD.match(text)
    if found is None or found[1].lower() not in words or len(text) > _TEXT_MAX:
        raise ValueError(f"a statement begins with {', '.join(sorted(words)).upper()}: {shown(text)}")
    if expect is not None and (type(expect) is not int or expect < 0):
        raise ValueError("expect is a number of rows")
    if type(values) not in (tuple, dict):
        raise TypeError(f"the values of a statement are a tuple or a dict, not {type(values).__name__}")
    for value in values.values() if isinstance(values, dict) else values:
        _check_value(value)


def _check_value(value: object) -> None:
    for each in value if type(value) is list else (value,):
        if type(each) not in _EXACT:
            raise TypeError(f"a value of a statement is a plain one, not {type(each).__name__}")


def shown(text: str) -> str:
    """Return the text of a statement as it is named in errors."""
    short = " ".join(text.split())
    return short if len(short) <= _SHOWN_MAX else f"{short[:_SHOWN_MAX]}..."


def query_of(text: str, values: tuple[Any, ...], named: dict[str, Any]) -> Sql:
    """Return a query. TypeError or ValueError for what is none."""
    query = statement_of(text, values, named, None)
    check_statement(query, READS)
    return query


def statement_of(text: str, values: tuple[Any, ...], named: dict[str, Any], expect: int | None) -> Sql:
    """Return a statement with values by position or by name. TypeError if there are both."""
    if values and named:
        raise TypeError("the values of a statement are given by position or by name, not both")
    return Sql(text, named or values, expect)
