import asyncio

import pytest

from telegram.fake.server.calls import POLLS_MAX, Call, CallLog, Poll, as_row
from tests.kit.bounds import WITHIN_S


def note(log, method="sendMessage", *, delivered=True):
    log.record(1.0, method, {"chat_id": "5", "text": "hi"}, 200, delivered=delivered)


def test_calls_are_numbered_from_1():
    log = CallLog()
    note(log)
    note(log, "getMe")
    assert [(call.n, call.method) for call in log.calls] == [(1, "sendMessage"), (2, "getMe")]


def test_chat_id_and_text_whatever_the_encoding():
    call = Call(1, 1.0, "sendMessage", {"chat_id": "5", "text": "hi"}, 200, delivered=True)
    assert (call.chat_id, call.text) == (5, "hi")
    bare = call._replace(params={})
    assert (bare.chat_id, bare.text) == (None, "")
    assert Call(*as_row(call)) == call


async def test_waiting_counts_earlier_and_later_calls():
    log = CallLog()
    note(log)
    note(log, "getMe")
    waiter = asyncio.create_task(log.wait(2, "sendMessage", delivered=None, timeout_s=WITHIN_S))
    await asyncio.sleep(0)
    note(log, "getMe")
    await asyncio.sleep(0)
    assert not waiter.done()
    note(log)
    assert [call.n for call in await waiter] == [1, 4]


async def test_waiting_for_delivered_calls_only():
    log = CallLog()
    note(log, delivered=False)
    note(log)
    assert [call.n for call in await log.wait(1, None, delivered=True, timeout_s=WITHIN_S)] == [2]
    assert [call.n for call in await log.wait(1, None, delivered=False, timeout_s=WITHIN_S)] == [1]


async def test_waiting_in_vain_is_an_error_with_the_number_of_calls():
    log = CallLog()
    note(log)
    with pytest.raises(TimeoutError, match="1 of 2 calls of sendMessage"):
        await log.wait(2, "sendMessage", delivered=None, timeout_s=0)
    assert not log._waiters


def test_polls_are_bounded_and_counted():
    log = CallLog()
    for n in range(POLLS_MAX + 1):
        log.record_poll(Poll(1.0, n, 100, 50, 0))
    assert len(log.polls) == POLLS_MAX
    assert log.poll_count == POLLS_MAX + 1


def test_what_is_forgotten_is_gone_and_the_numbers_go_on():
    log = CallLog()
    for _ in range(5):
        note(log)
    log.forget(2)
    log.forget(1)  # long gone
    note(log)
    assert [call.n for call in log.calls] == [3, 4, 5, 6]
    assert [call.n for call in log.since(0, 10)] == [3, 4, 5, 6]
    assert [call.n for call in log.since(4, 1)] == [5]
    log.forget(100)  # what is not there yet is not forgotten in advance
    note(log)
    assert [call.n for call in log.calls] == [7]
    assert log.call_count == 7
