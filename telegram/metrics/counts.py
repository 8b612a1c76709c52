"""What happens in a bot, counted: an observer (engine/observe.py, telegram/service/observe.py) with plain numbers.

* Labels are bounded: a queue, an outcome, a method of the Bot API (else "other"), a known code (else "other"), a method of
  the store. Never a chat, a user, a lane, a text or the text of an error.
* What it keeps per reply in progress is bounded by WAITING_MAX.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from engine import (
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
from telegram.service.observe import Polled, PollFailed, Received, SendFailed, Sent

WAITING_MAX: Final = 10_000
"""Replies in progress whose time is measured; of more than that the oldest are not measured."""

METHODS: Final = frozenset(load().methods)
OTHER: Final = "other"
QUEUES: Final = ("inbox", "timers", "outbox")
CODES: Final = frozenset({400, 401, 403, 404, 408, 409, 413, 421, 429, 500, 502, 503, 504})
STORE_CALLS: Final = ("append", "peek", "look", "state", "commit", "park", "bury", "release")
WRITES: Final = frozenset({"append", "commit", "park", "bury"})

_ANSWERS: Final = (LeaseLost, StateChanged, NotPeeked, TooManyTimers, asyncio.CancelledError, GeneratorExit)
"""Errors that are a result of the request: the store works."""

_OUTCOMES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (Retry, "retry"),
    (Park, "park"),
    (Reject, "reject"),
    (asyncio.CancelledError, "cut"),
)


class Counts:
    """Call it with each event. `wall` returns Unix time by Telegram's clock; times of the event loop are `clock`'s."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self._wall = wall
        self._clock = clock
        self._last_received: tuple[float, int] | None = None
        self._waiting: dict[bytes, float] = {}
        """Body of a reply's call -> Unix time when its update was received."""

        self.received = self.appended = 0
        self.handled: Counter[tuple[str, str]] = Counter()  # queue, outcome
        self.committed: Counter[str] = Counter()  # queue
        self.parked: Counter[tuple[str, str]] = Counter()  # queue, "failed" or "waits"
        self.buried: Counter[str] = Counter()  # queue
        self.leases_lost: Counter[tuple[str, str]] = Counter()  # queue, method of the store
        self.calls: Counter[tuple[str, str]] = Counter()  # method, code
        self.store_errors: Counter[str] = Counter()  # method of the store
        self.handler_s = {queue: Histogram(SECONDS) for queue in QUEUES}
        self.attempts = {queue: Histogram(COUNTS[:5]) for queue in QUEUES}
        self.store_s: dict[str, Histogram] = defaultdict(lambda: Histogram(SHORT))
        self.reply_s = Histogram(SECONDS)
        self.call_s = Histogram(SECONDS)
        self.batches = Histogram(COUNTS)
        self.source_at: float | None = None
        """Loop time when an answer to getUpdates, or an update, came last; None: not yet."""

        self.store_fails = False
        """Whether the last writing call of the store failed."""

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

    def __call__(self, event: object) -> None:
        """Count an event; unknown ones are ignored."""
        count = self._by.get(type(event))
        if count is not None:
            count(event)

    # -- from Telegram to the commit -------------------------------------------------------------------------------

    def _polled(self, _: Polled) -> None:
        self.source_at = self._clock()
        self.calls["getUpdates", "200"] += 1

    def _poll_failed(self, event: PollFailed) -> None:
        self.calls["getUpdates", code_of(event.error)] += 1

    def _received(self, event: Received) -> None:
        self.source_at = self._clock()
        batch = (event.at, event.updates[0].update_id) if event.updates else None
        if batch != self._last_received:  # else it is stored again after an outage of the store
            self._last_received = batch
            self.received += len(event.updates)

    def _appended(self, event: Appended) -> None:
        self.appended += event.new
        self.batches.add(len(event.batch))

    def _handled(self, event: Handled) -> None:
        queue = _queue(event.delivery)
        self.handler_s[queue].add(event.took_s)
        self.handled[queue, _outcome(event.outcome)] += 1

    def _committed(self, event: Committed) -> None:
        delivery, effects = event.delivery, event.effects
        queue = _queue(delivery)
        self.committed[queue] += 1 + effects.also
        self.attempts[queue].add(delivery.attempt)
        if queue == "outbox":
            self._waiting.pop(delivery.envelope.body, None)  # a call that was dropped
        elif effects.calls and queue == "inbox" and delivery.envelope.at:
            self._await_replies(effects, delivery.envelope.at)

    def _await_replies(self, effects: Effects, at: float) -> None:
        waiting = self._waiting
        for call in effects.calls:
            waiting.setdefault(call.body, at)
        while len(waiting) > WAITING_MAX:
            del waiting[next(iter(waiting))]

    def _parked(self, event: Parked) -> None:
        self.parked[_queue(event.delivery), "failed" if event.counted else "waits"] += 1

    def _buried(self, event: Buried) -> None:
        queue = _queue(event.delivery)
        self.buried[queue] += 1
        self.attempts[queue].add(event.delivery.attempt)
        self._waiting.pop(event.delivery.envelope.body, None)

    # -- the store ---------------------------------------------------------------------------------------------------

    def _lease_gone(self, event: LeaseGone) -> None:
        self.leases_lost[_queue(event.delivery), _known(event.call)] += 1

    def _store_called(self, event: StoreCalled) -> None:
        name = event.name
        self.store_s[_known(name)].add(event.took_s)
        failed = event.error is not None and not isinstance(event.error, _ANSWERS)
        if failed:
            self.store_errors[_known(name)] += 1
        if name in WRITES and (failed or event.error is None):
            self.store_fails = failed

    # -- to Telegram -------------------------------------------------------------------------------------------------

    def _sent(self, event: Sent) -> None:
        method = event.method
        self.calls[method if method in METHODS else OTHER, "200"] += 1
        self.call_s.add(event.took_s)
        if event.delivery is not None:
            at = self._waiting.pop(event.delivery.envelope.body, None)
            if at is not None:
                self.reply_s.add(self._wall() - at)

    def _send_failed(self, event: SendFailed) -> None:
        method = event.method if event.method in METHODS else OTHER
        self.calls[method, code_of(event.error)] += 1
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


def _outcome(outcome: Effects | BaseException) -> str:
    if isinstance(outcome, Effects):
        return "ok"
    return next((name for kind, name in _OUTCOMES if isinstance(outcome, kind)), "error")


def _known(name: str) -> str:
    return name if name in STORE_CALLS else OTHER
