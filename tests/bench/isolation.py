"""A flood in chat 1 must not be felt in chat 2, nor in memory."""

import asyncio
import gc
import statistics
import time

import psutil
import uvloop

from engine import Queue
from engine.stores import open_store
from telegram.bot import Bot, BotConfig
from telegram.client import TgClient
from telegram.dialogue import Context, Router, text
from telegram.fake.remote import RemoteFake
from tests.bench.material import BATCH, a_store, batches
from tests.bench.report import Row

FLOOD = 5000
HANDLER_S = 0.05
PROBES = 100
PROBE_EVERY_S = 0.1


def rss() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


async def latencies(store_kind: str) -> tuple[list[float], float]:
    """Return chat 2's reply times in ms while chat 1 is flooded, and the memory per flooding update in bytes."""
    router = Router()

    @router.message(text)
    async def slow(ctx: Context) -> None:
        if ctx.chat_id == 1:
            await asyncio.sleep(HANDLER_S)
        ctx.reply(ctx.text)

    async with (
        await RemoteFake.spawn(history=0) as fake,
        a_store(store_kind) as store,
        TgClient(fake.token, base_url=fake.url) as client,
    ):
        bot = Bot(client, store, router, BotConfig(drain_timeout_s=5))
        await bot.start()
        await fake.say((2, 2, "warm up") for _ in range(500))
        await fake.wait_for_calls(500)
        before = rss()
        await fake.say((1, 1, f"flood {number}") for number in range(FLOOD))
        while (await store.stats()).inbox.appended < FLOOD + 500:
            await asyncio.sleep(0.05)
        per_update = (rss() - before) / FLOOD
        times = []
        for number in range(PROBES):
            asked = time.perf_counter()
            committed = (await store.stats()).outbox.committed
            await fake.say([(2, 2, f"probe {number}")])
            while not [view for view in store.lanes(Queue.OUTBOX) if view.key == "chat:2"]:
                if (await store.stats()).outbox.committed > committed + 1:
                    break
                await asyncio.sleep(0)
            times.append(time.perf_counter() - asked)
            await asyncio.sleep(PROBE_EVERY_S)
        await bot.stop()
    return [seconds * 1000 for seconds in times], per_update
