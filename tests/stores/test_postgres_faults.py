"""The server's own failures, each at a chosen place: statements that are stopped, failovers, standbys that are away."""

import asyncio
import random
import signal
import struct
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from engine import Call, Effects, LeaseLost, StoreUnavailable
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, OUTBOX, drain_ids, update
from engine.stores.owned.group import Group, combined
from engine.stores.owned.shares import SHARES
from engine.stores.postgres import keeper, ledger, open_postgres, session, source
from engine.stores.postgres.blocks import BLOCKS
from engine.stores.postgres.connection import connect
from engine.stores.postgres.source import read_owned, take_free
from engine.stores.postgres.statements import group_statement
from tests.kit.bounds import WITHIN_S
from tests.kit.database import Server
from tests.kit.proxy import Proxy
from tests.kit.standing import freeze
from tests.kit.waiting import insist, until

CHATS = [f"chat:{number}" for number in range(24)]


@pytest.fixture
def new_server(closing):
    def new(**named: Any) -> Server:
        server = Server(**named)
        closing.callback(server.remove)
        return server

    return new


@pytest.fixture
def person(database, closing):
    """Return a function that connects a person to a server."""

    async def connected(server: Server = database) -> Any:
        connection = await asyncpg.connect(server.url().partition("?")[0])
        closing.push_async_callback(connection.close)
        return connection

    return connected


@pytest.fixture(autouse=True)
def an_old_server(monkeypatch):
    """A server that has just started gives each session its time to come back."""
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("pg_postmaster_start_time()", "'-infinity'"))
    monkeypatch.setattr(ledger, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(ledger.PostgresLedger, "pause_max_s", 0.1)
    monkeypatch.setattr("engine.stores.owned.loaded._CALM_S", 0.0)


async def until_so(connection: Any, query: str, *values: Any) -> None:
    """Wait until the database says so."""
    async with asyncio.timeout(WITHIN_S):
        while not await connection.fetchval(query, *values):
            await asyncio.sleep(0.01)


WAITS = "SELECT count(*) >= $1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $2"


async def test_the_right_to_append_moves_after_the_append_that_is_under_way(open_it, person, bot):
    first, second = await open_it(), await open_it()
    right = await first.right()
    people = [await person() for _ in range(3)]
    await first.append(right, [update(1)])
    async with people[0].transaction():
        await people[0].execute("SELECT FROM chatlane.seen WHERE bot = $1 FOR UPDATE", int(bot))
        appending = asyncio.create_task(first.append(right, [update(2)]))
        await until_so(people[2], WAITS, 1, "%seen_new%")
        move = "UPDATE chatlane.bot SET owner = NULL WHERE id = $1"
        moving = asyncio.create_task(people[1].execute(move, int(bot)))
        await until_so(people[2], WAITS, 1, "UPDATE chatlane.bot%")
        assert not moving.done()
    assert await appending == 1
    await moving
    assert await second.append(await second.right(), [update(2), update(3)]) == 1


async def test_a_session_is_not_reaped_while_it_gets_the_right_to_append(open_it, person, bot):
    store = await open_it(renew_every_s=None)  # a renewal would notice that it is reaped then
    people = [await person() for _ in range(3)]
    async with people[0].transaction():
        await people[0].execute("SELECT FROM chatlane.bot WHERE id = $1 FOR UPDATE", int(bot))
        getting = asyncio.create_task(store.right())
        await until_so(people[2], WAITS, 1, "%epoch = epoch + 1%")
        reap = "DELETE FROM chatlane.session WHERE bot = $1"
        reaping = asyncio.create_task(people[1].execute(reap, int(bot)))
        async with asyncio.timeout(WITHIN_S):
            while not reaping.done() and not await people[2].fetchval(WAITS, 1, "DELETE%"):
                await asyncio.sleep(0.01)
        assert not reaping.done()
    assert (await getting).epoch == 1
    await reaping


class Wire:
    """A connection that speaks the protocol by hand, to stop inside of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int, application: str) -> "Wire":
        wire = cls(*await asyncio.open_connection("127.0.0.1", port))
        words = ["user", "chatlane", "database", "postgres", "application_name", application, ""]
        body = struct.pack("!i", 196608) + b"".join(word.encode() + b"\0" for word in words)
        wire._writer.write(struct.pack("!i", len(body) + 4) + body)
        await wire.until(b"Z")
        return wire

    async def until(self, kind: bytes) -> None:
        """Read up to a message of this kind."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                head = await self._reader.readexactly(5)
                await self._reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                if head[:1] == kind:
                    return

    def send(self, kind: bytes, body: bytes) -> None:
        self._writer.write(kind + struct.pack("!i", len(body) + 4) + body)

    async def execute_without_sync(self, query: str) -> None:
        """Execute a statement; its transaction stays open: the message that ends it never comes."""
        self.send(b"P", b"\0" + query.encode() + b"\0" + struct.pack("!h", 0))
        self.send(b"B", b"\0\0" + struct.pack("!hhh", 0, 0, 0))
        self.send(b"E", b"\0" + struct.pack("!i", 0))
        self.send(b"H", b"")
        await self.until(b"C")

    def close(self) -> None:
        self._writer.transport.abort()


async def test_a_process_that_is_stopped_inside_a_message_is_replaced(open_it, person, bot, database):
    """The server waits for the rest of it, with the row of the session locked, and no time-out of its own ends that."""
    store, sql = await open_it(), await person()
    await append(store, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    await freeze(store)
    stuck = await Wire.connect(database.port, store._ledger._session.application)
    await stuck.execute_without_sync(
        f"SELECT FROM chatlane.session WHERE id = {store._ledger._session.id} FOR KEY SHARE"
    )
    other = await open_it(renew_every_s=0.02)
    expire = "UPDATE chatlane.session SET until = clock_timestamp() - $2 * interval '1 s' WHERE id = $1"
    await sql.execute(expire, store._ledger._session.id, 3.0)
    await until(lambda: len(other._shares) == SHARES)
    assert len(await drain_ids(other)) == len(CHATS)
    stuck.close()


async def test_no_id_of_a_call_is_used_again_after_a_crash(new_server, bot, person, closing):
    server = new_server()
    store = await open_postgres(server.url(), bot)
    closing.push_async_callback(store.close)
    await append(store, [update(id_) for id_ in (1, 2)])
    for number in (1, 2):
        await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"%d" % number),)), more=False)
        if number == 1:
            server.stop(signal.SIGQUIT)
            server.start()
            await insist(lambda: append(store, [update(3)]))
    sql = await person(server)
    places = [row[0] for row in await sql.fetch("SELECT place FROM chatlane.outbox ORDER BY place")]
    assert places[1] - places[0] >= BLOCKS["calls"]  # the rest of the block is given up
    assert [(await store.claim(OUTBOX)).envelope.body] == [b"1"]


async def test_a_failover_that_rolls_back_a_take_over(new_server, bot, closing):
    """A standby that had not received it: the former owner owns all again, and who took over owns nothing."""
    primary = new_server()
    first = await open_postgres(primary.url(), bot, renew_every_s=0.05)
    closing.push_async_callback(first.close)
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    head = await first.claim(INBOX)
    await freeze(first)
    standby = new_server(of=primary)
    sql = await asyncpg.connect(primary.url().partition("?")[0])
    await sql.execute("UPDATE chatlane.session SET until = clock_timestamp()")
    await sql.close()
    second = await open_postgres(primary.url(), bot, renew_every_s=0.05)
    closing.push_async_callback(second.close)
    await until(lambda: len(second._shares) == SHARES)
    taken = await second.claim(INBOX)
    await second.commit(taken, Effects((Call(taken.lease.key, b"lost"),)), more=False)
    primary.stop(signal.SIGQUIT)
    standby.start()
    promoting = await asyncpg.connect(standby.url().partition("?")[0])
    assert await promoting.fetchval("SELECT pg_promote()")
    await promoting.close()
    with pytest.raises(StoreUnavailable):
        await first.commit(head, Effects(state=b"stale"), more=False)
    with pytest.raises(LeaseLost):
        await insist(lambda: first.commit(head, Effects(state=b"stale"), more=False))
    await until(lambda: not second._writer.suspect and len(second._shares) + len(first._shares) == SHARES)
    await until(lambda: first._ledger.sessions == second._ledger.sessions == 2)
    handled: list[int] = []
    async with asyncio.timeout(WITHIN_S):
        while len(handled) < len(CHATS):
            for store in (first, second):
                with suppress(TimeoutError, StoreUnavailable, LeaseLost):
                    while True:
                        async with asyncio.timeout(
                            0.2
                        ):  # not for a commit: it would be done, and its answer lost
                            delivery = await store.claim(INBOX)
                        assert delivery.state is None
                        await store.commit(delivery, Effects(state=b"once"), more=False)
                        handled.append(delivery.envelope.id)
    assert sorted(handled) == list(range(1, len(CHATS) + 1))
    assert (await insist(first.stats)).outbox.pending == 0


async def test_after_an_outage_longer_than_their_time_no_session_is_reaped(open_it, person, bot, database):
    """Each comes back when it can; the first one must not take what the others have."""
    sql = await person()
    async with Proxy(database.port) as near, Proxy(database.port) as far:
        urls = [database.url().replace(f":{database.port}/", f":{line.port}/") for line in (near, far)]
        first, second = [await open_it(url, renew_every_s=0.02) for url in urls]
        await until(
            lambda: 0 < len(first._shares) < SHARES and len(first._shares) + len(second._shares) == SHARES
        )
        ids = [store._ledger._session.id for store in (first, second)]
        for line in (near, far):
            line.is_down = True
            line.cut()
        await until(lambda: first._writer.suspect and second._writer.suspect)
        expire = "UPDATE chatlane.session SET until = clock_timestamp() - interval '1 h' WHERE bot = $1"
        await sql.execute(expire, int(bot))
        near.is_down = False
        await until(lambda: not first._writer.suspect)
        beat = first._ledger._session._beat
        await until(lambda: first._ledger._session._beat > beat + 5)  # it would have reaped
        far.is_down = False
        await until(lambda: not second._writer.suspect)
    assert [store._ledger._session.id for store in (first, second)] == ids


async def test_who_cannot_reach_the_server_ends_its_handlers_when_its_time_is_over(
    open_it, database, monkeypatch
):
    async with Proxy(database.port) as line:
        url = database.url().replace(f":{database.port}/", f":{line.port}/")
        store = await open_it(url, renew_every_s=0.05)
        lost: list[Any] = []
        store.watch(INBOX, lost.extend)
        await append(store, [update(1)])
        head = await store.claim(INBOX)
        line.is_down = True
        mine = store._ledger._session
        monkeypatch.setattr(mine, "ttl_s", 4.0)
        beat = mine._beat
        await until(lambda: mine._beat > beat + 1 or lost)  # renewed for so long
        line.cut()
        await until(lambda: lost)
        assert lost == [head.lease]
        assert store._writer.suspect


@pytest.mark.parametrize("is_suspended", [False, True])
async def test_who_stood_still_learns_it_before_it_sends_or_polls(open_it, monkeypatch, is_suspended):
    """Whatever runs first when it goes on: also before the alarm, and before the clock of the event loop shows it."""
    store = await open_it()
    lost: list[Any] = []
    store.watch(INBOX, lost.extend)
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    assert store.sharing.is_in_time()
    if is_suspended:
        since_boot = keeper._since_boot
        monkeypatch.setattr(keeper, "_since_boot", lambda: since_boot() + store._ledger._session.ttl_s)
    else:
        store._ledger._keeper._asked_at -= store._ledger._session.ttl_s
    assert not store.sharing.is_in_time()
    assert lost == [head.lease]


async def test_who_stood_still_has_to_ask_for_the_right_to_poll_again(open_it):
    store = await open_it()
    right = await store.right()
    store._ledger._keeper._asked_at -= store._ledger._session.ttl_s
    assert (await insist(store.right)).epoch > right.epoch
    assert store.sharing.is_in_time()


async def test_a_renewal_that_fails_while_all_is_read_anew_is_noticed(open_it, monkeypatch):
    store = await open_it(renew_every_s=0.02)
    failed: list[Any] = []

    async def read(*what: Any) -> Any:
        if not failed:
            failed.append(store._ledger._keeper)
            failed[0]._connection.terminate()
            await until(lambda: not failed[0].is_at_work)
        return await read_owned(*what)

    monkeypatch.setattr(source, "read_owned", read)
    store._writer.doubt(StoreUnavailable("simulated"))
    assert await insist(lambda: append(store, [update(1)])) == 1
    assert failed
    assert store._ledger._keeper.is_at_work
    beat = store._ledger._session._beat
    await until(lambda: store._ledger._session._beat > beat)


# -- commits that a failover would lose ----------------------------------------------------------------------------------


async def until_commits_wait(sql: Any, committing: Any) -> None:
    """Wait until a commit waits for a standby that is not there.

    The checkpointer lets backends wait when it has read the setting itself, later perhaps than they (PostgreSQL,
    src/backend/replication/syncrep.c, SyncRepUpdateSyncStandbysDefined).
    """
    waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = $1"
    async with asyncio.timeout(WITHIN_S):
        while True:
            commit = asyncio.create_task(
                committing.execute("SELECT pg_logical_emit_message(true, 'test', '')")
            )
            while not commit.done() and not await sql.fetchval(waits, committing.get_server_pid()):
                await asyncio.sleep(0.01)
            if not commit.done():
                break
    await sql.execute("SELECT pg_cancel_backend($1)", committing.get_server_pid())
    await commit


async def be_without_standby(sql: Any, committing: Any) -> None:
    await sql.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (one, two)'")
    await sql.execute("SELECT pg_reload_conf()")
    await until_commits_wait(sql, committing)


WAITS_FOR_STANDBY = (
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%inbox%'"
)


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_whose_wait_for_the_standby_is_ended_does_not_count(
    new_server, bot, person, closing, how
):
    """PostgreSQL has committed it, and a cancelled one succeeds. A failover would lose it, and Telegram has forgotten it."""
    server = new_server()
    sql = await person(server)
    store = await open_postgres(server.url(), bot)
    closing.push_async_callback(store.close)
    right = await store.right()
    await be_without_standby(sql, await person(server))
    appending = asyncio.create_task(store.append(right, [update(1)]))
    await until_so(sql, WAITS_FOR_STANDBY)
    await sql.execute(f"SELECT {how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    with pytest.raises(StoreUnavailable):
        await appending
    again = asyncio.create_task(insist(lambda: store.append(right, [update(1), update(2)])))
    await until_so(sql, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    assert not again.done()
    await sql.execute("ALTER SYSTEM RESET synchronous_standby_names")
    await sql.execute("SELECT pg_reload_conf()")
    assert await again == 1


async def test_no_call_leaves_a_server_whose_place_a_standby_has_taken(new_server, bot, person, closing):
    """The process that still speaks to the former server waits for a standby that does not follow it any more."""
    primary = new_server()
    former = await open_postgres(primary.url(), bot)
    closing.push_async_callback(former.close)
    await append(former, [update(1), update(2)])
    sql = await person(primary)
    standby = new_server(of=primary, follows=True)
    await sql.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
    await sql.execute("SELECT pg_reload_conf()")
    await until_so(sql, "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'quorum'")
    await former.commit(await former.claim(INBOX), Effects((Call("chat:1", b"1"),)), more=False)
    written = await sql.fetchval("SELECT pg_current_wal_lsn()")
    await until_so(sql, "SELECT bool_and(replay_lsn >= $1) FROM pg_stat_replication", written)
    promoting = await person(standby)
    assert await promoting.fetchval("SELECT pg_promote()")
    await promoting.execute("ALTER SYSTEM RESET synchronous_standby_names")
    await promoting.execute("SELECT pg_reload_conf()")
    await until_commits_wait(sql, await person(primary))
    head = await former.claim(INBOX)
    committing = asyncio.create_task(former.commit(head, Effects((Call("chat:1", b"former"),)), more=False))
    await until_so(sql, WAITS_FOR_STANDBY)
    await promoting.execute("UPDATE chatlane.session SET until = clock_timestamp() - interval '1 h'")
    current = await open_postgres(standby.url(), bot, renew_every_s=0.02)
    closing.push_async_callback(current.close)
    await until(lambda: len(current._shares) == SHARES)
    assert await drain_ids(current) == [("chat:1", 2)]
    assert not committing.done()
    call = await former.claim(OUTBOX)  # it was committed on both
    assert call.envelope.body == b"1"
    await until_so(sql, WAITS_FOR_STANDBY)
    assert former._queues[OUTBOX].lanes.depth("chat:1") == 1
    committing.cancel()
    primary.stop(signal.SIGQUIT)
    await asyncio.gather(committing, return_exceptions=True)


async def test_commits_are_synchronous_whatever_the_server_has_by_default(new_server, bot, closing):
    store = await open_postgres(new_server(synchronous_commit="off").url(), bot)
    closing.push_async_callback(store.close)
    await freeze(store)
    for connection in store._ledger._connections.made:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"


# -- moves of shares -----------------------------------------------------------------------------------------------------


class Mover:
    """One session after the other, that joins, takes shares, and gives some up while another process ends it."""

    def __init__(self, address: Any, bot: str, seed: int) -> None:
        self._address, self._bot = address, int(bot)
        self._random = random.Random(seed)

    async def run(self, times: int) -> None:
        connections = [await connect(self._address, "chatlane mover") for _ in range(2)]
        try:
            for _ in range(times):
                await self._live(*connections)
        finally:
            for connection in connections:
                connection.terminate()

    async def _live(self, own: Any, other: Any) -> None:
        schema = self._address.schema
        mine = session.Session(schema, self._bot, ttl_s=0.02, holder="mover")
        held = await mine.join(own)
        assert held is not None
        with suppress(StoreUnavailable):  # another one has reaped it
            found = await take_free(
                own, schema, self._bot, held, self._random.sample(range(SHARES), 600), 0.0
            )
            await mine.grant(own, held)
            await mine.reap(own, held)
            if found is None:
                return
            shares = list(found.shares or ())
            self._random.shuffle(shares)
            group = Group()
            group.give(shares)
            sql, values = group_statement(schema, combined(group.steps))
            await asyncio.gather(own.fetchrow(sql, self._bot, *held, *values), mine.leave(other))


async def test_sessions_that_take_give_and_reap_at_once_do_not_deadlock(open_it, person, bot, monkeypatch):
    monkeypatch.setattr(session, "_SILENT_S", 0.01)
    monkeypatch.setattr(session, "_STUCK_S", 1e6)
    store, sql = await open_it(), await person()
    address = store._ledger._address
    await store.close()
    deadlocks = "SELECT sum(deadlocks) FROM pg_stat_database"
    before = await sql.fetchval(deadlocks)
    async with asyncio.timeout(2 * WITHIN_S), asyncio.TaskGroup() as group:
        for seed in range(6):
            group.create_task(Mover(address, bot, seed).run(20))
    await sql.execute(
        "SELECT pg_stat_force_next_flush()" if sql.get_server_version().major >= 15 else "SELECT 1"
    )
    assert await sql.fetchval(deadlocks) == before
