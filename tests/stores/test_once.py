"""`ctx.once` with asyncpg, in another database than the store's."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from engine import Engine, EngineConfig, Queue, Retry, Work
from engine.stores.contract import append
from engine.stores.postgres import open_postgres
from telegram.dialogue import InboxHandler, Router, Tools, text
from telegram.dialogue.contexts.own_sql import ONCE_TABLE
from tests.kit.bounds import WITHIN_S
from tests.kit.deliveries import delivery, message

INBOX = Queue.INBOX
PAY = "UPDATE account SET balance = balance - 5"


class Rig:
    def __init__(self, store: Any, pool: Any) -> None:
        self.store, self.pool = store, pool
        self.router = Router()

    async def runs(self) -> None:
        handler = InboxHandler(self.router, tools=Tools(database=self.store))
        engine = Engine(self.store, INBOX, handler, EngineConfig(workers=4))
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            engine.start(group)
            await self.store.settled(INBOX)
            await engine.drain(asyncio.get_running_loop().time() + 20)

    async def gets(self, *ids: int) -> None:
        chats = [{"id": id_, "type": "private", "first_name": "A"} for id_ in ids]
        bodies = [
            delivery({"message": message("pay", chat=chat)}, update_id=id_).envelope
            for id_, chat in zip(ids, chats, strict=True)
        ]
        await append(self.store, bodies)
        await self.runs()

    async def balance(self) -> Any:
        return await self.pool.fetchval("SELECT balance FROM account")


@pytest.fixture
async def rig(database, new_bot):
    url = database.url().partition("?")[0]
    async with AsyncExitStack() as stack:
        admin: Any = await asyncpg.connect(url)
        stack.push_async_callback(admin.close)
        await admin.execute("DROP DATABASE IF EXISTS another WITH (FORCE)")
        await admin.execute("CREATE DATABASE another TEMPLATE template0")
        pool = await stack.enter_async_context(
            asyncpg.create_pool(f"{url.rpartition('/')[0]}/another", min_size=0)
        )
        await pool.execute(ONCE_TABLE)
        await pool.execute(ONCE_TABLE)
        await pool.execute("CREATE TABLE account (balance int); INSERT INTO account VALUES (100)")
        store = await open_postgres(database.url(), new_bot())
        stack.push_async_callback(store.close)
        yield Rig(store, pool)


async def test_a_handler_that_runs_again_changes_the_other_database_once(rig):
    found: list[bool] = []

    @rig.router.message(text)
    async def pays(ctx):
        async with rig.pool.acquire() as db, db.transaction():
            if is_first := await ctx.once(db):
                await db.execute(PAY)
        found.append(is_first)
        if ctx.attempt == 1:
            raise Retry("as after a kill between both commits", after_s=0.0)

    await rig.gets(1, 2)
    async with asyncio.timeout(WITHIN_S):
        while len(found) < 4:
            await rig.runs()
    assert sorted(found) == [False, False, True, True]
    assert await rig.balance() == 90


async def test_one_that_is_rolled_back_there_is_the_first_one_again(rig):
    @rig.router.message(text)
    async def pays(ctx):
        async with rig.pool.acquire() as db, db.transaction():
            assert await ctx.once(db)
            await db.execute(PAY)
            if ctx.attempt == 1:
                raise Retry("once more", after_s=0.0)

    await rig.gets(1)
    async with asyncio.timeout(WITHIN_S):
        while await rig.balance() == 100:
            await rig.runs()
    assert await rig.balance() == 95


async def test_two_processes_with_the_same_update_wait_for_each_other(rig):
    """As after a takeover: the former owner's handler may still run."""
    entered, go = asyncio.Event(), asyncio.Event()
    found: dict[bool, bool] = {}

    async def run(update_id: int, *, waits: bool) -> None:
        router = Router()

        @router.message(text)
        async def pays(ctx):
            async with rig.pool.acquire() as db, db.transaction():
                is_first = await ctx.once(db)
                if waits:
                    entered.set()
                    await go.wait()
                if is_first:
                    await db.execute(PAY)
            found[waits] = is_first

        await InboxHandler(router)(Work(delivery({"message": message("pay")}, update_id=update_id)))

    first = asyncio.create_task(run(1, waits=True))
    await entered.wait()
    second = asyncio.create_task(run(1, waits=False))
    async with asyncio.timeout(WITHIN_S):
        while not await rig.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
    go.set()
    await asyncio.gather(first, second)
    assert found == {True: True, False: False}
    assert await rig.balance() == 95


async def test_without_a_transaction_it_says_so(rig):
    @rig.router.message(text)
    async def pays(ctx):
        async with rig.pool.acquire() as db:
            with pytest.raises(RuntimeError, match="a transaction of yours"):
                await ctx.once(db)

    await rig.gets(1)
    assert rig.store.mine(INBOX).pending == 0
    assert await rig.pool.fetchval("SELECT count(*) FROM chatlane_once") == 0
