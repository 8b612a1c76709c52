"""What every store must do with timers, batches, other scopes' states and calls that go out with a failure."""

import asyncio
from typing import Any

import pytest

from engine import (
    KEEP,
    Call,
    Effects,
    LeaseLost,
    Limits,
    NotPeeked,
    Queue,
    StateChange,
    StateChanged,
    Timer,
    TooManyTimers,
)
from engine.model import TIMER_IDS
from engine.stores.contract.appending import append
from engine.stores.contract.operator import OperatorContract
from engine.stores.contract.posts import PostsContract
from engine.stores.contract.store import (
    INBOX,
    NOTHING,
    OUTBOX,
    WITHIN_S,
    Open,
    conserved,
    drain_ids,
    ready_now,
    update,
)

DAY_S = 86_400.0


def timers(*timers: Timer) -> Effects:
    return Effects(timers=timers)


async def pending(store: Any, count: int) -> None:
    """Wait until at least so many of the inbox are pending; TimeoutError after WITHIN_S."""
    async with asyncio.timeout(WITHIN_S):
        while (await store.stats()).inbox.pending < count:
            await asyncio.sleep(0.001)


class Clock:
    """A wall clock that a test moves, with the running loop's clock or without it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self.leaps(seconds)
        loop: Any = asyncio.get_running_loop()
        time = loop.time
        loop.time = lambda: time() + seconds

    def leaps(self, seconds: float) -> None:
        """Set the wall clock, while no time passes."""
        self.now += seconds


class EffectsContract(PostsContract, OperatorContract):
    """Inherit, and give a fixture `open_store`: an async function (limits=..., wall=...) -> a new, empty store."""

    @pytest.fixture
    def clock(self, monkeypatch) -> Clock:
        """The stores look at it all the time."""
        for module in ("memory_data", "owned.timers"):
            monkeypatch.setattr(f"engine.stores.{module}.WALL_LOOK_S", 0.001)
        return Clock()

    @pytest.fixture
    async def store(self, open_store: Open, clock: Clock) -> Any:
        return await open_store(wall=clock)

    async def set_timers(self, store: Any, *timers: Timer, id_: int = 1, key: str = "chat:1") -> None:
        await append(store, [update(id_, key)])
        await store.commit(await store.claim(INBOX), Effects(timers=timers), more=False)

    async def names(self, store: Any, more: bool = False) -> list[bytes]:
        """Commit what is ready; of updates the id, of timers the body."""
        seen = []
        delivery = await ready_now(store)
        while delivery is not None:
            envelope = delivery.envelope
            seen.append(envelope.body if envelope.is_timer else b"%d" % envelope.id)
            delivery = await store.commit(delivery, NOTHING, more=more)
            if delivery is None:
                delivery = await ready_now(store)
        return seen

    # -- moments ----------------------------------------------------------------------------------------------

    async def test_an_envelope_tells_when_it_came(self, store, clock):
        await append(store, [update(1)._replace(at=7.5)])
        delivery = await store.claim(INBOX)
        assert delivery.envelope.at == 7.5
        clock.now = 2000.0
        await store.commit(delivery, Effects((Call("chat:1", b"a"),)), more=False)
        sent = await store.claim(OUTBOX)
        assert sent.envelope.at == 2000.0

    async def test_when_a_dead_letter_came_is_forgotten(self, store):
        await append(store, [update(1)._replace(at=7.5)])
        await store.bury(await store.claim(INBOX), "x")
        (letter,) = await store.dead_letters()
        assert (letter.envelope.at, letter.at) == (0.0, 1000.0)
        await store.replay(letter.number)
        assert (await store.claim(INBOX)).envelope == update(1)

    # -- timers: when -----------------------------------------------------------------------------------------

    async def test_a_timer_comes_at_its_time_and_not_before(self, store, clock):
        await append(store, [update(1)])
        await store.commit(
            await store.claim(INBOX), Effects(state=b"s", timers=(Timer("t", 10_000, b"body"),)), more=False
        )
        waiting = asyncio.create_task(store.claim(INBOX))
        clock.now += 5_000
        await asyncio.wait({waiting}, timeout=0.02)
        assert not waiting.done()
        clock.now += 5_000
        delivery = await waiting
        envelope = delivery.envelope
        assert (envelope.is_timer, envelope.id >= TIMER_IDS) == (True, True)
        assert envelope[1:-1] == ("chat:1", "7", b"body")
        assert 11_000.0 <= envelope.at < 12_000.0  # real time passes while this clock stands still
        assert (delivery.attempt, delivery.state) == (1, b"s")
        assert await store.commit(delivery, NOTHING, more=True) is None
        clock.now += DAY_S
        await asyncio.wait({asyncio.create_task(store.claim(INBOX))}, timeout=0.02)
        await conserved(store)
        assert (await store.stats()).inbox[:4] == (2, 2, 0, 0)

    async def test_a_timer_that_is_due_when_it_is_set_is_the_next_of_its_lane(self, store):
        await append(store, [update(1), update(2)])
        second = await store.commit(await store.claim(INBOX), timers(Timer("t", 0, b"t")), more=True)
        assert second.envelope.id == 2
        third = await store.commit(second, timers(Timer("u", 0, b"u")), more=True)
        assert third.envelope.body == b"t"
        fourth = await store.commit(third, timers(Timer("v", 0, b"v")), more=True)
        assert fourth.envelope.body == b"u"
        assert (await store.commit(fourth, NOTHING, more=True)).envelope.body == b"v"

    async def test_an_earlier_timer_is_not_kept_waiting_by_a_later_one(self, store, clock):
        await self.set_timers(store, Timer("late", 50, b"late"), Timer("later", 60, b"later"))
        await self.set_timers(store, Timer("early", 5, b"early"), id_=2, key="chat:2")
        clock.now += 5
        assert (await store.claim(INBOX)).envelope.body == b"early"
        assert await ready_now(store) is None
        clock.now += 45
        assert (await store.claim(INBOX)).envelope.body == b"late"

    @pytest.mark.parametrize("equal", [True, False])
    async def test_many_that_are_due_at_once_come_in_their_order(self, store, clock, equal, monkeypatch):
        monkeypatch.setattr("engine.stores.owned.timers.LOOK_ROWS", 3)
        many = [Timer(str(n), 5 if equal else 5 + n, b"%d" % n) for n in range(20)]
        await self.set_timers(store, *many)
        clock.now += 30
        delivery = await store.claim(INBOX)
        await pending(store, 20)
        seen = []
        while delivery is not None:
            seen.append(delivery.envelope.body)
            delivery = await store.commit(delivery, NOTHING, more=True)
        assert seen == [b"%d" % n for n in range(20)]
        await conserved(store)

    @pytest.mark.parametrize("back_s", [3600.0, 50 * 365 * DAY_S])
    async def test_a_clock_that_is_set_back_delays_no_timer(self, store, clock, back_s):
        await self.set_timers(store, Timer("a", 200, b"a"), Timer("b", 2000, b"b"))
        clock.leaps(-back_s)
        await self.set_timers(store, Timer("c", 500, b"c"), Timer("d", 0, b"d"), id_=2, key="chat:2")
        assert await self.names(store) == [b"d"]
        for seconds, body in ((200, b"a"), (300, b"c"), (1500, b"b")):
            clock.passes(seconds - 100)
            waiting = asyncio.create_task(store.claim(INBOX))
            await asyncio.wait({waiting}, timeout=0.02)
            assert not waiting.done()
            clock.passes(100)
            delivery = await asyncio.wait_for(waiting, WITHIN_S)
            assert delivery.envelope.body == body
            assert await store.commit(delivery, NOTHING, more=True) is None
        await conserved(store)

    async def test_a_clock_that_is_set_forward_fires_what_a_restart_would_and_no_more(self, store, clock):
        await self.set_timers(store, Timer("a", 200, b"a"), Timer("b", 2000, b"b"))
        clock.leaps(1000)
        assert (await asyncio.wait_for(store.claim(INBOX), WITHIN_S)).envelope.body == b"a"
        clock.leaps(-1000)  # it was a mistake
        await self.set_timers(store, Timer("c", 500, b"c"), id_=2, key="chat:2")
        clock.passes(400)
        waiting = asyncio.create_task(store.claim(INBOX))
        await asyncio.wait({waiting}, timeout=0.02)
        assert not waiting.done()
        clock.passes(100)
        delivery = await asyncio.wait_for(waiting, WITHIN_S)
        assert (delivery.envelope.body, delivery.envelope.key) == (b"c", "chat:2")

    async def test_who_set_the_clock_forward_can_say_so(self, open_store):
        clock = Clock()  # looked at once a minute
        store = await open_store(wall=clock)
        await self.set_timers(store, Timer("a", 200, b"a"), Timer("b", 2000, b"b"))
        clock.leaps(1000)
        store.clock_moved()
        store.clock_moved()  # while it looks
        assert (await asyncio.wait_for(store.claim(INBOX), WITHIN_S)).envelope.body == b"a"
        assert (await store.lanes(INBOX))[0].depth == 1

    # -- timers: where ----------------------------------------------------------------------------------------

    async def test_a_timer_stands_behind_what_is_pending_and_before_what_comes_later(self, store):
        await append(store, [update(10), update(13)])
        head = await store.claim(INBOX)
        await append(store, [update(15)])
        second = await store.commit(head, timers(Timer("t", 0, b"t")), more=True)
        await append(store, [update(14)])
        await append(store, [update(17)])
        await append(store, [update(12), update(16)])
        seen = [second.envelope.id]
        while (second := await store.commit(second, NOTHING, more=True)) is not None:
            seen.append(0 if second.envelope.is_timer else second.envelope.id)
        assert seen == [13, 12, 14, 15, 0, 16, 17]

    async def test_timers_do_not_hide_a_restart_of_the_numbering(self, store):
        await append(store, [update(1), update(900_000_000)])
        await append(store, [update(18)])
        await store.commit(await store.claim(INBOX), timers(Timer("t", 0, b"t")), more=False)
        await append(store, [update(17)])
        await append(store, [update(19)])
        assert await self.names(store) == [b"900000000", b"17", b"18", b"t", b"19"]

    async def test_a_timer_may_name_another_scope_and_gets_its_state(self, store):
        await append(store, [update(1, scope="7"), update(2, scope="8")])
        first = await store.claim(INBOX)
        second = await store.commit(first, Effects(state=b"of 7"), more=True)
        both = (Timer("t", 0, b"of 8"), Timer("t", 0, b"of 7", "7"))
        third = await store.commit(second, Effects(state=b"of 8", timers=both), more=True)
        assert (third.envelope.scope, third.envelope.body, third.state) == ("8", b"of 8", b"of 8")
        fourth = await store.commit(third, NOTHING, more=True)
        assert (fourth.envelope.scope, fourth.envelope.body, fourth.state) == ("7", b"of 7", b"of 7")

    async def test_a_lane_that_is_parked_or_leased_keeps_its_timers_waiting(self, store):
        await append(store, [update(1), update(2, "chat:2")])
        await store.commit(await store.claim(INBOX), timers(Timer("t", 0, b"t")), more=False)
        other, timer = await store.claim(INBOX), await store.claim(INBOX)
        assert (other.envelope.id, timer.envelope.body) == (2, b"t")
        await store.park(timer, 3600, counted=True, reason="x")
        await append(store, [update(3)])
        assert await ready_now(store) is None

    # -- timers: replaced, taken away, handled ----------------------------------------------------------------

    @pytest.mark.parametrize("is_due", [False, True])
    @pytest.mark.parametrize("again", [None, 0, 5])
    async def test_a_timer_is_replaced_or_taken_away_also_when_it_is_due(self, store, clock, again, is_due):
        await append(store, [update(1), update(2), update(3)])
        first = await store.claim(INBOX)
        effects = timers(
            Timer("t", 0 if is_due else 1, b"old"), Timer("u", 0, b"u"), Timer("t", 9, b"x", "8")
        )
        second = await store.commit(first, effects, more=True)
        third = await store.commit(second, timers(Timer("t", again, b"new")), more=True)
        clock.now += 5
        await store.release(third)
        await pending(store, 2 + (again is not None))
        assert await self.names(store) == [b"3", b"u"] + [b"new"] * (again is not None)
        clock.now += 4
        assert (await store.claim(INBOX)).envelope.body == b"x"
        await conserved(store)

    async def test_the_last_of_several_changes_of_one_timer_counts(self, store):
        all_ = (Timer("t", 0, b"1"), Timer("t", None), Timer("u", None), Timer("u", 0, b"2"), Timer("t", 0))
        await self.set_timers(store, *all_)
        assert await self.names(store) == [b"2", b""]

    async def test_a_timer_whose_handler_sets_it_anew_comes_again(self, store, clock):
        await self.set_timers(store, Timer("t", 0, b"1"))
        second = await store.commit(await store.claim(INBOX), timers(Timer("t", 0, b"2")), more=True)
        assert second.envelope.body == b"2"
        assert await store.commit(second, timers(Timer("t", 5, b"3")), more=True) is None
        clock.now += 5
        third = await store.claim(INBOX)
        assert third.envelope.body == b"3"
        assert await store.commit(third, timers(Timer("t", None)), more=True) is None
        await conserved(store)

    async def test_a_timer_is_retried_buried_and_replayed_as_any_head(self, store, clock):
        await self.set_timers(store, Timer("t", 0, b"t"))
        await store.park(await store.claim(INBOX), 0.0, counted=True, reason="x")
        second = await store.claim(INBOX)
        assert (second.envelope.body, second.attempt) == (b"t", 2)
        await append(store, [update(0)])  # not before a head with a counted failure
        await store.bury(second, "no good")
        assert await self.names(store) == [b"0"]
        (letter,) = await store.dead_letters()
        assert (letter.envelope, letter.attempts) == (second.envelope._replace(at=0.0), 2)
        await append(store, [update(5)])
        assert await store.replay(letter.number)
        assert not await store.replay(letter.number)
        assert await self.names(store) == [b"5", b"t"]
        assert await ready_now(store) is None
        await conserved(store)

    async def test_a_released_timer_stays(self, store):
        await self.set_timers(store, Timer("t", 0, b"t"))
        await store.release(await store.claim(INBOX))
        assert await self.names(store) == [b"t"]

    async def test_a_stale_or_repeated_commit_sets_and_takes_away_nothing(self, store):
        await append(store, [update(1), update(2), update(3)])
        first = await store.claim(INBOX)
        effects = timers(Timer("t", 0, b"t"))
        second = await store.commit(first, effects, more=True)
        assert await store.commit(first, effects, more=True) == second
        assert await store.commit(first, timers(Timer("t", None)), more=True) == second
        await store.release(second)
        with pytest.raises(LeaseLost):
            await store.commit(second, timers(Timer("t", None)), more=True)
        assert await self.names(store) == [b"2", b"3", b"t"]

    # -- timers: how many -------------------------------------------------------------------------------------

    async def test_a_commit_that_sets_more_timers_than_a_lane_may_have_changes_nothing(
        self, open_store, clock
    ):
        store = await open_store(wall=clock, limits=Limits(lane_timers_max=2))
        await self.set_timers(store, Timer("a", 5), Timer("b", 5, scope="8"))
        await append(store, [update(2), update(3)])
        head = await store.claim(INBOX)
        effects = Effects((Call("chat:1", b"x"),), b"s", timers=(Timer("c", 5),))
        for _ in range(2):
            with pytest.raises(TooManyTimers, match="the lane chat:1 would have more than 2 timers"):
                await store.commit(head, effects, more=True)
        assert (await store.stats()).outbox.appended == 0
        assert await store.state("chat:1", "7") is None
        second = await store.commit(head, Effects(state=b"t"), more=True)
        assert (second.envelope.id, second.attempt, second.state) == (3, 1, b"t")
        await self.set_timers(store, Timer("c", 0, b"c"), id_=4, key="chat:2")  # another lane's are its own
        await conserved(store)

    async def test_what_a_lane_may_have_counts_each_name_once(self, open_store, clock):
        store = await open_store(wall=clock, limits=Limits(lane_timers_max=2))
        await self.set_timers(store, Timer("a", 500), Timer("b", 500), Timer("a", 600), Timer("c", None))
        await self.set_timers(store, Timer("a", 700, b"a"), id_=2)  # set anew
        await self.set_timers(store, Timer("b", None), Timer("c", 800, b"c"), id_=3)  # one for another
        await self.set_timers(store, Timer("d", 900), Timer("d", None), id_=4)
        await append(store, [update(5)])
        head = await store.claim(INBOX)
        with pytest.raises(TooManyTimers):
            await store.commit(head, timers(Timer("d", 900)), more=False)
        await store.commit(head, NOTHING, more=False)
        clock.now += 800
        assert await self.bodies_when_due(store, 2) == [b"a", b"c"]
        await self.set_timers(store, Timer("d", 0, b"d"), Timer("e", 0, b"e"), id_=6)
        assert await self.names(store) == [b"d", b"e"]
        await conserved(store)

    async def test_a_timer_counts_until_it_is_handled_and_may_then_be_set_anew(self, open_store, clock):
        store = await open_store(wall=clock, limits=Limits(lane_timers_max=2))
        await self.set_timers(store, Timer("a", 0, b"a"), Timer("b", 0, b"b"))
        head = await store.claim(INBOX)
        with pytest.raises(TooManyTimers):
            await store.commit(head, timers(Timer("c", 5), Timer("d", 5)), more=True)
        second = await store.commit(head, timers(Timer("a", 0, b"c")), more=True)
        assert second.envelope.body == b"b"
        third = await store.commit(second, timers(Timer("d", 5, b"d")), more=True)
        assert third.envelope.body == b"c"
        assert await store.commit(third, NOTHING, more=True) is None
        clock.now += 5
        assert await self.bodies_when_due(store, 1) == [b"d"]

    async def test_who_sets_too_many_timers_is_alone_with_that(self, open_store):
        store = await open_store(limits=Limits(lane_timers_max=1))
        await append(store, [update(n, f"chat:{n}") for n in range(1, 5)])
        heads = [await store.claim(INBOX) for _ in range(4)]
        several = [timers(Timer("t", 0, b"%d" % n)) for n in range(4)]
        several[1] = timers(Timer("t", 0), Timer("u", 0))
        outcomes = await asyncio.gather(
            *(store.commit(head, each, more=False) for head, each in zip(heads, several, strict=True)),
            return_exceptions=True,
        )
        assert [type(each) for each in outcomes] == [type(None), TooManyTimers, type(None), type(None)]
        await store.release(heads[1])
        assert sorted(await self.names(store)) == [b"0", b"2", b"2", b"3"]
        await conserved(store)

    async def test_a_replayed_timer_finds_room(self, open_store):
        store = await open_store(limits=Limits(lane_timers_max=1))
        await self.set_timers(store, Timer("t", 0, b"t"))
        await store.bury(await store.claim(INBOX), "x")
        await self.set_timers(store, Timer("t", 0, b"u"), id_=2)
        (letter,) = await store.dead_letters()
        assert await store.replay(letter.number)
        assert await self.names(store) == [b"u", b"t"]

    async def test_a_lane_above_its_bound_takes_timers_away(self, open_store):
        store = await open_store(limits=Limits(lane_timers_max=1))
        await self.set_timers(store, Timer("t", 0, b"t"))
        await store.bury(await store.claim(INBOX), "x")
        await self.set_timers(store, Timer("u", 60, b"u"), id_=2)
        await append(store, [update(3), update(4)])
        head = await store.claim(INBOX)
        (letter,) = await store.dead_letters()
        assert await store.replay(letter.number)  # two timers: one more than the bound
        second = await store.commit(head, timers(Timer("no such timer", None)), more=True)
        with pytest.raises(TooManyTimers):
            await store.commit(second, timers(Timer("v", 60)), more=True)
        await store.commit(second, timers(Timer("u", None)), more=False)
        assert await self.names(store) == [b"t"]
        await conserved(store)

    async def bodies_when_due(self, store: Any, count: int) -> list[bytes]:
        await pending(store, count)
        return await self.names(store)

    # -- peek, and also ---------------------------------------------------------------------------------------

    async def test_peek_shows_the_updates_behind_the_head_up_to_another_scope_or_a_timer(self, store):
        await append(store, [update(n, scope="8" if n == 5 else "7") for n in range(1, 7)])
        head = await store.claim(INBOX)
        assert await store.peek(head, 10) == [update(2), update(3), update(4)]
        assert await store.peek(head, 2) == [update(2), update(3)]
        assert await store.peek(head, 0) == []
        for _ in range(5):
            head = await store.commit(head, timers(Timer("t", 0, scope="7")), more=True)
        await append(store, [update(7)])
        assert head.envelope.id == 6
        assert await store.peek(head, 10) == []
        timer = await store.commit(head, NOTHING, more=True)
        assert await store.peek(timer, 10) == [update(7)]

    async def test_look_shows_the_updates_behind_the_head_of_any_scope(self, store):
        await append(store, [update(n, scope=str(n)) for n in (1, 2)])
        head = await store.claim(INBOX)
        await store.commit(head, timers(Timer("t", 0)), more=False)
        await append(store, [update(n, scope=str(n)) for n in (3, 4)])
        head = await store.claim(INBOX)
        assert await store.look(head, 10) == [update(3, scope="3"), update(4, scope="4")]
        assert await store.look(head, 2) == [update(3, scope="3")]
        with pytest.raises(NotPeeked):
            await store.commit(head, Effects(also=1), more=False)
        await store.release(head)
        with pytest.raises(LeaseLost):
            await store.look(head, 1)

    async def test_what_was_peeked_is_acked_with_the_head_in_one_step(self, store):
        await append(store, [update(n) for n in range(1, 6)])
        head = await store.claim(INBOX)
        await store.peek(head, 3)
        await store.peek(head, 1)  # takes nothing back
        effects = Effects((Call("chat:1", b"a"),), b"s", also=2)
        fourth = await store.commit(head, effects, more=True)
        assert (fourth.envelope.id, fourth.state, fourth.attempt) == (4, b"s", 1)
        assert await store.commit(head, effects, more=True) == fourth  # a repeated one changes nothing
        fifth = await store.commit(fourth, NOTHING, more=True)
        assert fifth.envelope.id == 5
        stats = await store.stats()
        assert (stats.inbox.committed, stats.inbox.pending, stats.outbox.appended) == (4, 1, 1)
        await conserved(store)

    async def test_all_of_a_lane_may_be_acked_at_once(self, store):
        await append(store, [update(n) for n in range(200)])
        head = await store.claim(INBOX)
        assert len(await store.peek(head, 500)) == 199
        assert await store.commit(head, Effects(also=199), more=True) is None
        assert await store.lanes(INBOX) == []
        await conserved(store)

    async def test_nothing_comes_between_what_was_peeked(self, store):
        await append(store, [update(10), update(14), update(18)])
        head = await store.claim(INBOX)
        assert await store.peek(head, 1) == [update(14)]
        await append(store, [update(12), update(16), update(9)])
        assert await store.peek(head, 9) == [update(n) for n in (14, 9, 12, 16, 18)]
        await append(store, [update(11)])
        seen = [delivery.envelope.id async for delivery in self._rest(store, head)]
        assert seen == [10, 14, 9, 12, 16, 18, 11]

    async def _rest(self, store: Any, delivery: Any) -> Any:
        while delivery is not None:
            yield delivery
            delivery = await store.commit(delivery, NOTHING, more=True)

    async def test_what_was_not_peeked_under_this_lease_is_not_acked(self, store):
        await append(store, [update(n) for n in range(1, 6)])
        head = await store.claim(INBOX)
        with pytest.raises(NotPeeked):
            await store.commit(head, Effects(also=1), more=True)
        await store.peek(head, 2)
        with pytest.raises(NotPeeked):
            await store.commit(head, Effects((Call("chat:1", b"a"),), b"s", also=3), more=True)
        second = await store.commit(head, NOTHING, more=True)
        third = await store.commit(second, NOTHING, more=True)
        with pytest.raises(NotPeeked):
            await store.commit(third, Effects(also=1), more=True)
        await store.peek(third, 2)
        await store.release(third)
        third = await store.claim(INBOX)
        with pytest.raises(NotPeeked):
            await store.commit(third, Effects(also=1), more=True)
        stats = await store.stats()
        assert (third.envelope.id, third.state, stats.outbox.appended, stats.inbox.committed) == (
            3,
            None,
            0,
            2,
        )
        assert await drain_ids(store, OUTBOX) == []

    async def test_who_does_not_hold_the_head_may_not_peek(self, store):
        await append(store, [update(1), update(2), update(3)])
        first = await store.claim(INBOX)
        second = await store.commit(first, NOTHING, more=True)
        with pytest.raises(LeaseLost):
            await store.peek(first, 5)
        await store.release(second)
        with pytest.raises(LeaseLost):
            await store.peek(second, 5)

    async def test_calls_can_be_peeked_too(self, store):
        await append(store, [update(1)])
        calls = tuple(Call("chat:1", b"%d" % n) for n in range(4))
        await store.commit(await store.claim(INBOX), Effects(calls), more=False)
        head = await store.claim(OUTBOX)
        assert [call.body for call in await store.peek(head, 2)] == [b"1", b"2"]
        assert (await store.commit(head, Effects(also=2), more=True)).envelope.body == b"3"

    # -- states of other scopes -------------------------------------------------------------------------------

    async def test_a_commit_changes_states_anywhere_with_its_other_effects(self, store):
        await append(store, [update(1), update(2, "chat:2", "9")])
        assert await store.state("chat:2", "9") is None
        changes = (StateChange("chat:2", "9", None, b"a"), StateChange("user:5", "", None, b"b"))
        await store.commit(await store.claim(INBOX), Effects(state=b"own", states=changes), more=False)
        assert [await store.state(*name) for name in (("chat:1", "7"), ("chat:2", "9"), ("user:5", ""))] == [
            b"own",
            b"a",
            b"b",
        ]
        second = await store.claim(INBOX)
        assert second.state == b"a"
        changes = (StateChange("chat:2", "9", b"a", b"c"), StateChange("user:5", "", b"b", None))
        assert await store.commit(second, Effects(states=changes), more=True) is None
        assert (await store.state("chat:2", "9"), await store.state("user:5", "")) == (b"c", None)

    @pytest.mark.parametrize("was", [None, b"other"])
    async def test_if_a_state_is_not_what_it_was_nothing_is_changed(self, store, was):
        await append(store, [update(1), update(2), update(3)])
        first = await store.claim(INBOX)
        change = StateChange("user:5", "", None, b"b")
        second = await store.commit(first, Effects(states=(change,)), more=True)
        changes = (StateChange("chat:9", "", None, b"c"), StateChange("user:5", "", was, b"c"))
        effects = Effects((Call("chat:1", b"a"),), b"own", (Timer("t", 0),), states=changes)
        before = await store.stats()
        with pytest.raises(StateChanged):
            await store.commit(second, effects, more=True)
        assert await store.stats() == before
        assert [await store.state(*name) for name in (("chat:1", "7"), ("chat:9", ""), ("user:5", ""))] == [
            None,
            None,
            b"b",
        ]
        third = await store.commit(second, NOTHING, more=True)  # the lease is in force
        assert (third.envelope.id, third.state) == (3, None)

    async def test_a_repeated_commit_does_not_compare_again(self, store):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        effects = Effects(states=(StateChange("user:5", "", None, b"b"),))
        second = await store.commit(first, effects, more=True)
        assert await store.commit(first, effects, more=True) == second

    async def test_of_lanes_that_change_a_state_at_once_none_loses_its_change(self, store):
        """Each adds one to the same counter; who was too late does it again with what is true then."""
        await append(store, [update(n, f"chat:{n % 7}") for n in range(40)])
        tries = 0

        async def work() -> None:
            nonlocal tries
            while (delivery := await ready_now(store)) is not None:
                tries += 1
                was = await store.state("user:5", "")
                await asyncio.sleep(0)
                change = StateChange("user:5", "", was, b"%d" % (int(was or b"0") + 1))
                try:
                    await store.commit(delivery, Effects(states=(change,)), more=False)
                except StateChanged:
                    await store.release(delivery)

        await asyncio.gather(*(work() for _ in range(5)))
        assert await store.state("user:5", "") == b"40"
        assert tries > 40
        await conserved(store)

    async def test_a_lanes_own_state_and_a_change_from_elsewhere_come_one_after_the_other(self, store):
        for n, (own, change) in enumerate([(b"own", None), (None, b"other"), (b"own", b"other")]):
            await append(store, [update(10 * n + 1, "chat:1", "7"), update(10 * n + 2, "chat:2", "7")])
            first, second = await store.claim(INBOX), await store.claim(INBOX)
            was = await store.state("chat:1", "7")
            results: Any = await asyncio.gather(
                store.commit(second, Effects(states=(StateChange("chat:1", "7", was, change),)), more=False),
                store.commit(first, Effects(state=own), more=False),
                return_exceptions=True,
            )
            refused = [isinstance(result, StateChanged) for result in results]
            assert sum(refused) <= 1  # who came second, if who came first has changed something
            assert await store.state("chat:1", "7") == (change if refused[1] else own)
            if any(refused):
                await store.release(second if refused[0] else first)
                await drain_ids(store)
        assert await self.names(store) == []

    @pytest.mark.parametrize("more", [True, False])
    async def test_a_lane_does_not_overwrite_what_another_lane_has_changed_since_the_delivery(
        self, store, more
    ):
        """A payment and a message of one person are handled at the same time: neither loses what it adds."""
        await append(store, [update(1, "chat:1", "7"), update(2, "payment:1", "7")])
        first, second = await store.claim(INBOX), await store.claim(INBOX)
        change = StateChange("chat:1", "7", None, b"paid")
        await store.commit(second, Effects(states=(change,)), more=False)
        for state in (b"own", None):
            with pytest.raises(StateChanged):
                await store.commit(first, Effects(state=state, calls=(Call("chat:1", b"x"),)), more=more)
        assert (await store.state("chat:1", "7"), (await store.stats()).outbox.appended) == (b"paid", 0)
        await store.release(first)  # the lease was in force
        again = await store.claim(INBOX)
        assert (again.envelope, again.state) == (first.envelope, b"paid")
        await store.commit(again, Effects(state=b"paid, own"), more=more)
        assert await store.state("chat:1", "7") == b"paid, own"
        await conserved(store)

    async def test_a_repeated_commit_of_an_own_state_does_not_compare_again(self, store):
        await append(store, [update(1, "chat:1", "7"), update(2, "chat:1", "7")])
        first = await store.claim(INBOX)
        second = await store.commit(first, Effects(state=b"a"), more=True)
        assert await store.commit(first, Effects(state=b"a"), more=True) == second

    async def test_what_a_change_compares_with_is_the_lanes_own_commit_that_is_under_way(self, store):
        await append(store, [update(1, "chat:1", "7"), update(2, "chat:2", "7")])
        first, second = await store.claim(INBOX), await store.claim(INBOX)
        change = Effects(states=(StateChange("chat:1", "7", None, b"other"),))
        results: Any = await asyncio.gather(
            store.commit(first, Effects(state=b"own"), more=False),
            store.commit(second, change, more=False),
            return_exceptions=True,
        )
        assert (results[0], type(results[1])) == (None, StateChanged)
        assert await store.state("chat:1", "7") == b"own"

    async def test_the_state_of_an_alias_is_that_of_its_lane(self, store):
        await append(store, [update(1, "chat:old")])
        await append(store, [], [("chat:new", "chat:old")])
        change = StateChange("chat:new", "", None, b"a")
        await store.commit(await store.claim(INBOX), Effects(states=(change,)), more=False)
        assert (await store.state("chat:old", ""), await store.state("chat:new", "")) == (b"a", b"a")

    @pytest.mark.parametrize("wrong", ["chat:old", "chat:1"])
    async def test_each_of_several_changes_of_one_state_is_compared(self, store, wrong):
        """Names of one lane are several names of one state; the delivery's own state has one in `state`, too."""
        await append(store, [], [("chat:old", "chat:1")])
        await append(store, [update(1)])
        head = await store.claim(INBOX)
        right = "chat:1" if wrong == "chat:old" else "chat:old"
        changes = (StateChange(wrong, "7", b"wrong", b"a"), StateChange(right, "7", None, b"a"))
        for state in (KEEP, b"b"):
            for effects in (Effects(state=state, states=changes), Effects(state=state, states=changes[::-1])):
                with pytest.raises(StateChanged):
                    await store.commit(head, effects, more=True)
        with pytest.raises(StateChanged):
            await store.commit(head, Effects(state=b"b", states=changes[:1]), more=True)
        assert await store.commit(head, Effects(state=b"b", states=changes[1:]), more=True) is None
        assert await store.state("chat:1", "7") == b"b"

    # -- calls that go out with a failure ---------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["park", "bury"])
    async def test_calls_go_out_with_a_failure_once(self, store, how):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        calls = (Call("chat:1", b"sorry"), Call("chat:2", b"too"))

        async def fail() -> None:
            if how == "park":
                await store.park(first, 0.0, counted=True, reason="x", calls=calls)
            else:
                await store.bury(first, "x", calls)

        await fail()
        with pytest.raises(LeaseLost):
            await fail()
        assert (await store.stats()).outbox.appended == 2
        sent = [await store.claim(OUTBOX) for _ in calls]
        assert [(each.envelope.key, each.envelope.body, each.envelope.at) for each in sent] == [
            ("chat:1", b"sorry", 1000.0),
            ("chat:2", b"too", 1000.0),
        ]
        await conserved(store)

    # -- ids ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("leap_s", [10 * 365 * DAY_S, 5 * DAY_S, -3600.0, -50 * 365 * DAY_S])
    async def test_a_leap_of_the_wall_clock_forgets_no_ids(self, store, clock, leap_s):
        await append(store, [update(1)])
        await drain_ids(store)
        clock.leaps(leap_s)
        assert await append(store, [update(1), update(2)]) == 1

    # -- dead letters -----------------------------------------------------------------------------------------

    async def test_a_dead_letter_is_not_replayed_while_its_id_is_pending_again(self, store, clock):
        await append(store, [update(1)])
        await store.bury(await store.claim(INBOX), "x")
        clock.passes(3 * DAY_S)
        assert await append(store, [update(1)]) == 1
        (letter,) = await store.dead_letters()
        assert not await store.replay(letter.number)
        assert await drain_ids(store) == [("chat:1", 1)]
        assert await store.replay(letter.number)
        assert await drain_ids(store) == [("chat:1", 1)]
        await conserved(store)

    async def test_an_id_that_was_replayed_and_is_pending_does_not_come_again(self, store, clock):
        await append(store, [update(1)])
        await store.bury(await store.claim(INBOX), "x")
        clock.passes(3 * DAY_S)
        await append(store, [update(5_000)])  # the store forgets
        (letter,) = await store.dead_letters()
        assert await store.replay(letter.number)
        assert await append(store, [update(1), update(5_001)]) == 1
        assert await drain_ids(store) == [("chat:1", 1), ("chat:1", 5_000), ("chat:1", 5_001)]
        await conserved(store)

    async def test_a_replayed_timer_takes_no_handlers_timer_away(self, store, clock):
        await self.set_timers(store, Timer("t", 0, b"t"))
        await store.bury(await store.claim(INBOX), "x")
        (letter,) = await store.dead_letters()
        await self.set_timers(store, Timer(f"replayed:{letter.number}", 0, b"other"), id_=2)
        assert await store.replay(letter.number)
        assert await self.names(store) == [b"other", b"t"]

    async def test_dead_letters_are_bounded_by_their_number_also_after_replays(self, open_store):
        store = await open_store(limits=Limits(dead_max=3))
        await append(store, [update(n) for n in range(1, 7)])
        for _ in range(3):
            await store.bury(await store.claim(INBOX), "x")
        await store.replay((await store.dead_letters())[0].number)
        head = await store.claim(Queue.INBOX)
        assert head.envelope.id == 3
        await store.bury(head, "x")
        assert [letter.envelope.id for letter in await store.dead_letters()] == [3, 2, 1]
