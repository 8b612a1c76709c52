"""A source is current while Telegram answers; the loop's lag is what it was late."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from telegram.botapi.types import WebhookInfo
from telegram.metrics.counts import Counts
from telegram.metrics.health import SOURCE_STALE_S, TELEGRAM_EVERY_S, Health
from telegram.service.observe import Polled
from tests.kit.scraped import NoTelegram
from tests.kit.virtual import run_virtual


class Now:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def test_the_source_is_current_until_it_is_silent_for_too_long():
    now = Now()
    counts = Counts(now, now)
    health = Health(counts, now)
    assert not health._is_current()
    counts(Polled(0, 50.0))
    now.at = SOURCE_STALE_S
    assert health._is_current()
    now.at += 1.0
    assert not health._is_current()


def test_a_process_that_begins_to_poll_is_given_time_for_its_first_answer():
    now = Now()
    health = Health(Counts(now, now), now)
    sharing = SimpleNamespace(appends_elsewhere=True)
    health.store = cast("Any", SimpleNamespace(sharing=sharing))
    assert health._is_current()
    sharing.appends_elsewhere = False
    now.at = SOURCE_STALE_S
    assert health._is_current()
    now.at += 1.0
    assert not health._is_current()


@pytest.mark.parametrize(
    ("url", "pending", "age_s", "current"),
    [
        ("https://x", 0, 60.0, True),
        ("", 0, 60.0, False),
        ("https://x", 1, 60.0, False),
        ("https://x", 0, 200.0, False),
    ],
)
def test_a_silent_webhook_is_current_while_telegram_says_that_nothing_waits(url, pending, age_s, current):
    now = Now()
    health = Health(Counts(now, now), now)
    health.webhook = WebhookInfo(url=url, pending_update_count=pending)
    now.at = age_s
    assert health._is_current() == current


def test_telegram_is_asked_again_after_a_failure():
    class Answers:
        def __init__(self) -> None:
            self.asked = 0

        async def get_webhook_info(self) -> WebhookInfo:
            self.asked += 1
            if self.asked == 1:
                await NoTelegram().get_webhook_info()
            return WebhookInfo(url="", pending_update_count=self.asked)

    async def ask() -> tuple[int, WebhookInfo | None]:
        clock = asyncio.get_running_loop().time
        client, health = Answers(), Health(Counts(clock, clock), clock)
        asking = asyncio.create_task(health.ask_telegram(client))
        await asyncio.sleep(2 * TELEGRAM_EVERY_S + 1)
        asking.cancel()
        return client.asked, health.webhook

    assert run_virtual(ask()) == (3, WebhookInfo(url="", pending_update_count=3))


async def test_a_blocked_loop_is_late():
    clock = asyncio.get_running_loop().time
    health = Health(Counts(clock, clock), clock)
    measuring = asyncio.create_task(health.measure_lag())
    await asyncio.sleep(0)
    time.sleep(0.6)
    while not health.lag_s:
        await asyncio.sleep(0.01)
    measuring.cancel()
    assert health.lag_s.total >= 0.3
