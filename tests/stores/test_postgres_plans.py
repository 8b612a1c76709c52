"""Each statement touches the rows that it names and no others, whatever the statistics say.

Queues are empty most of the time, so the statistics of a table that is full now may say that it has no row.
"""

import json
from math import inf
from typing import Any

import asyncpg
import pytest

from engine.model import TIMER_IDS
from engine.stores.owned.group import Group, combined
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import Shares
from engine.stores.postgres import open_postgres
from engine.stores.postgres.connection import _SETTINGS
from engine.stores.postgres.statements import QUERIES, group_statement

SCHEMA = '"plans"'
MANY = 3000
ALL = Shares(range(1024)).bits
BOT, OTHER = 1_000_001, 1_000_002
FILL = """
INSERT INTO plans.{0} SELECT n, $1, n % 1024, 'chat:' || n, '', 'x', 0 FROM generate_series(1, $2) AS n"""

MAIL = """
INSERT INTO plans.mail (bot, share, kind, key, scope, place, at, body)
SELECT $1, n % 1024, 'arrived', 'chat:' || n, '', n, 0, '' FROM generate_series(1, $2) AS n"""


async def fill(connection: Any, bot: int) -> None:
    for queue in ("inbox", "outbox"):
        await connection.execute(FILL.format(queue), bot, MANY)
    for statement in (
        "INSERT INTO plans.state SELECT $1, 'chat:' || n, '', 'x' FROM generate_series(1, $2) AS n",
        f"INSERT INTO plans.timer SELECT {TIMER_IDS} + n, $1, n % 1024, 'chat:' || n, '', 't', n, 'x' FROM generate_series(1, $2) n",
        "INSERT INTO plans.parked SELECT $1, n % 1024, 'inbox', 'chat:' || n, 1, 0, '', 0, n FROM generate_series(1, $2) AS n",
        "INSERT INTO plans.dead SELECT n, $1, 1, 'inbox', n, 'chat:1', '', 'x', 1, '', 0 FROM generate_series(1, $2) AS n",
        MAIL,
        "INSERT INTO plans.seen SELECT n, $1, 'x', 0 FROM generate_series(1, $2) AS n",
        "INSERT INTO plans.alias SELECT $1, 'alias:' || n, 'chat:1' FROM generate_series(1, $2) AS n",
    ):
        await connection.execute(statement, bot, MANY)


@pytest.fixture(params=["never", "when empty", "of another bot", "full"])
async def connection(request, database, new_bot):
    """Tables whose statistics are as old as the parameter says."""
    await (await open_postgres(database.url("plans"), new_bot())).close()
    plans = {name: value for name, value in _SETTINGS.items() if name.startswith(("enable_", "jit"))}
    connection = await asyncpg.connect(database.url().partition("?")[0], server_settings=plans)
    if request.param == "when empty":
        await connection.execute("ANALYZE")
    if request.param == "of another bot":
        await fill(connection, OTHER)
        await connection.execute("ANALYZE")
    await fill(connection, BOT)
    if request.param == "full":
        await connection.execute("ANALYZE")
    yield connection
    await connection.execute("DROP SCHEMA plans CASCADE")
    await connection.close()


async def rows_touched(connection: Any, query: str, *values: Any) -> int:
    """Return the most rows that a part of the plan has read, with those that it threw away."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
    finally:
        await transaction.rollback()
    return most_rows(json.loads(found)[0]["Plan"])


def most_rows(plan: dict[str, Any]) -> int:
    each = (
        plan["Actual Rows"]
        + plan.get("Rows Removed by Filter", 0)
        + plan.get("Rows Removed by Join Filter", 0)
    )
    here = int(each * plan["Actual Loops"])
    return max([here, *map(most_rows, plan.get("Plans", ()))])


def everything() -> Group:
    """A group with a step of each kind, for a handful of lanes."""
    group = Group()
    for place in range(1, 6):
        key = f"chat:{place}"
        group.delete("inbox", place)
        group.delete("outbox", place)
        group.delete("inbox", TIMER_IDS + place)
        group.set_state(key, "", b"new")
        group.set_state(f"chat:{place + 10}", "", None)
        group.forget("parked", "inbox", key)
        group.forget("timer", f"chat:{place + 10}", "", "t")
        group.forget("seen", place + 10)
        group.drop_letter(place)
        group.insert("inbox", (MANY + place, key, "", b"x", 0.0))
        group.insert("outbox", (MANY + place, key, "", b"x", 0.0))
        group.insert("timer", (TIMER_IDS + MANY + place, key, "", "u", 0.0, b"x"))
        group.insert("parked", ("inbox", f"chat:{place + 20}", 1, 0.0, "", 0.0, place))
        group.insert("dead", (MANY + place, "inbox", place, key, "", b"x", 1, "", 0.0))
        group.insert("seen", (place, b"x", 0.0))
        group.insert("alias", (f"alias:{place}", key))
        group.expect_state(key, "", b"x")
        group.expect_state(f"chat:{MANY + place}", "", None)
        group.set_state(f"chat:{MANY + place}", "", b"first")
        group.insert("mail", ("call", key, "", 0, 0.0, b"x"))
        group.bound_timers(key, 10)
        group.raise_mark("calls", place)
    group.expect_right(5)
    group.give([1, 2, 3])
    return group


async def test_a_group_touches_what_it_names(connection):
    await connection.execute(
        "INSERT INTO plans.session (id, bot, stint, until, holder) VALUES (2, $1, 3, now(), '')", BOT
    )
    await connection.execute("INSERT INTO plans.bot VALUES ($1, 2, 5)", BOT)
    mail = await connection.fetch("SELECT n FROM plans.mail WHERE bot = $1 ORDER BY n LIMIT 5", BOT)
    group = everything()
    for row in mail:
        group.delete("mail", row[0])
    nonce = await connection.fetchval("SELECT nonce FROM plans.canary")
    sql, values = group_statement(SCHEMA, combined(group.steps))
    for _ in range(7):  # from the sixth on the plan may be one for any values
        assert await rows_touched(connection, sql, BOT, 2, 3, nonce, *values) <= 25


READINGS: list[tuple[Read, tuple[Any, ...]]] = [
    (Read.INBOX_AT, ([1, 2, 3],)),
    (Read.OUTBOX_AT, ([1, 2, 3],)),
    (Read.TIMER_AT, ([TIMER_IDS + 1, TIMER_IDS + 2],)),
    (Read.INBOX_OLDEST, ()),
    (Read.OUTBOX_OLDEST, ()),
    (Read.STATE, ("chat:5", "")),
    (Read.DUE, (-inf, 0, -inf, 4.0, 1000, ALL)),
    (Read.NEXT_DUE, (100.0, TIMER_IDS + 100, 100.0, ALL)),
    (Read.MAIL, (5, 0, ALL)),
    (Read.LETTER, (5,)),
    (Read.NEWEST_LETTER, (2**62,)),
]


async def test_a_reading_touches_what_it_names(connection):
    """All in one test: to fill the tables takes longer than to read them."""
    touched = {
        what: await rows_touched(connection, QUERIES[what].format(SCHEMA), BOT, *values)
        for what, values in READINGS
    }
    assert {what: rows for what, rows in touched.items() if rows > 8} == {}
