"""What happens in a bot, counted with plain numbers: its meter (engine/meter.py, telegram/service/sender.py).

* Labels are bounded: a queue, an outcome, a method of the Bot API (else "other"), a known code (else "other"), a method of
  the store. Never a chat, a user, a lane, a text or the text of an error.
* What it keeps per reply in progress is bounded by WAITING_MAX. Durations are kept until `fold`.
* What is called for each delivery and each call is in telegram/metrics/meters.py.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from engine import (
    Call,
    Delivery,
    Effects,
    LeaseLost,
    NotPeeked,
    Park,
    Queue,
    Reject,
    Retry,
    StateChanged,
    TooManyTimers,
)
from engine.observe import Appended, Buried, Committed, Handled, LeaseGone, Parked, StoreCalled
from telegram.botapi.errors import ApiError, FileUnusable, NotSent, OutcomeUnknown, TelegramError
from telegram.botapi.schema import load
from telegram.metrics.histogram import COUNTS, SECONDS, SHORT, Histogram
from telegram.metrics.meters import PoolMeter, executed
from telegram.service.observe import Polled, PollFailed, Received, SendFailed, Sent

WAITING_MAX: Final = 10_000
"""Replies in progress whose time is measured; of more than that the oldest are not measured."""

METHODS: Final = frozenset(load().methods)
OTHER: Final = "other"
QUEUES: Final = ("inbox", "timers", "outbox")
CODES: Final = frozenset({400, 401, 403, 404, 408, 409, 413, 421, 429, 500, 502, 503, 504})
STORE_CALLS: Final = ("append", "peek", "look", "state", "commit", "park", "bury", "release")
HELD_CALLS: Final = ("peek", "look", "commit", "park", "bury", "release")
"""Those that a lost lease makes fail."""

WRITES: Final = frozenset({"append", "commit", "park", "bury"})

_ANSWERS: Final = (LeaseLost, StateChanged, NotPeeked, TooManyTimers, asyncio.CancelledError, GeneratorExit)
"""Errors that are a result of the request: the store works."""

_OUTCOMES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (Retry, "retry"),
    (Park, "park"),
    (Reject, "reject"),
    (asyncio.CancelledError, "cut"),
)


class Pool:
    """The counts of one of QUEUES."""

    __slots__ = ("also", "attempts", "buried", "handled", "handler_s", "others", "parked")

    def __init__(self) -> None:
        self.handler_s = Histogram(SECONDS)
        self.handled: Counter[str] = Counter()
        """By outcome, the runs of handlers that were reported by themselves; all others were committed at once."""

        self.others = 0
        """Deliveries that were committed later than that."""

        self.also = 0
        """Updates that were committed with another one."""

        self.attempts = Histogram(COUNTS[:5])  # without `at_once`
        self.parked: Counter[str] = Counter()  # "failed" or "waits"
        self.buried = 0

    @property
    def at_once(self) -> int:
        """Deliveries that were committed directly after the run of their handler, at their first attempt."""
        return len(self.handler_s) - self.handled.total()


class Counts:
    """The meter of a bot. `wall` returns Unix time by Telegram's clock, `clock` the time in seconds from any origin."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.clock = clock
        self.lead = [wall() - clock()]
        """What Unix time has more than `clock`, as of the last `fold`."""

        self._last_received: tuple[float, int] | None = None
        self.waiting: dict[bytes, float] = {}
        """Body of a reply's call -> Unix time when its update was received; 0: that is not known."""

        self.received = self.appended = 0
        self.pools = {queue: Pool() for queue in QUEUES}
        self.leases_lost: Counter[tuple[str, str]] = Counter()  # queue, method of the store
        self._executed: Counter[str] = Counter()  # method of the Bot API
        self._new_calls: list[str] = []
        """Methods of executed calls since the last `fold`."""

        self.failed_calls: Counter[tuple[str, str]] = Counter()  # method, code
        self.store_errors: Counter[str] = Counter()  # method of the store
        self.store_s = {name: Histogram(SHORT) for name in (*STORE_CALLS, OTHER)}
        self.reply_s = Histogram(SECONDS)
        self.call_s = Histogram(SECONDS)
        self.batches = Histogram(COUNTS)
        self.source_at: float | None = None
        """By `clock`, when an answer to getUpdates, or an update, came last; None: not yet."""

        self._failed_at: int | None = None
        """The last writing call of the store failed when it had so many commits; None: it worked."""

        self.called = self._new_calls.append
        self.sent: Callable[[str, float, Delivery], None] = executed(self)
        """Count a request that was begun at a time, and that Telegram has executed now."""

        self._histograms = [
            *(each for pool in self.pools.values() for each in (pool.handler_s, pool.attempts)),
            *(*self.store_s.values(), self.reply_s, self.call_s, self.batches),
        ]
        self._by: Mapping[type, Callable[[Any], None]] = MappingProxyType(
            {
                Received: self._received,
                Appended: self._appended,
                Handled: self._handled,
                Committed: self._committed,
                Parked: self._parked,
                Buried: self._buried,
                LeaseGone: self._lease_gone,
                StoreCalled: self._store_called,
                Sent: self._sent,
                SendFailed: self._send_failed,
                Polled: self._polled,
                PollFailed: self._poll_failed,
            }
        )

    def of(self, queue: Queue) -> PoolMeter:
        """Return the meter of one queue's pool."""
        return PoolMeter(self, queue)

    def fold(self) -> None:
        """Sort the durations into their histograms; to be called a few times a second."""
        self.lead[0] = self._wall() - self.clock()
        for each in self._histograms:
            each.fold()
        for method, count in Counter(self._new_calls).items():
            self._executed[method if method in METHODS else OTHER] += count
        self._new_calls.clear()
        while len(self.waiting) > WAITING_MAX:
            del self.waiting[next(iter(self.waiting))]

    @property
    def executed(self) -> Counter[str]:
        """Calls that Telegram has executed, by method of the Bot API."""
        self.fold()
        return self._executed

    @property
    def store_fails(self) -> bool:
        """Whether the last writing call of the store failed."""
        return self._failed_at is not None and len(self.store_s["commit"]) == self._failed_at

    # -- reported by calls (engine/meter.py, telegram/service/sender.py) ----------------------------------------------

    def await_replies(self, calls: tuple[Call, ...], at: float) -> None:
        """Note the replies to an update that was received at Unix time `at`."""
        for call in calls:
            self.waiting.setdefault(call.body, at)

    def not_sent(self, delivery: Delivery) -> None:
        """Note that a call is done without having been executed: it is dropped."""
        self.waiting.pop(delivery.envelope.body, None)

    def send_failed(self, method: str, began: float, error: TelegramError) -> None:
        """Count a request that has failed now."""
        self._send_failed(SendFailed("", method, b"", self.clock() - began, error))

    def handled(self, delivery: Delivery, took_s: float, error: BaseException | None = None) -> None:
        """Count a run of a handler that raised, or whose effects are not committed at once."""
        pool = self._pool(delivery)
        pool.handler_s.add(took_s)
        pool.handled[_outcome(error)] += 1

    def not_usual(self, delivery: Delivery, effects: Effects, began: float, ended: float) -> None:
        """Count a delivery that was committed, other than an update or a call at its first attempt."""
        self.handled(delivery, ended - began)
        self._committed(Committed(delivery, effects))

    def not_committed(self, delivery: Delivery, began: float, ended: float, error: BaseException) -> None:
        """Count a run of a handler, and a commit that has failed now."""
        self.handled(delivery, ended - began)
        self._store_called(StoreCalled("commit", self.clock() - ended, error))
        if isinstance(error, LeaseLost):
            self._lease_gone(LeaseGone(delivery, "commit"))

    # -- events: from Telegram to the commit -----------------------------------------------------------------------

    def __call__(self, event: object) -> None:
        """Count an event; unknown ones are ignored."""
        count = self._by.get(type(event))
        if count is not None:
            count(event)

    def _polled(self, _: Polled) -> None:
        self.source_at = self.clock()
        self.called("getUpdates")

    def _poll_failed(self, event: PollFailed) -> None:
        self.failed_calls["getUpdates", code_of(event.error)] += 1

    def _received(self, event: Received) -> None:
        self.source_at = self.clock()
        batch = (event.at, event.updates[0].update_id) if event.updates else None
        if batch != self._last_received:  # else it is stored again after an outage of the store
            self._last_received = batch
            self.received += len(event.updates)

    def _appended(self, event: Appended) -> None:
        self.appended += event.new
        self.batches.add(len(event.batch))

    def _handled(self, event: Handled) -> None:
        outcome = event.outcome
        self.handled(event.delivery, event.took_s, outcome if isinstance(outcome, BaseException) else None)

    def _committed(self, event: Committed) -> None:
        delivery, effects = event.delivery, event.effects
        queue = _queue(delivery)
        pool = self.pools[queue]
        pool.others += 1
        pool.also += effects.also
        pool.attempts.add(delivery.attempt)
        if queue == "outbox":
            self.not_sent(delivery)
        elif queue == "inbox":
            self.await_replies(effects.calls, delivery.envelope.at)

    def _parked(self, event: Parked) -> None:
        self._pool(event.delivery).parked["failed" if event.counted else "waits"] += 1

    def _buried(self, event: Buried) -> None:
        pool = self._pool(event.delivery)
        pool.buried += 1
        pool.attempts.add(event.delivery.attempt)
        self.not_sent(event.delivery)

    def _pool(self, delivery: Delivery) -> Pool:
        return self.pools[_queue(delivery)]

    # -- events: the store -----------------------------------------------------------------------------------------

    def _lease_gone(self, event: LeaseGone) -> None:
        self.leases_lost[_queue(event.delivery), _known(event.call)] += 1

    def _store_called(self, event: StoreCalled) -> None:
        name = event.name
        self.store_s[_known(name)].add(event.took_s)
        failed = event.error is not None and not isinstance(event.error, _ANSWERS)
        if failed:
            self.store_errors[_known(name)] += 1
        if name in WRITES and (failed or event.error is None):
            self._failed_at = len(self.store_s["commit"]) if failed else None

    # -- events: to Telegram ---------------------------------------------------------------------------------------

    def _sent(self, event: Sent) -> None:
        self.called(event.method)
        self.call_s.add(event.took_s)
        if event.delivery is not None and (at := self.waiting.pop(event.delivery.envelope.body, 0.0)):
            self.reply_s.add(self._wall() - at)

    def _send_failed(self, event: SendFailed) -> None:
        method = event.method if event.method in METHODS else OTHER
        self.failed_calls[method, code_of(event.error)] += 1
        self.call_s.add(event.took_s)


def code_of(error: TelegramError) -> str:
    """Return the label of a failed call: a known HTTP code of Telegram's answer, or what happened instead of an answer."""
    match error:
        case ApiError():
            return str(error.code) if error.code in CODES else OTHER
        case NotSent():
            return "not sent"
        case OutcomeUnknown():
            return "unknown"
        case FileUnusable():
            return "file"
    return OTHER


def _queue(delivery: Delivery) -> str:
    if delivery.lease.queue is Queue.OUTBOX:
        return "outbox"
    return "timers" if delivery.envelope.is_timer else "inbox"


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), "error")


def _known(name: str) -> str:
    return name if name in STORE_CALLS else OTHER
