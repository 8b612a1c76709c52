"""Echo over HTTP: the fake Bot API server in a process of its own, the bot in this one.

The floor is the same client, polling and sending the same number of messages with the same concurrency, without an
engine: what it loses at a crash, and swaps, is not counted. The plain loop only sends, as a tutorial would write it.
"""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop

from handlers.echo import router
from telegram.client import TgClient
from telegram.fake.server.remote import RemoteFake
from telegram.process.running import tune_garbage_collection
from telegram.service.bot import Bot, BotConfig
from tests.bench.material import a_store
from tests.bench.report import Row

CHATS = 1000
CONCURRENCY = 64

Measured = tuple[float, float]
"""Messages per second, and CPU of this process per message in microseconds."""


async def with_engine(fake: RemoteFake, messages: int, *, store_kind: str) -> Measured:
    """A whole Bot, in the settings of run.py."""
    async with (
        a_store(store_kind) as store,
        TgClient(fake.token, base_url=fake.url, connections=64) as client,
    ):
        bot = Bot(
            client, store, router, BotConfig(workers=CONCURRENCY, senders=CONCURRENCY, messages_per_s=0)
        )
        measure = Stopwatch(messages)
        await bot.start()
        while (await store.stats()).outbox.committed < messages:
            await asyncio.sleep(0.002)
        result = measure.stop()
        await bot.stop()
    return result


async def floor(fake: RemoteFake, messages: int) -> Measured:
    """Poll with TgClient, put the updates on a queue, send with CONCURRENCY tasks."""
    texts: asyncio.Queue[bytes] = asyncio.Queue(CONCURRENCY * 2)
    left = messages
    done = asyncio.Event()

    async def send() -> None:
        nonlocal left
        while True:
            await client.post("sendMessage", await texts.get())
            left -= 1
            if not left:
                done.set()

    async def poll() -> None:
        offset = None
        while True:
            for raw in await client.get_updates(offset):
                offset = raw.update_id + 1
                message = (raw.fields or {})["message"]
                echo = {"chat_id": message["chat"]["id"], "text": message["text"]}
                await texts.put(json.dumps(echo, ensure_ascii=False, separators=(",", ":")).encode())

    async with TgClient(fake.token, base_url=fake.url, connections=CONCURRENCY) as client:
        measure = Stopwatch(messages)
        tasks = [asyncio.create_task(poll()), *(asyncio.create_task(send()) for _ in range(CONCURRENCY))]
        await done.wait()
        result = measure.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return result


async def plain(fake: RemoteFake, messages: int) -> Measured:
    """Only send, with `session.post(url, json=...)`."""
    url = f"{fake.url}/bot{fake.token}/sendMessage"
    numbers = iter(range(messages))

    async def send(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.post(url, json={"chat_id": number % CHATS + 1, "text": TEXT}) as answer:
                assert (await answer.json())["ok"]

    async with aiohttp.ClientSession() as session:
        measure = Stopwatch(messages)
        await asyncio.gather(*(send(session) for _ in range(CONCURRENCY)))
        return measure.stop()


TEXT = "what one writes to a bot, at some length"


class Stopwatch:
    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> Measured:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return self._messages / wall, cpu / self._messages * 1e6


async def measured(variant: Callable[[RemoteFake, int], Awaitable[Measured]], messages: int) -> Measured:
    async with await RemoteFake.spawn(history=0) as fake:
        for start in range(0, messages, 5000):
            numbers = range(start, min(start + 5000, messages))
            await fake.send_messages((number % CHATS + 1, number % CHATS + 1, TEXT) for number in numbers)
        return await variant(fake, messages)


def run(rounds: int, scale: float) -> list[Row]:
    messages = int(15_000 * scale)
    new_loop = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    variants: dict[str, tuple[Callable[[RemoteFake, int], Awaitable[Measured]], str]] = {
        "sqlite": (lambda fake, n: with_engine(fake, n, store_kind="sqlite"), "uvloop"),
        "memory": (lambda fake, n: with_engine(fake, n, store_kind="memory"), "uvloop"),
        "floor": (floor, "uvloop"),
        "plain": (plain, "asyncio"),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    costs: dict[str, list[float]] = {name: [] for name in variants}
    python_s_own = gc.get_threshold()
    for _ in range(rounds):
        for name, (variant, loop) in variants.items():
            if name == "plain":
                gc.set_threshold(*python_s_own)
            else:
                tune_garbage_collection()
            with asyncio.Runner(loop_factory=new_loop[loop]) as runner:
                rate, cost = runner.run(measured(variant, messages))
            rates[name].append(rate)
            costs[name].append(cost)

    def ratio(over: str, under: str) -> list[float]:
        return [a / b for a, b in zip(rates[over], rates[under], strict=True)]

    return [
        Row(
            "echo bot, sqlite",
            "messages/s",
            rates["sqlite"],
            notes=f"CPU {min(costs['sqlite']):.0f} us/message",
        ),
        Row(
            "echo bot, memory",
            "messages/s",
            rates["memory"],
            notes=f"CPU {min(costs['memory']):.0f} us/message",
        ),
        Row(
            "floor: same client, no engine",
            "messages/s",
            rates["floor"],
            notes=f"CPU {min(costs['floor']):.0f} us/message",
        ),
        Row(
            "plain aiohttp post(json=) loop",
            "messages/s",
            rates["plain"],
            notes=f"CPU {min(costs['plain']):.0f} us/message",
        ),
        Row("sqlite / floor", "ratio", ratio("sqlite", "floor")).at_least(0.8),
        Row("memory / floor", "ratio", ratio("memory", "floor")).at_least(0.8),
        Row("sqlite / plain (goal beyond)", "ratio", ratio("sqlite", "plain")).at_least(1.2),
        Row("memory / plain (goal beyond)", "ratio", ratio("memory", "plain")).at_least(1.2),
    ]
