"""The tables are made and migrated under one role, and used by a bot under another one that may not change them."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import asyncpg
import pytest

from engine import Queue, StoreError
from engine.errors import StoreUnavailable
from engine.stores import migrate_schema, open_records, open_store
from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.owned.shares import share_of
from engine.stores.postgres import schema as schema_module
from engine.stores.postgres.tools.desk import Answered, Operators, ProcessDesk
from engine.stores.postgres.tools.journal import Journal
from engine.stores.records import Owner
from tests.kit.bounds import WITHIN_S
from tests.kit.database import Server
from tests.stores.random_bot import RandomBot, everything
from tests.stores.test_copying import copied


class Place(NamedTuple):
    """A schema, for two roles, and a person at the database."""

    owner: str
    bot: str
    name: str
    role: str
    sql: Any


@pytest.fixture
async def place(database: Server, new_bot: Callable[[], str]) -> AsyncIterator[Place]:
    """A schema that does not exist, and a role without any right."""
    name = f"roles_{new_bot()}"
    role = f"{name} of 'bots'"
    sql = await asyncpg.connect(database.url().partition("?")[0])
    await sql.execute(f'CREATE ROLE "{role}" LOGIN')
    user = role.replace(" ", "%20").replace("'", "%27")
    yield Place(database.url(name), database.url(name, user), name, role, sql)
    await sql.execute(f'DROP SCHEMA IF EXISTS {name} CASCADE; DROP OWNED BY "{role}"; DROP ROLE "{role}"')
    await sql.close()


async def tables(place: Place) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY tablename"
    return [row[0] for row in await place.sql.fetch(query, place.name)]


async def test_a_start_without_the_right_says_what_to_run_and_works_after_it(
    place: Place, new_bot: Any, tmp_path: Any
):
    bot = new_bot()
    with pytest.raises(
        StoreError, match=rf'the role "{place.role}" may not .* migrate-schema --for'
    ) as refused:
        await open_store(place.bot, bot)
    assert "\n" not in str(refused.value)
    assert await tables(place) == []
    assert f'schema "{place.name}": format 2' in await migrate_schema(place.owner, place.role)
    store = await open_store(place.bot, bot, shared=True)
    other = await open_store(place.bot, bot, shared=True)
    await append(store, [update(n, f"chat:{n}") for n in range(1, 100)])
    for each in (other, store):
        ledger: Any = each._ledger  # type: ignore[attr-defined]
        async with ledger._connections.reading() as connection:
            await ledger._session.renew(connection, ledger._held)
        await each.close()
    store = await open_store(place.bot, bot)
    await RandomBot(store, random.Random(1)).work(100)
    assert (await store.audit()).problems == []
    await store.close()
    await Journal(place.bot, bot).add("a line")
    assert await Journal(place.bot, bot).newest(1) == ["a line"]
    records = await open_records(place.bot, bot)
    assert await records.of(Owner("", lambda *_: True))
    assert await records.erase(Owner("chat:1", lambda key, _: key == "chat:1")) >= 0
    await records.close()
    before = await everything(place.owner, bot)
    await copied(place.bot, file := f"sqlite:{tmp_path / 'bot.db'}", bot)
    assert await everything(file, bot) == before
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        connection = await asyncpg.connect(place.bot.partition("?")[0])
        try:
            await connection.execute(f"CREATE TABLE {place.name}.mine (n int)")
        finally:
            await connection.close()


async def test_commands_reach_a_bot_with_the_lesser_role(place: Place, new_bot: Any):
    await migrate_schema(place.owner, place.role)
    bot = new_bot()

    async def answer(name: str, params: str, who: str) -> Answered:
        return Answered(200, f"{name} {params} {who}")

    async with ProcessDesk(place.bot, bot, "1@here", answer), Operators(place.bot, bot) as operators:
        async with asyncio.timeout(WITHIN_S):
            while not (processes := await operators.processes()):
                await asyncio.sleep(0.01)
        answers = await operators.ask(processes, "stats", "{}", "me", 30.0)
    assert [each.body for each in answers.values()] == ["stats {} me"]


async def test_a_right_that_is_missing_is_named(place: Place, new_bot: Any):
    await migrate_schema(place.owner, None)
    with pytest.raises(StoreError, match=r"migrate-schema --for"):
        await open_store(place.bot, new_bot())
    await place.sql.execute(f'GRANT USAGE ON SCHEMA {place.name} TO "{place.role}"')
    await place.sql.execute(f'GRANT SELECT ON {place.name}.meta TO "{place.role}"')
    with pytest.raises(
        StoreError, match=r"permission denied for table .*: migrate-schema --for ROLE gives the right"
    ):
        await open_store(place.bot, new_bot())
    with pytest.raises(StoreError, match="does not exist"):
        await migrate_schema(place.owner, "no such role")
    with pytest.raises(StoreError, match=r"only STORE_URL=postgres://... has a schema"):
        await migrate_schema("sqlite:bot.db", None)


async def test_all_at_once_make_the_tables_once(place: Place, new_bot: Any):
    starts = [asyncio.create_task(open_store(place.owner, new_bot())) for _ in range(3)]
    await asyncio.gather(*(migrate_schema(place.owner, place.role) for _ in range(3)), *starts)
    for start in starts:
        await start.result().close()
    store = await open_store(place.bot, new_bot())
    assert await append(store, [update(1)]) == 1
    await store.close()


async def test_what_is_cut_leaves_what_was_there(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schema_module, "_GRANT", "SELECT 1/0")
    with pytest.raises(StoreUnavailable):
        await migrate_schema(place.owner, place.role)
    assert await tables(place) == []


OLD: Any = """
ALTER TABLE {0}.inbox DROP share; ALTER TABLE {0}.outbox DROP share; ALTER TABLE {0}.timer DROP share;
ALTER TABLE {0}.parked DROP share; ALTER TABLE {0}.dead DROP share;
DROP TABLE {0}.mail, {0}.share, {0}.bot, {0}.session;
CREATE TABLE {0}.bot (id bigint PRIMARY KEY, owner bigint, until timestamptz, holder text);
DELETE FROM {0}.meta; INSERT INTO {0}.meta VALUES ('format', '1');
"""


async def test_an_old_format_is_migrated_by_the_role_that_may(place: Place, new_bot: Any):
    bot = new_bot()
    store = await open_store(place.owner, bot)
    await append(store, [update(n, f"chat:{n}") for n in range(1, 50)])
    await store.close()
    await place.sql.execute(OLD.format(place.name))
    await place.sql.execute(f'GRANT USAGE ON SCHEMA {place.name} TO "{place.role}"')
    await place.sql.execute(f'GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA {place.name} TO "{place.role}"')
    before = await place.sql.fetch(f"SELECT * FROM {place.name}.inbox ORDER BY place")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"migrate-schema --for"):
            await open_store(place.bot, bot)
    assert await place.sql.fetch(f"SELECT * FROM {place.name}.inbox ORDER BY place") == before
    await migrate_schema(place.owner, place.role)
    await migrate_schema(place.owner, place.role)
    store = await open_store(place.bot, bot)
    assert store.mine(Queue.INBOX).ready == 49
    await store.close()
    shares = await place.sql.fetch(f"SELECT key, share FROM {place.name}.inbox")
    assert all(share == share_of(key) for key, share in shares)


@pytest.mark.parametrize(
    ("newer", "oldest_reader", "is_used"), [(3, "2", True), (9, "1", True), (3, "3", False), (3, None, False)]
)
async def test_a_newer_format_is_used_if_it_says_so(
    place: Place, new_bot: Any, newer: int, oldest_reader: str | None, is_used: bool
):
    await migrate_schema(place.owner, place.role)
    await place.sql.execute(
        f"DELETE FROM {place.name}.meta; INSERT INTO {place.name}.meta VALUES ('format', '{newer}')"
    )
    if oldest_reader:
        await place.sql.execute(f"INSERT INTO {place.name}.meta VALUES ('oldest_reader', '{oldest_reader}')")
    if is_used:
        await (await open_store(place.bot, new_bot())).close()
        assert f"format {newer}" in await migrate_schema(place.owner, place.role)
        return
    for does in (lambda: open_store(place.bot, "1"), lambda: migrate_schema(place.owner, place.role)):
        with pytest.raises(StoreError, match=f"another Chatlane .format {newer}, this one knows 2.: update"):
            await does()
