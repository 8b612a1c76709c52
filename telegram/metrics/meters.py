"""What is called for each delivery and each call while metrics are on: functions that look up nothing, as each line counts.

python -m tests.bench metered      what they cost
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine import Delivery, Effects, Queue
from engine.model import TIMER_IDS

if TYPE_CHECKING:
    from telegram.metrics.counts import Counts


class PoolMeter:
    """The meter of one Engine. `committed` is called for each delivery: a function without attributes to look up."""

    def __init__(self, counts: "Counts", queue: Queue) -> None:
        self.clock = counts.clock
        self._handled = counts.handled
        self._not_committed = counts.not_committed
        of = _update_committed if queue is Queue.INBOX else _call_committed
        self.committed: Callable[[Delivery, Effects, float, float], None] = of(counts)

    def handled(
        self, delivery: Delivery, began: float, ended: float, error: BaseException | None = None
    ) -> None:
        """Count a run of a handler that raised, or whose effects are to be committed with events."""
        self._handled(delivery, ended - began, error)

    def not_committed(self, delivery: Delivery, began: float, ended: float, error: BaseException) -> None:
        """Count a run of a handler, and a commit that has failed now."""
        self._not_committed(delivery, began, ended, error)


def _update_committed(counts: "Counts") -> Callable[[Delivery, Effects, float, float], None]:
    """Return `committed` of the inbox (engine/meter.py)."""
    clock, rare = counts.clock, counts.not_usual
    took, commit_took = counts.pools["inbox"].handler_s.add, counts.store_s["commit"].add
    waits = counts.waiting.setdefault

    def committed(delivery: Delivery, effects: Effects, began: float, ended: float) -> None:
        commit_took(clock() - ended)
        envelope = delivery.envelope
        if delivery.attempt != 1 or effects.also or envelope.id >= TIMER_IDS:
            rare(delivery, effects, began, ended)
            return
        took(ended - began)
        for call in effects.calls:
            waits(call.body, envelope.at)

    return committed


def _call_committed(counts: "Counts") -> Callable[[Delivery, Effects, float, float], None]:
    """Return `committed` of the outbox: no timers, and each call is committed alone."""
    clock, rare = counts.clock, counts.not_usual
    took, commit_took = counts.pools["outbox"].handler_s.add, counts.store_s["commit"].add

    def committed(delivery: Delivery, effects: Effects, began: float, ended: float) -> None:
        commit_took(clock() - ended)
        if delivery.attempt == 1:
            took(ended - began)
        else:
            rare(delivery, effects, began, ended)

    return committed


def executed(counts: "Counts") -> Callable[[str, float, Delivery], None]:
    """Return `sent` (telegram/service/sender.py)."""
    clock, called, took = counts.clock, counts.called, counts.call_s.add
    awaited, replied, lead = counts.waiting.pop, counts.reply_s.add, counts.lead

    def sent(method: str, began: float, delivery: Delivery) -> None:
        now = clock()
        took(now - began)
        called(method)
        if at := awaited(delivery.envelope.body, 0.0):
            replied(now + lead[0] - at)

    return sent
