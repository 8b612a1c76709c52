"""No-op dispatch, end to end: accept, claim, handle, commit. Beside it, what the same work costs bare."""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from engine import Effects, Engine, EngineConfig, Inbox, Queue, Work
from tests.bench.material import a_store, batches, raw_update
from tests.bench.report import Row

CHATS = 1000
NOTHING = Effects()


async def dispatch(kind: str, updates: int, *, workers: int) -> float:
    """Return updates per second through the engine."""
    work = batches(updates, CHATS)
    left = updates
    all_handled = asyncio.Event()

    async def no_op(_: Work) -> Effects:
        nonlocal left
        left -= 1
        if not left:
            all_handled.set()
        return NOTHING

    async with a_store(kind) as store, asyncio.TaskGroup() as group:
        engine = Engine(store, Queue.INBOX, no_op, EngineConfig(workers=workers))
        inbox = Inbox(store)
        engine.start(group)
        started = time.perf_counter()
        for batch in work:
            await inbox.accept(await inbox.right(), batch)
            await asyncio.sleep(0)  # the poller's getUpdates would be here
        await all_handled.wait()
        while (await store.stats()).inbox.pending:
            await asyncio.sleep(0)
        took = time.perf_counter() - started
        await engine.drain(asyncio.get_running_loop().time() + 5)
    return updates / took


def bare_json(updates: int) -> float:
    """A loop of `json.loads` and the dict lookups of routing, per second."""
    bodies = [raw_update(i, i % CHATS) for i in range(updates)]
    lanes: dict[int, int] = {}
    started = time.perf_counter()
    for body in bodies:
        update = json.loads(body)
        chat = update["message"]["chat"]["id"]
        lanes[chat] = lanes.get(chat, 0) + update["update_id"]
    return updates / (time.perf_counter() - started)


def bare_sqlite(updates: int) -> float:
    """Insert rows in groups of 100, each group synced, and delete them in groups of 100: rows per second."""
    body = raw_update(1, 1)
    with TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        connection = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE inbox (place INTEGER PRIMARY KEY, key TEXT, scope TEXT, body BLOB)")
        started = time.perf_counter()
        for start in range(0, updates, 100):
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN")
            rows = [(i, f"chat:{i}", "1", body) for i in range(start, start + 100)]
            connection.executemany("INSERT INTO inbox VALUES (?,?,?,?)", rows)
            connection.execute("COMMIT")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN")
            connection.executemany(
                "DELETE FROM inbox WHERE place=?", [(i,) for i in range(start, start + 100)]
            )
            connection.execute("COMMIT")
        took = time.perf_counter() - started
        connection.close()
    return updates / took


def run(rounds: int, scale: float) -> list[Row]:
    memory, sqlite, loads, rows = [], [], [], []
    for _ in range(rounds):
        memory.append(uvloop.run(dispatch("memory", int(200_000 * scale), workers=64)))
        sqlite.append(uvloop.run(dispatch("sqlite", int(60_000 * scale), workers=64)))
        loads.append(bare_json(int(100_000 * scale)))
        rows.append(bare_sqlite(int(40_000 * scale)))
    return [
        Row("no-op dispatch, memory", "updates/s", memory).at_least(80_000),
        Row("no-op dispatch, sqlite (synced before it is confirmed)", "updates/s", sqlite).at_least(20_000),
        Row("bare: json.loads and dict lookups", "updates/s", loads),
        Row("bare: sqlite insert synced and delete, groups of 100", "updates/s", rows),
        Row("memory / bare json", "ratio", [a / b for a, b in zip(memory, loads, strict=True)]),
        Row("sqlite / bare sqlite", "ratio", [a / b for a, b in zip(sqlite, rows, strict=True)]),
    ]
