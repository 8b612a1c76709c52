import asyncio
import json

import pytest

from telegram.fake.protocol.answers import ApiError
from telegram.fake.server.polling import LongPoll
from telegram.fake.world.queue import UpdateQueue


class Sleep:
    """Records the requested sleeps without sleeping."""

    def __init__(self):
        self.slept = []

    async def __call__(self, delay_s):
        self.slept.append(delay_s)


@pytest.fixture
def queue():
    queue = UpdateQueue(clock=lambda: 1000.0)
    queue.restart_ids(100)
    return queue


@pytest.fixture
def sleep():
    return Sleep()


@pytest.fixture
def long_poll(queue, sleep):
    return LongPoll(queue, sleep=sleep)


def say(queue):
    return queue.push("message", b'"message":{}')


def ids(batch):
    return [json.loads(raw)["update_id"] for raw in batch]


async def test_what_waits_is_returned_at_once(queue, long_poll):
    say(queue)
    assert ids(await long_poll.take(0, 100, 50)) == [100]


async def test_a_short_poll_of_an_empty_queue_returns_nothing(long_poll):
    assert await long_poll.take(0, 100, 0) == []


async def test_an_arriving_update_wakes_the_poll(queue, long_poll):
    poll = asyncio.create_task(long_poll.take(0, 100, 50))
    await long_poll.waiting()
    say(queue)
    say(queue)
    assert ids(await poll) == [100, 101]


async def test_waiting_means_now(queue, long_poll):
    poll = asyncio.create_task(long_poll.take(0, 100, 50))
    await long_poll.waiting()
    say(queue)
    await poll
    waiting = asyncio.create_task(long_poll.waiting())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_timeout_ends_the_poll_with_nothing(long_poll):
    assert await long_poll.take(0, 100, 0.001) == []


async def test_the_older_of_two_waiting_polls_gets_409(queue, long_poll, sleep):
    older = asyncio.create_task(long_poll.take(0, 100, 50))
    await long_poll.waiting()
    newer = asyncio.create_task(long_poll.take(1, 100, 50))
    with pytest.raises(ApiError, match="terminated by other getUpdates request; make sure") as refusal:
        await older
    assert refusal.value.code == 409
    assert sleep.slept == []
    say(queue)
    assert ids(await newer) == [100]


async def test_repeated_409s_are_delayed_by_3_s(queue, long_poll, sleep):
    polls = []
    for offset in range(3):
        polls.append(asyncio.create_task(long_poll.take(offset, 100, 50)))
        await asyncio.sleep(0)
    await asyncio.wait(polls[:2])
    assert sleep.slept == [3.0]
    assert polls[1].exception().code == 409
    say(queue)
    assert len(await polls[2]) == 1


async def test_a_poll_that_need_not_wait_ends_no_other_poll(queue, long_poll):
    older = asyncio.create_task(long_poll.take(0, 100, 50))
    await long_poll.waiting()
    assert await long_poll.take(1, 100, 0) == []
    say(queue)
    assert ids(await older) == [100]


async def test_a_cancelled_poll_frees_the_place(queue, long_poll, sleep):
    poll = asyncio.create_task(long_poll.take(0, 100, 50))
    await long_poll.waiting()
    poll.cancel()
    await asyncio.wait([poll])
    say(queue)
    assert ids(await long_poll.take(5, 100, 50)) == [100]
    assert sleep.slept == []


async def test_a_negative_offset_acts_once(queue, long_poll):
    poll = asyncio.create_task(long_poll.take(-1, 100, 50))
    await long_poll.waiting()
    say(queue)
    say(queue)
    assert ids(await poll) == [100, 101]


async def test_409_while_a_webhook_is_set(queue, long_poll):
    queue.webhook_url = "https://example.org/"
    with pytest.raises(ApiError, match="can't use getUpdates method while webhook is active") as refusal:
        await long_poll.take(0, 100, 0, ["poll"])
    assert refusal.value.code == 409
    assert "message" in queue.allowed  # refused as a whole


async def test_allowed_updates_are_taken_over(queue, long_poll):
    await long_poll.take(0, 100, 0, ["poll"])
    assert queue.allowed == {"poll"}
    await long_poll.take(1, 100, 0)
    assert queue.allowed == {"poll"}
