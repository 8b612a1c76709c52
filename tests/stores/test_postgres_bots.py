"""Several bots in one schema, with the same chats and the same numbers of updates: none touches what is another one's."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from engine import Call, Effects, Engine, EngineConfig, Post, Queue, StateChange, Timer, Work
from engine.store import ALL_LANES
from engine.stores.contract import append
from engine.stores.contract.store import drain_ids, update
from engine.stores.postgres import open_postgres, session
from tests.kit.bounds import WITHIN_S
from tests.kit.standing import freeze

INBOX, OUTBOX = Queue.INBOX, Queue.OUTBOX
SCHEMA = "several"
TABLES = "SELECT table_name FROM information_schema.columns WHERE table_schema = $1 AND column_name = 'bot' ORDER BY 1"


class Bots:
    """Stores of several bots, and a person at their database."""

    def __init__(self, url: str, sql: Any, stack: AsyncExitStack) -> None:
        self.url, self.sql, self._stack = url, sql, stack

    async def open(self, bot: int, **named: Any) -> Any:
        store = await open_postgres(self.url, str(bot), **named)
        self._stack.push_async_callback(store.close)
        return store

    async def rows(self, bot: int) -> dict[str, list[str]]:
        """Return all that the database has of a bot, but for the times at which its sessions were renewed."""
        found = {}
        for (table,) in await self.sql.fetch(TABLES, SCHEMA):
            columns = "id, bot, stint, holder, alone, leaving" if table == "session" else "*"
            rows = await self.sql.fetch(f"SELECT {columns} FROM {SCHEMA}.{table} WHERE bot = $1", bot)
            found[table] = sorted(map(str, rows))
        found["bot"] = sorted(
            map(str, await self.sql.fetch(f"SELECT * FROM {SCHEMA}.bot WHERE id = $1", bot))
        )
        return found


@pytest.fixture
async def bots(database, monkeypatch):
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("pg_postmaster_start_time()", "'-infinity'"))
    monkeypatch.setattr(session, "_DEAD", session._DEAD.replace("pg_postmaster_start_time()", "'-infinity'"))
    async with AsyncExitStack() as stack:
        sql: Any = await asyncpg.connect(database.url().partition("?")[0])
        stack.push_async_callback(sql.close)
        await sql.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        yield Bots(database.url(SCHEMA), sql, stack)
    again = await asyncpg.connect(database.url().partition("?")[0])
    await again.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    await again.close()


async def fill(store: Any, who: bytes) -> None:
    """Let a bot have something of everything."""
    await append(store, [update(id_, f"chat:{id_ % 4}") for id_ in range(1, 13)], [("chat:77", "chat:1")])
    for number in range(3):
        states = (StateChange("bot", f"{number}", None, who),)
        calls = (Call("chat:1", who), Call("chat:2", who))
        timers = (Timer(f"later{number}", 3600.0, who), Timer("due", 0.0, who))
        effects = Effects(calls, who, timers, states=states, posts=(Post("chat:9", "", who, 60.0),))
        await store.commit(await store.claim(INBOX), effects, more=False)
    await store.park(await store.claim(INBOX), 3600.0, counted=True, reason="parked")
    await store.bury(await store.claim(INBOX), "buried")
    await store.hold(OUTBOX, "chat:2", "held")


async def do_everything(bots: Bots, store: Any, bot: int) -> None:
    """Do what a bot, its other processes, and its operator do."""
    letters = [letter.number for letter in await store.dead_letters()]
    assert await store.replay(letters[0])
    await store.bury(await store.claim(INBOX), "again")
    assert await store.discard((await store.dead_letters())[0].number)
    await store.unhold(OUTBOX, "chat:2")
    await store.hold(INBOX, ALL_LANES, "all")
    await store.unhold(INBOX, ALL_LANES)
    await store.unhold(INBOX, "chat:0")
    head = await store.claim(INBOX)  # before another process may have all that is ready
    other = await bots.open(bot)
    async with asyncio.timeout(WITHIN_S):
        while not other._shares.owned:
            store._ledger.bell.set()
            other._ledger.bell.set()
            await asyncio.sleep(0.02)
    async with store.transaction() as tx:
        await tx.execute("SELECT 1")
    calls = tuple(Call(f"chat:{number}", b"x") for number in range(8))
    states = (StateChange("bot", "1", await store.state("bot", "1"), None),)
    await store.commit(
        head, Effects(calls, None, (Timer("later1", None),), states=states, within=tx), more=False
    )
    await store.post([Post(f"chat:{number}", "", b"p") for number in range(8)])
    for each in (store, other):
        for queue in (INBOX, OUTBOX):
            await drain_ids(each, queue)
    for each in (store, other):
        await freeze(each)
    await bots.sql.execute(
        f"UPDATE {SCHEMA}.session SET until = clock_timestamp() - interval '1 h'"
    )  # of all
    third = await bots.open(bot)  # reaps both, and ends their connections
    await drain_ids(third, INBOX)
    await third.close()


async def test_whatever_a_bot_does_leaves_every_row_of_another_one(bots):
    ours, theirs = await bots.open(1), await bots.open(2)
    await fill(ours, b"ours")
    await fill(theirs, b"theirs")
    await freeze(theirs)  # its session is in force for as long as no process of its own bot says otherwise
    before = await bots.rows(2)
    assert all(before[table] for table in before if table not in {"mail", "desk", "journal", "asked"}), before
    await do_everything(bots, ours, 1)
    assert await bots.rows(2) == before
    assert await theirs.state("bot", "1") == b"theirs"
    assert theirs.mine(INBOX).dead == 1
    assert [letter.reason for letter in await theirs.dead_letters()] == ["buried"]


async def test_two_that_run_at_the_same_time_each_handle_their_own(bots):
    """The same ids of updates in the same chats: a chain of all that was handled, in the order of each chat."""
    handled: dict[int, list[tuple[str, int]]] = {1: [], 2: []}

    def handler(bot: int) -> Any:
        async def handle(work: Work) -> Effects:
            state = json.loads(work.state or b"[]")
            handled[bot].append((work.envelope.key, work.envelope.id))
            chain = [*state, [bot, work.envelope.id]]
            return Effects((Call(work.envelope.key, b"%d" % bot),), json.dumps(chain).encode())

        return handle

    async def run(bot: int) -> None:
        store = await bots.open(bot)
        engine = Engine(store, INBOX, handler(bot), EngineConfig(workers=8))
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            engine.start(group)
            for first in range(1, 201, 20):
                await append(store, [update(id_, f"chat:{id_ % 5}") for id_ in range(first, first + 20)])
            await store.settled(INBOX)
            await engine.drain(asyncio.get_running_loop().time() + WITHIN_S)
        for chat in range(5):
            chain = json.loads(await store.state(f"chat:{chat}", "7") or b"[]")
            assert chain == [[bot, id_] for id_ in range(1, 201) if id_ % 5 == chat]
        assert store.mine(OUTBOX).pending == 200
        while store.mine(OUTBOX).pending:
            call = await store.claim(OUTBOX)
            assert call.envelope.body == b"%d" % bot
            await store.commit(call, Effects(), more=False)

    await asyncio.gather(run(1), run(2))
    assert len(handled[1]) == len(handled[2]) == 200
