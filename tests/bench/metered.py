"""What metrics cost: the CPU of an echo over HTTP with and without them, in turns, in pairs of rounds.

Without `METRICS_LISTEN` nothing is counted; with it each update and each call is, and the loop's lag is measured.
"""

import asyncio
import time
from contextlib import AsyncExitStack

import uvloop

from handlers.echo import router
from telegram.client import TgClient
from telegram.fake.server.remote import RemoteFake
from telegram.listening import Address
from telegram.metrics.monitoring import Monitoring
from telegram.process.running import tune_garbage_collection
from telegram.service.bot import Bot, BotConfig
from tests.bench.echo import CHATS, CONCURRENCY, TEXT
from tests.bench.material import a_store
from tests.bench.report import Row

MESSAGES = 4_000
WARM_UP = 500
PAIRS = 3  # of each round


async def cpu_us(store_kind: str, messages: int, *, metered: bool) -> float:
    """CPU of this process for one message."""
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(await RemoteFake.spawn(history=0))
        store = await stack.enter_async_context(a_store(store_kind))
        client = await stack.enter_async_context(TgClient(fake.token, base_url=fake.url, connections=64))
        config = BotConfig(workers=CONCURRENCY, senders=CONCURRENCY, messages_per_s=0)
        if metered:
            monitoring = Monitoring(Address("127.0.0.1", 0), "", client, client.time)
            await stack.enter_async_context(monitoring)
            bot = Bot(client, store, router, config, meter=monitoring.counts)
            monitoring.serve(store, bot)
        else:
            bot = Bot(client, store, router, config)
        await bot.start()
        await echoed(fake, store, 0, WARM_UP)
        began = time.process_time()
        await echoed(fake, store, WARM_UP, messages)
        took_s = time.process_time() - began
        await bot.stop()
    return took_s / messages * 1e6


async def echoed(fake: RemoteFake, store: object, first: int, count: int) -> None:
    """Let people write, and wait until each has an answer."""
    await fake.send_messages((n % CHATS + 1, n % CHATS + 1, TEXT) for n in range(first, first + count))
    while (await store.stats()).outbox.committed < first + count:  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)


def run(rounds: int, scale: float) -> list[Row]:
    tune_garbage_collection()
    messages = int(MESSAGES * scale)

    def once(store_kind: str, *, metered: bool) -> float:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(cpu_us(store_kind, messages, metered=metered))

    rows = []
    for kind in ("sqlite", "memory"):
        pairs = [
            (once(kind, metered=False), once(kind, metered=True), once(kind, metered=False))
            for _ in range(rounds * PAIRS)
        ]
        plain = [(before + after) / 2 for before, _, after in pairs]
        counted = [between for _, between, _ in pairs]
        rows += [
            Row(f"{kind}: an echo without metrics, CPU", "us", plain),
            Row(f"{kind}: an echo with metrics, CPU", "us", counted),
            Row(f"{kind}: with / without", "ratio", [b / a for a, b in zip(plain, counted, strict=True)])
            .at_most(1.02),
        ]  # fmt: skip
    return rows
