"""The author's own SQL in a commit: all or nothing with it, and only his own tables. On each store that has a database."""

import asyncio
import sqlite3
from contextlib import closing, suppress
from typing import Any

import pytest

from engine import Call, Effects, LeaseLost, Queue, Sql, SqlFailed, SqlMismatch
from engine.model import Envelope
from engine.statements import ROWS_MAX, checked_sql, query_of
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from engine.stores.postgres import open_postgres
from engine.stores.postgres import own_sql as postgres_own_sql
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite import own_sql as sqlite_own_sql

INBOX, OUTBOX = Queue.INBOX, Queue.OUTBOX
TABLES = """
CREATE TABLE IF NOT EXISTS goods (id INTEGER PRIMARY KEY, stock INTEGER NOT NULL CHECK (stock >= 0));
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, chat TEXT NOT NULL);
"""


class Own:
    """A store, how it is opened again, and how its database writes a placeholder."""

    def __init__(self, name: str, open_: Any) -> None:
        self.name = name
        self.open = open_
        self.store: Any = None

    def sql(self, text: str, *values: Any, expect: int | None = None) -> Sql:
        if self.name == "postgres":
            for number in range(1, len(values) + 1):
                text = text.replace("?", f"${number}", 1)
        return Sql(text, values, expect)

    def order(self, number: int) -> Sql:
        return self.sql("INSERT INTO orders (id, chat) VALUES (?, ?)", number, "7", expect=1)

    def take(self, count: int = 1) -> Sql:
        text = "UPDATE goods SET stock = stock - ? WHERE id = 1 AND stock >= ?"
        return self.sql(text, count, count, expect=1)

    async def claim(self, id_: int) -> Any:
        await append(self.store, [Envelope(id_, f"chat:{id_}", "", b"x")])
        return await self.store.claim(INBOX)

    async def run(self, id_: int, *statements: Sql) -> None:
        effects = Effects((Call("chat:1", b"x"),), state=b"done", sql=statements)
        await self.store.commit(await self.claim(id_), effects, more=False)

    async def rows(self, text: str) -> list[tuple[Any, ...]]:
        return [tuple(each) for each in await self.store.query(query_of(text, (), {}))]

    async def orders(self) -> list[int]:
        return [row[0] for row in await self.rows("SELECT id FROM orders ORDER BY id")]

    async def stock(self) -> int:
        return int((await self.rows("SELECT stock FROM goods WHERE id = 1"))[0][0])


@pytest.fixture(params=["sqlite", "postgres"])
async def own(request, tmp_path, new_bot):
    opened: list[Any] = []

    async def open_() -> Any:
        if request.param == "sqlite":
            store: Any = await open_sqlite(tmp_path / "bot.db", "1")
        else:
            store = await open_postgres(database.url(), bot)
        opened.append(store)
        return store

    if request.param == "postgres":
        database, bot = request.getfixturevalue("database"), new_bot()
    found = Own(request.param, open_)
    found.store = await open_()
    await found.store.create_tables("DROP TABLE IF EXISTS orders; DROP TABLE IF EXISTS goods")
    await found.store.create_tables(TABLES)
    await found.store.create_tables(TABLES)  # as at the next start
    await found.run(1, Sql("INSERT INTO goods (id, stock) VALUES (1, 100)"))
    yield found
    for each in opened:
        await each.close()


async def test_rows_state_and_calls_are_committed_together(own):
    await own.run(2, own.order(2), own.take())
    assert await own.orders() == [2]
    assert await own.stock() == 99
    assert await own.store.state("chat:2", "") == b"done"
    assert own.store.mine(OUTBOX).pending == 2
    assert own.store.mine(INBOX).pending == 0


async def test_they_are_there_after_the_next_start(own):
    await own.run(2, own.order(2), own.take())
    await own.store.close()
    own.store = await own.open()
    assert await own.orders() == [2]
    assert await own.stock() == 99


async def test_another_number_of_rows_undoes_all_of_it(own):
    head = await own.claim(2)
    with pytest.raises(SqlMismatch) as caught:
        await own.store.commit(
            head,
            Effects((Call("chat:2", b"x"),), state=b"s", sql=(own.order(2), own.take(101))),
            more=False,
        )
    assert caught.value.count == 0
    assert caught.value.statement.startswith("UPDATE goods")
    assert "101" not in str(caught.value)
    assert await own.orders() == []
    assert await own.stock() == 100
    assert await own.store.state("chat:2", "") is None
    assert own.store.mine(OUTBOX).pending == 1
    await own.store.commit(head, Effects(sql=(own.order(2),)), more=False)  # the lease is still in force
    assert await own.orders() == [2]


async def test_a_refused_statement_leaves_the_others_of_its_group_alone(own):
    heads = [await own.claim(id_) for id_ in range(2, 24)]
    wrong = {
        5: own.sql("INSERT INTO orders (id, chat) VALUES (1, NULL)"),
        9: own.sql("INSERT INTO nowhere VALUES (1)"),
    }

    def effects(id_: int) -> Effects:
        sql = () if id_ % 2 else (own.order(id_), own.take())
        return Effects(state=b"s", sql=(*sql, wrong[id_]) if id_ in wrong else sql)

    commits = [own.store.commit(head, effects(head.envelope.id), more=False) for head in heads]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    failed = {head.envelope.id for head, each in zip(heads, outcomes, strict=True) if each is not None}
    assert failed == wrong.keys()
    assert all(type(outcomes[id_ - 2]) is SqlFailed for id_ in wrong)
    assert await own.orders() == list(range(2, 24, 2))
    assert await own.stock() == 89
    assert own.store.mine(INBOX).pending == 2


async def test_a_statement_that_ends_the_whole_transaction_takes_only_its_own_with_it(own):
    if own.name != "sqlite":
        pytest.skip("PostgreSQL has no ON CONFLICT ROLLBACK")
    heads = [await own.claim(id_) for id_ in (2, 3, 4)]
    await own.run(9, own.order(9))
    ends = Sql("INSERT OR ROLLBACK INTO orders (id, chat) VALUES (9, 'x')")
    sql = [(own.order(2),), (own.order(3), ends), (own.order(4),)]
    outcomes = await asyncio.gather(
        *(
            own.store.commit(head, Effects(sql=each), more=False)
            for head, each in zip(heads, sql, strict=True)
        ),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [type(None), SqlFailed, type(None)]
    assert await own.orders() == [2, 4, 9]


async def test_a_statement_is_bounded_in_time_and_the_next_commit_works(own, monkeypatch):
    brief = "BEGIN; SET LOCAL statement_timeout = 20; SET LOCAL chatlane.own = 'yes'"
    runaway = Sql(
        "INSERT INTO orders (id, chat) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000000)"
        " SELECT i + 1000, 'x' FROM n"
    )
    with monkeypatch.context() as bounded:
        bounded.setattr("engine.stores.sqlite.own_sql.STATEMENT_S", 0.02)
        bounded.setattr("engine.stores.postgres.own_sql._BEGIN", brief)
        with pytest.raises(SqlFailed, match="longer than"):
            await own.run(2, own.order(2), runaway)
    await own.store.commit(await own.claim(3), Effects(sql=(own.order(3),)), more=False)
    assert await own.orders() == [3]


async def test_values_are_in_no_error(own):
    await own.run(2, own.order(2))
    secret = "pass" + "word"
    head = await own.claim(100)
    for each in (
        own.sql("INSERT INTO orders (id, chat) VALUES (2, ?)", secret),
        own.sql(
            "INSERT INTO goods (id, stock) VALUES (5, CAST(? AS INTEGER) - 9)",
            "-1" if own.name == "sqlite" else -1,
        ),
        own.sql("INSERT INTO orders (id, chat) VALUES (?, ?)", secret, secret),
        own.sql("INSERT INTO orders (id, chat) VALUES (?)", secret),
        own.sql("UPDATE orders SET chat = ?, nothing = 1", secret),
    ):
        with pytest.raises(SqlFailed) as caught:
            await own.store.commit(head, Effects(sql=(each,)), more=False)
        assert secret not in str(caught.value)
        assert "INSERT INTO" in str(caught.value) or "UPDATE" in str(caught.value)
    assert await own.orders() == [2]


async def test_a_stale_holder_writes_no_rows(own):
    head = await own.claim(2)
    await own.store.release(head)
    await own.store.claim(INBOX)
    with pytest.raises(LeaseLost):
        await own.store.commit(head, Effects(sql=(own.order(2),)), more=False)
    assert await own.orders() == []


async def test_a_repeated_commit_writes_its_rows_once(own):
    head = await own.claim(2)
    effects = Effects(sql=(own.order(2), own.take()))
    committing = asyncio.create_task(own.store.commit(head, effects, more=True))
    await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    with suppress(LeaseLost):  # the first one has released the lane
        await own.store.commit(head, effects, more=True)
    assert await own.orders() == [2]
    assert await own.stock() == 99


async def test_what_is_fetched_is_bounded_and_only_read(own):
    asked = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= {}) SELECT i FROM n"
    assert len(await own.rows(asked.format(ROWS_MAX - 1))) == ROWS_MAX
    with pytest.raises(SqlFailed, match="more than 10000 rows"):
        await own.rows(asked.format(ROWS_MAX))
    with pytest.raises(SqlFailed):
        await own.rows("SELECT nothing FROM orders")
    with pytest.raises(SqlFailed):
        await own.rows("WITH n AS (SELECT 1) INSERT INTO orders (id, chat) VALUES (1, 'x')")
    row = (await own.store.query(query_of("SELECT id, stock FROM goods", (), {})))[0]
    assert (row["id"], row[1]) == (1, 100)


async def test_every_table_of_the_store_is_known(own):
    """The list of what the author's SQL must not touch stands beside the schema, which may grow."""
    if own.name == "sqlite":
        with closing(sqlite3.connect(own.store._ledger.file.path)) as file:
            found = {row[0] for row in file.execute("SELECT name FROM sqlite_master")}
        found = {each for each in found if not each.startswith("sqlite_")}
        known = sqlite_own_sql.TABLES
    else:
        schema = own.store._ledger._address.schema.strip('"')
        text = "SELECT tablename FROM pg_tables WHERE schemaname = $1"
        found = {row[0] for row in await own.store.query(query_of(text, (schema,), {}))}
        known = frozenset(postgres_own_sql.TABLES)
    found -= {"goods", "orders"}
    assert len(found) > 5
    assert found <= known


async def test_a_script_is_run_whole_or_not_at_all(own):
    with pytest.raises(SqlFailed):
        await own.store.create_tables("CREATE TABLE extra (id INTEGER); CREATE TABLE extra (id INTEGER)")
    await own.store.create_tables("CREATE TABLE extra (id INTEGER); DROP TABLE extra")


NEVER = [
    "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE own", "ROLLBACK TO own", "ATTACH 'x.db' AS x", "DETACH main",
    "PRAGMA synchronous=OFF", "VACUUM", "CREATE TABLE x (a INTEGER)", "DROP TABLE orders", "ALTER TABLE orders RENAME TO o",
    "SET synchronous_commit = off", "DO $$ BEGIN COMMIT; END $$", "CALL x()", "LISTEN x", "COPY orders FROM PROGRAM 'true'",
    "PREPARE TRANSACTION 'x'", "DISCARD ALL", "/* INSERT */ COMMIT", "-- INSERT\nCOMMIT", "SELECT 1", "", ";", "(SELECT 1)",
]  # fmt: skip
"""Refused by their first word, before they reach a database."""

SQLITE = [
    "INSERT INTO inbox VALUES (1, 'chat:1', '', x'00', 0)", "UPDATE inbox SET key = 'x'", "DELETE FROM outbox",
    'DELETE FROM "INBOX"', "DELETE FROM main.state", "REPLACE INTO meta VALUES ('owner_epoch', 0)",
    "UPDATE meta SET value = 0", "DELETE FROM seen", "DELETE FROM dead", "DELETE FROM alias", "DELETE FROM timer",
    "DELETE FROM parked", "DELETE FROM sqlite_sequence", "INSERT INTO sqlite_master VALUES ('table','x','x',0,'x')",
    "INSERT INTO orders SELECT place, key FROM inbox", "DELETE FROM orders WHERE id IN (SELECT place FROM outbox)",
    "INSERT INTO orders SELECT 1, name FROM sqlite_master", "INSERT INTO orders VALUES (1, load_extension('x'))",
    "DELETE FROM orders; DELETE FROM inbox", "DELETE FROM orders; COMMIT",
    "WITH x AS (SELECT key FROM state) INSERT INTO orders SELECT 1, key FROM x",
    "INSERT INTO orders SELECT 1, name FROM pragma_table_info('inbox')",
]  # fmt: skip
POSTGRES = [
    "INSERT INTO chatlane.inbox VALUES (1, 1, 'chat:1', '', '', 0)", "UPDATE chatlane.inbox SET key = 'x'",
    "DELETE FROM chatlane.outbox", 'DELETE FROM "chatlane"."inbox"', "DELETE FROM chatlane.state",
    "UPDATE chatlane.bot SET epoch = 0", "UPDATE chatlane.canary SET nonce = 0", "DELETE FROM chatlane.mark",
    "DELETE FROM chatlane.seen", "DELETE FROM chatlane.dead", "DELETE FROM chatlane.alias", "DELETE FROM chatlane.timer",
    "INSERT INTO orders SELECT 1, key FROM chatlane.inbox", "DELETE FROM orders WHERE id IN (SELECT place FROM chatlane.outbox)",
    "WITH gone AS (DELETE FROM chatlane.inbox RETURNING 1) INSERT INTO orders SELECT 1, 'x' FROM gone",
    "DELETE FROM through_a_view", "INSERT INTO orders VALUES (1, through_a_function()::text)",
    "INSERT INTO orders VALUES (1, set_config('synchronous_commit', 'off', false))",
    "INSERT INTO orders VALUES (1, pg_terminate_backend(pg_backend_pid())::text)",
    "INSERT INTO orders SELECT 1, 'x' FROM pg_advisory_lock(1)", "DELETE FROM orders; DELETE FROM chatlane.inbox",
    "DELETE FROM orders; COMMIT", "INSERT INTO orders VALUES (1, nowhere())",
]  # fmt: skip


@pytest.mark.parametrize("text", NEVER)
def test_a_statement_of_another_kind_is_refused_at_once(text):
    with pytest.raises(ValueError, match="begins with"):
        checked_sql((Sql(text),))


LOOSE: Any = Sql  # without its types


@pytest.mark.parametrize(
    "wrong", [LOOSE(1), LOOSE("INSERT", [1]), Sql("INSERT", (object(),)), "INSERT", Sql("INSERT", (), -1)]
)
def test_wrong_statements(wrong):
    with pytest.raises((TypeError, ValueError)):
        checked_sql((wrong,))


async def test_hostile_statements_change_nothing(own):
    if own.name == "postgres":
        await own.store.create_tables(
            "CREATE OR REPLACE VIEW through_a_view AS SELECT * FROM chatlane.inbox;"
            "CREATE OR REPLACE FUNCTION through_a_function() RETURNS int LANGUAGE sql AS 'DELETE FROM chatlane.inbox RETURNING 1'"
        )
    texts = SQLITE if own.name == "sqlite" else POSTGRES
    head = await own.claim(2)
    for text in texts:
        with pytest.raises(SqlFailed):
            await own.store.commit(head, Effects(sql=(own.order(2), Sql(text))), more=False)
    assert await own.orders() == []
    assert own.store.mine(INBOX).pending == 1
    await own.store.commit(head, Effects(sql=(own.order(2),)), more=False)
    await own.store.close()
    own.store = await own.open()
    assert own.store.mine(INBOX).pending == 0
    assert await own.orders() == [2]


HOSTILE_SCRIPTS = [
    "DROP TABLE inbox", "CREATE TRIGGER t AFTER INSERT ON inbox BEGIN DELETE FROM state; END", "CREATE VIEW v AS SELECT 1",
    "PRAGMA synchronous=OFF", "ATTACH 'x' AS x", "COMMIT", "ALTER TABLE inbox ADD COLUMN x", "CREATE INDEX i ON inbox (key)",
    "CREATE VIRTUAL TABLE f USING fts5(a)", "DELETE FROM inbox", "DROP INDEX timer_at", "not SQL",
]  # fmt: skip


async def test_a_script_creates_only_the_authors_tables(own):
    if own.name != "sqlite":
        pytest.skip("in PostgreSQL the store has a schema of its own")
    for script in HOSTILE_SCRIPTS:
        with pytest.raises(SqlFailed):
            await own.store.create_tables(script)
    await own.store.close()
    own.store = await own.open()


async def test_a_store_without_a_database_says_so():
    store = MemoryStore()
    await append(store, [Envelope(1, "chat:1", "", b"x")])
    with pytest.raises(SqlFailed, match="set STORE_URL to sqlite:FILE"):
        await store.commit(await store.claim(INBOX), Effects(sql=(Sql("INSERT"),)), more=False)
