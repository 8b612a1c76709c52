"""`ctx.transaction()`: the author's rows, and all effects of the handler, in one commit; what can go wrong with it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from engine import (
    Call,
    Effects,
    Engine,
    EngineConfig,
    LeaseLost,
    Park,
    Post,
    Queue,
    Retry,
    Sql,
    SqlFailed,
    SqlMismatch,
    StateChange,
    StateChanged,
    StoreUnavailable,
    Timer,
    TransactionFailed,
    Work,
)  # fmt: skip
from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.postgres import open_postgres, session, transactions, within
from engine.stores.sqlite import open_sqlite
from telegram.botapi.calls import decode_call
from telegram.dialogue import HANDLED, Context, InboxHandler, MessageContext, Router, Tools, text
from tests.kit.bounds import WITHIN_S
from tests.kit.deliveries import delivery, message
from tests.kit.standing import freeze
from tests.kit.waiting import insist

INBOX, OUTBOX = Queue.INBOX, Queue.OUTBOX
GONE = "DROP TABLE IF EXISTS tx_orders, tx_goods; DROP SEQUENCE IF EXISTS tx_numbers; DROP SCHEMA IF EXISTS evil CASCADE; DROP FUNCTION IF EXISTS tx_refuse;"
TABLES = f"""{GONE}
CREATE TABLE tx_goods (id int PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0));
CREATE TABLE tx_orders (number bigint PRIMARY KEY, goods int REFERENCES tx_goods DEFERRABLE INITIALLY DEFERRED);
INSERT INTO tx_goods VALUES (1, 100), (2, 100);
"""
OF_PRODUCTION = {**transactions._SETTINGS}
TAKE = "UPDATE tx_goods SET stock = stock - 1 WHERE id = $1 RETURNING stock"
ORDER = "INSERT INTO tx_orders VALUES ($1, 1)"


class Rig:
    """A store in a database, a bot with a router over it, and a person at the database."""

    def __init__(self, store: Any, sql: Any, open_: Any, bot: str) -> None:
        self.store, self.sql, self.open, self.bot = store, sql, open_, bot
        self.router = Router()

    async def gets(self, *ids: int, workers: int = 4, kind: str = "message", chat: int | None = None) -> None:
        """Handle updates with these ids, of a chat each."""
        bodies = {}
        for id_ in ids:
            said = message("one", chat={"id": chat or id_, "type": "private", "first_name": "A"})
            bodies[id_] = delivery({kind: said}, update_id=id_).envelope
        await append(self.store, list(bodies.values()))
        await self.runs(workers)

    async def runs(self, workers: int = 4) -> None:
        """Handle what is ready."""
        handler = InboxHandler(self.router, tools=Tools(database=self.store))
        engine = Engine(self.store, INBOX, handler, EngineConfig(workers=workers, backoff_s=3600.0))
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            engine.start(group)
            await self.store.settled(INBOX)
            await engine.drain(asyncio.get_running_loop().time() + WITHIN_S)

    async def said(self) -> list[str]:
        """Return the texts on the outbox, and take them off."""
        found = []
        while self.store.mine(OUTBOX).pending:
            call = await self.store.claim(OUTBOX)
            found.append(json.loads(decode_call(call.envelope.body)[1])["text"])
            await self.store.commit(call, Effects(), more=False)
        return found

    async def reasons(self) -> list[str]:
        """Return why lanes are parked."""
        return [lane.reason for lane in await self.store.lanes(INBOX) if lane.status == "parked"]

    async def orders(self) -> list[int]:
        return [row[0] for row in await self.sql.fetch("SELECT number FROM tx_orders ORDER BY number")]

    async def stock(self) -> Any:
        return await self.sql.fetchval("SELECT stock FROM tx_goods WHERE id = 1")

    async def head(self, id_: int = 1, key: str = "") -> Any:
        """Return a claimed update, without a handler."""
        await append(self.store, [update(id_, key or f"chat:{id_}")])
        return await self.store.claim(INBOX)

    async def ready(self, *statements: str) -> Any:
        """Return a transaction after its block."""
        async with self.store.transaction() as tx:
            for each in statements:
                await tx.execute(each)
        return tx

    @property
    def free(self) -> Any:
        """How many more transactions can begin."""
        return self.store._ledger.transactions._free._value

    async def until_free(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.free < transactions.AT_ONCE_MAX:
                await asyncio.sleep(0.005)

    async def others_wait(self, count: int) -> None:
        """Return when so many transactions of this test's process wait for a lock."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%tx_%'"
        )
        async with asyncio.timeout(WITHIN_S):
            while await self.sql.fetchval(waiting) < count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def rig(database, new_bot):
    bot = new_bot()
    async with AsyncExitStack() as stack:
        sql: Any = await asyncpg.connect(database.url().partition("?")[0])
        stack.push_async_callback(sql.close)
        await sql.execute(TABLES)
        stack.push_async_callback(sql.execute, GONE)

        async def open_(**named: Any) -> Any:
            store = await open_postgres(database.url(), bot, **named)
            stack.push_async_callback(store.close)
            return store

        rig = Rig(await open_(), sql, open_, bot)
        yield rig


def buying(rig: Rig, then: Callable[[Any, MessageContext], Awaitable[Any]] | None = None) -> None:
    """Let the router sell: take one, write the order, set state, timer and reply; `then` runs inside of the block."""

    @rig.router.message(text)
    async def buy(ctx: MessageContext) -> None:
        async with ctx.transaction() as tx:
            left = await tx.fetchval(TAKE, 1)
            await tx.execute(ORDER, ctx.update_id)
            if then is not None:
                await then(tx, ctx)
        ctx.data["left"] = left
        ctx.set_timer("later", 3600.0)
        ctx.reply(f"left {left}")

    @rig.router.timer("later")
    async def later(ctx: Context) -> None:
        raise AssertionError


# -- all of it ---------------------------------------------------------------------------------------------------------


async def test_rows_state_timer_and_reply_are_committed_together(rig):
    buying(rig)
    await rig.gets(1)
    assert await rig.orders() == [1]
    assert await rig.stock() == 99
    assert rig.store.mine(INBOX).pending == 0
    assert await rig.said() == ["left 99"]
    assert b"99" in (await rig.store.state("chat:1", "7"))
    await rig.store.close()
    rig.store = await rig.open()
    assert rig.store.mine(INBOX).pending == 0
    assert b"99" in (await rig.store.state("chat:1", "7"))
    timers = await rig.sql.fetchval("SELECT count(*) FROM chatlane.timer WHERE bot = $1", int(rig.bot))
    assert timers == 1


async def test_many_at_once_are_each_committed_once_and_in_order(rig):
    """More than may be open at once, and several of each chat: places in the lane, rows and replies agree."""
    buying(rig)
    bodies = [
        delivery(
            {"message": message("one", chat={"id": 1 + id_ % 20, "type": "private", "first_name": "A"})},
            update_id=id_,
        ).envelope
        for id_ in range(1, 61)
    ]
    await append(rig.store, bodies)
    await rig.runs(workers=30)
    assert await rig.orders() == list(range(1, 61))
    assert await rig.stock() == 40
    left = [int(each.removeprefix("left ")) for each in await rig.said()]
    assert sorted(left) == list(range(40, 100))
    rows = await rig.sql.fetch(
        "SELECT key, body FROM chatlane.outbox WHERE bot = $1 ORDER BY place", int(rig.bot)
    )
    assert rows == []


async def test_an_error_in_the_block_undoes_it_and_goes_out_as_usual(rig):
    async def fail(_: Any, __: Any) -> None:
        raise ValueError("no")

    buying(rig, fail)
    await rig.gets(1)
    assert await rig.reasons() == ["ValueError: no"]
    assert await rig.orders() == []
    assert await rig.said() == []
    await rig.until_free()
    assert await rig.stock() == 100


async def test_an_error_behind_the_block_undoes_it_too(rig):
    @rig.router.message(text)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
        raise Park("later", delay_s=3600.0)

    await rig.gets(1)
    assert await rig.reasons() == ["later"]
    assert await rig.orders() == []
    await rig.until_free()


async def test_an_error_that_is_caught_leaves_the_handler_its_effects_and_another_transaction(rig):
    @rig.router.message(text)
    async def buy(ctx):
        try:
            async with ctx.transaction() as tx:
                await tx.execute(TAKE, 1)
                await tx.execute("UPDATE tx_goods SET stock = -1")
        except asyncpg.CheckViolationError:
            ctx.reply("sold out")
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)

    await rig.gets(1)
    assert await rig.said() == ["sold out"]
    assert await rig.stock() == 100
    assert await rig.orders() == [1]


async def test_an_error_hook_answers_without_the_transaction(rig):
    @rig.router.message(text)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
        raise ValueError

    @rig.router.error(ValueError)
    async def sorry(ctx, _):
        ctx.reply("sorry")
        return HANDLED

    await rig.gets(1)
    assert await rig.said() == ["sorry"]
    assert await rig.orders() == []
    await rig.until_free()


async def test_statements_of_ctx_sql_are_run_in_it(rig):
    @rig.router.message(text)
    async def buy(ctx):
        ctx.sql("UPDATE tx_goods SET stock = stock - 1 WHERE stock = 100 AND id = 1", expect=1)
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
        ctx.reply("yours")

    @rig.router.error(SqlMismatch)
    async def sold_out(ctx, _):
        ctx.reply("sold out")
        return HANDLED

    await rig.gets(1, 2, workers=1)
    assert await rig.said() == ["yours", "sold out"]
    assert await rig.orders() == [1]
    assert await rig.stock() == 99


async def test_a_statement_at_the_commit_has_its_own_limit(rig):
    """All other commits wait for it, but not for those of the block."""
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    slow = Sql("INSERT INTO tx_orders SELECT 2, 1 FROM pg_sleep(4)")
    with pytest.raises(SqlFailed, match="longer than 2 s"):
        await rig.store.commit(head, Effects(sql=(slow,), within=tx), more=False)
    assert await rig.orders() == []


async def test_an_update_has_one_and_the_handler_that_has_returned_none(rig):
    kept: list[Any] = []

    @rig.router.message(text)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
            with pytest.raises(RuntimeError, match="the update has one"):
                await ctx.transaction().__aenter__()
        with pytest.raises(RuntimeError, match="inside of its `async with` block"):
            await tx.execute("SELECT 1")
        with pytest.raises(RuntimeError, match="the update has one"):
            await ctx.transaction().__aenter__()
        kept.append(ctx)

    await rig.gets(1)
    assert await rig.orders() == [1]
    with pytest.raises(RuntimeError, match="the handler has returned"):
        await kept[0].transaction().__aenter__()


async def test_a_call_to_telegram_while_it_is_open_is_warned_of_once(rig):
    class Client:
        bot_id = 1

        async def get_me(self) -> None: ...

    @rig.router.message(text)
    async def buy(ctx):
        await ctx.client.get_me()
        async with ctx.transaction():
            await ctx.client.get_me()

    tools = Tools(database=rig.store, client=Client())  # type: ignore[arg-type]
    handler = InboxHandler(rig.router, tools=tools)
    engine = Engine(rig.store, INBOX, handler, EngineConfig(workers=1))
    await append(rig.store, [delivery({"message": message("x")}, update_id=id_).envelope for id_ in (1, 2)])
    with capture_logs() as logs:
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            engine.start(group)
            await rig.store.settled(INBOX)
            await engine.drain(asyncio.get_running_loop().time() + 5)
    warned = [each for each in logs if "a call to Telegram while" in each["event"]]
    assert len(warned) == 1
    assert "test_transactions.py" in warned[0]["at"]


# -- states, other lanes, bursts ---------------------------------------------------------------------------------------


async def test_a_state_that_another_lane_has_changed_undoes_all_of_it(rig):
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    other = await rig.head(2)
    await rig.store.commit(other, Effects(states=(StateChange("bot", "", None, b"new"),)), more=False)
    with pytest.raises(StateChanged):
        change = StateChange("bot", "", None, b"mine")
        await rig.store.commit(head, Effects(states=(change,), within=tx), more=False)
    tx.abandon()
    await rig.until_free()
    assert await rig.orders() == []
    assert await rig.store.state("bot", "") == b"new"


async def test_a_state_that_another_process_has_changed_undoes_all_of_it(rig):
    """Known only in the group itself, inside of the transaction."""
    head = await rig.head(1)
    assert await rig.store.state("bot", "") is None
    await rig.sql.execute("INSERT INTO chatlane.state VALUES ($1, 'chat:1', 's', 'theirs')", int(rig.bot))
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    rig.store._states.put(("chat:1", "s"), None)
    change = StateChange("chat:1", "s", None, b"mine")
    with pytest.raises(StateChanged):
        await rig.store.commit(head, Effects(states=(change,), within=tx), more=False)
    await rig.until_free()
    assert await rig.orders() == []
    await rig.store.commit(head, Effects(), more=False)  # the lease is in force


async def test_the_handler_runs_again_with_the_state_that_has_changed(rig):
    runs: list[Any] = []
    rig.router.bot_data(dict)

    @rig.router.message(text)
    async def count(ctx):
        ctx.bot_data["n"] = ctx.bot_data.get("n", 0) + 1
        runs.append(ctx.update_id)
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)

    await rig.gets(*range(1, 9), workers=8)
    assert await rig.orders() == list(range(1, 9))
    assert json.loads(await rig.store.state("bot", "bot_data") or b"{}").get("n", 8) == 8
    assert len(runs) >= 8


async def test_the_lane_is_kept_and_a_burst_is_acked_whole(rig):
    await append(
        rig.store, [update(1, "chat:1"), update(2, "chat:1"), update(3, "chat:1"), update(4, "chat:1")]
    )
    head = await rig.store.claim(INBOX)
    assert len(await rig.store.peek(head, 2)) == 2
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    following = await rig.store.commit(head, Effects(also=2, within=tx), more=True)
    assert following.envelope.id == 4
    tx = await rig.ready("INSERT INTO tx_orders VALUES (4, 1)")
    assert await rig.store.commit(following, Effects(within=tx), more=True) is None
    assert await rig.orders() == [1, 4]
    assert await rig.sql.fetchval("SELECT count(*) FROM chatlane.inbox WHERE bot = $1", int(rig.bot)) == 0


async def test_calls_to_other_lanes_keep_the_order_of_the_senders_commits(rig):
    await append(rig.store, [update(id_, "chat:1") for id_ in range(1, 7)])
    delivered = await rig.store.claim(INBOX)
    while delivered is not None:
        id_ = delivered.envelope.id
        effects = Effects(
            (Call("chat:9", b"%d" % id_), Call("chat:1", b"%d" % id_)), timers=(Timer("t", 3600.0),)
        )
        if id_ % 2:
            tx = await rig.ready(f"INSERT INTO tx_orders VALUES ({id_}, 1)")
            effects = effects._replace(within=tx, posts=(Post("chat:8", "", b"x"),))
        delivered = await rig.store.commit(delivered, effects, more=True)
    rows = await rig.sql.fetch(
        "SELECT key, body FROM chatlane.outbox WHERE bot = $1 ORDER BY place", int(rig.bot)
    )
    for key in ("chat:1", "chat:9"):
        assert [int(row["body"]) for row in rows if row["key"] == key] == [1, 2, 3, 4, 5, 6]
    for _ in range(6):
        call = await rig.store.claim(OUTBOX)
        await rig.store.commit(call, Effects(), more=False)


@pytest.mark.parametrize("is_within", [True, False])
async def test_other_processes_are_called_after_the_commit(rig, monkeypatch, is_within):
    """Mail that is not committed yet is not found by the process that is called for it."""
    happened: list[str] = []

    class Heard:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        async def execute(self, query: str, *values: Any) -> Any:
            done = await self._connection.execute(query, *values)
            happened.append(query) if query == "COMMIT" else None
            return done

    head = await rig.head(1)
    statement = "INSERT INTO tx_orders VALUES (1, 1)"
    writer = rig.store._writer
    monkeypatch.setattr(writer, "_ring", lambda *, moved: happened.append("called"))
    effects = Effects((Call("chat:2", b"x"),))
    if is_within:
        tx = await rig.ready(statement)
        tx._connection = Heard(tx._connection)
        effects = effects._replace(within=tx)
    else:
        monkeypatch.setattr(writer, "_connection", Heard(writer._connection))
        effects = effects._replace(sql=(Sql(statement),))
    rig.store._by_mail = True
    await rig.store.commit(head, effects, more=False)
    assert happened == ["COMMIT", "called"]


async def test_other_commits_go_on_while_it_is_open(rig):
    head, other = await rig.head(1), await rig.head(2)
    async with rig.store.transaction() as tx:
        await tx.execute(TAKE, 1)
        await rig.store.commit(other, Effects((Call("chat:2", b"x"),), b"s"), more=False)
    await rig.store.commit(head, Effects((Call("chat:1", b"x"),), within=tx), more=False)
    assert await rig.stock() == 99
    assert rig.store.mine(INBOX).pending == 0


async def test_two_that_change_the_same_row_wait_for_each_other_not_for_the_store(rig):
    buying(rig)
    await rig.gets(*range(1, 31), workers=12)
    assert await rig.stock() == 70
    assert len(await rig.orders()) == 30


# -- refused, and in doubt ---------------------------------------------------------------------------------------------


async def test_a_session_that_was_reaped_commits_nothing(rig, monkeypatch):
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("pg_postmaster_start_time()", "'-infinity'"))
    await freeze(rig.store)
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    await rig.sql.execute("DELETE FROM chatlane.session WHERE bot = $1", int(rig.bot))
    with pytest.raises(LeaseLost):
        await insist(lambda: rig.store.commit(head, Effects((Call("chat:1", b"x"),), within=tx), more=False))
    assert await rig.orders() == []
    assert (await rig.store.claim(INBOX)).envelope.id == 1
    assert rig.store.mine(OUTBOX).pending == 0


@pytest.mark.parametrize("what", ["stint", "nonce", "head"])
async def test_the_group_is_fenced_inside_of_it(rig, what):
    await freeze(rig.store)  # else a renewal may notice it before the commit
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    if what == "stint":
        await rig.sql.execute("UPDATE chatlane.session SET stint = stint + 1 WHERE bot = $1", int(rig.bot))
    elif what == "nonce":
        held = rig.store._writer._held
        rig.store._writer._held = held._replace(nonce=held.nonce + 1)
    else:
        await rig.sql.execute("DELETE FROM chatlane.inbox WHERE bot = $1", int(rig.bot))
    with pytest.raises(StoreUnavailable):
        await rig.store.commit(head, Effects(within=tx), more=False)
    assert rig.store._writer.suspect or rig.store._recovery is not None
    assert await rig.orders() == []
    with suppress(LeaseLost):
        await insist(lambda: rig.store.release(head))
    await rig.until_free()


async def test_a_deferred_constraint_is_the_handlers_to_answer_for(rig):
    @rig.router.message(text)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute("INSERT INTO tx_orders VALUES ($1, 77)", ctx.update_id)
        ctx.reply("yours")

    @rig.router.error(SqlFailed)
    async def refused(ctx, error):
        ctx.reply(str(error))
        return HANDLED

    await rig.gets(1)
    (said,) = await rig.said()
    assert "ForeignKeyViolationError: tx_orders_goods_fkey tx_orders" in said
    assert await rig.orders() == []
    assert rig.store.mine(INBOX).pending == 0
    await rig.until_free()


REFUSING = """
CREATE OR REPLACE FUNCTION tx_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
CREATE CONSTRAINT TRIGGER tx_last AFTER INSERT ON tx_orders DEFERRABLE INITIALLY DEFERRED
 FOR EACH ROW EXECUTE FUNCTION tx_refuse();
"""


@pytest.mark.parametrize("is_within", [True, False])
async def test_a_trigger_that_refuses_the_commit_does_not_concern_the_store(rig, is_within):
    await rig.sql.execute(REFUSING)
    head = await rig.head(1)
    statement = "INSERT INTO tx_orders VALUES (1, 1)"
    effects = Effects(within=await rig.ready(statement)) if is_within else Effects(sql=(Sql(statement),))
    with pytest.raises(SqlFailed, match="RaiseError"):
        await rig.store.commit(head, effects, more=False)
    assert not rig.store._writer.suspect
    await rig.store.commit(head, Effects(), more=False)
    assert await rig.orders() == []


async def test_a_deadlock_is_handled_again(rig):
    """Each of two takes what the other one has taken first: one is refused, and runs again."""
    met = asyncio.Barrier(2)

    @rig.router.message(text)
    async def buy(ctx):
        first, second = (1, 2) if ctx.update_id == 1 else (2, 1)
        async with ctx.transaction() as tx:
            await tx.fetchval(TAKE, first)
            if ctx.attempt == 1:
                await met.wait()
            await tx.fetchval(TAKE, second)
            await tx.execute(ORDER, ctx.update_id)

    with capture_logs() as logs:
        await rig.gets(1, 2)
    assert len(await rig.orders()) == 1
    (reason,) = await rig.reasons()
    assert "deadlock detected" in reason
    assert not [each for each in logs if each["log_level"] == "error"]
    (parked,) = [lane for lane in await rig.store.lanes(INBOX) if lane.status == "parked"]
    await rig.store.unhold(INBOX, parked.key)
    await rig.runs()
    assert await rig.orders() == [1, 2]
    assert await rig.stock() == 98


class Line:
    """A connection whose n-th request from now on fails: before it is sent, or behind its answer."""

    def __init__(self, connection: Any, fails_at: int, *, is_sent: bool) -> None:
        self._connection, self._left, self._is_sent = connection, fails_at, is_sent

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        return found if name not in {"execute", "fetch", "fetchrow", "fetchval"} else self._failing(found)

    def _failing(self, act: Any) -> Any:
        async def run(*query: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return await act(*query)
            if self._is_sent:
                await act(*query)
            self._connection.terminate()
            raise ConnectionResetError("simulated")

        return run


@pytest.mark.parametrize("is_sent", [True, False])
@pytest.mark.parametrize("at", [1, 2])
async def test_a_lost_line_is_handled_again_or_was_committed(rig, at, is_sent):
    """1: in the group, so that nothing is committed; 2: in COMMIT, of which the store learns when it is read anew."""
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    tx._connection = Line(tx._connection, at, is_sent=is_sent)
    effects = Effects((Call("chat:1", b"x"),), b"s", within=tx)
    if at == 1:
        with pytest.raises(TransactionFailed):
            await rig.store.commit(head, effects, more=False)
        assert not rig.store._writer.suspect
        await insist(lambda: rig.store.commit(head, Effects(), more=False))  # waits for what is under way
        assert await rig.orders() == []
        assert rig.store.mine(OUTBOX).pending == 0
    else:
        with pytest.raises(LeaseLost):
            await insist(lambda: rig.store.commit(head, effects, more=False))
        assert await rig.orders() == ([1] if is_sent else [])
        assert rig.store.mine(INBOX).pending == (0 if is_sent else 1)
        assert rig.store.mine(OUTBOX).pending == (1 if is_sent else 0)
        assert await rig.store.state("chat:1", head.envelope.scope) == (b"s" if is_sent else None)
    await rig.until_free()


async def test_a_commit_that_the_server_answers_with_rollback_has_changed_nothing(rig):
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    connection = tx._connection

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        async def execute(self, query: str) -> Any:
            return await connection.execute("ROLLBACK" if query == "COMMIT" else query)

    tx._connection = Refusing()
    with pytest.raises(TransactionFailed, match="rolled it back"):
        await rig.store.commit(head, Effects((Call("chat:1", b"x"),), within=tx), more=False)
    assert rig.store.mine(OUTBOX).pending == 0
    await rig.store.commit(head, Effects(), more=False)


async def test_a_session_that_the_server_has_ended_before_commit_is_in_doubt(rig):
    """As of a process that was stopped between the group and COMMIT: the answer is the end of the connection, no refusal."""
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    connection = tx._connection

    class Ended:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        async def execute(self, query: str) -> Any:
            error: Any = asyncpg.IdleInTransactionSessionTimeoutError("terminating connection")
            error.severity_en = "FATAL"
            connection.terminate()
            raise error

    tx._connection = Ended()
    with pytest.raises(StoreUnavailable):
        await rig.store.commit(head, Effects(within=tx), more=False)
    with pytest.raises(LeaseLost):
        await insist(lambda: rig.store.commit(head, Effects(within=tx), more=False))
    assert rig.store.mine(INBOX).pending == 1
    assert await rig.orders() == []


async def test_a_commit_that_is_repeated_after_it_has_failed_runs_the_handler_again(rig):
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    tx.abandon()
    with pytest.raises(TransactionFailed, match="given up") as caught:
        await rig.store.commit(head, Effects(within=tx), more=False)
    assert isinstance(caught.value, Retry)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    await rig.store.commit(head, Effects(within=tx), more=False)
    with suppress(LeaseLost):
        await rig.store.commit(head, Effects(within=tx), more=False)  # it was committed
    assert await rig.orders() == [1]


async def test_a_commit_whose_caller_is_cancelled_is_committed_once(rig):
    await append(rig.store, [update(1), update(2)])
    head = await rig.store.claim(INBOX)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    effects = Effects((Call("chat:1", b"x"),), within=tx)
    task = asyncio.create_task(rig.store.commit(head, effects, more=True))
    async with asyncio.timeout(WITHIN_S):
        while not rig.store._writer._busy:
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    tx.abandon()  # as the engine does: a commit has it
    assert (await rig.store.commit(head, effects, more=True)).envelope.id == 2
    assert await rig.orders() == [1]
    assert rig.store.mine(OUTBOX).pending == 1


async def test_a_store_that_is_read_anew_rolls_it_back(rig):
    head = await rig.head(1)
    tx = rig.store.transaction()
    with pytest.raises(TransactionFailed):
        async with tx:
            await tx.execute("INSERT INTO tx_orders VALUES (1, 1)")
            rig.store._writer.doubt(StoreUnavailable("simulated"))
            with pytest.raises(LeaseLost):
                await insist(lambda: rig.store.release(head))
            with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresError)):
                await tx.execute("SELECT 1")
    await rig.until_free()
    assert await rig.orders() == []
    (await rig.ready("INSERT INTO tx_orders VALUES (2, 1)")).abandon()


async def test_another_store_takes_none(rig, tmp_path):
    store = await open_sqlite(tmp_path / "bot.db", "1")
    await append(store, [update(1)])
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    with pytest.raises(TransactionFailed, match="no transactions"):
        await store.commit(await store.claim(INBOX), Effects(within=tx), more=False)
    await store.close()
    await rig.until_free()
    assert await rig.orders() == []


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_so_many_at_once_and_the_next_one_waits(rig):
    async with AsyncExitStack() as stack:
        for _ in range(transactions.AT_ONCE_MAX):
            await stack.enter_async_context(rig.store.transaction())
        waiting = asyncio.ensure_future(rig.ready("INSERT INTO tx_orders VALUES (1, 1)"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        first = stack.pop_all()
        async with first:
            pass
        assert rig.free == 0  # they are ready, and keep their places
        waiting.cancel()


async def test_one_that_is_open_for_too_long_is_rolled_back_with_a_warning(rig, monkeypatch):
    monkeypatch.setattr(within, "OPEN_MAX_S", 0.05)
    wait = asyncio.Event()

    async def hang(tx: Any, _: Any) -> None:
        with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresError)):
            await tx.execute("SELECT pg_sleep(20)")
        await tx.execute("SELECT 1")

    buying(rig, hang)
    with capture_logs() as logs:
        await rig.gets(1)
    assert await rig.reasons() == ["the transaction was open for longer than 0.05 s"]
    assert [each for each in logs if each["event"].startswith("the transaction was open")]
    assert await rig.orders() == []
    wait.set()
    await rig.until_free()


async def test_one_whose_handler_goes_on_for_too_long_behind_it_is_rolled_back(rig, monkeypatch):
    monkeypatch.setattr(within, "OPEN_MAX_S", 0.05)

    @rig.router.message(text)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
        await rig.until_free()

    await rig.gets(1)
    assert await rig.reasons() == ["the transaction was open for longer than 0.05 s"]
    assert await rig.orders() == []


async def test_the_server_ends_one_that_does_nothing(rig, monkeypatch):
    monkeypatch.setattr(transactions, "_SETTINGS", OF_PRODUCTION)
    settings = ("idle_in_transaction_session_timeout", "statement_timeout", "default_transaction_isolation")
    tx = rig.store.transaction()
    with pytest.raises(TransactionFailed, match=r"idle-in-transaction timeout|connection"):
        async with tx:
            assert [await tx.fetchval(f"SHOW {each}") for each in settings] == ["3s", "5s", "read committed"]
            await tx.execute("SET idle_in_transaction_session_timeout = 20")
            async with asyncio.timeout(WITHIN_S):
                while not tx._connection.is_closed():
                    await asyncio.sleep(0.01)
    await rig.until_free()


class Cancelled:
    """Awaits a coroutine whose task is cancelled at its n-th pause."""

    def __init__(self, coroutine: Any, at: int) -> None:
        self._coroutine, self._at = coroutine, at
        self.pauses = 0

    def __await__(self) -> Any:
        inner, error = self._coroutine.__await__(), None
        while True:
            try:
                waits_for = inner.send(None) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            self.pauses += 1
            task = asyncio.current_task()
            if self.pauses == self._at and task is not None:
                task.cancel()
            error = None
            try:
                yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - handed in
                error = thrown


async def test_cancelled_at_any_await_nothing_is_committed_or_kept(rig):
    """While it waits for a connection, BEGIN, a statement, the checks at the end; with a new connection and a used one."""
    head = await rig.head(1)

    begun: list[Any] = []

    async def run() -> Any:
        begun.append(rig.store.transaction())
        async with begun[-1] as tx:
            await tx.fetchval(TAKE, 1)
            await tx.execute("INSERT INTO tx_orders VALUES (1, 1)")
        await asyncio.sleep(0)
        return tx

    cancelled = 0
    for at in range(1, 200):
        running = Cancelled(run(), at)

        async def wait(running: Cancelled = running) -> Any:
            return await running

        try:
            tx = await asyncio.ensure_future(wait())
        except asyncio.CancelledError:
            cancelled += 1
            begun[-1].abandon()  # as the engine does, which knows it from before its begin
            await rig.until_free() if at % 2 else rig.store._ledger.transactions.cut()
            continue
        if running.pauses < at:
            break
        tx.abandon()
    assert cancelled > 4
    await rig.store.commit(head, Effects(within=tx), more=False)
    await rig.until_free()
    assert await rig.orders() == [1]
    assert await rig.stock() == 99


async def test_a_handler_that_is_cut_for_its_time_is_rolled_back(rig):
    @rig.router.message(text, timeout_s=0.05)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
            await tx.execute("SELECT pg_sleep(20)")

    await rig.gets(1)
    assert await rig.reasons() == ["the handler ran longer than 0.05 s"]
    await rig.until_free()
    assert await rig.orders() == []


async def test_a_handler_that_swallows_its_cut_is_rolled_back(rig):
    @rig.router.message(text, timeout_s=0.05)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(20)

    await rig.gets(1)
    assert await rig.reasons() == ["the handler ran longer than 0.05 s"]
    await rig.until_free()
    assert await rig.orders() == []


# -- what an author can do in it ---------------------------------------------------------------------------------------


async def test_a_temporary_table_named_as_one_of_the_stores(rig):
    head = await rig.head(1)
    tx = await rig.ready(
        "CREATE TEMP TABLE inbox (bot bigint, place bigint)", "CREATE TEMP TABLE session (id bigint)",
        "INSERT INTO tx_orders VALUES (1, 1)",
    )  # fmt: skip
    await rig.store.commit(head, Effects(within=tx), more=False)
    assert await rig.sql.fetchval("SELECT count(*) FROM chatlane.inbox WHERE bot = $1", int(rig.bot)) == 0
    assert await rig.orders() == [1]
    await rig.until_free()
    async with rig.store.transaction() as again:
        assert await again.fetchval("SELECT to_regclass('pg_temp.inbox')") is None


async def test_another_search_path_with_a_session_that_is_in_force(rig):
    await rig.sql.execute("DROP SCHEMA IF EXISTS evil CASCADE; CREATE SCHEMA evil")
    for table in ("session", "canary", "inbox"):
        await rig.sql.execute(f"CREATE TABLE evil.{table} AS SELECT * FROM chatlane.{table}")
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)", "SET search_path = evil, public")
    await rig.sql.execute("DELETE FROM chatlane.session WHERE bot = $1", int(rig.bot))
    with pytest.raises(LeaseLost):
        await insist(lambda: rig.store.commit(head, Effects(within=tx), more=False))
    assert await rig.orders() == []
    await rig.until_free()
    async with rig.store.transaction() as again:
        assert "evil" not in await again.fetchval("SHOW search_path")


ENDING = [
    "COMMIT", "commit", "END", "ROLLBACK", "ABORT", "BEGIN", "START TRANSACTION", "PREPARE TRANSACTION 'x'", "/* a */ COMMIT",
    "-- a\nCOMMIT AND CHAIN", "ROLLBACK WORK", "COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'",
]  # fmt: skip


@pytest.mark.parametrize("statement", ENDING)
async def test_what_ends_the_transaction_is_refused_at_once(rig, statement):
    async with rig.store.transaction() as tx:
        await tx.execute("INSERT INTO tx_orders VALUES (1, 1)")
        for act in (tx.execute, tx.fetch, tx.fetchrow, tx.fetchval):
            with pytest.raises(RuntimeError, match="committed with the update"):
                await act(statement)
    tx.abandon()


async def test_a_text_is_one_statement(rig):
    tx = rig.store.transaction()
    with pytest.raises(asyncpg.PostgresSyntaxError):
        async with tx:
            await tx.execute("INSERT INTO tx_orders VALUES (1, 1); COMMIT")
    assert await rig.orders() == []


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "RELEASE SAVEPOINT chatlane_within"])
async def test_one_that_was_ended_all_the_same_is_noticed(rig, end):
    tx = rig.store.transaction()
    with pytest.raises(RuntimeError, match="was ended inside its block"):
        async with tx:
            await tx.execute("INSERT INTO tx_orders VALUES (1, 1)")
            await tx.connection.execute(end)
    with pytest.raises(TransactionFailed):
        await rig.store.commit(await rig.head(1), Effects(within=tx), more=False)
    await rig.until_free()


async def test_an_error_that_was_swallowed_in_the_block_is_noticed(rig):
    @rig.router.message(text)
    async def buy(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(ORDER, ctx.update_id)
            with suppress(asyncpg.CheckViolationError):
                await tx.execute("UPDATE tx_goods SET stock = -1")
        ctx.reply("yours")

    await rig.gets(1)
    (reason,) = await rig.reasons()
    assert "current transaction is aborted" in reason
    assert await rig.said() == []
    assert await rig.orders() == []


async def test_savepoints_are_released_with_the_block(rig):
    head = await rig.head(1)
    tx = await rig.ready(
        "INSERT INTO tx_orders VALUES (1, 1)", "SAVEPOINT a", "INSERT INTO tx_orders VALUES (2, 1)",
        "ROLLBACK TO SAVEPOINT a", "ROLLBACK TO a", "INSERT INTO tx_orders VALUES (3, 1)", "SAVEPOINT b",
        "INSERT INTO tx_orders VALUES (4, 1)",
    )  # fmt: skip
    with pytest.raises(asyncpg.InvalidSavepointSpecificationError):
        await tx._connection.execute("SAVEPOINT c; ROLLBACK TO SAVEPOINT b")
    tx.abandon()
    tx = await rig.ready(
        "INSERT INTO tx_orders VALUES (1, 1)", "SAVEPOINT a", "INSERT INTO tx_orders VALUES (2, 1)"
    )
    await rig.store.commit(head, Effects(within=tx), more=False)
    assert await rig.orders() == [1, 2]
    assert rig.store.mine(INBOX).pending == 0


async def test_a_commit_is_synchronous_whatever_was_set(rig):
    head = await rig.head(1)
    tx = await rig.ready(
        "SET synchronous_commit = off", "SET enable_seqscan = on", "SET LOCAL synchronous_commit = off"
    )
    assert await tx._connection.fetchval("SHOW synchronous_commit") == "on"
    assert await tx._connection.fetchval("SHOW enable_seqscan") == "off"
    await rig.store.commit(head, Effects(within=tx), more=False)


async def test_nothing_of_it_survives_for_the_next_one(rig):
    """Settings, role, advisory locks, LISTEN, cursors, temporary tables, the values of sequences."""
    await rig.sql.execute("CREATE SEQUENCE IF NOT EXISTS tx_numbers")
    head = await rig.head(1)
    async with rig.store.transaction() as tx:
        pid = await tx.fetchval("SELECT pg_backend_pid()")
        for each in (
            "SET synchronous_commit = off", "SET work_mem = '1MB'", "SELECT pg_advisory_lock(77)",
            "LISTEN tx_anything", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT nextval('tx_numbers')",
            "CREATE TEMP TABLE tx_temp (a int)", "SET chatlane.own = 'yes'",
        ):  # fmt: skip
            await tx.execute(each)
    await rig.store.commit(head, Effects(within=tx), more=False)
    await rig.until_free()
    again = rig.store.transaction()
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await seen_by(again, pid)
    assert await rig.sql.fetchval("SELECT pg_try_advisory_lock(77)")
    assert await rig.sql.fetchval("SELECT pg_advisory_unlock(77)")


async def seen_by(again: Any, pid: int) -> None:
    async with again:
        assert await again.fetchval("SELECT pg_backend_pid()") == pid
        assert await again.fetchval("SHOW synchronous_commit") == "on"
        assert await again.fetchval("SHOW work_mem") != "1MB"
        assert await again.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
        assert await again.fetchval("SELECT count(*) FROM pg_cursors WHERE name = 'c'") == 0
        assert await again.fetchval("SELECT to_regclass('tx_temp')") is None
        await again.fetchval("SELECT currval('tx_numbers')")


@pytest.mark.parametrize("kind", ["ROLE", "SESSION AUTHORIZATION"])
async def test_a_role_has_no_say_in_the_commit_and_does_not_survive(rig, sql, kind):
    role = "pg_monitor" if kind == "ROLE" else "tx_other"
    if role == "tx_other":  # the commit is made by it
        await sql.execute("DROP ROLE IF EXISTS tx_other; CREATE ROLE tx_other SUPERUSER")
    head = await rig.head(1)
    async with rig.store.transaction() as tx:
        before = await tx.fetchval("SELECT current_user")
        pid = await tx.fetchval("SELECT pg_backend_pid()")
        await tx.execute(f"SET {kind} {role}")
    await rig.store.commit(head, Effects(within=tx), more=False)
    await rig.until_free()
    async with rig.store.transaction() as again:
        assert await again.fetchval("SELECT pg_backend_pid()") == pid
        assert await again.fetchval("SELECT current_user") == before


async def test_the_stores_tables_are_not_for_it(rig):
    tx = rig.store.transaction()
    with pytest.raises(SqlFailed, match="the store's own tables"):
        async with tx:
            await tx.execute("INSERT INTO tx_orders VALUES (1, 1)")
            await tx.fetch("SELECT * FROM chatlane.inbox")
    await rig.until_free()
    assert await rig.orders() == []


async def test_the_drivers_connection_is_used_once(rig):
    head = await rig.head(1)
    async with rig.store.transaction() as tx:
        pid = await tx.fetchval("SELECT pg_backend_pid()")
        await tx.connection.copy_records_to_table("tx_orders", records=[(5, 1), (6, 1)])
        await tx.connection.executemany("INSERT INTO tx_orders VALUES ($1, 1)", [(7,), (8,)])
    await rig.store.commit(head, Effects(within=tx), more=False)
    assert await rig.orders() == [5, 6, 7, 8]
    await rig.until_free()
    async with rig.store.transaction() as again:
        assert await again.fetchval("SELECT pg_backend_pid()") != pid


async def test_a_statement_that_was_cut_off_does_not_keep_its_locks(rig):
    tx = rig.store.transaction()
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(asyncio.CancelledError):
            async with tx:
                await tx.execute(TAKE, 1)
                task = asyncio.ensure_future(tx.execute("SELECT pg_sleep(600) /* tx_long */"))
                asleep = (
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%tx_long%' AND state = 'active'"
                )
                while await rig.sql.fetchval(asleep) < 2:  # this query, too
                    await asyncio.sleep(0.005)
                tx._connection.terminate()
                raise asyncio.CancelledError
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
        await task
    await rig.sql.execute("SET lock_timeout = '60s'")  # less than a statement may take in this test
    await rig.sql.execute(TAKE, 1)


async def test_a_server_that_does_not_look_for_its_client_is_used_all_the_same(rig, monkeypatch):
    monkeypatch.setattr(transactions, "_SETTINGS", OF_PRODUCTION)
    pool = rig.store._ledger.transactions
    connect = pool._connect
    asked: list[Any] = []

    async def on_another_system(settings: Any) -> Any:
        asked.append(settings)
        if "client_connection_check_interval" in settings:
            raise asyncpg.InvalidParameterValueError("must be set to 0 on platforms that lack support")
        return await connect(settings)

    monkeypatch.setattr(pool, "_connect", on_another_system)
    (await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")).abandon()
    assert len(asked) == 2
    assert asked[1]["idle_in_transaction_session_timeout"] == "3s"


async def test_a_connection_that_the_server_has_closed_meanwhile_is_replaced(rig):
    async with rig.store.transaction() as tx:
        pid = await tx.fetchval("SELECT pg_backend_pid()")
    tx.abandon()
    await rig.until_free()
    await rig.sql.execute("SELECT pg_terminate_backend($1)", pid)
    head = await rig.head(1)
    tx = await rig.ready("INSERT INTO tx_orders VALUES (1, 1)")
    await rig.store.commit(head, Effects(within=tx), more=False)
    assert await rig.orders() == [1]


async def test_a_table_that_was_changed_meanwhile_fails_one_transaction(rig):
    """The driver keeps what it has prepared on each connection, and cannot repeat it inside a transaction (asyncpg, 458)."""

    async def reads(tx: Any) -> None:
        async with tx:
            await tx.fetch("SELECT * FROM tx_goods")

    async def at_once(count: int) -> list[Any]:
        several = [rig.store.transaction() for _ in range(count)]
        outcomes = await asyncio.gather(*map(reads, several), return_exceptions=True)
        for tx in several:
            tx.abandon()
        await rig.until_free()
        return [type(each) for each in outcomes]

    assert await at_once(4) == [type(None)] * 4
    async with rig.store.transaction() as meanwhile:
        await rig.sql.execute("ALTER TABLE tx_goods ADD COLUMN colour text")
        with pytest.raises(TransactionFailed):
            await reads(rig.store.transaction())
    meanwhile.abandon()
    await rig.until_free()
    assert await at_once(4) == [type(None)] * 4


async def test_without_postgresql_it_says_what_to_do():
    router = Router()

    @router.message(text)
    async def buy(ctx: MessageContext) -> None:
        async with ctx.transaction():
            raise AssertionError

    with pytest.raises(RuntimeError, match=r"set STORE_URL to postgres://\.\.\., or use ctx\.sql"):
        await InboxHandler(router)(Work(delivery({"message": message("one")})))
