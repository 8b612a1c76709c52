"""A flood in chat 1 must not be felt in chat 2, nor in memory."""

import asyncio
import gc
import statistics
import time
import tracemalloc

import uvloop

from engine import Queue
from engine.store import FullStore
from engine.stores.contract import append
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, text
from telegram.fake.server.remote import RemoteFake
from telegram.service.bot import Bot, BotConfig
from tests.bench.material import a_store, batches
from tests.bench.report import Row

FLOOD = 5000
HANDLER_S = 0.05
PROBES = 100
PROBE_EVERY_S = 0.1

router = Router()


@router.message(text)
async def handler(ctx: MessageContext) -> None:
    if ctx.chat_id == 1:
        await asyncio.sleep(HANDLER_S)
    ctx.reply(ctx.text)


def allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def pending_grows_by(store: FullStore, fake: RemoteFake) -> float:
    """Say FLOOD texts, wait until they are stored, return the memory for each in bytes."""
    tracemalloc.start()
    before, had = allocated(), (await store.stats()).inbox.appended
    await fake.send_messages((1, 1, f"flood {number}") for number in range(FLOOD))
    while (await store.stats()).inbox.appended < had + FLOOD:
        await asyncio.sleep(0.02)
    per_update = (allocated() - before) / FLOOD
    tracemalloc.stop()
    return per_update


async def flood(store_kind: str) -> tuple[list[float], float]:
    """Return chat 2's reply times in ms while chat 1 is flooded, and memory per flooding update in bytes."""
    async with (
        await RemoteFake.spawn(history=0) as fake,
        a_store(store_kind) as store,
        TgClient(fake.token, base_url=fake.url) as client,
    ):
        bot = Bot(client, store, router, BotConfig(drain_timeout_s=5))
        await bot.start()
        await fake.send_messages((number % 50 + 2, number % 50 + 2, "warm up") for number in range(FLOOD))
        while (await store.stats()).outbox.committed < FLOOD:
            await asyncio.sleep(0.02)
        per_update = await pending_grows_by(store, fake)
        for _ in range(PROBES):
            await fake.send_messages([(2, 2, str(time.time()))])
            await asyncio.sleep(PROBE_EVERY_S)
        assert any(view.key == "chat:1" and view.depth > FLOOD / 4 for view in await store.lanes(Queue.INBOX))
        replies = [call for call in await fake.calls() if call.chat_id == 2 and call.text != "warm up"]
        await bot.stop()
    assert len(replies) == PROBES
    return [(call.at - float(call.text)) * 1000 for call in replies], per_update


async def at_rest(store_kind: str) -> float:
    """Return the memory per update that waits in a store without a bot, in bytes, 50 in each chat."""
    async with a_store(store_kind) as store:
        tracemalloc.start()
        before = allocated()
        for batch in batches(FLOOD, 100):
            await append(
                store, [envelope._replace(body=bytes(bytearray(envelope.body[:300]))) for envelope in batch]
            )
        del batch
        per_update = (allocated() - before) / FLOOD
        tracemalloc.stop()
    return per_update


def run(rounds: int, scale: float) -> list[Row]:
    rows = []
    for kind in ("memory", "sqlite"):
        p99, median, flooding, resting = [], [], [], []
        for _ in range(rounds):
            times, per_update = uvloop.run(flood(kind))
            p99.append(statistics.quantiles(times, n=100)[98])
            median.append(statistics.median(times))
            flooding.append(per_update)
            resting.append(uvloop.run(at_rest(kind)))
        ratio = [a / b for a, b in zip(flooding, resting, strict=True)]
        rows += [
            Row(f"chat 2's reply behind {FLOOD} x 50 ms in chat 1, {kind}: p99", "ms", p99).at_most(20),
            Row(f"the same: median, {kind}", "ms", median),
            Row(f"memory per flooding update (about 300 bytes long), {kind}", "bytes", flooding),
            Row(f"memory per waiting update of that size without a bot, {kind}", "bytes", resting),
            Row(f"the first over the second, {kind}", "ratio", ratio).at_most(1.2),
        ]
    return rows
