"""What every store must do with posts: entries of lanes from a source that does not hold them."""

import asyncio
from typing import Any

import pytest

from engine import Call, Effects, LeaseLost, Limits, Post, Queue, RightLost, Timer, TooManyTimers
from engine.stores.contract.appending import append
from engine.stores.contract.store import INBOX, Open, conserved, update


def posted(*bodies: bytes, key: str = "chat:1", scope: str = "7", after_s: float = 0.0) -> list[Post]:
    return [Post(key, scope, body, after_s) for body in bodies]


DAY_S = 86_400.0


class PostsContract:
    """The part of `EffectsContract` about posts; it has the fixtures and helpers."""

    names: Any

    async def test_a_post_comes_after_what_is_pending_and_before_what_is_appended_later(self, store):
        await append(store, [update(5)])
        await append(store, [], posts=posted(b"a", b"b"))
        await append(store, [update(6)])
        await append(store, [], posts=posted(b"c"))
        assert await self.names(store) == [b"5", b"a", b"b", b"6", b"c"]
        await conserved(store)

    async def test_posts_come_after_the_updates_of_their_own_append(self, store):
        assert await append(store, [update(5)], posts=posted(b"a")) == 1
        assert await self.names(store) == [b"5", b"a"]

    async def test_a_post_is_delivered_as_a_timer_with_the_state_of_its_scope(self, store, clock):
        await append(store, [update(1, scope="8")])
        await store.commit(await store.claim(INBOX), Effects(state=b"s"), more=False)
        await append(store, [], posts=posted(b"a", scope="8"))
        delivery = await store.claim(INBOX)
        envelope = delivery.envelope
        assert (envelope.is_timer, envelope.key, envelope.scope) == (True, "chat:1", "8")
        assert (envelope.body, delivery.state) == (b"a", b"s")
        assert clock.now <= envelope.at < clock.now + DAY_S  # real time passes while this clock stands still

    async def test_a_post_with_a_delay_comes_at_its_time_and_not_before(self, store, clock):
        await append(store, [], posts=posted(b"a", after_s=10_000.0))
        clock.leaps(9_000.0)
        await asyncio.sleep(0.02)
        assert await self.names(store) == []
        clock.leaps(1_000.0)
        assert (await store.claim(INBOX)).envelope.body == b"a"

    async def test_equal_posts_are_several(self, store):
        await append(store, [], posts=posted(b"a", b"a"))
        await append(store, [], posts=posted(b"a"))
        assert await self.names(store) == [b"a", b"a", b"a"]

    @pytest.mark.parametrize("queue", Queue)
    async def test_a_commit_posts_into_any_lane_of_the_inbox(self, store, queue):
        await append(store, [update(1)])
        if queue is Queue.OUTBOX:
            await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"x"),)), more=False)
        delivery = await store.claim(queue)
        posts = (*posted(b"a", b"b", key="chat:2"), *posted(b"c"))
        await store.commit(delivery, Effects(posts=posts), more=False)
        with pytest.raises(LeaseLost):  # repeated, it changes nothing
            await store.commit(delivery, Effects(posts=posts), more=False)
        assert sorted(await self.names(store)) == [b"a", b"b", b"c"]
        await conserved(store)

    async def test_the_posts_of_a_commit_do_not_exceed_the_timers_of_a_lane(self, open_store):
        store = await open_store(limits=Limits(lane_timers_max=1))
        await append(store, [update(1)])
        delivery = await store.claim(INBOX)
        with pytest.raises(TooManyTimers):
            await store.commit(delivery, Effects(posts=tuple(posted(b"a", b"b"))), more=False)
        await store.commit(delivery, Effects(posts=tuple(posted(b"a"))), more=False)
        assert await self.names(store) == [b"a"]

    async def test_posts_and_timers_of_a_commit_count_together(self, open_store):
        store = await open_store(limits=Limits(lane_timers_max=1))
        await append(store, [update(1)])
        delivery = await store.claim(INBOX)
        both = Effects(timers=(Timer("t", 0.0, b"t"),), posts=tuple(posted(b"a")))
        with pytest.raises(TooManyTimers):
            await store.commit(delivery, both, more=False)
        await store.commit(delivery, both._replace(posts=tuple(posted(b"a", key="chat:2"))), more=False)
        assert sorted(await self.names(store)) == [b"a", b"t"]

    async def test_the_timer_that_a_commit_acks_does_not_count_for_its_posts(self, open_store):
        store = await open_store(limits=Limits(lane_timers_max=1))
        await append(store, [], posts=posted(b"a"))
        await store.commit(await store.claim(INBOX), Effects(posts=tuple(posted(b"b"))), more=False)
        assert await self.names(store) == [b"b"]

    async def test_a_post_does_not_disturb_a_lane_in_hand(self, store):
        await append(store, [update(1), update(2)])
        delivery = await store.claim(INBOX)
        await append(store, [], posts=posted(b"a"))
        following = await store.commit(delivery, Effects(), more=True)
        assert following is not None and following.envelope.id == 2
        following = await store.commit(following, Effects(), more=True)
        assert following is not None and following.envelope.body == b"a"

    async def test_a_post_for_an_alias_goes_to_its_lane(self, store):
        await append(store, [], [("chat:2", "chat:1")], posted(b"a", key="chat:2"))
        await append(store, [], posts=posted(b"b", key="chat:2"))
        assert [each.key for each in await store.lanes(INBOX)] == ["chat:1"]
        assert await self.names(store) == [b"a", b"b"]

    async def test_a_post_at_the_same_time_as_its_alias_goes_to_the_aliass_lane(self, store):
        await asyncio.gather(
            append(store, [], [("chat:2", "chat:1")]),
            append(store, [], posts=posted(b"a", key="chat:2")),
        )
        assert [each.key for each in await store.lanes(INBOX)] == ["chat:1"]

    async def test_posts_made_at_the_same_time_come_in_the_order_of_their_calls(self, store):
        bodies = [b"%d" % number for number in range(50)]
        await asyncio.gather(*(append(store, [], posts=posted(body)) for body in bodies))
        assert await self.names(store) == bodies

    async def test_a_post_without_the_right_changes_nothing(self, store):
        right = await store.right()
        await store.resign(right)
        with pytest.raises(RightLost):
            await store.append(right, [], (), posted(b"a"))
        assert await self.names(store) == []

    async def test_a_lane_that_has_as_many_timers_as_it_may_takes_no_post(self, open_store: Open):
        store = await open_store(limits=Limits(lane_timers_max=2))
        await append(store, [], posts=posted(b"a", b"b"))
        with pytest.raises(TooManyTimers, match="chat:1 would have more than 2 timers"):
            await append(store, [update(1)], posts=posted(b"c"))
        with pytest.raises(TooManyTimers, match="chat:2"):
            await append(store, [], posts=posted(b"d", b"e", b"f", key="chat:2"))
        await append(store, [], posts=posted(b"g", key="chat:2"))
        assert sorted(await self.names(store)) == [b"a", b"b", b"g"]
        assert await append(store, [update(1)], posts=posted(b"c")) == 1
        await conserved(store)

    async def test_a_post_that_was_given_up_can_be_replayed(self, store):
        await append(store, [], posts=posted(b"a"))
        await store.bury(await store.claim(INBOX), "bad")
        (letter,) = await store.dead_letters()
        assert await store.replay(letter.number)
        assert await self.names(store) == [b"a"]
        await conserved(store)
