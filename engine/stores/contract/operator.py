"""What an operator does to lanes and dead letters while updates are handled."""

import asyncio
from typing import Any

import pytest

from engine import Call, Effects, Envelope, Queue, Timer
from engine.outcome import with_trace
from engine.stores.contract.appending import append
from engine.stores.contract.store import INBOX, NOTHING, OUTBOX, conserved, drain_ids, ready_now, update


async def buried(store: Any, *updates: Envelope, reason: str = "no good") -> None:
    await append(store, updates)
    for _ in updates:
        await store.bury(await store.claim(INBOX), reason)


async def not_claimed(store: Any, queue: Queue = INBOX) -> bool:
    """Return whether a claim waits, after everything else that runs."""
    claim = asyncio.create_task(store.claim(queue))
    await store.stats()
    await store.oldest()
    for _ in range(20):
        await asyncio.sleep(0)
    waits = not claim.done()
    claim.cancel()
    await asyncio.gather(claim, return_exceptions=True)
    return waits


class OperatorContract:
    """The part of `EffectsContract` about the operator; it has the fixtures."""

    # -- dead letters -----------------------------------------------------------------------------------------

    async def test_a_discarded_dead_letter_is_gone_and_its_number_is_not_used_again(self, store):
        await buried(store, update(1), update(2))
        second, first = await store.dead_letters()
        assert await store.dead_letter(first.number) == first
        assert await store.discard(second.number)
        assert not await store.discard(second.number)
        assert not await store.replay(second.number)
        assert await store.dead_letter(second.number) is None
        assert (await store.dead_letters(), await store.dead_count()) == ([first], 1)
        await buried(store, update(3))
        assert (await store.dead_letters())[0].number > second.number
        await conserved(store)

    @pytest.mark.parametrize("first", ["replay", "discard"])
    async def test_a_letter_is_replayed_or_discarded_but_not_both(self, store, first):
        await buried(store, update(1))
        (letter,) = await store.dead_letters()
        other = {"replay": "discard", "discard": "replay"}[first]
        done = await asyncio.gather(*(getattr(store, each)(letter.number) for each in (first, other)))
        assert done == [True, False]
        assert len(await drain_ids(store)) == (first == "replay")
        assert await store.dead_count() == 0

    async def test_dead_letters_are_listed_page_by_page(self, store):
        await buried(store, *(update(id_) for id_ in range(1, 6)))
        newest = await store.dead_letters(2)
        older = await store.dead_letters(2, newest[-1].number)
        assert [letter.envelope.id for letter in (*newest, *older)] == [5, 4, 3, 2]
        assert await store.dead_letters(2, 1) == []

    async def test_a_dead_letter_has_its_traceback_apart_from_its_reason(self, store):
        try:
            raise ValueError("boom")
        except ValueError as error:
            await buried(store, update(1), reason=with_trace("ValueError: boom", error))
        (letter,) = await store.dead_letters()
        assert letter.reason == "ValueError: boom"
        assert letter.trace.startswith("Traceback")
        assert 'raise ValueError("boom")' in letter.trace

    # -- holds ------------------------------------------------------------------------------------------------

    async def test_a_held_lane_is_not_claimed_and_others_are(self, store):
        await append(store, [update(1), update(2, "chat:2")])
        await store.hold(INBOX, "chat:1", "looked at")
        assert await drain_ids(store) == [("chat:2", 2)]
        view = await store.lane_view(INBOX, "chat:1")
        assert (view.status, view.depth, view.held, view.wait_s) == ("parked", 1, "looked at", 0.0)
        assert (await store.stats()).inbox.parked == 1
        assert await store.holds(INBOX) == {"chat:1": "looked at"}
        assert await store.unhold(INBOX, "chat:1")
        assert await store.holds(INBOX) == {}
        assert await drain_ids(store) == [("chat:1", 1)]
        await conserved(store)

    async def test_a_lane_can_be_held_before_anything_comes(self, store):
        await store.hold(INBOX, "chat:1", "x")
        await append(store, [update(1)])
        assert await ready_now(store) is None
        assert (await store.lane_view(INBOX, "chat:1")).status == "parked"
        assert await store.unhold(INBOX, "chat:1")
        assert await drain_ids(store) == [("chat:1", 1)]
        assert not await store.unhold(INBOX, "chat:1")

    async def test_a_running_delivery_of_a_held_lane_is_committed_and_the_next_one_waits(self, store):
        await append(store, [update(1), update(2)])
        delivery = await store.claim(INBOX)
        await store.hold(INBOX, "chat:1", "x")
        assert await store.commit(delivery, NOTHING, more=True) is None
        view = await store.lane_view(INBOX, "chat:1")
        assert (view.status, view.depth) == ("parked", 1)
        await store.unhold(INBOX, "chat:1")
        assert await drain_ids(store) == [("chat:1", 2)]

    async def test_a_lane_that_was_held_while_its_last_delivery_ran_stays_held(self, store):
        await append(store, [update(1)])
        delivery = await store.claim(INBOX)
        await store.hold(INBOX, "chat:1", "x")
        await store.commit(delivery, NOTHING, more=True)
        await append(store, [update(2)])
        assert await ready_now(store) is None

    async def test_a_failed_delivery_of_a_held_lane_keeps_its_attempts_and_is_not_ready_by_itself(
        self, store
    ):
        await append(store, [update(1)])
        delivery = await store.claim(INBOX)
        await store.hold(INBOX, "chat:1", "x")
        await store.park(delivery, 0.0, counted=True, reason="failed")
        assert await not_claimed(store)
        await store.unhold(INBOX, "chat:1")
        assert (await store.claim(INBOX)).attempt == 2

    async def test_a_released_lane_does_not_wait_for_the_end_of_its_pause(self, store):
        await append(store, [update(1)])
        await store.park(await store.claim(INBOX), 3600.0, counted=True, reason="failed")
        assert await store.unhold(INBOX, "chat:1")
        assert (await store.claim(INBOX)).attempt == 2
        assert not await store.unhold(INBOX, "chat:1")  # it is leased

    async def test_a_hold_ends_the_pause_of_a_parked_lane(self, store):
        await append(store, [update(1)])
        await store.park(await store.claim(INBOX), 0.01, counted=False, reason="waits")
        await store.hold(INBOX, "chat:1", "x")
        await asyncio.sleep(0.02)
        assert (await store.stats()).inbox.parked == 1

    async def test_a_queue_that_is_held_gives_no_lane_and_goes_on_where_it_was(self, store):
        await append(store, [update(1), update(2, "chat:2")])
        calls = (Call("chat:1", b"a"),)
        await store.commit(await store.claim(INBOX), Effects(calls=calls), more=False)
        await store.hold(OUTBOX, "", "paused")
        assert await not_claimed(store, OUTBOX)
        assert (await store.claim(INBOX)).envelope.id == 2
        waiting = [asyncio.create_task(store.claim(OUTBOX)) for _ in range(2)]
        await asyncio.sleep(0)
        await store.settled(OUTBOX)  # a stop does not wait for what is held
        assert await store.unhold(OUTBOX, "")
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().envelope.body for task in done] == [b"a"]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        assert not await store.unhold(OUTBOX, "")

    async def test_a_worker_does_not_keep_its_lane_in_a_held_queue(self, store):
        await append(store, [update(1), update(2)])
        delivery = await store.claim(INBOX)
        await store.hold(INBOX, "", "paused")
        assert await store.commit(delivery, NOTHING, more=True) is None
        assert await not_claimed(store)

    async def test_who_waits_until_all_is_settled_is_woken_by_a_hold(self, store):
        await append(store, [update(1)])
        settled = asyncio.create_task(store.settled(INBOX))
        await asyncio.sleep(0)
        assert not settled.done()
        await store.hold(INBOX, "chat:1", "x")
        await settled

    # -- what comes first -------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("by", "first"), [("age", ["a", "b"]), ("depth", ["c", "b"])])
    async def test_the_lanes_that_come_first_are_those_of_all(self, store, by, first):
        depths = {"a": 1, "b": 2, "c": 5, "d": 1}
        ids = iter(range(1, 100))
        updates = [update(next(ids), key)._replace(at=100.0) for key in depths]
        updates += [
            update(next(ids), key)._replace(at=200.0) for key, most in depths.items() for _ in range(most - 1)
        ]
        updates = [each._replace(at=100.0 + each.id) for each in updates]
        await append(store, updates)
        found = await store.lanes(INBOX, 2, by=by)
        assert [view.key for view in found] == first
        assert [view.depth for view in found] == [depths[key] for key in first]
        assert [view.at for view in found] == [100.0 + [*depths].index(key) + 1 for key in first]
        assert len(await store.lanes(INBOX, 100, by=by)) == 4
        assert await store.lanes(OUTBOX, 2, by=by) == []

    async def test_a_lane_of_a_timer_is_placed_by_its_time(self, store, clock):
        await append(store, [update(1, "old")._replace(at=clock.now - 5)])
        await append(store, [update(2, "new")._replace(at=clock.now + 5)])
        await append(store, [update(3, "chat:1")])
        held = [await store.claim(INBOX) for _ in range(3)]
        await store.commit(held[2], Effects(timers=(Timer("t", 0.0),)), more=False)
        found = await store.lanes(INBOX, 10, by="age")
        assert [view.key for view in found] == ["old", "chat:1", "new"]
        assert [view.key for view in await store.lanes(INBOX, 2, by="age")] == ["old", "chat:1"]
