"""What every store must do, and what it must refuse."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import (
    KEEP,
    Call,
    Delivery,
    Effects,
    Envelope,
    Lease,
    LeaseLost,
    Limits,
    Queue,
    RightLost,
    Timer,
)
from engine.stores.contract.appending import append

INBOX, OUTBOX = Queue.INBOX, Queue.OUTBOX
NOTHING = Effects()
WITHIN_S = 60.0
"""Bounds what takes milliseconds, also on a busy machine."""

Open = Callable[..., Awaitable[Any]]


def update(id_: int, key: str = "chat:1", scope: str = "7", body: bytes | None = None) -> Envelope:
    return Envelope(id_, key, scope, body if body is not None else f"body of {id_}".encode())


async def ready_now(store: Any, queue: Queue = INBOX) -> Delivery | None:
    """Claim, if something is ready; stores that look into a file get their time."""
    stats = (await store.stats()).of(queue)
    return await store.claim(queue) if stats.ready else None


async def drain_ids(store: Any, queue: Queue = INBOX) -> list[tuple[str, int]]:
    """Commit everything that is ready; return key and id of each, in that order."""
    seen = []
    while (delivery := await ready_now(store, queue)) is not None:
        seen.append((delivery.envelope.key, delivery.envelope.id))
        await store.commit(delivery, NOTHING, more=False)
    return seen


async def conserved(store: Any) -> None:
    for numbers in await store.stats():
        assert numbers.appended == numbers.committed + numbers.pending + numbers.dead


class StoreContract:
    """Inherit, and give a fixture `open_store`: an async function (limits=, wall=) -> a new, empty store."""

    @pytest.fixture
    async def store(self, open_store: Open) -> Any:
        return await open_store()

    # -- append ----------------------------------------------------------------------------------------------

    async def test_what_was_appended_comes_back_as_it_was(self, store):
        odd = update(5, "chat:-100", "", b'\xff\x00{"update_id":5}')
        assert await append(store, [odd]) == 1
        delivery = await store.claim(INBOX)
        assert delivery.envelope == odd
        assert (delivery.attempt, delivery.state) == (1, None)

    async def test_ids_seen_before_are_ignored_pending_or_committed_or_dead(self, store):
        assert await append(store, [update(1), update(2), update(1)]) == 2
        assert await append(store, [update(2), update(3)]) == 1
        await store.commit(await store.claim(INBOX), NOTHING, more=False)
        await store.bury(await store.claim(INBOX), "bad")
        assert await append(store, [update(1), update(2), update(3)]) == 0
        assert await drain_ids(store) == [("chat:1", 3)]

    async def test_an_empty_batch_is_nothing(self, store):
        assert await append(store, []) == 0

    async def test_a_lane_is_ordered_by_id_also_for_late_arrivals(self, store):
        await append(store, [update(10), update(13)])
        await append(store, [update(12)])
        await append(store, [update(11)])
        assert [id_ for _, id_ in await drain_ids(store)] == [10, 11, 12, 13]

    async def test_a_late_arrival_does_not_displace_the_head_in_flight(self, store):
        await append(store, [update(10), update(12)])
        delivery = await store.claim(INBOX)
        await append(store, [update(9)])
        following = await store.commit(delivery, NOTHING, more=True)
        assert following.envelope.id == 9

    async def test_after_a_restart_of_the_numbering_new_updates_stand_behind_old_ones(self, store):
        await append(store, [update(900_000_000), update(900_000_001)])
        await append(store, [update(17), update(18)])
        await append(store, [update(19)])
        assert [id_ for _, id_ in await drain_ids(store)] == [900_000_000, 900_000_001, 17, 18, 19]

    async def test_a_restart_of_the_numbering_to_higher_ids_needs_nothing(self, store):
        await append(store, [update(17)])
        await append(store, [update(2_000_000_000)])
        assert [id_ for _, id_ in await drain_ids(store)] == [17, 2_000_000_000]

    async def test_a_full_lane_sends_the_newest_to_the_dead_letters_and_others_go_on(self, open_store):
        store = await open_store(limits=Limits(lane_depth_max=2))
        await append(store, [update(1), update(2), update(3), update(4, "chat:2")])
        assert [(letter.envelope.id, letter.reason) for letter in await store.dead_letters()] == [
            (3, "lane full")
        ]
        assert sorted(id_ for _, id_ in await drain_ids(store)) == [1, 2, 4]
        await conserved(store)

    # -- the right to append ---------------------------------------------------------------------------------

    async def test_a_session_keeps_its_right_until_it_resigns_and_each_grant_has_a_new_epoch(self, store):
        first = await store.right()
        assert await store.right() == first
        await store.resign(first)
        second = await store.right()
        assert second != first
        await store.resign(first)  # of long ago: nothing happens
        assert await store.append(second, [update(1)]) == 1

    async def test_an_append_without_the_right_is_refused_and_changes_nothing(self, store):
        right = await store.right()
        await store.resign(right)
        for stale in (right, right._replace(epoch=right.epoch + 1)):
            with pytest.raises(RightLost):
                await store.append(stale, [update(1, "chat:new")], [("chat:new", "chat:old")])
        await store.resign(right)
        with pytest.raises(RightLost):
            await store.append(right, [update(1)])
        assert await append(store, [update(1, "chat:new")]) == 1
        assert await drain_ids(store) == [("chat:new", 1)]

    async def test_aliases_come_before_the_batch_in_the_same_step(self, store):
        batch = [update(1, "chat:new"), update(2, "chat:old"), update(3, "chat:newer")]
        assert await append(store, batch, [("chat:new", "chat:old"), ("chat:newer", "chat:new")]) == 3
        assert await drain_ids(store) == [("chat:old", 1), ("chat:old", 2), ("chat:old", 3)]

    async def test_aliases_are_kept_although_the_ids_were_seen_before(self, store):
        await append(store, [update(1)])
        assert await append(store, [update(1)], [("chat:new", "chat:old")]) == 0
        await append(store, [update(2, "chat:new")])
        assert await drain_ids(store) == [("chat:1", 1), ("chat:old", 2)]

    # -- watch -----------------------------------------------------------------------------------------------

    async def test_a_watcher_gets_what_is_new_with_its_lane_before_the_append_returns(self, store):
        got: list[tuple[int, str]] = []
        store.watch(INBOX, print, lambda batch: got.extend((each.id, each.key) for each in batch))
        await append(store, [], [("chat:new", "chat:old")])
        await append(store, [update(1, "chat:new"), update(2, "chat:2")])
        assert got == [(1, "chat:old"), (2, "chat:2")]
        await append(store, [update(2, "chat:2"), update(3, "chat:3")])
        assert got[2:] == [(3, "chat:3")]

    async def test_a_watcher_is_not_called_without_a_new_update_and_gets_one_for_a_full_lane(
        self, open_store
    ):
        store = await open_store(limits=Limits(lane_depth_max=1))
        batches: list[list[int]] = []
        store.watch(INBOX, print, lambda batch: batches.append([each.id for each in batch]))
        await append(store, [update(1)])
        await append(store, [update(1)])
        await append(store, [update(2)])
        assert batches == [[1], [2]]

    async def test_a_watcher_of_the_outbox_gets_no_updates_and_replaces_no_other(self, store):
        got: list[str] = []
        store.watch(INBOX, print, lambda _: got.append("inbox"))
        store.watch(OUTBOX, print, lambda _: got.append("outbox"))
        await append(store, [update(1)])
        assert got == ["inbox"]

    async def test_a_later_watcher_replaces_an_earlier_one(self, store):
        first: list[Envelope] = []
        second: list[Envelope] = []
        store.watch(INBOX, print, first.extend)
        store.watch(INBOX, print, second.extend)
        await append(store, [update(1)])
        assert (len(first), len(second)) == (0, 1)

    # -- alias -----------------------------------------------------------------------------------------------

    async def test_what_comes_for_an_alias_goes_on_in_the_lane_with_its_order_and_its_state(self, store):
        await append(store, [update(1, "chat:old"), update(2, "chat:old")])
        first = await store.claim(INBOX)
        await append(store, [], [("chat:new", "chat:old")])
        await append(store, [update(3, "chat:new"), update(4, "chat:old"), update(5, "chat:new")])
        assert await ready_now(store) is None  # one lane, and it is leased
        second = await store.commit(first, Effects(state=b"old"), more=True)
        third = await store.commit(second, NOTHING, more=True)
        assert (third.envelope, third.state) == (update(3, "chat:old"), b"old")
        await store.commit(third, Effects(state=b"new"), more=False)
        fourth = await store.claim(INBOX)
        assert (fourth.envelope, fourth.state) == (update(4, "chat:old"), b"new")
        await store.commit(fourth, NOTHING, more=False)
        assert await drain_ids(store) == [("chat:old", 5)]
        await conserved(store)

    async def test_calls_for_an_alias_stand_behind_those_of_the_lane(self, store):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        second = await store.commit(first, Effects((Call("chat:old", b"1"),)), more=True)
        await append(store, [], [("chat:new", "chat:old")])
        await store.commit(second, Effects((Call("chat:new", b"2"), Call("chat:old", b"3"))), more=False)
        sent = await store.claim(OUTBOX)
        bodies = []
        while sent is not None:
            bodies.append((sent.envelope.key, sent.envelope.body))
            sent = await store.commit(sent, NOTHING, more=True)
        assert bodies == [("chat:old", b"1"), ("chat:old", b"2"), ("chat:old", b"3")]
        assert await ready_now(store, OUTBOX) is None

    async def test_the_first_alias_of_a_name_stays_and_one_of_an_alias_leads_to_its_lane(self, store):
        await append(store, [], [("b", "a")])
        await append(store, [], [("b", "x")])
        await append(store, [], [("c", "b")])
        for key in ("x", "b", "a"):
            await append(store, [], [("a", key)])  # others lead to it: it stays a lane
        await append(store, [update(1, "b"), update(2, "c"), update(3, "a"), update(4, "x")])
        assert sorted(await drain_ids(store)) == [("a", 1), ("a", 2), ("a", 3), ("x", 4)]

    async def test_what_a_name_has_stays_there_when_it_becomes_an_alias(self, store):
        await append(store, [update(1, "chat:new")])
        await append(store, [], [("chat:new", "chat:old")])
        assert await append(store, [update(2, "chat:new"), update(1, "chat:new")]) == 1
        assert await drain_ids(store) == [("chat:new", 1), ("chat:old", 2)]
        await conserved(store)

    async def test_a_lane_is_full_whatever_name_its_updates_come_by(self, open_store):
        store = await open_store(limits=Limits(lane_depth_max=2))
        await append(store, [], [("chat:new", "chat:old")])
        await append(store, [update(1, "chat:old"), update(2, "chat:new"), update(3, "chat:new")])
        assert [letter.envelope for letter in await store.dead_letters()] == [update(3, "chat:old")]

    # -- claim -----------------------------------------------------------------------------------------------

    async def test_a_lane_is_leased_to_one_holder_at_a_time(self, store):
        await append(store, [update(1), update(2)])
        await store.claim(INBOX)
        assert await ready_now(store) is None

    async def test_lanes_are_claimed_in_the_order_in_which_they_became_ready(self, store):
        await append(
            store, [update(1, "chat:1"), update(2, "chat:2"), update(3, "chat:1"), update(4, "chat:3")]
        )
        first = await store.claim(INBOX)
        await store.commit(first, NOTHING, more=False)  # chat:1 has more, and goes behind the others
        assert [key for key, _ in await drain_ids(store)] == ["chat:2", "chat:3", "chat:1"]

    async def test_each_claim_of_a_lane_has_a_higher_fence(self, store):
        await append(store, [update(1), update(2), update(3)])
        first = await store.claim(INBOX)
        await store.release(first)
        second = await store.claim(INBOX)
        await store.commit(second, NOTHING, more=False)
        third = await store.claim(INBOX)
        assert first.lease.fence < second.lease.fence < third.lease.fence

    async def test_a_waiting_claim_gets_a_lane_as_soon_as_there_is_one(self, store):
        waiting = asyncio.create_task(store.claim(INBOX))
        await store.stats()
        assert not waiting.done()
        await append(store, [update(1)])
        assert (await waiting).envelope.id == 1

    async def test_a_cancelled_claim_leaves_no_lease_and_loses_no_wake_up(self, store):
        """Cancel at every moment of a claim: another claim gets the lane each time."""
        for moment in range(8):
            first = asyncio.create_task(store.claim(INBOX))
            second = asyncio.create_task(store.claim(INBOX))
            await asyncio.sleep(0)
            await append(store, [update(moment, f"chat:{moment}")])
            for _ in range(moment):
                await asyncio.sleep(0)
            first.cancel()
            got_by_first = (await asyncio.gather(first, return_exceptions=True))[0]
            if isinstance(got_by_first, Delivery):  # it was too late to cancel
                second.cancel()
                await asyncio.gather(second, return_exceptions=True)
                delivery = got_by_first
            else:
                delivery = await asyncio.wait_for(second, WITHIN_S)
            assert delivery.envelope.id == moment
            await store.commit(delivery, NOTHING, more=False)

    # -- commit ----------------------------------------------------------------------------------------------

    async def test_commit_acks_the_head_and_keeps_the_lane_if_there_is_more(self, store):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        second = await store.commit(first, NOTHING, more=True)
        assert (second.envelope.id, second.lease) == (2, first.lease)
        assert await store.commit(second, NOTHING, more=True) is None
        assert (await store.stats()).inbox[3:] == (0, 0, 0, 0)

    async def test_commit_without_more_lets_the_lane_go(self, store):
        await append(store, [update(1), update(2)])
        assert await store.commit(await store.claim(INBOX), NOTHING, more=False) is None
        assert (await store.claim(INBOX)).envelope.id == 2

    async def test_state_rides_with_the_delivery(self, store):
        await append(store, [update(id_) for id_ in range(1, 6)])
        delivery = await store.claim(INBOX)
        delivery = await store.commit(delivery, Effects(state=b"one"), more=True)
        assert delivery.state == b"one"
        delivery = await store.commit(delivery, Effects(state=KEEP), more=True)
        assert delivery.state == b"one"
        await store.commit(delivery, Effects(state=b""), more=False)
        delivery = await store.claim(INBOX)
        assert delivery.state == b""
        delivery = await store.commit(delivery, Effects(state=None), more=True)
        assert delivery.state is None

    async def test_state_belongs_to_key_and_scope(self, store):
        await append(
            store,
            [update(1, scope="7"), update(2, scope="8"), update(3, scope="7"), update(4, "chat:2", "7")],
        )
        delivery = await store.claim(INBOX)
        delivery = await store.commit(delivery, Effects(state=b"of 7"), more=True)
        assert delivery.state is None
        delivery = await store.commit(delivery, Effects(state=b"of 8"), more=True)
        assert delivery.state == b"of 7"
        assert (await store.claim(INBOX)).state is None

    async def test_calls_of_commits_come_out_of_the_outbox_in_order(self, store):
        await append(store, [update(1), update(2)])
        first = Effects(calls=(Call("chat:1", b"a"), Call("chat:2", b"b"), Call("chat:1", b"c")))
        delivery = await store.commit(await store.claim(INBOX), first, more=True)
        await store.commit(delivery, Effects(calls=(Call("chat:1", b"d"),)), more=True)
        got: dict[str, list[bytes]] = {}
        while (delivery := await ready_now(store, OUTBOX)) is not None:
            got.setdefault(delivery.envelope.key, []).append(delivery.envelope.body)
            await store.commit(delivery, NOTHING, more=False)
        assert got == {"chat:1": [b"a", b"c", b"d"], "chat:2": [b"b"]}
        await conserved(store)

    async def test_a_commit_wakes_a_sender_that_waits(self, store):
        waiting = asyncio.create_task(store.claim(OUTBOX))
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), Effects(calls=(Call("chat:1", b"a"),)), more=True)
        assert (await waiting).envelope.body == b"a"

    async def test_a_repeated_commit_changes_nothing_and_keeps_the_lane_it_kept(self, store):
        await append(store, [update(1), update(2)])
        effects = Effects(calls=(Call("chat:1", b"a"),), state=b"s")
        first = await store.claim(INBOX)
        second = await store.commit(first, effects, more=True)
        assert await store.commit(first, effects, more=True) == second
        stats = await store.stats()
        assert (stats.inbox.committed, stats.outbox.appended) == (1, 1)

    async def test_a_repeated_commit_does_not_take_back_a_lane_that_was_let_go(self, store):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        await store.commit(first, Effects(calls=(Call("chat:1", b"a"),)), more=False)
        with pytest.raises(LeaseLost):
            await store.commit(first, Effects(calls=(Call("chat:1", b"a"),)), more=False)
        stats = await store.stats()
        assert (stats.inbox.committed, stats.inbox.ready, stats.outbox.appended) == (1, 1, 1)

    async def test_a_commit_whose_caller_was_cut_off_happens_once(self, store):
        """The caller is cancelled in the middle and asks again: whatever had happened, it happened once."""
        for moment in range(6):
            key = f"chat:{moment}"
            await append(store, [update(10 * moment, key), update(10 * moment + 1, key)])
            first = await store.claim(INBOX)
            effects = Effects(calls=(Call(key, b"a"),))
            asking = asyncio.create_task(store.commit(first, effects, more=True))
            for _ in range(moment):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            try:
                second = await store.commit(first, effects, more=True)
            except LeaseLost:  # cut off while the next head was read: the lane was let go
                second = await store.claim(INBOX)
            assert second.envelope.id == 10 * moment + 1
            stats = await store.stats()
            assert (stats.inbox.committed, stats.outbox.appended) == (2 * moment + 1, moment + 1)
            await store.commit(second, NOTHING, more=True)

    async def test_a_caller_that_was_cut_off_does_not_get_back_the_lane_that_it_let_go(self, store):
        for moment in range(6):
            await append(store, [update(10 * moment), update(10 * moment + 1)])
            first = await store.claim(INBOX)
            asking = asyncio.create_task(store.commit(first, NOTHING, more=False))
            for _ in range(moment):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            with suppress(LeaseLost):  # if it was done already
                assert await store.commit(first, NOTHING, more=False) is None
            second = await store.claim(INBOX)
            assert second.envelope.id == 10 * moment + 1
            await store.commit(second, NOTHING, more=False)

    # -- park, bury, release ---------------------------------------------------------------------------------

    async def test_a_parked_lane_comes_back_with_its_head_and_its_attempts(self, store):
        await append(store, [update(1), update(2)])
        await store.park(await store.claim(INBOX), 0.0, counted=True, reason="x")
        second = await store.claim(INBOX)
        assert (second.envelope.id, second.attempt) == (1, 2)
        await store.park(second, 0.0, counted=False, reason="y")
        third = await store.claim(INBOX)
        assert (third.envelope.id, third.attempt) == (1, 2)
        fourth = await store.commit(third, NOTHING, more=True)
        assert (fourth.envelope.id, fourth.attempt) == (2, 1)

    async def test_a_parked_lane_is_left_alone_and_delays_no_other(self, store):
        await append(store, [update(1), update(2, "chat:2")])
        loop = asyncio.get_running_loop()
        began = loop.time()
        await store.park(await store.claim(INBOX), 3600, counted=True, reason="x")
        await append(store, [update(3), update(4, "chat:3")])
        assert sorted(await drain_ids(store)) == [("chat:2", 2), ("chat:3", 4)]
        (view,) = await store.lanes(INBOX)
        assert (view.key, view.status, view.depth, view.attempts, view.reason) == (
            "chat:1",
            "parked",
            2,
            1,
            "x",
        )
        assert 3599.9 - (loop.time() - began) < view.wait_s <= 3600

    async def test_a_late_arrival_does_not_inherit_the_attempts_of_the_head(self, store):
        await append(store, [update(10)])
        await store.park(await store.claim(INBOX), 0.0, counted=True, reason="x")
        await append(store, [update(9)])
        second = await store.claim(INBOX)
        assert (second.envelope.id, second.attempt) == (10, 2)

    async def test_a_buried_head_is_kept_with_its_reason_and_the_lane_goes_on(self, store):
        await append(store, [update(1), update(2)])
        await store.bury(await store.claim(INBOX), "no good")
        (letter,) = await store.dead_letters()
        assert letter[1:5] == (INBOX, update(1), 1, "no good")
        assert (await store.claim(INBOX)).envelope.id == 2
        await conserved(store)

    async def test_dead_letters_are_bounded_and_the_newest_stay(self, open_store):
        store = await open_store(limits=Limits(dead_max=3))
        await append(store, [update(id_) for id_ in range(1, 6)])
        for _ in range(5):
            await store.bury(await store.claim(INBOX), "no good")
        assert [letter.envelope.id for letter in await store.dead_letters()] == [5, 4, 3]
        assert [letter.envelope.id for letter in await store.dead_letters(limit=1)] == [5]

    async def test_a_replayed_dead_letter_is_first_in_its_lane(self, store):
        await append(store, [update(1), update(2)])
        await store.bury(await store.claim(INBOX), "no good")
        (letter,) = await store.dead_letters()
        assert await store.replay(letter.number)
        assert not await store.replay(letter.number)
        assert [id_ for _, id_ in await drain_ids(store)] == [1, 2]
        assert await store.dead_letters() == []

    async def test_a_dead_letter_of_long_ago_is_replayed_first_too(self, store):
        await append(store, [update(2_000_000)])
        await store.bury(await store.claim(INBOX), "no good")
        await append(store, [update(5_000_001)])
        assert await store.replay((await store.dead_letters())[0].number)
        assert [id_ for _, id_ in await drain_ids(store)] == [2_000_000, 5_000_001]

    async def test_a_dead_call_is_replayed_into_the_outbox(self, store):
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), Effects(calls=(Call("chat:9", b"a"),)), more=False)
        await store.bury(await store.claim(OUTBOX), "403")
        assert await store.replay((await store.dead_letters())[0].number)
        delivery = await store.claim(OUTBOX)
        assert (delivery.envelope.key, delivery.envelope.body) == ("chat:9", b"a")

    async def test_a_released_lane_is_ready_untouched(self, store):
        await append(store, [update(1)])
        await store.release(await store.claim(INBOX))
        second = await store.claim(INBOX)
        assert (second.envelope.id, second.attempt) == (1, 1)

    @pytest.mark.parametrize("counted", [True, False])
    async def test_a_delivery_says_whether_its_head_was_begun_before(self, store, counted):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        assert not first.begun
        await store.park(first, 0.0, counted=counted, reason="")
        again = await store.claim(INBOX)
        assert again.begun
        following = await store.commit(again, Effects(), more=True)
        assert (following.envelope.id, following.begun) == (2, False)

    async def test_when_a_replayed_update_arrived_is_unknown(self, store):
        await append(store, [update(1)._replace(at=1000.0)])
        await store.bury(await store.claim(INBOX), "bad")
        (letter,) = await store.dead_letters()
        assert await store.replay(letter.number)
        assert (await store.claim(INBOX)).envelope.at == 0.0

    # -- room, and what is settled ---------------------------------------------------------------------------

    async def test_room_is_what_may_still_be_pending(self, store):
        assert await store.room(3) == 3
        await append(store, [update(1), update(2), update(3, "chat:2")])
        await store.park(await store.claim(INBOX), 3600, counted=True, reason="x")
        assert (await store.room(3), await store.room(2)) == (0, -1)
        await store.bury(await store.claim(INBOX), "x")
        assert await store.room(3) == 1

    async def test_a_sessions_own_counts_are_there_at_once(self, store):
        await append(store, [update(1), update(2, "chat:2"), update(3, "chat:3"), update(4, "chat:4")])
        await store.claim(INBOX)
        await store.park(await store.claim(INBOX), 3600, counted=True, reason="x")
        await store.bury(await store.claim(INBOX), "x")
        assert store.mine(INBOX) == (4, 0, 1, 3, 1, 1, 1) == (await store.stats()).inbox
        assert store.mine(OUTBOX) == (0, 0, 0, 0, 0, 0, 0)

    @pytest.mark.parametrize("how", ["commit", "park for long", "bury"])
    async def test_a_queue_is_settled_when_nothing_of_it_is_ready_or_leased(self, store, how):
        await asyncio.wait_for(store.settled(INBOX), WITHIN_S)
        await append(store, [update(1), update(2, "chat:2")])
        settled = asyncio.create_task(store.settled(INBOX))
        await store.commit(await store.claim(INBOX), Effects(calls=(Call("chat:1", b"a"),)), more=False)
        last = await store.claim(INBOX)
        await store.stats()
        await asyncio.sleep(0)
        assert not settled.done()
        await self._settle(store, last, how)
        await asyncio.wait_for(settled, WITHIN_S)
        outbox = asyncio.create_task(store.settled(OUTBOX))
        await asyncio.sleep(0)
        assert not outbox.done()
        outbox.cancel()

    async def test_a_queue_is_not_settled_while_a_lane_is_handed_back_or_has_more(self, store):
        await append(store, [update(1), update(2)])
        settled = asyncio.create_task(store.settled(INBOX))
        second = await store.commit(await store.claim(INBOX), NOTHING, more=True)
        await store.release(second)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not settled.done()
        await store.commit(await store.claim(INBOX), NOTHING, more=False)
        await asyncio.wait_for(settled, WITHIN_S)

    # -- what must be refused --------------------------------------------------------------------------------

    @pytest.mark.parametrize("then", ["commit", "park", "bury", "release"])
    @pytest.mark.parametrize("ended_by", ["commit", "park", "bury", "release"])
    async def test_a_stale_holder_changes_nothing(self, store, ended_by, then):
        await append(store, [update(1), update(2)])
        stale = await store.claim(INBOX)
        await self._settle(store, stale, ended_by)
        before = await store.stats()
        with pytest.raises(LeaseLost):
            await self._settle(store, stale, then)
        holder = await store.claim(INBOX)
        with pytest.raises(LeaseLost):  # nor when the lane has a new holder
            await self._settle(store, stale, then)
        await store.release(holder)
        assert await store.stats() == before or ended_by == "park"
        assert (await store.stats()).inbox[:4] == before.inbox[:4]

    @pytest.mark.parametrize("then", ["park", "bury", "release"])
    async def test_the_delivery_before_is_stale_although_the_lease_is_the_same(self, store, then):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        second = await store.commit(first, NOTHING, more=True)
        with pytest.raises(LeaseLost):
            await self._settle(store, first, then)
        assert await store.commit(second, NOTHING, more=True) is None

    async def test_a_repeated_commit_is_stale_when_the_lane_has_moved_on(self, store):
        await append(store, [update(1), update(2), update(3)])
        first = await store.claim(INBOX)
        second = await store.commit(first, NOTHING, more=True)
        third = await store.commit(second, NOTHING, more=True)
        with pytest.raises(LeaseLost):
            await store.commit(first, NOTHING, more=True)
        assert await store.commit(third, NOTHING, more=True) is None

    async def test_a_lease_of_an_idle_lane_is_refused_when_the_lane_is_new_again(self, store):
        await append(store, [update(1)])
        stale = await store.claim(INBOX)
        await store.commit(stale, NOTHING, more=True)
        await append(store, [update(2)])
        with pytest.raises(LeaseLost):
            await store.commit(stale, NOTHING, more=True)
        await store.claim(INBOX)
        with pytest.raises(LeaseLost):
            await store.commit(stale, NOTHING, more=True)

    async def test_an_invented_lease_is_refused(self, store):
        await append(store, [update(1)])
        delivery = await store.claim(INBOX)
        for lease in (
            Lease(INBOX, "chat:1", delivery.lease.fence + 1),
            Lease(OUTBOX, "chat:1", delivery.lease.fence),
        ):
            with pytest.raises(LeaseLost):
                await store.commit(delivery._replace(lease=lease), NOTHING, more=True)

    async def test_a_lease_that_the_holder_has_ended_is_not_called_lost(self, store):
        lost: list[Lease] = []
        for queue in Queue:
            store.watch(queue, lost.extend)
        await append(store, [update(id_, f"chat:{id_}") for id_ in range(1, 6)])
        for how in ("commit", "park", "bury", "release"):
            await self._settle(store, await store.claim(INBOX), how)
        await store.claim(INBOX)
        await store.close()
        assert lost == []

    # -- at all times ----------------------------------------------------------------------------------------

    async def test_what_is_appended_or_replayed_twice_at_the_same_time_is_there_once(self, store):
        both = await asyncio.gather(append(store, [update(1)]), append(store, [update(1)]))
        assert sorted(both) == [0, 1]
        await store.bury(await store.claim(INBOX), "no good")
        (letter,) = await store.dead_letters()
        both = await asyncio.gather(store.replay(letter.number), store.replay(letter.number))
        assert sorted(both) == [False, True]
        assert await drain_ids(store) == [("chat:1", 1)]
        await conserved(store)

    async def test_an_idle_chat_has_no_lane(self, store):
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), Effects(state=b"s"), more=True)
        assert await store.lanes(INBOX) == []

    async def test_a_long_lane_keeps_its_order(self, store):
        await append(store, [update(id_) for id_ in range(300)])
        ids = []
        delivery = await store.claim(INBOX)
        while delivery is not None:
            ids.append(delivery.envelope.id)
            delivery = await store.commit(delivery, NOTHING, more=True)
        assert ids == list(range(300))
        await conserved(store)

    async def test_many_claimants_on_many_lanes_lose_nothing_and_swap_nothing(self, store):
        seen: dict[str, list[int]] = {}

        async def work() -> None:
            while True:
                delivery = await store.claim(INBOX)
                turns = 3
                while delivery is not None:
                    seen.setdefault(delivery.envelope.key, []).append(delivery.envelope.id)
                    turns -= 1
                    delivery = await store.commit(delivery, Effects(state=b"x"), more=turns > 0)

        workers = [asyncio.create_task(work()) for _ in range(10)]
        for start in range(0, 500, 50):
            await append(store, [update(id_, f"chat:{id_ * 7 % 13}") for id_ in range(start, start + 50)])
        async with asyncio.timeout(WITHIN_S):
            while (await store.stats()).inbox.pending:
                await asyncio.sleep(0)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        assert sum(map(len, seen.values())) == 500
        assert all(ids == sorted(ids) for ids in seen.values())
        await conserved(store)

    async def _settle(self, store: Any, delivery: Delivery, how: str) -> None:
        match how:
            case "commit":
                await store.commit(delivery, NOTHING, more=False)
            case "park":
                await store.park(delivery, 0.0, counted=False, reason="x")
            case "park for long":
                await store.park(delivery, 3600, counted=False, reason="x")
            case "bury":
                await store.bury(delivery, "x")
            case "release":
                await store.release(delivery)

    # -- bounds of the dead letters --------------------------------------------------------------------------

    async def bury_all(self, store, *envelopes):
        for envelope in envelopes:
            await append(store, [envelope])
            await store.bury(await store.claim(INBOX), "no good")

    async def test_a_lane_beyond_its_bound_loses_its_own_oldest_dead_letters(self, open_store):
        store = await open_store(limits=Limits(dead_per_lane_max=2))
        await self.bury_all(store, update(1, "chat:shop"), *(update(id_) for id_ in range(2, 7)))
        assert [letter.envelope.id for letter in await store.dead_letters()] == [6, 5, 1]
        assert await store.overflow(INBOX) == (0, 3)
        assert await store.overflow(OUTBOX) == (0, 0)
        await conserved(store)

    async def test_at_the_total_the_lane_with_the_most_loses_its_oldest(self, open_store):
        store = await open_store(limits=Limits(dead_max=4))
        flood = [update(id_, "chat:flood") for id_ in range(2, 5)]
        await self.bury_all(store, update(1, "chat:shop"), *flood, update(5, "chat:b"), update(6, "chat:c"))
        assert [letter.envelope.id for letter in await store.dead_letters()] == [6, 5, 4, 1]
        await self.bury_all(store, update(7, "chat:d"))  # each has one: the oldest of all goes
        assert [letter.envelope.id for letter in await store.dead_letters()] == [7, 6, 5, 4]

    async def test_the_two_queues_of_a_key_are_two_lanes_for_their_dead_letters(self, open_store):
        store = await open_store(limits=Limits(dead_per_lane_max=1))
        await append(store, [update(1), update(2), update(3)])
        head = await store.claim(INBOX)
        await store.commit(head, Effects((Call("chat:1", b"a"),)), more=False)
        await store.bury(await store.claim(OUTBOX), "403")
        for _ in range(2):
            await store.bury(await store.claim(INBOX), "no good")
        assert [(d.queue, d.envelope.id) for d in await store.dead_letters()] == [(INBOX, 3), (OUTBOX, 1)]

    async def test_a_replayed_dead_letter_makes_room_in_its_lane(self, open_store):
        store = await open_store(limits=Limits(dead_per_lane_max=2))
        await self.bury_all(store, update(1), update(2))
        assert await store.replay((await store.dead_letters())[0].number)
        await store.bury(await store.claim(INBOX), "again")
        assert [letter.envelope.id for letter in await store.dead_letters()] == [2, 1]
        await self.bury_all(store, update(3))
        assert [letter.envelope.id for letter in await store.dead_letters()] == [3, 2]

    async def test_what_waits_longest_is_known(self, open_store):
        store = await open_store(wall=lambda: 1000.0)
        assert await store.oldest() == (None, None, None, 0)
        await append(store, [update(1)._replace(at=50.0), update(2)._replace(at=60.0)])
        assert await store.oldest() == (50.0, None, None, 0)
        timers = (Timer("now", 0.0), Timer("later", 500.0))
        head = await store.claim(INBOX)
        head = await store.commit(head, Effects((Call("chat:1", b"a"),), timers=timers), more=True)
        oldest = await store.oldest()
        assert oldest == (60.0, 1000.0, pytest.approx(1000.0, abs=100.0), 1)  # a clock that only goes forward
        head = await store.commit(head, NOTHING, more=True)
        await store.bury(await store.claim(OUTBOX), "403")
        assert await store.oldest() == (None, None, oldest.timer, 1)
        await store.commit(head, NOTHING, more=False)
        assert await store.oldest() == (None, None, None, 0)

    async def test_a_flood_is_logged_once_for_each_lane_and_counted(self, open_store):
        store = await open_store(limits=Limits(lane_depth_max=1, dead_per_lane_max=1))
        with capture_logs() as lines:
            await append(store, [update(id_) for id_ in range(1, 7)])
            await store.dead_letters()
        assert [(line["event"], line["key"]) for line in lines] == [
            ("lane full", "chat:1"),
            ("dead letters dropped", "chat:1"),
        ]
        assert await store.overflow(INBOX) == (5, 4)
        with capture_logs() as lines:
            await store.close()
        counts = {line["event"]: line["count"] for line in lines}
        assert counts == {"lane full": 4, "dead letters dropped": 3}
