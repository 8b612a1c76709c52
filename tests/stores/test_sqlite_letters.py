"""Bounds of the dead letters of a SQLite file, across openings."""

import sqlite3

import pytest

from engine import Envelope, Limits, Queue
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from tests.kit.statements import on_its_thread


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bot.db"


def update(id_, key="chat:1"):
    return Envelope(id_, key, "", b"x")


async def bury(store, *envelopes):
    for envelope in envelopes:
        await append(store, [envelope])
        await store.bury(await store.claim(Queue.INBOX), "no good")


async def ids(store):
    return [letter.envelope.id for letter in await store.dead_letters()]


async def test_the_bounds_are_exact_after_a_start(path):
    limits = Limits(dead_max=4, dead_per_lane_max=3)
    store = await open_sqlite(path, "1", limits=limits)
    await bury(store, update(1, "chat:2"), update(2), update(3), update(4))
    await store.close()
    store = await open_sqlite(path, "1", limits=limits)
    await bury(store, update(5))
    assert await ids(store) == [5, 4, 3, 1]
    await bury(store, update(6, "chat:3"))
    assert await ids(store) == [6, 5, 4, 1]
    await store.close()


async def test_a_start_with_smaller_bounds_drops_by_the_same_rule(path):
    store = await open_sqlite(path, "1")
    await bury(store, update(1, "chat:2"), *(update(id_) for id_ in range(2, 8)))
    await store.close()
    store = await open_sqlite(path, "1", limits=Limits(dead_per_lane_max=2))
    assert await ids(store) == [7, 6, 1]
    assert await store.overflow(Queue.INBOX) == (0, 4)
    await store.close()


async def test_a_number_is_not_given_again_after_the_last_letter_is_gone(path):
    store = await open_sqlite(path, "1")
    await bury(store, update(1), update(2))
    assert await store.replay(2)
    await store.close()
    store = await open_sqlite(path, "1", limits=Limits(dead_per_lane_max=1))
    await store.bury(await store.claim(Queue.INBOX), "again")
    await bury(store, update(3))
    assert [letter.number for letter in await store.dead_letters()] == [4]
    await store.close()


async def test_one_more_dead_letter_reads_none_of_the_others(path):
    """A statement that looks at all letters would show as steps of SQLite's machine, which are counted here."""

    async def cost(letters):
        file = path.with_name(f"{letters}.db")
        limits = Limits(dead_max=letters, dead_per_lane_max=letters)
        store = await open_sqlite(file, "1", limits=limits)
        await store.close()
        with sqlite3.connect(file) as connection:
            rows = ((f"chat:{n % 50}", b"x") for n in range(letters))
            connection.executemany(
                "INSERT INTO dead (queue, id, key, scope, body, attempts, reason, at) VALUES ('inbox', 1, ?, '', ?, 1, '', 0)",
                rows,
            )
        connection.close()
        store = await open_sqlite(file, "1", limits=limits)
        await append(store, [update(1)])
        delivery = await store.claim(Queue.INBOX)
        steps = 0

        def step():
            nonlocal steps
            steps += 1

        await on_its_thread(store, lambda connection: connection.set_progress_handler(step, 10))
        await store.bury(delivery, "no good")
        await on_its_thread(store, lambda connection: connection.set_progress_handler(None, 10))
        await store.close()
        return steps

    assert await cost(5_000) <= await cost(50) + 10
