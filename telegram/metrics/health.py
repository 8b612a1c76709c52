"""Whether a bot works: what /healthz, /readyz and the metrics of readiness say."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog

from engine import Groups, Oldest, Stats, StoreError, StoreUnavailable
from engine.sharing import Sharing
from telegram.botapi.errors import TelegramError
from telegram.botapi.types import WebhookInfo
from telegram.metrics.counts import Counts
from telegram.metrics.histogram import SHORT, Histogram

log = structlog.get_logger(__name__)

SOURCE_STALE_S: Final = 120.0
"""Without an answer to getUpdates for so long, the source is not current: above its 50 s plus the longest pause, 30 s."""

PROBE_S: Final = 2.0
"""Maximum time for a question to the store at a scrape; Prometheus's own default for a scrape is 10 s."""

TELEGRAM_EVERY_S: Final = 60.0
LAG_EVERY_S: Final = 0.25
PROBLEMS: Final = ("starting", "draining", "store", "source")
"""What /readyz and `chatlane_problem` name."""


class Probed(Protocol):
    """What is needed of the store."""

    @property
    def sharing(self) -> Sharing:
        """What its session knows of the others."""
        ...

    async def stats(self) -> Stats:
        """Return the counts of both queues."""
        ...

    def groups(self) -> Groups:
        """Return how many requests have shared how many transactions."""
        ...

    async def oldest(self) -> Oldest:
        """Return what waits longest; StoreUnavailable."""
        ...


class Watched(Protocol):
    """What is needed of the Bot."""

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        ...

    @property
    def is_started(self) -> bool:
        """Whether it handles updates."""
        ...

    @property
    def takes_in(self) -> bool:
        """Whether it takes updates in when it has the right to."""
        ...


class Asked(Protocol):
    """What is needed of the TgClient."""

    async def get_webhook_info(self) -> WebhookInfo:
        """Telegram Bot API, getWebhookInfo; TelegramError."""
        ...


class Health:
    """The state of one process; store and bot are set when there are any. `clock` is that of the counts."""

    def __init__(self, counts: Counts, clock: Callable[[], float]) -> None:
        self._counts = counts
        self._clock = clock
        self.store: Probed | None = None
        """None: it is not open yet."""

        self.bot: Watched | None = None
        self.lag_s = Histogram(SHORT)
        self.webhook: WebhookInfo | None = None
        """Telegram's last answer to getWebhookInfo."""

        self._webhook_at = 0.0
        self._others_at: float | None = None  # when another process was last known to take updates in

    @property
    def others_take_in(self) -> bool:
        """Whether another process takes the updates in; this one may handle some chats."""
        return not self._takes_in or (self.store is not None and self.store.sharing.appends_elsewhere)

    @property
    def _takes_in(self) -> bool:
        return self.bot is None or self.bot.takes_in

    async def problems(self) -> list[str]:
        """Return what is wrong, of PROBLEMS; empty: ready, also if another process takes the updates in."""
        if self.bot is not None and self.bot.is_stopping:
            return ["draining"]
        if self.store is None:
            return ["starting"]
        found = []
        if self.bot is None or not self.bot.is_started:
            found.append("starting")
        if self._counts.store_fails or await self.oldest() is None:
            found.append("store")
        if not self._is_current():
            found.append("source")
        return found

    async def oldest(self) -> Oldest | None:
        """Return what waits longest in the store; None if the store does not answer within PROBE_S."""
        if self.store is None:
            return None
        with suppress(StoreUnavailable, StoreError, TimeoutError):
            async with asyncio.timeout(PROBE_S):
                return await self.store.oldest()
        return None

    def source_age_s(self) -> float | None:
        """Return the seconds since the source was heard; None: not yet."""
        at = self._counts.source_at
        return None if at is None else self._clock() - at

    def _is_current(self) -> bool:
        if self.others_take_in:
            self._others_at = self._clock()
            return True
        if self._others_at is not None and self._clock() - self._others_at <= SOURCE_STALE_S:
            return True  # its first poll may take its 50 s
        age_s = self.source_age_s()
        if age_s is not None and age_s <= SOURCE_STALE_S:
            return True
        # A webhook brings nothing while nothing happens: then Telegram must say that nothing waits.
        webhook, webhook_age_s = self.webhook, self._clock() - self._webhook_at
        return (
            webhook is not None
            and bool(webhook.url)
            and webhook_age_s <= 3 * TELEGRAM_EVERY_S
            and not webhook.pending_update_count
        )

    async def measure_lag(self) -> None:
        """Measure how late the event loop is, and keep the counts folded, until cancelled."""
        while True:
            due = self._clock() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.lag_s.add(self._clock() - due)
            self.lag_s.fold()
            self._counts.fold()

    async def ask_telegram(self, client: Asked) -> None:
        """Ask Telegram every TELEGRAM_EVERY_S what waits there, until cancelled."""
        while True:
            try:
                self.webhook = await client.get_webhook_info()
                self._webhook_at = self._clock()
            except TelegramError as error:
                log.debug("Telegram does not say what waits there", reason=str(error))
            await asyncio.sleep(TELEGRAM_EVERY_S)
