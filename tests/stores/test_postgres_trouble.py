"""What only a database has: takeovers, crashes of the server, lost connections and answers."""

import asyncio
import shutil
import signal
import subprocess
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from engine import Call, Effects, LeaseLost, RightLost, StoreError, StoreUnavailable, Timer
from engine.errors import StoreAwayError
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, NOTHING, OUTBOX, drain_ids, update
from engine.stores.owned.shares import SHARES
from engine.stores.postgres import open_postgres, session
from tests.kit.bounds import WITHIN_S
from tests.kit.database import Server
from tests.kit.standing import freeze, quiet
from tests.kit.waiting import insist, until


async def expire(sql: Any, bot: str) -> None:
    """Let the time of the sessions be over."""
    await sql.execute("UPDATE chatlane.session SET until = clock_timestamp() WHERE bot = $1", int(bot))


@pytest.fixture(autouse=True)
def an_old_server(monkeypatch):
    """A server that has just started gives each session its time to come back."""
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("pg_postmaster_start_time()", "'-infinity'"))
    monkeypatch.setattr("engine.stores.postgres.ledger._LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("engine.stores.postgres.ledger.PostgresLedger.pause_max_s", 0.1)


def cut(store: Any) -> None:
    """Cut its connections, as a network does."""
    for connection in store._ledger._connections.made:
        connection.terminate()


async def until_held(store: Any) -> None:
    await until(lambda: not store._writer.suspect)


async def until_so(connection: Any, query: str, *values: Any) -> None:
    """Wait until the database says so."""
    async with asyncio.timeout(WITHIN_S):
        while not await connection.fetchval(query, *values):
            await asyncio.sleep(0.01)


WAITS = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1"
NONE_NAMED = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = $1"


class Unanswered:
    """A connection on which statements are executed, and their answers are lost."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetchrow(self, *query: Any) -> None:
        await self._connection.fetchrow(*query)
        raise ConnectionResetError("simulated")


# -- what survives -----------------------------------------------------------------------------------------------------


async def test_everything_survives_the_process(open_it):
    store = await open_it()
    await append(store, [update(1), update(2), update(3, "chat:2"), update(4, "chat:3")])
    timers = (Timer("due", 0.0, b"due"), Timer("later", 3600.0, b"later"))
    effects = Effects((Call("chat:1", b"a"),), b"state", timers)
    await store.commit(await store.claim(INBOX), effects, more=False)
    await store.bury(await store.claim(INBOX), "bad")
    await store.park(await store.claim(INBOX), 3600.0, counted=True, reason="slow down")
    await append(store, [], [("chat:9", "chat:1")])
    await store.close()
    again = await open_it()
    assert [letter[:2] for letter in await again.dead_letters()] == [(1, INBOX)]
    assert await append(again, [update(1), update(5, "chat:9")]) == 1
    (parked,) = [lane for lane in await again.lanes(INBOX) if lane.status == "parked"]
    assert (parked.key, parked.attempts, parked.reason) == ("chat:3", 1, "slow down")
    head = await again.claim(INBOX)
    assert (head.envelope.id, head.state) == (2, b"state")
    following = await again.commit(head, NOTHING, more=True)
    assert following.envelope.body == b"due"
    assert (await again.commit(following, NOTHING, more=True)).envelope.id == 5
    call = await again.claim(OUTBOX)
    assert call.envelope.body == b"a"
    await again.bury(call, "403")
    assert [letter.number for letter in await again.dead_letters()] == [2, 1]


async def test_numbers_of_dead_letters_are_not_used_again(open_it):
    store = await open_it()
    await append(store, [update(1)])
    await store.bury(await store.claim(INBOX), "bad")
    assert await store.replay(1)
    await store.close()
    again = await open_it()
    await again.bury(await again.claim(INBOX), "bad")
    assert [letter.number for letter in await again.dead_letters()] == [2]


async def test_two_bots_in_one_schema_see_nothing_of_each_other(open_it, database, new_bot, closing):
    store = await open_it()
    other = await open_postgres(database.url(), new_bot())
    closing.push_async_callback(other.close)
    for each in (store, other):
        assert await append(each, [update(1)]) == 1
        await each.commit(await each.claim(INBOX), Effects(state=b"mine"), more=False)
    assert await other.state("chat:1", "7") == b"mine"
    assert (await store.stats()).inbox.committed == 1


# -- sessions ---------------------------------------------------------------------------------------------------------


async def test_who_wants_the_bot_alone_is_waited_for(open_it):
    store = await open_it(shared=False)
    await append(store, [update(1)])
    with capture_logs() as lines:
        waiting = asyncio.create_task(open_it())
        await until(lambda: lines)
        assert not waiting.done()
        await store.close()
        taken = await waiting
    assert (await taken.claim(INBOX)).envelope.id == 1
    assert lines[0]["event"] == "waiting: another process has the bot alone"
    assert lines[0]["held_by"].startswith("process ")


async def test_who_wants_the_bot_alone_is_told_which_process_has_it(open_it):
    await open_it()
    with pytest.raises(StoreError, match=r"is in use by process \d+ on .*: stop it first"):
        await open_it(shared=False)


async def test_who_waits_and_is_stopped_leaves_the_bot_alone(open_it):
    store = await open_it(shared=False)
    with capture_logs() as lines:
        waiting = asyncio.create_task(open_it())
        await until(lambda: lines)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await append(store, [update(1)]) == 1


@pytest.mark.parametrize("how", ["commit", "append"])
async def test_a_stopped_process_that_goes_on_after_a_takeover_changes_nothing(open_it, sql, bot, how):
    store = await open_it()
    lost: list[Any] = []
    store.watch(INBOX, lost.extend)
    await append(store, [update(1), update(2)])
    right = await store.right()
    head = await store.claim(INBOX)
    await freeze(store)
    await expire(sql, bot)
    other = await open_it(shared=False)
    assert (await other.claim(INBOX)).envelope.id == 1

    async def act():
        if how == "commit":
            await store.commit(head, Effects((Call("chat:1", b"x"),), b"stale"), more=True)
        else:
            await store.append(right, [update(3)])

    with pytest.raises(StoreUnavailable, match="other processes have taken over"):
        await act()
    late = asyncio.create_task(act())
    await until(lambda: lost)
    assert lost == [head.lease]
    assert not late.done()  # the process waits now
    assert (await other.stats()).inbox.pending == 2
    await other.close()
    with pytest.raises(LeaseLost if how == "commit" else RightLost):
        await asyncio.wait_for(late, WITHIN_S)
    assert (await store.stats()).outbox.pending == 0
    assert await drain_ids(store) == [("chat:1", 1), ("chat:1", 2)]
    assert await append(store, [update(3)]) == 1


async def test_a_process_that_is_stopped_inside_a_statement_is_replaced(open_it, sql, bot, monkeypatch):
    """Its connection holds the lock of the row, and no time-out of the server ends it."""
    stuck_s = session._STUCK_S
    monkeypatch.setattr(session, "_STUCK_S", 3600.0)
    store = await open_it()
    await freeze(store)
    stuck = await asyncpg.connect(
        **store._ledger._address.options,
        server_settings={"application_name": store._ledger._session.application},
    )
    transaction = stuck.transaction()
    await transaction.start()
    await stuck.execute("SELECT FROM chatlane.session WHERE bot = $1 FOR KEY SHARE", int(bot))
    await expire(sql, bot)
    with pytest.raises(StoreError, match="in use"):
        await open_it(shared=False)
    monkeypatch.setattr(session, "_STUCK_S", stuck_s)
    await sql.execute("UPDATE chatlane.session SET until = until - interval '3 s' WHERE bot = $1", int(bot))
    other = await open_it(renew_every_s=0.02)
    await until(lambda: len(other._shares) == SHARES)
    stuck.terminate()


async def test_a_bot_whose_group_is_under_way_is_not_taken(open_it, sql, bot, monkeypatch):
    monkeypatch.setattr(session, "_STUCK_S", 3600.0)
    store = await open_it()
    await freeze(store)
    connection = store._writer._connection
    await connection.execute("BEGIN")
    await append(store, [update(1)])
    await expire(sql, bot)
    with pytest.raises(StoreError, match="in use"):
        await open_it(shared=False)
    await connection.execute("COMMIT")
    other = await open_it(shared=False)
    assert (await other.claim(INBOX)).envelope.id == 1


async def test_connections_have_the_name_of_their_session_also_of_the_next_one(open_it, sql, bot):
    store = await open_it()
    application = store._ledger._session.application
    await freeze(store)
    await expire(sql, bot)
    other = await open_it(shared=False)
    with pytest.raises(StoreUnavailable):
        await append(store, [update(1)])
    await other.close()
    assert await insist(lambda: append(store, [update(1)])) == 1
    owner = await sql.fetchval("SELECT id FROM chatlane.session WHERE bot = $1", int(bot))
    three_named = "SELECT count(*) = 3 FROM pg_stat_activity WHERE application_name = $1"
    await until_so(sql, three_named, f"chatlane {owner}")
    await until_so(sql, NONE_NAMED, application)


async def test_a_renewal_moves_the_end_of_a_sessions_time(open_it, bot, sql):
    stores = [await open_it(renew_every_s=0.02) for _ in range(2)]
    query = "SELECT id, until FROM chatlane.session WHERE bot = $1"
    before = dict(await sql.fetch(query, int(bot)))
    beats = [store._ledger._session._beat for store in stores]
    await until(
        lambda: all(s._ledger._session._beat >= beat + 2 for s, beat in zip(stores, beats, strict=True))
    )
    after = dict(await sql.fetch(query, int(bot)))
    assert before.keys() == after.keys() == {store._ledger._session.id for store in stores}
    assert all(after[id_] > before[id_] for id_ in before)


async def test_a_killed_process_is_replaced_before_its_time_is_over(open_it, monkeypatch):
    monkeypatch.setattr(session, "_SILENT_S", 0.2)
    store = await open_it()
    await append(store, [update(1)])
    store._lost(StoreError("killed"))
    store._ledger._let_go()
    async with asyncio.timeout(WITHIN_S):
        other = await open_it()
    assert (await other.claim(INBOX)).envelope.id == 1


async def test_a_process_with_a_connection_is_not_replaced_before_its_time_is_over(open_it, monkeypatch):
    monkeypatch.setattr(session, "_SILENT_S", 0.0)
    store = await open_it()
    await freeze(store)
    with pytest.raises(StoreError, match="in use"):
        await open_it(shared=False)


async def test_after_a_start_of_the_server_each_session_has_its_time_to_come_back(
    open_it, sql, bot, monkeypatch
):
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("'-infinity'", "clock_timestamp()", 1))
    await freeze(await open_it())
    await expire(sql, bot)
    with pytest.raises(StoreError, match="in use"):
        await open_it(shared=False)


async def test_a_group_of_the_old_connection_is_waited_for(open_it, sql, bot, closing):
    """It is under way: its transaction has locked the row, and commits while the next opening begins."""
    store = await open_it(renew_every_s=None)
    await append(store, [update(1)])
    await quiet(store)
    person = await asyncpg.connect(**store._ledger._address.options)
    closing.push_async_callback(person.close)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("SELECT FROM chatlane.session WHERE bot = $1 FOR KEY SHARE", int(bot))
    await sql.execute("DELETE FROM chatlane.inbox WHERE bot = $1", int(bot))
    cut(store)
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    again = asyncio.create_task(append(store, [update(2)]))
    await until_so(person, WAITS, "%chatlane%session%")
    assert not again.done()
    await transaction.commit()
    assert await asyncio.wait_for(again, WITHIN_S) == 1
    assert (await store.stats()).inbox.pending == 1


async def test_a_group_that_arrives_after_the_next_opening_changes_nothing(open_it):
    store = await open_it()
    await append(store, [update(1)])
    old = store._writer
    store._writer.doubt(StoreUnavailable("simulated"))
    await until_held(store)
    await quiet(store)
    old._connection = store._writer._connection
    with pytest.raises(StoreUnavailable, match="taken over"):
        await old._transact(["-inbox", 1], old._connection)
    assert await drain_ids(store) == [("chat:1", 1)]


async def test_a_session_that_cannot_be_renewed_ends_what_runs(open_it, monkeypatch):
    store = await open_it(renew_every_s=0.02)
    lost: list[Any] = []
    store.watch(INBOX, lost.extend)
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    mine = store._ledger._session
    renew = mine.renew
    renewed: list[Any] = []

    async def once(*what: Any) -> Any:
        if renewed:
            raise asyncpg.QueryCanceledError("a lock")
        renewed.append(await renew(*what))
        return renewed[0]

    monkeypatch.setattr(mine, "ttl_s", 1.0)
    monkeypatch.setattr(mine, "renew", once)
    await until(lambda: head.lease in lost)
    assert renewed


async def test_the_time_of_a_session_counts_from_the_request_of_its_renewal(open_it, monkeypatch):
    store = await open_it(renew_every_s=0.01, ttl_s=1000.0)
    ledger, loop = store._ledger, asyncio.get_running_loop()
    renew, asked = ledger._session.renew, []

    async def late(*what):
        asked.append(loop.time())
        if len(asked) > 1:
            await asyncio.Event().wait()  # else its answer would count, too
        answer = await renew(*what)
        await asyncio.sleep(0.3)  # the answer comes late
        return answer

    monkeypatch.setattr(ledger._session, "renew", late)
    await until(lambda: len(asked) > 1)
    assert ledger._keeper._alarm.when() - asked[0] < 700.2  # 0.7 of its time


async def test_what_is_under_way_when_the_session_is_lost_is_not_waited_for(open_it, sql, bot, closing):
    store = await open_it(renew_every_s=0.01)
    await append(store, [update(1)])
    await quiet(store)  # what waits for the table is the append
    other = await asyncpg.connect(**store._ledger._address.options)
    closing.push_async_callback(other.close)
    async with other.transaction():
        await other.execute("LOCK TABLE chatlane.inbox")
        hanging = asyncio.create_task(append(store, [update(2)]))
        await until_so(sql, WAITS, "%chatlane%inbox%")
        await sql.execute("UPDATE chatlane.session SET stint = stint + 1 WHERE bot = $1", int(bot))
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(hanging, WITHIN_S)


async def test_a_renewal_notices_a_takeover(open_it, sql, bot):
    store = await open_it(renew_every_s=0.01)
    await append(store, [update(1)])
    before = store._writer
    await sql.execute("DELETE FROM chatlane.session WHERE bot = $1", int(bot))
    await until(lambda: store._writer is not before)
    assert await append(store, [update(1)]) == 0


# -- lost connections and answers, crashes of the server ---------------------------------------------------------------


async def test_after_a_lost_connection_the_same_process_goes_on(open_it):
    store = await open_it()
    lost: list[Any] = []
    store.watch(INBOX, lost.extend)
    await append(store, [update(1), update(2)])
    head = await store.claim(INBOX)
    cut(store)
    with pytest.raises(StoreUnavailable):
        await store.commit(head, NOTHING, more=True)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(store.commit(head, NOTHING, more=True), WITHIN_S)
    assert lost == [head.lease]
    assert await drain_ids(store) == [("chat:1", 1), ("chat:1", 2)]


async def test_an_append_whose_answer_is_lost_and_is_repeated_is_there_once(open_it):
    store = await open_it()
    right = await store.right()
    await quiet(store)
    store._writer._connection = Unanswered(store._writer._connection)
    with pytest.raises(StoreUnavailable):
        await store.append(right, [update(1), update(2)])
    await until_held(store)
    head = await store.claim(INBOX)
    await store.commit(head, NOTHING, more=False)  # handled before the repetition
    assert await store.append(right, [update(1), update(2), update(3)]) == 1
    assert await drain_ids(store) == [("chat:1", 2), ("chat:1", 3)]


async def test_a_commit_whose_answer_is_lost_is_done_once(open_it):
    store = await open_it()
    await append(store, [update(1), update(2)])
    head = await store.claim(INBOX)
    effects = Effects((Call("chat:1", b"a"),), b"state")
    await quiet(store)
    store._writer._connection = Unanswered(store._writer._connection)
    with pytest.raises(StoreUnavailable):
        await store.commit(head, effects, more=True)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(store.commit(head, effects, more=True), WITHIN_S)
    assert (await store.stats()).outbox.pending == 1
    following = await store.claim(INBOX)
    assert (following.envelope.id, following.state) == (2, b"state")


async def test_a_head_that_is_not_there_is_not_acked(open_it, sql, bot):
    store = await open_it()
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    await sql.execute("DELETE FROM chatlane.inbox WHERE bot = $1", int(bot))
    with pytest.raises(StoreUnavailable, match="not in the database"):
        await store.commit(head, Effects((Call("chat:1", b"a"),)), more=True)
    await until_held(store)
    assert (await store.stats()).outbox.appended == 0


async def test_commits_that_a_crash_may_have_lost_are_noticed(open_it, sql):
    """PostgreSQL empties unlogged tables after a crash, and on a standby that is promoted."""
    store = await open_it(renew_every_s=None)  # else a renewal may notice it first
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    await sql.execute("DELETE FROM chatlane.canary")
    with pytest.raises(StoreUnavailable, match="crashed"):
        await store.commit(head, NOTHING, more=True)
    await until_held(store)
    assert await drain_ids(store) == [("chat:1", 1)]


async def test_a_renewal_notices_a_crash(open_it, sql):
    store = await open_it(renew_every_s=0.01)
    before = store._writer
    await sql.execute("UPDATE chatlane.canary SET nonce = nonce + 1")
    await until(lambda: store._writer is not before)
    assert await append(store, [update(1)]) == 1


async def test_a_copy_of_before_that_is_put_back_under_a_running_process_is_not_trusted(open_it, sql, bot):
    store = await open_it(renew_every_s=0.01)
    await until(lambda: store._ledger._session._beat >= 3)
    owner = store._ledger._session.id
    await freeze(store)
    await sql.execute("UPDATE chatlane.session SET beat = 1 WHERE bot = $1", int(bot))
    store._writer.doubt(StoreUnavailable("simulated"))
    await until_held(store)
    assert store._ledger._session.id != owner
    assert len(store._shares) == SHARES  # what the former session had is not waited for


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_is_started_again_has_all_that_was_confirmed(new_bot, how):
    server = Server()
    try:
        store = await open_postgres(server.url(), new_bot())
        await append(store, [update(1), update(2)])
        await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"a"),), b"s"), more=False)
        server.stop(how)
        with pytest.raises(StoreUnavailable):
            await append(store, [update(3)])
        server.start()
        await until_held(store)
        assert await append(store, [update(1), update(3)]) == 1
        head = await store.claim(INBOX)
        assert (head.envelope.id, head.state) == (2, b"s")
        assert (await store.claim(OUTBOX)).envelope.body == b"a"
        await store.close()
    finally:
        server.remove()


async def test_who_waits_outlasts_a_start_of_the_server(new_bot, monkeypatch):
    monkeypatch.setattr(
        session, "_SILENT_S", 3600.0
    )  # a server that has just started takes no session for dead
    server, bot = Server(), new_bot()
    try:
        store = await open_postgres(server.url(), bot, shared=False)
        await append(store, [update(1)])
        with capture_logs() as lines:
            waiting = asyncio.create_task(open_postgres(server.url(), bot))
            await until(lambda: lines)
            server.stop()
            await until(lambda: any(line["event"] == "the store cannot be reached" for line in lines))
            server.start()
            assert await insist(lambda: append(store, [update(2)])) == 1
            await store.close()
            async with asyncio.timeout(WITHIN_S):
                taken = await waiting
        assert await drain_ids(taken) == [("chat:1", 1), ("chat:1", 2)]
        await taken.close()
    finally:
        server.remove()


async def promote(server: Server) -> None:
    connection = await asyncpg.connect(server.url().partition("?")[0])
    assert await connection.fetchval("SELECT pg_promote()")
    await connection.close()


@pytest.mark.parametrize("is_reaped", [False, True])
async def test_who_has_appended_what_a_failover_has_lost_notices_it_whoever_polls_now(
    open_it, sql, bot, is_reaped
):
    """Its right has moved meanwhile, or its whole session is over; the updates are gone at Telegram, too."""
    mine, other = await open_it(), await open_it()
    right = await mine.right()
    await mine.append(right, [update(id_) for id_ in (1, 2, 3)])
    await mine.resign(right)
    await other.append(await other.right(), [update(4)])
    await sql.execute("UPDATE chatlane.seen SET bits = set_bit(bits, 2, 0) WHERE bot = $1", int(bot))
    if is_reaped:
        await sql.execute("DELETE FROM chatlane.session WHERE id = $1", mine._ledger._session.id)
    cut(other)
    await insist(other.oldest)
    assert other._ended is None  # it has appended 4 only
    cut(mine)
    with pytest.raises(StoreError, match="has lost updates that it had"):
        await insist(mine.oldest)


async def test_what_all_may_have_forgotten_is_not_missed(open_it, sql, bot, monkeypatch):
    store = await open_it()
    await append(store, [update(1)])
    await sql.execute("DELETE FROM chatlane.seen WHERE bot = $1", int(bot))
    monkeypatch.setattr("engine.stores.owned.sessions._KEPT_BY_ALL_S", -1.0)
    cut(store)
    await insist(store.oldest)
    assert store._ended is None


@pytest.mark.parametrize("is_behind", [False, True])
async def test_a_failover_to_a_standby_server(new_bot, is_behind):
    primary = Server()
    servers = [primary]
    try:
        store = await open_postgres(primary.url(), new_bot())
        nonce = store._ledger._held.nonce
        await append(store, [update(1), update(2)])
        await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"a"),), b"s"), more=False)
        servers.append(Server(of=primary))
        if is_behind:
            await append(store, [update(3)])
        primary.stop(signal.SIGQUIT)
        servers[1].start()
        with capture_logs() as lines:
            with pytest.raises(StoreUnavailable):
                await append(store, [update(4)])
            await until(lambda: any("is a standby server" in line.get("reason", "") for line in lines))
        assert store._writer.suspect
        await promote(servers[1])
        if is_behind:
            with pytest.raises(StoreError, match="has lost updates that it had"):
                await insist(lambda: append(store, [update(4)]))
        else:
            await until_held(store)
            assert store._ledger._held.nonce != nonce
            assert await append(store, [update(2), update(3)]) == 1
            assert (await store.claim(OUTBOX)).envelope.body == b"a"
            head = await store.claim(INBOX)
            assert (head.envelope.id, head.state) == (2, b"s")
        await store.close()
    finally:
        for server in servers:
            server.remove()


async def test_a_database_that_is_made_read_only_is_waited_for(open_it, sql, monkeypatch):
    store = await open_it()
    await append(store, [update(1)])
    writer = store._writer
    await quiet(store)  # it uses the connection, too
    await writer._connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-only"):
        await append(store, [update(2)])
    await until_held(store)
    assert await append(store, [update(2)]) == 1


async def test_values_that_postgres_cannot_store_fail_their_own_request_only(open_it):
    store = await open_it()
    await append(store, [update(1), update(2, "chat:2")])
    first, second = await store.claim(INBOX), await store.claim(INBOX)
    both = await asyncio.gather(
        store.commit(first, Effects(timers=(Timer("a\0b", 60.0),)), more=False),
        store.commit(second, Effects((Call("chat:2", b"a"),)), more=False),
        return_exceptions=True,
    )
    assert isinstance(both[0], asyncpg.PostgresError)
    assert both[1] is None
    assert not store._writer.suspect
    assert await store.commit(first, NOTHING, more=False) is None


@pytest.mark.parametrize(
    ("error", "is_doubt"),
    [
        (asyncpg.DiskFullError("no space"), False),
        (asyncpg.ProgramLimitExceededError("not accepting commands to avoid wraparound data loss"), False),
        (asyncpg.DeadlockDetectedError("deadlock"), False),
        (asyncpg.SerializationError("again"), False),
        (asyncpg.LockNotAvailableError("lock"), False),
        (asyncpg.QueryCanceledError("statement timeout"), False),
        (asyncpg.TooManyConnectionsError("too many"), False),
        (asyncpg.AdminShutdownError("shutdown"), True),
        (asyncpg.CannotConnectNowError("starting"), True),
        (asyncpg.PostgresIOError("disk"), True),
        (ConnectionResetError("reset"), True),
        (TimeoutError(), True),
        (asyncpg.InterfaceError("closed"), True),
    ],
)
async def test_failures_of_the_server_are_an_outage(open_it, monkeypatch, error, is_doubt):
    store = await open_it()
    writer = store._writer

    async def fail(*_):
        raise error

    with monkeypatch.context() as failing:
        failing.setattr(writer, "_transact", fail)
        with pytest.raises(StoreUnavailable):
            await append(store, [update(1)])
        assert (store._writer is not writer or writer.suspect) == is_doubt
    await until_held(store)
    assert await append(store, [update(1)]) == 1


async def test_tables_that_are_dropped_end_the_store(database, new_bot, sql):
    store = await open_postgres(database.url("dropped"), new_bot())
    await append(store, [update(1)])
    await freeze(store)  # else one of its statements and DROP SCHEMA may wait for each other's tables
    await sql.execute("DROP SCHEMA dropped CASCADE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    with pytest.raises(StoreError, match=r"cannot use postgres://127\.0\.0\.1.*does not exist"):
        await asyncio.wait_for(append(store, [update(2)]), WITHIN_S)
    await store.close()


async def test_a_caller_that_is_cut_off_does_not_cut_the_connection(open_it):
    store = await open_it()
    writer = store._writer
    for moment in range(12):
        asking = asyncio.create_task(append(store, [update(moment, f"chat:{moment}")]))
        for _ in range(moment):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await append(store, [update(moment, f"chat:{moment}")])
    assert store._writer is writer
    assert len(await drain_ids(store)) == 12


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_a_database_that_is_not_there_is_one_line(open_it, database):
    url = database.url().replace("chatlane@", "chatlane:secret@").replace("/postgres?", "/nothing?")
    with pytest.raises(StoreError, match='database "nothing" does not exist') as refused:
        await open_it(url=url)
    assert "secret" not in str(refused.value)


async def test_a_server_that_does_not_answer_is_one_line(open_it):
    with pytest.raises(StoreAwayError, match=r"postgres://127\.0\.0\.1:1/x cannot be reached"):
        await open_it(url="postgres://u:secret@127.0.0.1:1/x")


async def test_a_pooler_is_refused(open_it, monkeypatch):
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda _: 1)
    with pytest.raises(StoreError, match="is a pooler: connect to PostgreSQL itself"):
        await open_it()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_a_server_has_to_prove_its_name(new_bot, tmp_path):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate)
    subprocess.run([*make, *name], check=True, capture_output=True, timeout=WITHIN_S)
    server = Server(ssl="on", ssl_cert_file="certificate", ssl_key_file="key", files=(key, certificate))
    try:
        url = f"{server.url()}&sslmode=verify-full"
        with pytest.raises(StoreError, match="self-signed certificate"):
            await open_postgres(url.replace("127.0.0.1", "localhost"), new_bot())
        with pytest.raises(StoreError, match="not valid for"):
            await open_postgres(f"{url}&sslrootcert={certificate}", new_bot())
        store = await open_postgres(
            f"{url}&sslrootcert={certificate}".replace("127.0.0.1", "localhost"), new_bot()
        )
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        async with store._ledger._connections.reading() as connection:
            assert await connection.fetchval(query)
        await store.close()
    finally:
        server.remove()


async def test_another_format_is_refused(database, new_bot, sql):
    await (await open_postgres(database.url("newer"), new_bot())).close()
    await sql.execute("UPDATE newer.meta SET value = '99'")
    with pytest.raises(StoreError, match="comes from another Chatlane"):
        await open_postgres(database.url("newer"), new_bot())
    await sql.execute("DROP SCHEMA newer CASCADE")


async def test_two_that_create_the_tables_at_the_same_time_agree(database, new_bot, sql):
    stores = await asyncio.gather(*(open_postgres(database.url("both"), new_bot()) for _ in range(3)))
    for store in stores:
        assert await append(store, [update(1)]) == 1
        await store.close()
    await sql.execute('DROP SCHEMA "both" CASCADE')


async def test_a_closed_store_holds_no_connection_and_no_bot(open_it, sql, bot):
    store = await open_it()
    application = store._ledger._session.application
    await store.close()
    assert await sql.fetchval("SELECT id FROM chatlane.session WHERE bot = $1", int(bot)) is None
    await until_so(sql, NONE_NAMED, application)


async def test_a_store_that_is_closed_while_it_reads_anew_holds_no_connection_and_no_bot(
    open_it, sql, bot, closing
):
    for moment in (0.0, 0.01, 0.02, 0.05, 0.1):
        store = await open_it()
        application = store._ledger._session.application
        async with sql.transaction():
            await sql.execute("SELECT FROM chatlane.session WHERE bot = $1 FOR UPDATE", int(bot))
            store._writer.doubt(StoreUnavailable("simulated"))
            await asyncio.sleep(moment)
            await asyncio.wait_for(store.close(), WITHIN_S)
            assert store._recovery is None or store._recovery.done()
        await sql.execute("UPDATE chatlane.session SET until = clock_timestamp() WHERE bot = $1", int(bot))
        await until_so(sql, NONE_NAMED, application)
