"""A million pending updates in 100,000 chats: starting with them, and working beside them."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import uvloop

from engine import Effects, Engine, EngineConfig, Queue, Work
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from tests.bench.material import a_store, batches
from tests.bench.report import Row

PENDING = 1_000_000
CHATS = 100_000
NOTHING = Effects()


async def fill(path: Path, updates: int) -> None:
    store = await open_sqlite(path, "1")
    for start in range(1, updates + 1, 100_000):
        for batch in batches(min(100_000, updates + 1 - start), CHATS, first=start):
            await append(store, batch)
    await store.close()


async def start_with(path: Path) -> None:
    """In a process of its own: open the file, handle one update, print how long it took and how big we are."""
    process = psutil.Process()
    started = time.perf_counter()
    handled = asyncio.Event()

    async def first(_: Work) -> Effects:
        handled.set()
        return NOTHING

    store = await open_sqlite(path, "1")
    async with asyncio.TaskGroup() as group:
        engine = Engine(store, Queue.INBOX, first)
        engine.start(group)
        await handled.wait()
        took = time.perf_counter() - started
        print(json.dumps({"took_s": took, "rss_mb": process.memory_info().rss / 1e6}))
        await engine.drain(0)
    await store.close()


async def cost_with(kind: str, pending: int, updates: int) -> float:
    """Return the microseconds of CPU to append one update and to handle one, beside a backlog of `pending`."""
    async with a_store(kind) as store:
        for start in range(1, pending + 1, 100_000):
            for batch in batches(min(100_000, pending + 1 - start), CHATS, first=start):
                await append(store, batch)
        work = batches(updates, CHATS, first=pending + 1)
        cpu = time.process_time()
        for batch in work:
            await append(store, batch)
        to_append = (time.process_time() - cpu) / updates

        handled = 0
        done = asyncio.Event()

        async def no_op(_: Work) -> Effects:
            nonlocal handled
            handled += 1
            if handled >= updates:
                done.set()
            return NOTHING

        async with asyncio.TaskGroup() as group:
            engine = Engine(store, Queue.INBOX, no_op, EngineConfig(workers=64))
            cpu = time.process_time()
            engine.start(group)
            await done.wait()
            to_handle = (time.process_time() - cpu) / handled
            await engine.drain(asyncio.get_running_loop().time() + 5)
    return (to_append + to_handle) * 1e6


def run(rounds: int, scale: float) -> list[Row]:
    pending = int(PENDING * scale)
    took, rss = [], []
    with TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        path = Path(folder) / "backlog.db"
        uvloop.run(fill(path, pending))
        for _ in range(rounds):
            command = [sys.executable, "-m", "tests.bench.backlog", str(path)]
            found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            took.append(found["took_s"])
            rss.append(found["rss_mb"])
    rows = [
        Row(f"start to first handled, {pending:,} pending in {CHATS:,} chats, sqlite", "s", took).at_most(10),
        Row("resident memory then", "MB", rss).at_most(400),
    ]
    for kind in ("memory", "sqlite"):
        few, many = [], []
        for _ in range(max(1, rounds // 2)):
            few.append(uvloop.run(cost_with(kind, 1000, 30_000)))
            many.append(uvloop.run(cost_with(kind, pending, 30_000)))
        ratio = [a / b for a, b in zip(many, few, strict=True)]
        rows += [
            Row(f"CPU per update with 1,000 pending, {kind}", "us", few),
            Row(f"CPU per update with {pending:,} pending, {kind}", "us", many),
            Row(f"the second over the first, {kind}", "ratio", ratio).at_most(1.3),
        ]
    return rows


if __name__ == "__main__":
    uvloop.run(start_with(Path(sys.argv[1])))
