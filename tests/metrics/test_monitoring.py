"""The metrics of a whole bot are what the fake Telegram counted; its pages say whether it works."""

import asyncio
import json
from typing import Any

import pytest

from engine import Post, Retry, StoreUnavailable
from engine.observe import Committed, StoreCalled
from engine.sharing import Alone
from engine.stores.memory import MemoryStore
from telegram.dialogue import MessageContext, Router
from telegram.fake import Fault
from telegram.listening import Address
from telegram.metrics import health
from telegram.metrics.counts import Counts
from telegram.metrics.monitoring import Monitoring
from telegram.operating.rates import Rates
from tests.kit.bounds import WITHIN_S
from tests.kit.scraped import NoTelegram, get, monitored_bot, scrape, values
from tests.kit.stage import Stage


@pytest.fixture(autouse=True)
def patient_probes(monkeypatch: pytest.MonkeyPatch):
    """Whether the store answers is tested, not how fast this machine is."""
    monkeypatch.setattr(health, "PROBE_S", WITHIN_S)


def echo() -> Router:
    router = Router()

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        if ctx.text == "bad":
            raise TypeError("secret text")
        if ctx.text == "again" and ctx.attempt == 1:
            raise Retry("secret reason", after_s=0.0)
        if ctx.text != "quiet":
            ctx.reply(f"echo of {ctx.text}")

    return router


@pytest.mark.parametrize("by", ["calls", "events"])
async def test_the_counters_agree_with_what_telegram_saw(stage: Stage, by: str):
    """The frequent things are told by calls, or, beside an observer, as events."""
    router = echo()
    events: list[object] = []
    if by == "events":
        router.observer(events.append)
    async with monitored_bot(stage, router, apology="") as monitoring:
        for user in range(1, 6):
            await stage.says(user, user, "hello")
        await stage.says(1, 1, "quiet")
        await stage.says(2, 2, "again")
        await stage.says(3, 3, "bad")
        stage.fake.faults.add(Fault("status", code=400, method="sendMessage", times=1))
        await stage.says(4, 4, "refused")
        seen = await scrape(monitoring)
    sent = len(stage.sent())
    assert sent == 7
    assert (sum(isinstance(event, Committed) for event in events) == 8 + 6) == (by == "events")
    assert seen["chatlane_updates_received_total",] == seen["chatlane_updates_appended_total",] == 9
    assert seen["chatlane_handled_total", "ok", "inbox"] == 8
    assert seen["chatlane_handled_total", "retry", "inbox"] == 1
    assert seen["chatlane_handled_total", "error", "inbox"] == 1
    assert seen["chatlane_committed_total", "inbox"] == 8
    assert seen["chatlane_buried_total", "inbox"] == seen["chatlane_buried_total", "outbox"] == 1
    assert seen["chatlane_dead_letters_total", "inbox"] == seen["chatlane_dead_letters_total", "outbox"] == 1
    assert seen["chatlane_parked_total", "inbox", "failed"] == 1
    assert seen["chatlane_calls_total", "200", "sendMessage"] == 6
    assert seen["chatlane_calls_total", "400", "sendMessage"] == 1
    assert seen["chatlane_calls_total", "200", "getUpdates"] >= 9
    assert seen["chatlane_call_seconds_count",] == sent
    assert seen["chatlane_reply_seconds_count",] == 6
    assert seen["chatlane_handler_seconds_count", "inbox"] == 10
    assert seen["chatlane_attempts_count", "inbox"] == 9
    assert seen["chatlane_attempts_bucket", "1.0", "inbox"] == 8
    assert seen["chatlane_store_seconds_count", "commit"] == 8 + 6
    assert seen["chatlane_append_updates_sum",] == 9
    assert [seen["chatlane_pending", queue] for queue in ("inbox", "outbox", "timers")] == [0, 0, 0]
    assert seen["chatlane_ready",] == seen["chatlane_store_up",] == 1
    has_transactions = stage.store.groups() != (0, 0)
    assert ("chatlane_store_requests_total" in {name for name, *_ in seen}) == has_transactions


async def test_requests_of_one_time_share_a_transaction(stage: Stage):
    before = stage.store.groups()
    posts = [Post(f"chat:{n}", f"{n}", b"~x") for n in range(20)]
    await asyncio.gather(*(stage.store.post([each]) for each in posts))
    after = stage.store.groups()
    if isinstance(stage.store, MemoryStore):
        assert after == before == (0, 0)
    else:
        assert after.requests - before.requests == 20
        assert 1 <= after.transactions - before.transactions <= 2


async def test_what_waits_is_seen_with_its_age(stage: Stage):
    entered, leave = asyncio.Event(), asyncio.Event()
    router = Router()

    @router.message()
    async def slow(ctx: MessageContext) -> None:
        entered.set()
        await leave.wait()

    async with monitored_bot(stage, router) as monitoring:
        stage.fake.world.send_message(7, 7, "one")
        stage.fake.world.send_message(7, 7, "two")
        await entered.wait()
        while (await stage.store.stats()).inbox.pending < 2:
            await asyncio.sleep(0)
        later = values((await monitoring._exposition.text(stage.fake.clock() + 100.0)).decode())
        leave.set()
        await stage.idle()
        after = await scrape(monitoring)
    assert later["chatlane_pending", "inbox"] == 2
    assert later["chatlane_lanes", "inbox", "leased"] == 1
    assert later["chatlane_oldest_seconds", "inbox"] > 90.0
    assert later["chatlane_oldest_seconds", "outbox"] == 0
    assert after["chatlane_oldest_seconds", "inbox"] == after["chatlane_lanes", "inbox", "leased"] == 0


async def test_the_pages_say_ready_only_while_all_works(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    async with monitored_bot(stage, echo()) as monitoring:
        await stage.says(7, 7, "hello")
        assert await get(monitoring, "/healthz") == (200, "")
        assert await get(monitoring, "/readyz") == (200, "[]")
        bot: Any = monitoring.health.bot
        monitoring.counts.source_at -= health.SOURCE_STALE_S + 1  # type: ignore[operator]
        assert await get(monitoring, "/readyz") == (503, '["source"]')
        assert (await scrape(monitoring))["chatlane_problem", "source"] == 1
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(Alone, "appends_elsewhere", True)  # another process polls
            assert await get(monitoring, "/readyz") == (200, "[]")
            assert (await scrape(monitoring))["chatlane_others_take_in",] == 1
        monitoring.counts.source_at = asyncio.get_running_loop().time()

        async def fails(*_: object) -> None:
            raise StoreUnavailable("disk full: secret path")

        with monkeypatch.context() as broken:
            broken.setattr(stage.store, "oldest", fails)
            assert await get(monitoring, "/readyz") == (503, '["store"]')
            seen = await scrape(monitoring)
        assert (seen["chatlane_store_up",], seen["chatlane_problem", "store"]) == (0, 1)
        assert ("chatlane_pending", "inbox") not in seen
        monitoring.counts(StoreCalled("commit", 0.1, StoreUnavailable("full")))
        assert await get(monitoring, "/readyz") == (503, '["store"]')
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(0)
        assert await get(monitoring, "/readyz") == (503, '["draining"]')
        assert (await scrape(monitoring))["chatlane_ready",] == 0
        await stopping


async def test_a_process_is_ready_when_its_store_is_open_and_it_works(stage: Stage):
    async with Monitoring(Address("127.0.0.1", 0), "", NoTelegram(), lambda: 0.0) as monitoring:
        assert await get(monitoring, "/healthz") == (200, "")
        assert await get(monitoring, "/readyz") == (503, '["starting"]')
        seen = await scrape(monitoring)
        assert (seen["chatlane_ready",], seen["chatlane_others_take_in",]) == (0, 0)
        assert ("chatlane_store_up",) not in seen
        async with stage.bot(echo(), meter=monitoring.counts) as bot:
            monitoring.serve(stage.store, bot)
            await stage.says(7, 7, "hello")
            seen = await scrape(monitoring)
            assert (seen["chatlane_others_take_in",], seen["chatlane_store_up",]) == (0, 1)


async def test_the_token_guards_what_the_pages_say():
    async with Monitoring(Address("127.0.0.1", 0), "s3cret", NoTelegram(), lambda: 0.0) as monitoring:
        right = {"Authorization": "Bearer s3cret"}
        assert await get(monitoring, "/healthz") == (200, "")
        for wrong in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Basic s3cret"}):
            assert await get(monitoring, "/metrics", **wrong) == (401, "")
            assert await get(monitoring, "/readyz", **wrong) == (503, "")
        assert (await get(monitoring, "/metrics", **right))[0] == 200
        assert json.loads((await get(monitoring, "/readyz", **right))[1]) == ["starting"]


async def test_telegrams_own_count_and_last_error_are_shown(stage: Stage):
    stage.fake.world.send_message(7, 7, "hello")
    async with monitored_bot(stage, echo()) as monitoring:
        await stage.idle()
        while monitoring.health.webhook is None:
            await asyncio.sleep(0.01)
        monitoring.health.webhook = monitoring.health.webhook.model_copy(
            update={
                "pending_update_count": 3,
                "last_error_date": 1_700_000_000,
                "last_error_message": "secret",
            }
        )
        status, text = await get(monitoring, "/metrics")
    assert status == 200
    assert "secret" not in text
    seen = values(text)
    assert seen["chatlane_telegram_pending",] == 3
    assert seen["chatlane_telegram_last_error_timestamp_seconds",] == 1_700_000_000


async def test_a_scrape_during_the_stop_is_answered():
    monitoring = Monitoring(Address("127.0.0.1", 0), "", NoTelegram(), lambda: 0.0)
    async with monitoring, asyncio.timeout(WITHIN_S):
        running = asyncio.create_task(get(monitoring, "/metrics"))
        await monitoring._listener.stop(0.5)
        await asyncio.wait({running})
        assert running.exception() is not None or running.result()[0] == 200


async def test_a_scrape_while_the_bot_drains_is_answered(stage: Stage):
    async with monitored_bot(stage, echo()) as monitoring:
        bot: Any = monitoring.health.bot
        async with asyncio.timeout(WITHIN_S):
            scrapes = [asyncio.create_task(get(monitoring, "/metrics")) for _ in range(5)]
            await bot.stop()
            assert [status for status, _ in await asyncio.gather(*scrapes)] == [200] * 5


async def test_a_scrape_after_the_store_is_closed_is_answered(stage: Stage):
    """The store is closed before the monitoring ends (telegram/command/main.py)."""
    async with monitored_bot(stage, echo()) as monitoring, asyncio.timeout(WITHIN_S):
        bot: Any = monitoring.health.bot
        await bot.stop()
        await stage.store.close()
        assert await get(monitoring, "/readyz") == (503, '["draining"]')
        status, _ = await get(monitoring, "/metrics")
        assert status == 200
        last = asyncio.create_task(get(monitoring, "/metrics"))
    await asyncio.wait({last})


async def test_the_operators_page_sees_failures_and_latencies(stage: Stage):
    async with monitored_bot(stage, echo()) as monitoring:
        rates = Rates(stage.store, monitoring.counts, asyncio.get_running_loop().time)
        await rates.sample()
        stage.fake.faults.add(Fault("status", code=429, retry_after=0, method="sendMessage", times=1))
        await stage.says(7, 7, "again")
        await rates.sample()
    (sample,) = rates.since(0)
    assert sample["failed"] > 0
    assert sample["flood"] > 0
    assert sample["handler_p95"] is not None
    assert sample["reply_p50"] is not None


async def test_the_page_keeps_the_durations_folded_without_metrics(stage: Stage):
    counts = Counts(stage.fake.clock)
    async with stage.bot(echo(), meter=counts):
        await stage.says(7, 7, "hello")
    assert any(each._new for each in counts._histograms)
    await Rates(stage.store, counts, asyncio.get_running_loop().time).sample()
    assert not any(each._new for each in counts._histograms)
