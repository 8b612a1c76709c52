"""From which number on mail is read: nothing is left behind for good."""

from typing import Any

import asyncpg

from engine.stores.contract.store import OUTBOX
from engine.stores.owned.shares import share_of
from engine.stores.postgres import open_postgres, window
from engine.stores.postgres.window import Window
from tests.stores.test_shares import CHATS, an_old_server, closing, handled, kill, open_it, two, until

__all__ = ["an_old_server", "closing", "open_it"]
MAIL = """INSERT INTO chatlane.mail (bot, share, kind, key, scope, place, at, body)
    SELECT $1, no, 'call', $2, '', 0, 0, $3 FROM chatlane.share WHERE bot = $1 AND no = $4 RETURNING n"""


NONE: frozenset[str] = frozenset()


def test_mail_is_read_from_a_number_below_which_no_transaction_runs():
    each = Window()
    each.read(each.start(everything=False), is_all=True)
    starts = []
    for latest, running in ((10, ""), (20, "ab"), (30, "bc"), (40, "c"), (50, "c"), (60, "cd"), (70, "de")):
        each.renewed(latest, frozenset(running))
        each.read(0, is_all=True)
        starts.append(each.start(everything=False))
    assert starts == [0, 0, 0, 0, 0, 0, 20]
    assert each.start(everything=True) == 0


def test_everything_is_read_at_first_and_now_and_then_until_all_of_it_was():
    each = Window()
    for latest in (10, 10, 20, 20):
        each.renewed(latest, NONE)
    assert each.start(everything=False) == 0
    each.read(0, is_all=False)
    assert each.start(everything=False) == 0
    each.read(0, is_all=True)
    assert each.start(everything=False) == 10
    for _ in range(window._ALL_EVERY):
        each.renewed(30, NONE)
    each.read(30, is_all=True)
    assert each.start(everything=False) == 0


async def test_what_a_session_wrote_first_is_filed_first_though_its_commit_took_long(
    open_it, database, monkeypatch
):
    """As on a disk that hangs, or while a standby server is waited for."""
    monkeypatch.setattr(window, "_ALL_EVERY", 1 << 60)
    first, second = await two(open_it)
    key = next(key for key in CHATS if second._shares.owns(key))
    slow, quick = [await asyncpg.connect(database.url().partition("?")[0]) for _ in range(2)]
    await slow.execute("SET application_name = 'chatlane 1'")
    async with slow.transaction():
        await slow.fetchval("SELECT txid_current()")
        values = (first._ledger._session.bot, key, b"late", share_of(key))
        n = await slow.fetchval(MAIL, *values)
        renewed = []
        renew = second._ledger._session.renew

        async def counted(*args: Any) -> Any:
            renewed.append(1)
            return await renew(*args)

        monkeypatch.setattr(second._ledger._session, "renew", counted)
        await until(lambda: len(renewed) > 4)
        assert second._writer._window.start(everything=False) < n
    await quick.fetchval(MAIL, *values[:2], b"later", values[3])
    assert [body for _, _, body in await handled(second, OUTBOX, 2)] == [b"late", b"later"]
    for connection in (slow, quick):
        await connection.close()


async def test_the_first_mail_of_a_schema_is_read_in_its_order(database, new_bot):
    store = await open_postgres(database.url(f"first_{new_bot()}"), new_bot(), renew_every_s=0.01)
    await until(lambda: store._writer._window._renewals > 4)
    assert store._writer._window._from == store._writer._window._latest == 0
    await store.close()


async def test_mail_of_a_transaction_that_took_long_is_filed(open_it, database):
    store = await open_it()
    bot = store._ledger._session.bot
    slow = await asyncpg.connect(database.url().partition("?")[0])
    async with slow.transaction():
        n = await slow.fetchval(MAIL, bot, "chat:1", b"late", share_of("chat:1"))
        await until(lambda: store._writer._window.start(everything=False) >= n)
    assert [body for _, _, body in await handled(store, OUTBOX, 1)] == [b"late"]
    await slow.close()


async def test_mail_of_shares_that_are_taken_is_filed_however_old_it_is(open_it, database, monkeypatch):
    monkeypatch.setattr(window, "_ALL_EVERY", 1 << 60)
    monkeypatch.setattr("engine.stores.postgres.session._SILENT_S", 0.0)
    first, second = await two(open_it)
    second._sharing.cancel()
    writing = await asyncpg.connect(database.url().partition("?")[0])
    key = next(key for key in CHATS if second._shares.owns(key))
    latest = await writing.fetchval(MAIL, first._ledger._session.bot, key, b"old", share_of(key))
    await writing.close()
    await until(lambda: first._writer._window.start(everything=False) >= latest)
    kill(second)
    assert [body for _, _, body in await handled(first, OUTBOX, 1)] == [b"old"]
