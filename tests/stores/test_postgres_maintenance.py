"""What administrators do to a database and its roles while a bot runs, and clocks that are set."""

import asyncio
from typing import Any, Self

import asyncpg
import pytest

from engine import Call, Effects, StoreError, StoreUnavailable
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, update
from engine.stores.owned.shares import SHARES
from engine.stores.postgres import blocks, connection, keeper, session
from engine.stores.postgres.blocks import Blocks
from tests.kit.bounds import WITHIN_S
from tests.kit.standing import freeze, quiet
from tests.kit.waiting import insist, until


@pytest.fixture
async def role(database, closing):
    """A role that may make tables, and has no connection when it is dropped."""
    person = await asyncpg.connect(database.url().partition("?")[0])
    await person.execute("CREATE ROLE tenant LOGIN NOINHERIT; GRANT CREATE ON DATABASE postgres TO tenant")
    yield "tenant"
    await closing.aclose()
    await person.execute("DROP OWNED BY tenant; DROP ROLE tenant")
    await person.close()


@pytest.fixture(autouse=True)
def an_old_server(monkeypatch):
    """A server that has just started gives each session its time to come back."""
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("pg_postmaster_start_time()", "'-infinity'"))
    monkeypatch.setattr("engine.stores.postgres.ledger._LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("engine.stores.postgres.ledger.PostgresLedger.pause_max_s", 0.05)


def beats(store: Any) -> int:
    return int(store._ledger._session._beat)


async def until_renewed(store: Any, times: int = 2) -> None:
    """Wait for renewals that begin after this."""
    before = beats(store)
    await until(lambda: beats(store) > before + times)


# -- settings of roles -------------------------------------------------------------------------------------------------


async def test_settings_of_a_role_do_not_reach_the_connections(open_it, sql, role, database, monkeypatch):
    """A role with idle_session_timeout, as providers and administrators set it, ended them all the time (PeerDB, 4588)."""
    monkeypatch.setattr(connection, "_UNLIMITED", ["idle_in_transaction_session_timeout", "unknown_here"])
    await sql.execute("ALTER ROLE tenant SET idle_session_timeout = '1min'")
    await sql.execute("ALTER ROLE tenant SET client_min_messages = 'error'")
    store = await open_it(database.url("of_tenant", role))
    async with store.transaction() as tx:
        await tx.execute("SET client_min_messages = 'error'")
        within = tx._connection
    await freeze(store)
    for each in [*store._ledger._connections.made, within]:
        assert await each.fetchval("SHOW idle_session_timeout") == "0"
        assert await each.fetchval("SHOW client_min_messages") == "warning"
        assert await each.fetchval("SHOW idle_in_transaction_session_timeout") == "0"
    tx.abandon()


async def test_a_role_that_another_one_stands_for_commits_transactions_of_handlers(
    open_it, sql, role, database
):
    """ALTER ROLE ... SET role: tables belong to a role that all members of a team take (documentation, SET ROLE)."""
    await sql.execute("CREATE ROLE team; GRANT CREATE ON DATABASE postgres TO team; GRANT team TO tenant")
    await sql.execute("ALTER ROLE tenant SET role = 'team'")
    try:
        store = await open_it(database.url("of_team", role))
        await append(store, [update(1), update(2)])
        for _ in range(2):  # the second on the connection of the first
            head = await store.claim(INBOX)
            async with store.transaction() as tx:
                assert await tx.fetchval("SELECT current_user") == "team"
            await store.commit(head, Effects((), b"1", within=tx), more=False)
            await until(lambda: store._ledger.transactions._idle)
        await store.close()
    finally:
        await sql.execute(
            "DROP OWNED BY team; REVOKE team FROM tenant; ALTER ROLE tenant RESET ALL; DROP ROLE team"
        )


async def test_who_may_not_end_the_connections_of_a_process_that_stands_still_goes_on(
    open_it, sql, role, database
):
    """They belong to the role that has logged in, and pg_terminate_backend is asked by the one that stands for it."""
    await sql.execute("CREATE ROLE team; GRANT CREATE ON DATABASE postgres TO team; GRANT team TO tenant")
    await sql.execute("ALTER ROLE tenant SET role = 'team'")
    url = database.url("of_team", role)
    try:
        still, mine = await open_it(url), await open_it(url, renew_every_s=0.02)
        await freeze(still)
        await sql.execute(
            "UPDATE of_team.session SET until = until - interval '1 h' WHERE id = $1",
            still._ledger._session.id,
        )
        await until(lambda: len(mine._shares) == SHARES)
        await until_renewed(mine)
        assert not mine._writer.suspect
        await still.close()
        await mine.close()
    finally:
        await sql.execute(
            "DROP OWNED BY team; REVOKE team FROM tenant; ALTER ROLE tenant RESET ALL; DROP ROLE team"
        )


# -- what is closed for a while ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["ALTER ROLE tenant NOLOGIN", "ALTER ROLE tenant CONNECTION LIMIT 0"])
async def test_a_server_that_refuses_connections_for_a_while_is_waited_for(
    open_it, sql, role, database, closed
):
    """Before maintenance connections are refused, and those that are there are ended."""
    url = database.url("of_tenant", role)
    store = await open_it(url)
    await append(store, [update(1)])
    await sql.execute(closed)
    await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tenant'")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    with pytest.raises(StoreError):
        await open_it(url)
    await sql.execute("ALTER ROLE tenant LOGIN CONNECTION LIMIT -1")
    assert await insist(lambda: append(store, [update(3)])) == 1


async def test_a_renewal_that_is_cancelled_is_repeated(open_it, sql):
    """A lock on the table of sessions, as of VACUUM FULL, or pg_cancel_backend: what runs goes on."""
    store = await open_it(renew_every_s=0.02)
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    own = store._ledger._keeper._connection.get_server_pid()
    async with sql.transaction():
        await sql.execute("LOCK TABLE chatlane.session IN ACCESS EXCLUSIVE MODE")
        waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        async with asyncio.timeout(WITHIN_S):
            while not await sql.fetchval(waits, own):
                await asyncio.sleep(0.01)
                await sql.execute("SELECT pg_stat_clear_snapshot()")
        assert await sql.fetchval("SELECT pg_cancel_backend($1)", own)
    await until_renewed(store)
    await store.commit(head, Effects((Call("chat:1", b"a"),)), more=False)


async def test_bells_that_cannot_be_rung_end_nothing(open_it, monkeypatch):
    """The queue of notifications is full while any listener has an old transaction (documentation, NOTIFY; que, 229)."""
    store = await open_it(renew_every_s=0.02)
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    monkeypatch.setattr(keeper, "NOTIFY", "SELECT pg_notify($1, $2 || repeat('x', 2000000000))")
    store._ledger._ring(moved=True)
    await until_renewed(store)
    assert not store._ledger._keeper._rings
    await store.commit(head, Effects((Call("chat:1", b"a"),)), more=False)


async def test_ids_that_are_there_already_are_no_fault_of_who_uses_them(open_it, sql, bot):
    """A table was restored from another moment than the others: who commits waits, and others are reserved."""
    store = await open_it()
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    row = "INSERT INTO chatlane.outbox SELECT $2 + n, $1, 0, 'chat:9', '', '', 0 FROM generate_series(0, 2) AS n"
    await sql.execute(row, int(bot), store._call_ids._next)
    with pytest.raises(StoreUnavailable):
        await store.commit(head, Effects((Call("chat:1", b"a"),)), more=False)
    head = await insist(lambda: store.claim(INBOX))
    await store.commit(head, Effects((Call("chat:1", b"a"),)), more=False)
    assert await store.dead_count() == 0


class Refusing:
    """A connection on which no ids can be reserved, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def fetchval(self, *_: object) -> int:
        self.times -= 1
        if self.times >= 0:
            raise StoreUnavailable("no space left on the device")
        return 2000


async def test_a_reservation_of_ids_that_has_failed_is_made_again(monkeypatch):
    """Else no call could be sent any more once the reserved ones are used up."""
    monkeypatch.setitem(blocks.BLOCKS, "letters", 4)
    refusing = Refusing(2)
    reserved = Blocks("chatlane", 1, lambda: refusing)  # type: ignore[arg-type, return-value]
    span = reserved.spans["letters"]
    span.continue_with(1, 4)
    given = []
    for _ in range(20):
        try:
            given.append(span.next())
        except StoreUnavailable:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert given[:5] == [1, 2, 3, 4, 1997]


# -- clocks ------------------------------------------------------------------------------------------------------------


async def expire(sql: Any, store: Any, interval: str) -> None:
    await sql.execute(
        f"UPDATE chatlane.session SET until = clock_timestamp() + interval '{interval}' WHERE id = $1",
        store._ledger._session.id,
    )


async def is_there(sql: Any, store: Any) -> bool:
    found = "SELECT count(*) > 0 FROM chatlane.session WHERE id = $1"
    return bool(await sql.fetchval(found, store._ledger._session.id))


async def test_a_clock_of_the_database_that_is_set_forward_ends_no_session(open_it, sql, monkeypatch):
    """All sessions look expired until each is renewed: the first one must not take what the others have."""
    mine = await open_it(renew_every_s=0.02)
    other = await open_it(renew_every_s=3600.0)  # its next renewal is still to come
    await until_renewed(mine)
    ahead = session._RENEW.replace(
        "epoch FROM clock_timestamp()", "epoch FROM clock_timestamp() + interval '1 h'"
    )
    assert ahead != session._RENEW
    monkeypatch.setattr(session, "_RENEW", ahead)
    before = mine._ledger._keeper._reaps_from
    await until(lambda: mine._ledger._keeper._reaps_from > before)
    await expire(sql, other, "-1 h")
    await until_renewed(mine, 5)
    assert await is_there(sql, other)


async def test_a_clock_of_the_database_that_is_set_back_keeps_no_dead_session(open_it, sql, monkeypatch):
    """A machine whose clock was wrong when it started: the server, and sessions, began in the future."""
    of_now = session._REAP.replace("'-infinity'", "clock_timestamp() + interval '1 h'")
    monkeypatch.setattr(session, "_REAP", of_now)
    dead = await open_it(renew_every_s=None)
    await quiet(dead)
    await expire(sql, dead, "1 h")
    mine = await open_it(renew_every_s=0.02, ttl_s=0.5)
    await until(lambda: len(mine._shares) == SHARES)
    assert not await is_there(sql, dead)
