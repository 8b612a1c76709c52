"""Rates and latencies of the last minutes, one sample a second: what the page plots and `top` shows.

Rates are differences of the store's counts, which it keeps anyway. Latencies, failures and 429s need the meter of the
metrics (telegram/metrics/counts.py): without one they are None.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from engine import Queue, Stats, StoreError, StoreUnavailable
from engine.store import FullStore

if TYPE_CHECKING:
    from telegram.metrics.counts import Counts
    from telegram.metrics.histogram import Histogram

EVERY_S: Final = 1.0
SAMPLES_MAX: Final = 300
"""Five minutes."""

UNASKED_S: Final = 60.0
"""Without the observer, samples are taken for so long after a page has asked: an idle bot is not woken."""

QUANTILES: Final = (0.5, 0.95)
_STORE_S: Final = 1.0

Sample = dict[str, Any]
_Times = dict[str, list[tuple[str, float]]]


class Rates:
    """Takes samples while it is entered. `counts` is the bot's meter, if it has one; `clock` is the event loop's."""

    def __init__(self, store: FullStore, counts: "Counts | None", clock: Callable[[], float]) -> None:
        self._store = store
        self._counts = counts
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._number = 0
        self._before: tuple[float, dict[str, int], _Times] | None = None
        self._asked_at = -UNASKED_S
        self._task: asyncio.Task[None] | None = None
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def since(self, number: int) -> list[Sample]:
        """Return the samples after this number, oldest first."""
        self._asked_at = self._clock()
        self._start()
        return [each for each in self._samples if each["number"] > number]

    async def sample(self) -> None:
        """Take a sample: the difference to the look before. Without an answer of the store there is none."""
        if self._counts is not None:
            self._counts.fold()  # without METRICS_LISTEN nothing else does
        try:
            async with asyncio.timeout(_STORE_S):
                stats = await self._store.stats()
        except (StoreUnavailable, StoreError, TimeoutError):
            return
        now, totals, times = self._clock(), self._totals(stats), self._times()
        before, self._before = self._before, (now, totals, times)
        if before is None:
            return
        passed_s = max(now - before[0], 1e-6)
        self._number += 1
        rates = {name: round((total - before[1][name]) / passed_s, 2) for name, total in totals.items()}
        latencies = {
            f"{name}_p{round(100 * part)}": quantile(buckets, before[2][name], part)
            for name, buckets in times.items()
            for part in QUANTILES
        }
        pending = {queue.value: stats.of(queue).pending for queue in Queue}
        self._samples.append({"number": self._number, **_NONE, **rates, **latencies, **pending})

    def _start(self) -> None:
        is_wanted = self._counts is not None or self._clock() - self._asked_at < UNASKED_S
        if self._is_open and is_wanted and (self._task is None or self._task.done()):
            self._before = None
            self._task = asyncio.create_task(self._run(), name="rates")

    async def _run(self) -> None:
        while self._counts is not None or self._clock() - self._asked_at < UNASKED_S:
            await self.sample()
            await asyncio.sleep(EVERY_S)

    def _totals(self, stats: Stats) -> dict[str, int]:
        totals = {
            "received": stats.inbox.appended,
            "handled": stats.inbox.committed,
            "sent": stats.outbox.committed,
            "dead": stats.inbox.dead + stats.outbox.dead,
        }
        if (counts := self._counts) is not None:
            failed = {"error", "retry"}
            handled = [pool.handled for pool in counts.pools.values()]
            totals["failed"] = sum(each[how] for each in handled for how in failed)
            totals["flood"] = sum(n for (_, code), n in counts.failed_calls.items() if code == "429")
        return totals

    def _times(self) -> _Times:
        if (counts := self._counts) is None:
            return {}
        of: dict[str, Histogram] = {
            "handler": counts.pools["inbox"].handler_s,
            "reply": counts.reply_s,
            "call": counts.call_s,
        }
        return {name: histogram.buckets() for name, histogram in of.items()}


_NONE: Final[dict[str, None]] = dict.fromkeys(
    (
        "failed",
        "flood",
        *(f"{name}_p{round(100 * part)}" for name in ("handler", "reply", "call") for part in QUANTILES),
    )
)


def quantile(
    now: Sequence[tuple[str, float]], before: Sequence[tuple[str, float]], part: float
) -> float | None:
    """Return the upper bound of the bucket in which this part of the values between two looks ends; None: no values.

    Values above the last bound count as that one.
    """
    since = [total - old for (_, total), (_, old) in zip(now, before, strict=True)]
    if not since[-1]:
        return None
    bounds = [float(bound) for bound, _ in now]
    found = next(bound for bound, total in zip(bounds, since, strict=True) if total >= part * since[-1])
    return found if found != float("inf") else bounds[-2]
