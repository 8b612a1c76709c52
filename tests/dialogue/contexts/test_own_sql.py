"""`ctx.sql`, `ctx.fetch` and `ctx.once`, and an error hook that answers for a statement that was refused."""

import asyncio
import json
import sqlite3
from typing import Any

import pytest

from engine import Engine, EngineConfig, Envelope, Queue, SqlMismatch, Work
from engine.statements import query_of
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from telegram.botapi.calls import decode_call
from telegram.dialogue import HANDLED, ChatContext, InboxHandler, MessageContext, Router, Tools, text
from telegram.dialogue.contexts.own_sql import ONCE_TABLE
from telegram.testing import Conversations
from tests.kit.deliveries import delivery, message

GOODS = "CREATE TABLE goods (id INTEGER PRIMARY KEY, stock INTEGER NOT NULL); INSERT INTO goods VALUES (1, 2)"


async def test_an_error_hook_answers_for_what_is_sold_out(tmp_path):
    router = Router()

    @router.message(text)
    async def buy(ctx: MessageContext) -> None:
        rows = await ctx.fetch("SELECT stock FROM goods WHERE id = ?", 1)
        ctx.sql("UPDATE goods SET stock = stock - 1 WHERE id = :id AND stock > 0", id=1, expect=1)
        ctx.data["bought"] = True
        ctx.reply(f"yours of {rows[0]['stock']}")

    @router.error(SqlMismatch)
    async def sold_out(ctx: ChatContext[Any], error: SqlMismatch) -> Any:
        ctx.reply(f"sold out: {error.count}")
        return HANDLED

    store = await open_sqlite(tmp_path / "bot.db", "1")
    await store.create_tables(GOODS)
    engine = Engine(
        store,
        Queue.INBOX,
        InboxHandler(router, tools=Tools(database=store)),
        EngineConfig(workers=1),
    )
    bodies = [delivery({"message": message("one")}, update_id=id_).envelope.body for id_ in (1, 2, 3)]
    await append(store, [Envelope(id_, "chat:7", "7", body) for id_, body in enumerate(bodies, 1)])
    async with asyncio.TaskGroup() as group:
        engine.start(group)
        await store.settled(Queue.INBOX)
        await engine.drain(asyncio.get_running_loop().time() + 5)
    said = []
    while store.mine(Queue.OUTBOX).pending:
        call = await store.claim(Queue.OUTBOX)
        said.append(json.loads(decode_call(call.envelope.body)[1])["text"])
        await store.bury(call, "read")
    assert said == ["yours of 2", "yours of 1", "sold out: 0"]
    assert [tuple(row) for row in await store.query(query_of("SELECT stock FROM goods", (), {}))] == [(0,)]
    assert not [each for each in await store.dead_letters() if each.queue is Queue.INBOX]
    await store.close()


async def test_a_store_without_a_database_says_so_at_once():
    router = Router()

    @router.message(text)
    async def buy(ctx: MessageContext) -> None:
        ctx.sql("DELETE FROM goods")

    with pytest.raises(RuntimeError, match=r"ctx\.sql needs a database: set STORE_URL to sqlite:FILE"):
        await InboxHandler(router)(Work(delivery({"message": message("one")})))


def test_tables_without_a_database_end_the_start():
    router = Router()
    router.tables(GOODS)
    with pytest.raises(ValueError, match=r"router.tables\(\) needs a database"), Conversations(router):
        pass


async def test_once_is_true_in_the_first_transaction_that_is_committed():
    router = Router()
    found: list[bool] = []
    other = sqlite3.connect(":memory:")
    other.execute(ONCE_TABLE)
    other.commit()

    @router.message(text)
    async def pays(ctx: MessageContext) -> None:
        found.append(await ctx.once(other))
        found.append(await ctx.once(other, "refund"))
        if len(found) == 2:
            other.rollback()
        else:
            other.commit()

    handler = InboxHandler(router)
    for _ in range(3):
        await handler(Work(delivery({"message": message("pay")})))
    assert found == [True, True, True, True, False, False]
    other.close()
