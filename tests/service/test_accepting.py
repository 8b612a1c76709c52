"""Updates that arrive one by one, and are appended together."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RightLost, StoreUnavailable
from engine.model import Right
from telegram.service.accepting import BATCH_MAX, RIGHT_WITHIN_S, STORE_WITHIN_S, Accepting
from tests.kit.virtual import run_virtual

POISON = 13


class Inbox:
    """Each append waits for `gate`, then does what `outcomes` say next: "store", "away", "lost", "hold"; then it stores."""

    def __init__(self, *outcomes, room=1000):
        self.batches = []
        self.stored = []
        self.outcomes = list(outcomes)
        self.free = room
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()

    async def room(self):
        return self.free

    async def right(self):
        return Right(1)

    async def resign(self, right):
        pass

    async def accept(self, right, batch, aliases=()):
        ids = [envelope.id for envelope in batch]
        self.batches.append(ids)
        self.began.set()
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else "store"
        if outcome == "away":
            raise StoreUnavailable("away")
        if outcome == "hold":
            await asyncio.Event().wait()
        if outcome == "lost":
            raise RightLost("right 1 to append")
        if POISON in ids:
            raise OverflowError("poison")
        self.stored += ids


def update(number):
    return b'{"update_id":%d}' % number


async def begun(accepting, inbox, *numbers):
    """The first update is being appended, the others wait."""
    inbox.gate.clear()
    tasks = []
    for number in numbers:
        tasks.append(asyncio.create_task(accepting.accept(update(number))))
        await asyncio.sleep(0)
    await inbox.began.wait()
    return tasks


async def outcomes(tasks):
    return [type(each).__name__ for each in await asyncio.gather(*tasks, return_exceptions=True)]


async def test_those_that_arrive_during_an_append_share_the_next_one():
    inbox = Inbox()
    numbers = range(100, 100 + BATCH_MAX + 3)
    tasks = await begun(Accepting(inbox), inbox, *numbers)
    inbox.gate.set()
    await asyncio.gather(*tasks)
    assert [len(each) for each in inbox.batches] == [1, BATCH_MAX, 2]
    assert inbox.stored == [*numbers]


async def test_no_more_at_a_time_than_there_is_room():
    inbox = Inbox(room=2)
    tasks = await begun(Accepting(inbox), inbox, *range(5))
    inbox.gate.set()
    await asyncio.gather(*tasks)
    assert [len(each) for each in inbox.batches] == [1, 2, 2]


@pytest.mark.parametrize("outcome", ["away", "lost"])
async def test_what_the_store_refuses_is_unavailable_for_all_and_the_next_are_tried(outcome):
    inbox = Inbox("store", outcome)
    accepting = Accepting(inbox)
    tasks = await begun(accepting, inbox, 1, 2, 3)
    inbox.gate.set()
    assert await outcomes(tasks) == ["NoneType", "StoreUnavailable", "StoreUnavailable"]
    await accepting.accept(update(2))
    assert inbox.stored == [1, 2]


async def test_one_that_cannot_be_appended_spoils_no_other():
    inbox = Inbox()
    tasks = await begun(Accepting(inbox), inbox, 1, 2, POISON, 3)
    inbox.gate.set()
    assert await outcomes(tasks) == ["NoneType", "NoneType", "OverflowError", "NoneType"]
    assert sorted(inbox.stored) == [1, 2, 3]


async def test_one_that_cannot_be_appended_and_leads_spoils_no_other():
    inbox = Inbox()
    tasks = await begun(Accepting(inbox), inbox, 1, POISON, 2)
    inbox.gate.set()
    assert await outcomes(tasks) == ["NoneType", "OverflowError", "NoneType"]


async def test_who_leads_is_cancelled_and_the_others_are_appended():
    inbox = Inbox()
    accepting = Accepting(inbox)
    tasks = await begun(accepting, inbox, 1, 2, 3)
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    inbox.gate.set()
    assert await outcomes(tasks) == ["CancelledError", "NoneType", "NoneType"]
    assert {2, 3} <= set(inbox.stored)


async def test_who_leads_for_others_is_cancelled_and_they_are_appended():
    inbox = Inbox("store", "hold")
    accepting = Accepting(inbox)
    tasks = await begun(accepting, inbox, 1, 2, 3, 4)
    inbox.gate.set()
    while len(inbox.batches) < 2:
        await asyncio.sleep(0)
    tasks[1].cancel()
    assert await outcomes(tasks) == ["NoneType", "CancelledError", "NoneType", "NoneType"]
    assert inbox.stored == [1, 3, 4]


async def test_who_is_to_lead_next_is_cancelled_in_that_moment():
    inbox = Inbox()
    accepting = Accepting(inbox)
    tasks = await begun(accepting, inbox, 1, 2, 3)
    inbox.gate.set()
    while not accepting._waiting[0].turn.done():
        await asyncio.sleep(0)
    tasks[1].cancel()
    assert await outcomes(tasks) == ["NoneType", "CancelledError", "NoneType"]
    await accepting.accept(update(4))
    assert inbox.stored == [1, 3, 4]


async def test_who_waits_is_cancelled():
    inbox = Inbox()
    accepting = Accepting(inbox)
    tasks = await begun(accepting, inbox, 1, 2, 3)
    tasks[1].cancel()
    await asyncio.wait({tasks[1]})
    inbox.gate.set()
    await asyncio.wait(tasks)
    assert inbox.stored == [1, 3]


def test_without_the_right_all_are_answered_soon():
    """Telegram has few connections, and a proxy can ask the process that has the right."""

    async def scenario():
        inbox = Inbox()
        inbox.right = asyncio.Event().wait  # type: ignore[method-assign]
        accepting = Accepting(inbox)
        began = asyncio.get_running_loop().time()
        tasks = [asyncio.create_task(accepting.accept(update(number))) for number in range(5)]
        found = await outcomes(tasks)
        assert asyncio.get_running_loop().time() - began == RIGHT_WITHIN_S
        return found

    assert run_virtual(scenario()) == ["StoreUnavailable"] * 5


def test_a_store_that_does_not_answer_is_unavailable():
    async def scenario():
        inbox = Inbox()
        accepting = Accepting(inbox)
        tasks = await begun(accepting, inbox, 1, 2, 3)
        began = asyncio.get_running_loop().time()
        found = await outcomes(tasks)
        assert asyncio.get_running_loop().time() - began == STORE_WITHIN_S
        inbox.gate.set()
        await accepting.accept(update(1))
        return found

    assert run_virtual(scenario()) == ["StoreUnavailable"] * 3


@given(
    seed=st.integers(0, 10_000),
    results=st.lists(st.sampled_from(["store", "away", "lost"]), max_size=8),
    count=st.integers(1, 14),
    room=st.integers(1, 5),
)
def test_whatever_is_cancelled_or_fails_what_was_accepted_is_stored_and_nothing_waits_for_ever(
    seed, results, count, room
):
    rng = random.Random(seed)

    async def scenario():
        inbox = Inbox(*results, room=room)
        accepting = Accepting(inbox)
        tasks = {}
        for number in range(count):
            tasks[number] = asyncio.create_task(accepting.accept(update(number)))
            inbox.gate.clear() if rng.random() < 0.5 else inbox.gate.set()
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            if rng.random() < 0.3:
                rng.choice(list(tasks.values())).cancel()
        inbox.gate.set()
        await asyncio.wait(tasks.values())
        for number, task in tasks.items():
            if not task.cancelled() and task.exception() is None:
                assert number in inbox.stored
            elif not task.cancelled():
                # The store may be away before it is tried with the update that it cannot take.
                possible = (OverflowError, StoreUnavailable) if number == POISON else StoreUnavailable
                assert isinstance(task.exception(), possible)
        inbox.outcomes.clear()
        await accepting.accept(update(100))
        assert not accepting._waiting
        assert 100 in inbox.stored

    results = [*results]
    run_virtual(scenario())
