"""The tutorial's design: one poller, one shared queue, 64 workers that take from it; Ctrl+C lets the queue run empty."""

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp

from .work import TOKEN, URL, die_with_parent, evidence, work_s

WORKERS = 64
POLL_TIMEOUT_S = 20

Queue = asyncio.Queue[dict[str, Any]]


async def call(session: aiohttp.ClientSession, method: str, **params: Any) -> Any:
    async with session.post(f"{URL}/bot{TOKEN}/{method}", json=params) as answer:
        return (await answer.json())["result"]


async def poll(session: aiohttp.ClientSession, queue: Queue) -> None:
    offset = 0
    while True:
        updates = await call(session, "getUpdates", offset=offset, timeout=POLL_TIMEOUT_S)
        for update in updates:
            offset = update["update_id"] + 1
            queue.put_nowait(update)


async def work(session: aiohttp.ClientSession, queue: Queue, counts: Counter[int]) -> None:
    while True:
        update = await queue.get()
        try:
            await echo(session, update, counts)
        finally:
            queue.task_done()


async def echo(session: aiohttp.ClientSession, update: dict[str, Any], counts: Counter[int]) -> None:
    begin_ns = time.monotonic_ns()
    chat_id, text = update["message"]["chat"]["id"], update["message"]["text"]
    await asyncio.sleep(work_s(text))
    counts[chat_id] += 1
    reply = evidence(text, update["update_id"], counts[chat_id], begin_ns)
    await call(session, "sendMessage", chat_id=chat_id, text=reply)


async def main() -> None:
    queue: Queue = asyncio.Queue()
    counts: Counter[int] = Counter()
    async with aiohttp.ClientSession() as session:
        workers = [asyncio.create_task(work(session, queue, counts)) for _ in range(WORKERS)]
        poller = asyncio.create_task(poll(session, queue))
        try:
            await poller
        finally:
            await queue.join()
            for worker in workers:
                worker.cancel()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main())
