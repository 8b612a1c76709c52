"""From which number on mail is read: nothing is left behind for good."""

from typing import Any

import asyncpg

from engine.store import Limits
from engine.stores.contract.store import OUTBOX
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import share_of
from engine.stores.postgres import open_postgres, window, writer
from engine.stores.postgres.statements import QUERIES
from engine.stores.postgres.window import Window
from tests.kit.standing import quiet
from tests.kit.waiting import until
from tests.stores.test_shares import CHATS, an_old_server, handled, kill, open_it, two

__all__ = ["an_old_server", "open_it"]
MAIL = """INSERT INTO chatlane.mail (bot, share, kind, key, scope, place, at, body)
    SELECT $1, no, 'call', $2, '', 0, 0, $3 FROM chatlane.share WHERE bot = $1 AND no = $4 RETURNING n"""


NONE: frozenset[str] = frozenset()


def passed(each: Window, latest: int, running: frozenset[str] = NONE) -> int:
    """Renew, read what there is, and return from where it is read now."""
    each.renewed(latest, running)
    start = each.start(everything=False)
    each.read(start, each.ended)
    return each.start(everything=False)


def test_mail_is_read_from_a_number_below_which_no_transaction_runs():
    each = Window()
    found = [
        passed(each, latest, frozenset(running))
        for latest, running in (
            (10, ""),
            (20, "ab"),
            (30, "bc"),
            (40, "c"),
            (50, "c"),
            (60, "cd"),
            (70, "de"),
        )
    ]
    assert found == [0, 0, 0, 0, 0, 0, 20]
    assert each.start(everything=True) == 0


def test_numbers_are_passed_only_by_a_reading_of_all_before_them():
    each = Window()
    for latest in (10, 10, 20, 20):
        each.renewed(latest, NONE)
    assert each.ended == 10
    assert each.start(everything=False) == 0
    each.read(0, 0)  # it had begun before
    assert each.start(everything=False) == 0
    each.read(0, each.ended)
    assert each.start(everything=False) == 10


def test_everything_is_read_at_first_and_now_and_then():
    each = Window()
    assert each.start(everything=False) == 0
    for _ in range(window._ALL_EVERY - 1):
        passed(each, 20)
    assert each.start(everything=False) == 20
    each.renewed(20, NONE)
    assert each.start(everything=False) == 0
    each.read(20, each.ended)  # one that had begun before
    assert each.start(everything=False) == 0
    each.read(0, each.ended)
    assert each.start(everything=False) == 20


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


async def test_a_portion_of_mail_that_its_bytes_have_ended_is_not_all(open_it, database, monkeypatch):
    monkeypatch.setattr(writer, "MAIL_BYTES_MAX", 10)
    store = await open_it()
    await quiet(store)
    store._writer._window._is_all_due = True
    connection = await asyncpg.connect(database.url().partition("?")[0])
    await connection.fetchval(MAIL, store._ledger._session.bot, "chat:1", bytes(10), share_of("chat:1"))
    await connection.close()
    rows = await store._writer._read_mail(QUERIES[Read.MAIL].format('"chatlane"'), 500, everything=False)
    assert len(rows) == 1
    assert store._writer._window._is_all_due


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
    await quiet(second)
    writing = await asyncpg.connect(database.url().partition("?")[0])
    key = next(key for key in CHATS if second._shares.owns(key))
    latest = await writing.fetchval(MAIL, first._ledger._session.bot, key, b"old", share_of(key))
    await writing.close()
    await until(lambda: first._writer._window.start(everything=False) >= latest)
    kill(second)
    assert [body for _, _, body in await handled(first, OUTBOX, 1)] == [b"old"]


async def test_a_reading_that_its_limit_cuts_off_passes_nothing(open_it, database, monkeypatch):
    monkeypatch.setattr("engine.stores.owned.mail._MAIL_MAX", 2)
    monkeypatch.setattr(window, "_ALL_EVERY", 1 << 60)
    store = await open_it()
    await quiet(store)
    writing = await asyncpg.connect(database.url().partition("?")[0])
    bot = store._ledger._session.bot
    keys = [f"chat:{number}" for number in range(7)]
    for key in keys:
        latest = await writing.fetchval(MAIL, bot, key, b"a call", share_of(key))
    await until(lambda: store._writer._window.ended >= latest)
    store._by_mail = False
    await store._file_mail()
    assert [key for key, _, _ in await handled(store, OUTBOX, 7)] == keys
    await writing.close()


async def test_a_post_for_which_there_is_no_room_is_a_dead_letter_however_late_it_is_read(open_it, database):
    store = await open_it(limits=Limits(lane_timers_max=1))
    await quiet(store)
    writing = await asyncpg.connect(database.url().partition("?")[0])
    bot, key = store._ledger._session.bot, "chat:1"
    for scope in ("one", "two"):
        post = MAIL.replace("'call', $2, ''", f"'post', $2, '{scope}'")
        latest = await writing.fetchval(post, bot, key, b"a post", share_of(key))
    await until(lambda: store._writer._window.ended >= latest)
    store._by_mail = False
    await store._file_mail()
    assert await writing.fetchval("SELECT count(*) FROM chatlane.mail WHERE bot = $1", bot) == 0
    assert [letter.reason for letter in await store.dead_letters()] == ["the lane has too many timers"]
    await writing.close()
