"""What an operator holds, in a file that is opened again."""

import time
from typing import Any

import pytest

from engine.stores.contract import append
from engine.stores.contract.store import INBOX, OUTBOX, drain_ids, ready_now, update
from engine.stores.owned.shares import HOLD
from engine.stores.sqlite import open_sqlite


@pytest.fixture
async def reopened(tmp_path):
    """Close the store that is open, and open the file again."""
    opened: list[Any] = []

    async def again():
        if opened:
            await opened.pop().close()
        opened.append(await open_sqlite(tmp_path / "x.db", "1", wall=time.time))
        return opened[0]

    yield again
    for store in opened:
        await store.close()


async def test_a_hold_survives_a_new_start(reopened):
    store = await reopened()
    await append(store, [update(1), update(2, "chat:2")])
    await store.hold(INBOX, "chat:1", "why")
    await store.hold(INBOX, "chat:9", "nothing there yet")
    await store.hold(OUTBOX, "", "paused")
    store = await reopened()
    assert await store.holds(INBOX) == {"chat:1": "why", "chat:9": "nothing there yet"}
    assert await store.holds(OUTBOX) == {"": "paused"}
    await append(store, [update(3, "chat:9")])
    assert await drain_ids(store) == [("chat:2", 2)]
    for key in ("chat:1", "chat:9"):
        assert await store.unhold(INBOX, key)
    assert await store.unhold(OUTBOX, "")
    store = await reopened()
    assert (await store.holds(INBOX), await store.holds(OUTBOX)) == ({}, {})
    assert await drain_ids(store) == [("chat:1", 1), ("chat:9", 3)]


async def test_a_failure_is_remembered_by_a_held_lane_over_a_new_start(reopened):
    store = await reopened()
    await append(store, [update(1)])
    await store.park(await store.claim(INBOX), 3600.0, counted=True, reason="failed")
    await store.hold(INBOX, "chat:1", "why")
    store = await reopened()
    view = await store.lane_view(INBOX, "chat:1")
    assert (view.status, view.attempts, view.wait_s, view.held) == ("parked", 1, 0.0, "why")
    assert (await store.stats()).inbox.parked == 1
    assert await store.unhold(INBOX, "chat:1")
    store = await reopened()  # released before the new start, so it is ready after it
    while (await store.stats()).inbox.parked:
        await store.oldest()
    assert (await ready_now(store)).attempt == 2


async def test_the_release_of_a_pause_counts_at_the_next_start(reopened):
    store = await reopened()
    await append(store, [update(1)])
    await store.park(await store.claim(INBOX), 3600.0, counted=True, reason="failed")
    assert await store.unhold(INBOX, "chat:1")
    store = await reopened()
    while (await store.stats()).inbox.parked:
        await store.oldest()
    assert (await ready_now(store)).attempt == 2


async def test_no_lane_has_a_key_of_a_hold(reopened, tmp_path):
    """A version that knows no holds ignores their rows: it has no lane of that key."""
    store = await reopened()
    await store.hold(INBOX, "chat:1", "why")
    assert await store.lane_view(INBOX, f"{HOLD}chat:1") is None
    assert await store.lanes(INBOX) == []
