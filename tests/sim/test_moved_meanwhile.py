"""What was under way when a share moved: on the simulated server, which is slow at the right moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import copy_context
from typing import Any

import pytest

from engine import Effects, LeaseLost, StoreUnavailable
from engine.embedded.lanes import LaneTable
from engine.model import TIMER_IDS, Envelope, Queue, StateChange
from engine.stores.owned.ids import Count
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import Shares, share_of
from engine.stores.owned.timers import Timers
from tests.kit.virtual import run_virtual
from tests.sim.database import Server
from tests.sim.database_statements import forget_session, in_place_of_postgres
from tests.sim.loop import SimLoop
from tests.sim.shares import new_store

pytestmark = pytest.mark.usefixtures("quiet")

KEY = "chat:1"
NONE = (float("-inf"), 0, float("-inf"))
Act = Callable[[Server, list[Any]], Awaitable[None]]


def with_stores(count: int, act: Act) -> None:
    """Open so many stores over a simulated server, and let something happen."""
    rng = random.Random(1)
    loop = SimLoop(rng)
    server = Server(rng, copy_context())

    async def run() -> None:
        async with AsyncExitStack() as closing:
            stores = []
            for _ in range(count):
                stores.append(new_store(lambda: loop.time() + 1e9))
                closing.push_async_callback(stores[-1].close)
                await stores[-1].open()
            await asyncio.sleep(5.0)  # each has its part
            await act(server, stores)

    try:
        with in_place_of_postgres(server, copy_context, lambda _: None):
            loop.run_until_complete(run())
    finally:
        loop.close()


async def given_meanwhile(server: Server, store: Any, asked: Awaitable[Any]) -> None:
    """Give the lane's share up while what was asked is being committed."""
    server.slow_commits, server.slow_commit_s = 1.0, 1.0
    asking = asyncio.ensure_future(asked)
    while not any(backend.is_committing for backend in server.running()):
        await asyncio.sleep(0.001)
    store._give({share_of(KEY)})
    assert not store._shares.owns(KEY)
    await asking


def test_a_dead_letter_is_replayed_to_who_has_the_lane_by_then():
    async def act(server, stores):
        (store,) = stores
        await store.append(await store.right(), [Envelope(1, KEY, "", b"x")])
        await store.bury(await store.claim(Queue.INBOX), "wrong")
        (letter,) = await store.dead_letters()
        await given_meanwhile(server, store, store.replay(letter.number))
        assert len(server.tables.rows["inbox"]) == 1
        assert store.mine(Queue.INBOX).pending == 0

    with_stores(1, act)


def test_a_lane_is_held_by_who_has_it_by_then():
    async def act(server, stores):
        (store,) = stores
        await given_meanwhile(server, store, store.hold(Queue.INBOX, KEY, "wait"))
        assert len(server.tables.rows["parked"]) == 1
        assert await store.holds(Queue.INBOX) == {}

    with_stores(1, act)


def test_a_state_of_a_lane_of_another_session_is_cached_by_its_owner_only():
    async def act(_, stores):
        one, two = stores
        mine = next(key for key in map(str, range(99)) if one._shares.owns(key))
        far = next(key for key in map(str, range(99)) if two._shares.owns(key))
        await one.append(await one.right(), [Envelope(1, mine, "", b"x")])
        delivery = await one.claim(Queue.INBOX)
        await one.commit(delivery, Effects(states=(StateChange(far, "s", None, b"1"),)), more=False)
        assert (far, "s") not in one._states
        one._states.put((far, "s"), b"0")  # as a commit does whose caller was cancelled
        assert await one.state(far, "s") == b"1"
        assert (far, "s") not in one._states

    with_stores(2, act)


def test_a_lease_of_a_session_that_was_replaced_is_void():
    async def act(server, stores):
        (store,) = stores
        right = await store.right()
        await store.append(right, [Envelope(1, KEY, "", b"x")])
        delivery = await store.claim(Queue.INBOX)
        forget_session(store._ledger._session.id)(server.tables)
        await asyncio.sleep(10.0)  # it has joined again
        again = await store.claim(Queue.INBOX)
        assert again.envelope == delivery.envelope
        with pytest.raises(LeaseLost):
            await store.commit(delivery, Effects(), more=False)
        await store.commit(again, Effects(), more=False)

    with_stores(1, act)


def test_mail_is_filed_once_if_who_files_it_is_cancelled():
    async def act(server, stores):
        (store,) = stores
        loaded = store._loaded
        mail = ("post", KEY, "", 0, 1e9, b"x")
        server.tables.rows["mail"][1], server.tables.mails = mail, 1
        server.slow_commits, server.slow_commit_s = 1.0, 1.0
        holding = asyncio.ensure_future(store.hold(Queue.OUTBOX, "chat:2", "a commit that lasts"))
        await asyncio.sleep(0.01)
        first = asyncio.ensure_future(store._file_mail())
        await asyncio.sleep(0.001)
        first.cancel()
        await store._file_mail()
        await holding
        assert store._loaded is loaded
        assert len(server.tables.rows["timer"]) == 1

    with_stores(1, act)


class Asked:
    """A writer that notes what it is asked."""

    def __init__(self) -> None:
        self.questions: list[tuple[Read, tuple[Any, ...], Any, asyncio.Future[Any]]] = []

    def read_rows(self, what: Read, values: tuple[Any, ...], then: Any) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.questions.append((what, values, then, future))
        return future

    def answer(self, *rows: Any) -> None:
        _, _, then, future = self.questions.pop(0)
        future.set_result(then(list(rows)))


def timers_of(*keys: str) -> tuple[Timers, LaneTable, Shares, Asked]:
    """Return timers that have just asked which are due."""
    lanes, shares, asked = LaneTable(Queue.INBOX), Shares([share_of(key) for key in keys]), Asked()
    timers: Any = Timers(lanes, asyncio.get_running_loop().time, Count(0), shares)  # type: ignore[arg-type] # a clock
    timers.start(asked)
    timers.take([])
    return timers, lanes, shares, asked


def test_a_timer_comes_due_in_a_lane_that_is_still_owned():
    async def act():
        _, lanes, shares, asked = timers_of(KEY)
        await asyncio.sleep(0.1)
        shares.give([share_of(KEY)])
        asked.answer((0.0, TIMER_IDS + 1, KEY, "", "a"))
        assert lanes.pending == 0

    run_virtual(act())


def test_timers_of_lanes_that_are_taken_are_looked_for_from_the_first_one_on():
    async def act():
        timers, lanes, shares, asked = timers_of(KEY)
        await asyncio.sleep(0.1)
        asked.answer((0.05, TIMER_IDS + 1, KEY, "", "a"))
        shares.take([share_of("chat:2")])
        timers.take([])
        asked.answer()  # to a question of before
        asked.answer((99.0,))
        (what, values, *_) = asked.questions[0]
        assert (what, values[:3]) == (Read.DUE, NONE)
        asked.answer((0.04, TIMER_IDS + 2, "chat:2", "", "a"), (0.05, TIMER_IDS + 1, KEY, "", "a"))
        assert lanes.pending == 2
        asked.answer()
        asked.answer()
        assert not asked.questions
        timers.take([])
        await asyncio.sleep(0.1)
        ((_, values, *_),) = asked.questions
        assert values[:3] == NONE

    run_virtual(act())


def test_lanes_that_are_taken_after_a_failed_look_do_not_end_the_looks():
    async def act():
        timers, _, _, asked = timers_of(KEY)
        await asyncio.sleep(0.1)
        *_, failed = asked.questions.pop()
        failed.set_exception(StoreUnavailable("not now"))
        await asyncio.sleep(0.1)
        timers.take([])
        await asyncio.sleep(2.0)
        assert asked.questions

    run_virtual(act())
