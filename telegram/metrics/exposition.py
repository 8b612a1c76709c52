"""/metrics: the counts, and the state of the store at the scrape, in Prometheus's text format.

A scrape asks the store for counts that it keeps anyway, and for what waits longest: its cost does not depend on the number of
lanes or updates.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine import Oldest, Queue, Stats
from telegram.metrics.counts import HELD_CALLS, QUEUES, STORE_CALLS, Counts, Pool
from telegram.metrics.health import PROBLEMS, Health
from telegram.metrics.histogram import Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Kind(NamedTuple):
    """A metric: its type, its labels, and what it counts."""

    type: type[Metric]
    labels: tuple[str, ...]
    help: str


COUNTER, GAUGE, HISTOGRAM = CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
KINDS: Final = {
    "chatlane_ready": Kind(GAUGE, (), "1: ready, as /readyz"),
    "chatlane_problem": Kind(GAUGE, ("problem",), "1: this is why it is not ready"),
    "chatlane_others_take_in": Kind(
        GAUGE, (), "1: another process takes updates in; this one may handle some chats"
    ),
    "chatlane_standby": Kind(GAUGE, (), "the same, as it was called before; goes with the next version"),
    "chatlane_source_age_seconds": Kind(GAUGE, (), "since an answer to getUpdates, or an update, came"),
    "chatlane_store_up": Kind(GAUGE, (), "1: the store answered at this scrape; none: it is not open"),
    "chatlane_pending": Kind(GAUGE, ("queue",), "updates, due timers, calls that wait or are handled"),
    "chatlane_lanes": Kind(GAUGE, ("queue", "state"), "lanes with pending work"),
    "chatlane_oldest_seconds": Kind(GAUGE, ("queue",), "age of what waits longest, 0: nothing waits"),
    "chatlane_dead_letters": Kind(COUNTER, ("queue",), "dead letters, since the store was opened"),
    "chatlane_telegram_pending": Kind(GAUGE, (), "updates that wait at Telegram (getWebhookInfo)"),
    "chatlane_telegram_last_error_timestamp_seconds": Kind(GAUGE, (), "Telegram's last error at the webhook"),
    "chatlane_updates_received": Kind(COUNTER, (), "updates from Telegram, repetitions included"),
    "chatlane_updates_appended": Kind(COUNTER, (), "updates stored, each once"),
    "chatlane_append_updates": Kind(HISTOGRAM, (), "updates per append"),
    "chatlane_handled": Kind(COUNTER, ("queue", "outcome"), "runs of handlers; outbox: of the sender"),
    "chatlane_handler_seconds": Kind(HISTOGRAM, ("queue",), "duration of these"),
    "chatlane_attempts": Kind(HISTOGRAM, ("queue",), "attempts of what was committed or given up"),
    "chatlane_committed": Kind(COUNTER, ("queue",), "updates, timers and calls that were committed"),
    "chatlane_parked": Kind(COUNTER, ("queue", "why"), "lanes parked: failed, or waits"),
    "chatlane_buried": Kind(COUNTER, ("queue",), "deliveries given up"),
    "chatlane_leases_lost": Kind(COUNTER, ("queue", "call"), "calls of the store refused as stale"),
    "chatlane_reply_seconds": Kind(HISTOGRAM, (), "from an update's receipt to a reply accepted by Telegram"),
    "chatlane_calls": Kind(COUNTER, ("method", "code"), "calls to the Bot API by outcome"),
    "chatlane_call_seconds": Kind(HISTOGRAM, (), "duration of calls, without getUpdates"),
    "chatlane_store_seconds": Kind(HISTOGRAM, ("call",), "duration of calls to the store"),
    "chatlane_store_errors": Kind(COUNTER, ("call",), "calls to the store that failed"),
    "chatlane_store_transactions": Kind(
        COUNTER, (), "transactions of this process; none: the store has none"
    ),
    "chatlane_store_requests": Kind(COUNTER, (), "appends, commits and the like that shared them"),
    "chatlane_loop_lag_seconds": Kind(HISTOGRAM, (), "how late the event loop is, measured 4 times a second"),
}
"""All metrics; in the text a counter's name ends in _total."""


_FROM_ZERO: Final = dict.fromkeys(((queue, call) for queue in QUEUES for call in HELD_CALLS), 0)
"""Prometheus sees no increase of a series that begins with 1."""

_REFUSALS: Final = ("400", "403", "429")
"""Of each method that was called, also if there was none: the same."""


class _Seen(NamedTuple):
    """The state at a scrape; None: unknown."""

    now: float
    store: float | None
    problems: list[str]
    stats: Stats | None
    oldest: Oldest | None


class Exposition(Collector):
    """The metrics of one bot, in a registry of its own."""

    def __init__(self, counts: Counts, health: Health) -> None:
        self._counts = counts
        self._health = health
        self._seen = _Seen(0.0, None, [], None, None)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def text(self, now: float) -> bytes:
        """Return the metrics at Unix time `now`."""
        self._counts.fold()
        store = self._health.store
        problems = await self._health.problems()
        oldest = await self._health.oldest()
        stats = None if store is None or oldest is None else await store.stats()
        up = None if store is None else float(oldest is not None)
        self._seen = _Seen(now, up, problems, stats, oldest)
        return generate_latest(self._registry)  # no await in between: another scrape may run

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (of prometheus_client's Collector)."""
        yield from self._state()
        counts = self._counts
        yield _counter("chatlane_updates_received", {(): counts.received})
        yield _counter("chatlane_updates_appended", {(): counts.appended})
        yield from _of_pools(counts.pools)
        yield _counter("chatlane_leases_lost", _FROM_ZERO | counts.leases_lost)
        executed = {(method, "200"): count for method, count in counts.executed.items()}
        methods = {method for method, _ in [*executed, *counts.failed_calls]}
        none = dict.fromkeys(((method, code) for method in methods for code in _REFUSALS), 0)
        yield _counter("chatlane_calls", none | executed | counts.failed_calls)
        yield _counter("chatlane_store_errors", {(name,): counts.store_errors[name] for name in STORE_CALLS})
        yield _histogram("chatlane_append_updates", {(): counts.batches})
        yield _histogram("chatlane_reply_seconds", {(): counts.reply_s})
        yield _histogram("chatlane_call_seconds", {(): counts.call_s})
        yield _histogram(
            "chatlane_store_seconds", {(name,): each for name, each in counts.store_s.items() if each}
        )
        yield _histogram("chatlane_loop_lag_seconds", {(): self._health.lag_s})

    def _state(self) -> Iterator[Metric]:
        seen, webhook = self._seen, self._health.webhook
        yield _gauge("chatlane_ready", {(): float(not seen.problems)})
        yield _gauge("chatlane_problem", {(name,): float(name in seen.problems) for name in PROBLEMS})
        for name in ("chatlane_others_take_in", "chatlane_standby"):
            yield _gauge(name, {(): float(self._health.others_take_in)})
        if seen.store is not None:
            yield _gauge("chatlane_store_up", {(): seen.store})
        groups = None if self._health.store is None else self._health.store.groups()
        if groups is not None and groups.transactions:
            yield _counter("chatlane_store_transactions", {(): groups.transactions})
            yield _counter("chatlane_store_requests", {(): groups.requests})
        if (age_s := self._health.source_age_s()) is not None:
            yield _gauge("chatlane_source_age_seconds", {(): age_s})
        if seen.stats is not None and seen.oldest is not None:
            yield from _of_store(seen.stats, seen.oldest, seen.now)
        if webhook is not None:
            yield _gauge("chatlane_telegram_pending", {(): float(webhook.pending_update_count)})
            last_error = float(webhook.last_error_date or 0)
            yield _gauge("chatlane_telegram_last_error_timestamp_seconds", {(): last_error})


def _of_store(stats: Stats, oldest: Oldest, now: float) -> Iterator[Metric]:
    of = {queue.value: stats.of(queue) for queue in Queue}
    pending = {(name,): float(each.pending) for name, each in of.items()}
    pending["timers",] = float(oldest.timers)
    pending["inbox",] -= oldest.timers  # due timers are in the lanes of the inbox
    yield _gauge("chatlane_pending", pending)
    lanes = {
        (name, state): float(getattr(each, state))
        for name, each in of.items()
        for state in ("ready", "leased", "parked")
    }
    yield _gauge("chatlane_lanes", lanes)
    waiting = {"inbox": oldest.inbox, "outbox": oldest.outbox, "timers": oldest.timer}
    ages = {(name,): max(0.0, now - at) if at else 0.0 for name, at in waiting.items()}
    yield _gauge("chatlane_oldest_seconds", ages)
    yield _counter("chatlane_dead_letters", {(name,): each.dead for name, each in of.items()})


def _of_pools(pools: Mapping[str, Pool]) -> Iterator[Metric]:
    handled = {
        (queue, outcome): count
        for queue, pool in pools.items()
        for outcome, count in (pool.handled + Counter(ok=pool.at_once)).items()
    }
    yield _counter("chatlane_handled", handled)
    committed = {(queue,): pool.at_once + pool.others + pool.also for queue, pool in pools.items()}
    yield _counter("chatlane_committed", committed)
    parked = {(queue, why): n for queue, pool in pools.items() for why, n in pool.parked.items()}
    yield _counter("chatlane_parked", parked)
    yield _counter("chatlane_buried", {(queue,): pool.buried for queue, pool in pools.items()})
    yield _histogram("chatlane_handler_seconds", {(queue,): pool.handler_s for queue, pool in pools.items()})
    attempts: Mapping[tuple[str, ...], Histogram] = {
        (queue,): pool.attempts.with_ones(pool.at_once) for queue, pool in pools.items()
    }
    yield _histogram("chatlane_attempts", attempts)


def _gauge(name: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, KINDS[name].help, labels=KINDS[name].labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _counter(name: str, values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, KINDS[name].help, labels=KINDS[name].labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(name: str, values: Mapping[tuple[str, ...], Histogram]) -> Metric:
    family = HistogramMetricFamily(name, KINDS[name].help, labels=KINDS[name].labels)
    for labels, value in values.items():
        family.add_metric(labels, value.buckets(), value.total)
    return family
