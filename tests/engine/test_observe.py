"""What an observer sees of an engine: every event once, in order, and nothing that it does has an effect."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import (
    Call,
    Delivery,
    Effects,
    Engine,
    EngineConfig,
    LeaseLost,
    Queue,
    Reject,
    Retry,
    StoreUnavailable,
    Work,
    observed_handler,
    observed_store,
)
from engine.observe import (
    Appended,
    Buried,
    Claimed,
    Committed,
    Handled,
    LeaseGone,
    Parked,
    Released,
    StoreCalled,
)
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from tests.kit.house import INBOX, Hooked, now, update
from tests.kit.virtual import run_virtual


class Watched:
    """An engine with an observer; `handle` is its handler."""

    def __init__(self, handle: Any, observe: Any = None, store: Any = None, **config: Any) -> None:
        self.events: list[Any] = []
        self.store = store or MemoryStore()
        seen = observe or self.events.append
        observed = observed_store(self.store, seen)
        handler = observed_handler(Hooked(handle, self.failed, None), seen)
        config = {"workers": 1, **config}
        self.engine = Engine(observed, INBOX, handler, EngineConfig(**config), jitter=lambda: 1.0)
        self.observed = observed

    def failed(self, delivery: Delivery, given_up: bool) -> tuple[Call, ...]:
        return (Call("chat:1", b"sorry"),) if given_up else ()

    def run(self, *updates: Any) -> list[Any]:
        """Handle the updates; return the events without the calls of the store."""

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                self.engine.start(group)
                await append(self.observed, updates)
                async with asyncio.timeout(300):
                    while (await self.store.stats()).inbox.pending:
                        await asyncio.sleep(0.01)
                await self.engine.drain(now() + 10)

        run_virtual(main())
        return [event for event in self.events if not isinstance(event, StoreCalled)]


async def nothing(work: Work) -> Effects:
    await asyncio.sleep(2)
    return Effects(state=b"s")


def test_the_events_of_two_updates_of_a_lane_in_order():
    watched = Watched(nothing)
    events = watched.run(update(1), update(2))
    assert [type(event) for event in events] == [
        *(Appended, Claimed, Handled, Committed, Claimed, Handled, Committed),
    ]
    assert events[0] == Appended((update(1), update(2)), 2)
    assert [event.delivery.envelope.id for event in events[1:]] == [1, 1, 1, 2, 2, 2]
    assert (events[2].took_s, events[2].outcome) == (2.0, Effects(state=b"s"))
    assert events[3].effects == Effects(state=b"s")


def test_a_failure_and_a_dead_letter():
    error = KeyError("no")

    async def fails(work: Work) -> Effects:
        raise error

    events = Watched(fails, attempts_max=2).run(update(1))
    kinds = [Appended, Claimed, Handled, Parked, Claimed, Handled, Buried]
    assert [type(event) for event in events] == kinds
    assert events[2].outcome is error
    assert (events[3].counted, events[3].delay_s > 0, "KeyError" in events[3].reason) == (True, True, True)
    assert "KeyError" in events[6].reason


def test_the_hooks_of_the_handler_are_the_engines():
    async def fails(work: Work) -> Effects:
        raise Reject("no")

    watched = Watched(fails)
    watched.run(update(1))
    assert run_virtual(watched.store.stats()).outbox.pending == 1


def test_what_an_observer_raises_has_no_effect():
    def observe(event: object) -> None:
        raise SystemExit("mine")

    with capture_logs() as logs:
        watched = Watched(nothing, observe)
        watched.run(update(1))
    assert run_virtual(watched.store.stats()).inbox.committed == 1
    assert {entry["event"] for entry in logs} == {"the observer failed"}


async def test_a_stale_holder_is_reported_with_its_call():
    events: list[Any] = []
    store = MemoryStore()
    observed = observed_store(store, events.append)
    await append(store, [update(1)])
    delivery = await observed.claim(INBOX)
    await observed.release(delivery)
    for call in (
        lambda: observed.commit(delivery, Effects(), more=False),
        lambda: observed.park(delivery, 1.0, counted=True, reason=""),
        lambda: observed.bury(delivery, ""),
        lambda: observed.release(delivery),
        lambda: observed.peek(delivery, 1),
        lambda: observed.look(delivery, 1),
    ):
        with pytest.raises(LeaseLost):
            await call()
    kinds = [event for event in events if not isinstance(event, StoreCalled)]
    assert kinds[:2] == [Claimed(delivery), Released(delivery)]
    names = ["commit", "park", "bury", "release", "peek", "look"]
    assert kinds[2:] == [LeaseGone(delivery, name) for name in names]


def test_calls_of_the_store_are_timed_with_their_errors():
    class Slow(MemoryStore):
        async def append(self, *_: Any) -> int:
            await asyncio.sleep(3)
            raise StoreUnavailable("no")

    async def main() -> None:
        events: list[Any] = []
        observed = observed_store(Slow(), events.append)
        with pytest.raises(StoreUnavailable):
            await append(observed, [update(1)])
        assert observed.lane("chat:1") == "chat:1"  # the store's own
        assert await observed.state("chat:1", "") is None
        (appended, state) = events
        assert (appended.name, appended.took_s, str(appended.error)) == ("append", 3.0, "no")
        assert (state.name, state.error) == ("state", None)

    run_virtual(main())


def test_a_cut_off_handler_is_reported_as_cancelled():
    async def hangs(work: Work) -> Effects:
        await asyncio.sleep(5000)
        return Effects()

    events = Watched(hangs, handler_timeout_s=5, attempts_max=1).run(update(1))
    (handled,) = [event for event in events if isinstance(event, Handled)]
    assert isinstance(handled.outcome, asyncio.CancelledError)
    assert isinstance(events[-1], Buried)


def test_what_a_handler_asks_to_be_repeated():
    tries: list[int] = []

    async def asks(work: Work) -> Effects:
        tries.append(work.attempt)
        if len(tries) == 1:
            raise Retry("later")
        return Effects()

    events = Watched(asks).run(update(1))
    assert [type(event) for event in events if isinstance(event, Parked | Committed | Buried)] == [
        Parked,
        Committed,
    ]


async def test_the_lanes_of_an_observed_store_are_the_stores():
    store = MemoryStore()
    await append(store, [update(1)])
    observed = observed_store(store, print)
    assert [lane.key for lane in await observed.lanes(INBOX)] == ["chat:1"]
    assert await observed.lanes(Queue.OUTBOX) == []
