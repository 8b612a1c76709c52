"""Labels are bounded, whatever comes; what is kept per reply is, too."""

import asyncio
from typing import Any

import pytest

from engine import Call, Delivery, Effects, Envelope, Lease, LeaseLost, Queue, StoreUnavailable
from engine.model import TIMER_IDS
from engine.observe import Appended, Buried, Committed, Handled, LeaseGone, Parked, StoreCalled
from telegram.botapi.errors import FileUnusable, NotSent, OutcomeUnknown, Refused, RetryAfter
from telegram.botapi.intake import RawUpdate
from telegram.metrics import counts as module
from telegram.metrics.counts import CODES, METHODS, Counts
from telegram.metrics.exposition import Exposition
from telegram.metrics.health import Health
from telegram.service.observe import PollFailed, Received, SendFailed, Sent
from tests.kit.scraped import values


def delivery(
    queue: Queue = Queue.INBOX, id_: int = 1, body: bytes = b"{}", at: float = 90.0, attempt: int = 1
) -> Delivery:
    return Delivery(Lease(queue, "chat:7", 1), Envelope(id_, "chat:7", "", body, at), attempt, None)


def a_counts() -> Counts:
    return Counts(lambda: 100.0, lambda: 5.0)


async def shown(counts: Counts) -> dict[tuple[str, ...], float]:
    return values((await Exposition(counts, Health(counts, lambda: 5.0)).text(100.0)).decode())


async def test_ten_thousand_invented_names_are_one_label():
    counts = a_counts()
    for number in range(10_000):
        name = f"method{number}"
        counts(Sent(f"chat:{number}", name, b"", 0.1))
        counts(SendFailed(f"chat:{number}", name, b"", 0.1, Refused(name, number, f"text {number}")))
        counts(StoreCalled(name, 0.1, RuntimeError(name)))
        counts(LeaseGone(delivery(), name))
        counts(Handled(delivery(), 0.1, type(f"Error{number}", (Exception,), {})()))
        counts(object())
    text = (await Exposition(counts, Health(counts, lambda: 5.0)).text(100.0)).decode()
    seen = values(text)
    assert len(seen) < 250 + len(CODES)
    assert "method1" not in text
    assert "chat:" not in text
    assert "Error1" not in text
    assert seen["chatlane_calls_total", "200", "other"] == 10_000
    assert seen["chatlane_calls_total", "400", "other"] == 1
    assert seen["chatlane_leases_lost_total", "other", "inbox"] == 10_000
    assert "sendMessage" in METHODS


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RetryAfter("sendMessage", 429, "Too Many Requests"), "429"),
        (Refused("sendMessage", 418, "teapot"), "other"),
        (NotSent("sendMessage", "refused"), "not sent"),
        (OutcomeUnknown("sendMessage", "cut"), "unknown"),
        (FileUnusable("gone"), "file"),
    ],
)
async def test_a_failed_call_has_its_code(error, code):
    counts = a_counts()
    counts(SendFailed("chat:7", "sendMessage", b"", 0.1, error))
    counts(PollFailed(0.1, error))
    seen = await shown(counts)
    assert seen["chatlane_calls_total", code, "sendMessage"] == 1
    assert seen["chatlane_calls_total", code, "getUpdates"] == 1


async def test_a_reply_is_measured_from_the_receipt_of_its_update():
    counts = a_counts()
    counts(Committed(delivery(at=60.0), Effects((Call("chat:7", b"call"),))))
    counts(Sent("chat:7", "sendMessage", b"readdressed", 0.1, delivery(Queue.OUTBOX, body=b"another")))
    assert not counts.reply_s
    counts(Sent("chat:7", "sendMessage", b"readdressed", 0.1, delivery(Queue.OUTBOX, body=b"call")))
    assert (len(counts.reply_s), counts.reply_s.total) == (1, 40.0)
    counts(Sent("chat:7", "sendMessage", b"readdressed", 0.1, delivery(Queue.OUTBOX, body=b"call")))
    assert len(counts.reply_s) == 1


@pytest.mark.parametrize(
    "event",
    [
        Committed(delivery(Queue.OUTBOX, body=b"call"), Effects()),
        Buried(delivery(Queue.OUTBOX, body=b"call"), "400"),
    ],
)
async def test_a_call_that_is_not_sent_leaves_nothing(event):
    counts = a_counts()
    counts(Committed(delivery(), Effects((Call("chat:7", b"call"),))))
    counts(event)
    assert not counts.waiting


async def test_replies_of_timers_and_of_unknown_times_are_not_measured():
    counts = a_counts()
    counts(Committed(delivery(id_=TIMER_IDS + 1), Effects((Call("chat:7", b"call"),))))
    counts(Committed(delivery(at=0.0), Effects((Call("chat:7", b"call"),))))
    counts(Sent("chat:7", "sendMessage", b"call", 0.1, delivery(Queue.OUTBOX, body=b"call")))
    assert not counts.waiting
    assert not counts.reply_s
    assert {name: pool.others for name, pool in counts.pools.items()} == {
        "inbox": 1,
        "timers": 1,
        "outbox": 0,
    }


async def test_replies_in_progress_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    counts = a_counts()
    for number in range(10):
        counts(Committed(delivery(), Effects((Call("chat:7", b"call %d" % number),))))
    counts.fold()
    assert list(counts.waiting) == [b"call 7", b"call 8", b"call 9"]


def test_a_batch_that_is_stored_again_is_received_once():
    counts = a_counts()
    batch = tuple(RawUpdate(number, b"{}", {}) for number in (1, 2))
    for _ in range(3):
        counts(Received(batch, 50.0))
    counts(Received(batch, 51.0))
    counts(Received((), 52.0))
    assert counts.received == 4
    counts(Appended((), 2))
    assert counts.appended == 2


@pytest.mark.parametrize(
    ("error", "fails"),
    [
        (StoreUnavailable("full"), True),
        (LeaseLost("x"), False),
        (asyncio.CancelledError(), False),
        (None, False),
    ],
)
def test_the_store_fails_until_a_writing_call_works(error: Any, fails: bool):
    counts = a_counts()
    counts(StoreCalled("commit", 0.1, error))
    assert counts.store_fails == fails
    counts(StoreCalled("state", 0.1, None))
    assert counts.store_fails == fails
    counts(StoreCalled("append", 0.1, LeaseLost("x")))
    assert counts.store_fails == fails
    counts(StoreCalled("append", 0.1, None))
    assert not counts.store_fails


async def test_outcomes_and_attempts_are_counted_by_queue():
    counts = a_counts()
    counts(Handled(delivery(Queue.OUTBOX), 0.1, asyncio.CancelledError()))
    counts(Parked(delivery(), 1.0, True, "secret"))
    counts(Parked(delivery(), 1.0, False, "secret"))
    counts(Buried(delivery(attempt=5), "secret"))
    counts(Committed(delivery(), Effects(also=3)))
    seen = await shown(counts)
    assert seen["chatlane_handled_total", "cut", "outbox"] == 1
    assert (
        seen["chatlane_parked_total", "inbox", "failed"]
        == seen["chatlane_parked_total", "inbox", "waits"]
        == 1
    )
    assert seen["chatlane_attempts_sum", "inbox"] == 6
    assert seen["chatlane_committed_total", "inbox"] == 4


@pytest.mark.parametrize("queue", list(Queue))
async def test_what_is_told_by_calls_counts_as_the_same_events(queue: Queue):
    """An Engine with a meter tells the frequent things by calls: engine/meter.py."""
    told, seen = a_counts(), a_counts()
    meter = told.of(queue)
    effects = Effects((Call("chat:7", b"call"),), also=2) if queue is Queue.INBOX else Effects()
    for each in (delivery(queue), delivery(queue, attempt=3), delivery(queue, TIMER_IDS + 1)):
        for committed in (effects, Effects()):
            meter.committed(each, committed, 3.0, 4.0)
            seen(Handled(each, 1.0, committed))
            seen(StoreCalled("commit", 1.0, None))
            seen(Committed(each, committed))
    meter.handled(each, 3.0, 4.0, TypeError("secret"))
    seen(Handled(each, 1.0, TypeError("secret")))
    for error in (LeaseLost("chat:7"), StoreUnavailable("full")):
        meter.not_committed(each, 3.0, 4.0, error)
        seen(Handled(each, 1.0, Effects()))
        seen(StoreCalled("commit", 1.0, error))
    seen(LeaseGone(each, "commit"))
    call = delivery(Queue.OUTBOX, body=b"call")
    told.sent("sendMessage", 4.0, call)
    seen(Sent("chat:7", "sendMessage", b"call", 1.0, call))
    told.sent("invented", 4.0, call)
    seen(Sent("chat:7", "invented", b"call", 1.0, call))
    told.send_failed("sendMessage", 4.0, RetryAfter("sendMessage", 429, "Too Many Requests"))
    seen(SendFailed("", "sendMessage", b"", 1.0, RetryAfter("sendMessage", 429, "Too Many Requests")))
    assert told.store_fails
    assert seen.store_fails
    assert of_chatlane(await shown(told)) == of_chatlane(await shown(seen))
    meter.committed(delivery(queue), Effects(), 3.0, 4.0)
    assert not told.store_fails


def of_chatlane(values: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Without those of the process, which change by themselves."""
    return {name: value for name, value in values.items() if name[0].startswith("chatlane_")}


def test_a_call_that_is_dropped_is_not_waited_for():
    counts = a_counts()
    counts.of(Queue.INBOX).committed(delivery(), Effects((Call("chat:7", b"call"),)), 3.0, 4.0)
    counts.not_sent(delivery(Queue.OUTBOX, body=b"call"))
    assert not counts.waiting
