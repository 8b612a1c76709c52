"""Ids of calls, timers and leases are given out once, whatever happens between two starts."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine import Call, Effects, Queue, StoreUnavailable, Timer
from engine.model import TIMER_IDS
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, NOTHING, OUTBOX, ready_now, update
from engine.stores.owned.ids import BLOCK
from engine.stores.sqlite import open_sqlite
from tests.kit.statements import statements_of
from tests.stores.test_stores import FORMAT_4

FAR = 2**28 + 5  # beyond what once was the room between one start and the next


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bot.db"


async def send(store: Any, id_: int, *bodies: bytes, timer: bytes = b"") -> None:
    """Handle an update of a lane of its own; the calls go to chat:1, the timer stays in the lane."""
    await append(store, [update(id_, f"chat:{id_}")])
    timers = (Timer("t", 1000.0, timer),) if timer else ()
    calls = tuple(Call("chat:1", body) for body in bodies)
    await store.commit(await store.claim(INBOX), Effects(calls, timers=timers), more=False)


async def sent(store: Any) -> list[bytes]:
    bodies = []
    while (delivery := await ready_now(store, OUTBOX)) is not None:
        bodies.append(delivery.envelope.body)
        await store.commit(delivery, NOTHING, more=False)
    return bodies


def rows(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_after_any_number_of_calls_and_timers_the_next_process_goes_on_behind_them(path):
    for start in range(3):
        store: Any = await open_sqlite(path, "1")
        store._call_ids._last += FAR
        store._timers._ids._last += FAR
        await send(store, start, b"%d" % start, timer=b"%d" % start)
        await store.close()
    assert rows(path, "SELECT body FROM timer ORDER BY place") == [(b"0",), (b"1",), (b"2",)]
    store = await open_sqlite(path, "1")
    assert await sent(store) == [b"0", b"1", b"2"]
    await store.close()


async def test_ids_are_not_used_again_although_nothing_of_them_is_left(path):
    ids = set()
    for start in range(3):
        store: Any = await open_sqlite(path, "1")
        await send(store, start, b"a")
        delivery = await store.claim(OUTBOX)
        ids.add(delivery.envelope.id)
        await store.commit(delivery, NOTHING, more=False)
        await store.close()
    assert len(ids) == 3


async def test_a_dead_call_keeps_its_id_for_itself(path):
    store: Any = await open_sqlite(path, "1")
    await send(store, 1, b"dead")
    await store.bury(await store.claim(OUTBOX), "403")
    await store.close()
    store = await open_sqlite(path, "1")
    await send(store, 2, b"later")
    assert await store.replay((await store.dead_letters())[0].number)
    assert await sent(store) == [b"dead", b"later"]
    await store.close()


async def test_the_ids_of_a_transaction_are_reserved_in_it_also_when_the_one_before_failed(path, monkeypatch):
    store: Any = await open_sqlite(path, "1")
    writer = store._writer
    transact = writer._transact

    def full(*_: Any, **__: Any) -> None:
        error = sqlite3.OperationalError("disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    await append(store, [update(1, "chat:1")])
    head = await store.claim(INBOX)
    effects = Effects((Call("chat:1", b"a"),), timers=(Timer("t", 1000.0),))
    monkeypatch.setattr(writer, "_transact", full)
    with pytest.raises(StoreUnavailable):
        await store.commit(head, effects, more=False)
    monkeypatch.setattr(writer, "_transact", transact)
    writer._is_scarce = False
    await store.commit(head, effects, more=False)
    in_use = rows(path, "SELECT max(place) FROM outbox UNION ALL SELECT max(place) FROM timer")
    reserved = rows(path, "SELECT value FROM meta WHERE name IN ('calls', 'timers') ORDER BY name")
    assert [place & ~TIMER_IDS for (place,) in in_use] <= [number for (number,) in reserved]
    await store.close()


async def test_ids_are_reserved_a_block_at_a_time(path):
    store: Any = await open_sqlite(path, "1")
    await send(store, 1, b"a")
    statements = await statements_of(store)
    for id_ in range(2, 12):
        await send(store, id_, *(b"x" for _ in range(BLOCK // 2)))
    assert sum("UPDATE meta" in statement for statement in statements) == 5
    await store.close()


@pytest.mark.parametrize("places", [[FAR, 7 * 2**28 + 3], [2**28 + 1], [2**40], []])
async def test_a_file_of_the_fourth_format_goes_on_behind_what_is_in_it(path, places):
    """Its ids began at the number of the start, times 2**28; after more calls than that they ran into the next ones."""
    store: Any = await open_sqlite(path, "1")
    await send(store, 1)
    await store.close()
    connection = sqlite3.connect(path)
    for place in places:
        connection.execute("INSERT INTO outbox VALUES (?, 'chat:1', '', ?, 0)", (place, b"%d" % place))
        timer = (TIMER_IDS + place, f"chat:{place}", "", "t", 1e12, b"%d" % place)
        connection.execute("INSERT INTO timer VALUES (?, ?, ?, ?, ?, ?)", timer)
    dead = max(places, default=0) + 1
    connection.execute(
        "INSERT INTO dead (queue, id, key, scope, body, attempts, reason, at) VALUES ('outbox', ?, 'chat:1', '', ?, 1, '', 0)",
        (dead, b"dead"),
    )
    connection.executescript(FORMAT_4)
    connection.close()
    store = await open_sqlite(path, "1")
    await send(store, 2, b"new", timer=b"new")
    assert await store.replay(1)
    assert await sent(store) == [*(b"%d" % place for place in sorted(places)), b"dead", b"new"]
    await store.close()
    timers = [body for (body,) in rows(path, "SELECT body FROM timer ORDER BY place")]
    assert timers == [*(b"%d" % place for place in sorted(places)), b"new"]


async def test_a_fence_is_never_issued_twice(path):
    """Also after 2**28 claims, and when the file is read anew while an old holder is still there."""
    fences = []
    for _ in range(2):
        store: Any = await open_sqlite(path, "1")
        await append(store, [update(1), update(2, "chat:2")])
        for read_anew in (False, True):
            if read_anew:
                store._writer.suspect = True
            for _ in range(2):
                delivery = await store.claim(Queue.INBOX)
                fences.append(delivery.lease.fence)
                await store.release(delivery)
                store._queues[INBOX].lanes._fence += 2**28
        await store.close()
    assert len(set(fences)) == len(fences) == 8
    assert fences == sorted(fences)
