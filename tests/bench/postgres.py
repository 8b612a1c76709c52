"""PostgreSQL, fsync on, on the disk of the working directory: what an update costs, how long it takes, and what taking over takes.

CPU counts more than rates: server and processes share the machine. The server's CPU is that of all its processes.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import asyncpg
import uvloop

from engine import Call, Effects, Engine, EngineConfig, Inbox, Queue, Work
from engine.stores import open_store
from engine.stores.contract import append
from telegram.process.running import tune_garbage_collection
from tests.bench import echo
from tests.bench.dispatch import CHATS, NOTHING
from tests.bench.material import batches
from tests.bench.report import Row
from tests.bench.sharing import Cpu, a_server, shared
from tests.kit.database import Server

_LANES: Final = 100_000
_STATES: Final = 1_000_000
_ALONE_UPDATES: Final = 300
_HELD_UPDATES: Final = 200_000


@asynccontextmanager
async def a_session(server: Server, schema: str) -> AsyncIterator[Any]:
    store = await open_store(server.url(schema), "1", shared=True)
    try:
        yield store
    finally:
        await store.close()


async def flood(store: Any, updates: int, first: int = 1) -> float:
    """Append updates and handle them; return how many in a second."""
    work = batches(updates, CHATS, first=first)
    handled = 0
    done = asyncio.Event()

    async def no_op(_: Work) -> Effects:
        nonlocal handled
        handled += 1
        if handled == updates:
            done.set()
        return NOTHING

    async with asyncio.TaskGroup() as group:
        engine = Engine(store, Queue.INBOX, no_op, EngineConfig(workers=128))
        inbox = Inbox(store)
        began = time.perf_counter()
        engine.start(group)
        for batch in work:
            await inbox.accept(await inbox.right(), batch)
        await done.wait()
        await engine.drain(asyncio.get_running_loop().time() + 5)
        took = time.perf_counter() - began
    return updates / took


async def full(server: Server, schema: str, updates: int) -> tuple[float, float, float]:
    """One process: updates per second, its CPU and the server's per update in us."""
    async with a_session(server, schema) as store:
        await flood(store, updates // 10)
        cpu = Cpu(server)
        rate = await flood(store, updates, first=updates)
        return (rate, *cpu.spent_us(updates))


async def beside_a_transaction(server: Server, schema: str, updates: int) -> float:
    """The rate while another connection holds a snapshot of before many updates, over the rate before."""
    async with a_session(server, schema) as store:
        await flood(store, updates // 10)
        before = await flood(store, updates // 4, first=updates)
        other = await asyncpg.connect(server.url().partition("?")[0])
        try:
            async with other.transaction(isolation="repeatable_read"):
                await other.fetchval(f"SELECT count(*) FROM {schema}.inbox")
                await flood(store, updates, first=2 * updates)
                during = await flood(store, updates // 4, first=4 * updates)
        finally:
            await other.close()
    return before / during


async def alone(url: str, updates: int) -> list[float]:
    """Milliseconds from an update's arrival until its call can be sent, one after the other."""
    store = await open_store(url, "1", shared=True)
    delays = []
    sent = asyncio.Event()

    async def reply(work: Work) -> Effects:
        return Effects(calls=(Call(work.delivery.lease.key, b"a reply"),))

    async def send(_: Work) -> Effects:
        delays.append(1000 * (time.perf_counter() - began))
        sent.set()
        return NOTHING

    async with asyncio.TaskGroup() as group:
        engines = [Engine(store, queue, what) for queue, what in ((Queue.INBOX, reply), (Queue.OUTBOX, send))]
        for engine in engines:
            engine.start(group)
        inbox = Inbox(store)
        for batch in batches(updates, CHATS):
            for envelope in batch:
                began = time.perf_counter()
                sent.clear()
                await inbox.accept(await inbox.right(), [envelope])
                await sent.wait()
                await asyncio.sleep(0.003)  # the rest of it is written
        for engine in engines:
            await engine.drain(asyncio.get_running_loop().time() + 5)
    await store.close()
    return delays


async def round_trip(server: Server) -> float:
    """Milliseconds of the shortest question: the median."""
    connection = await asyncpg.connect(server.url().partition("?")[0])
    statement = await connection.prepare("SELECT 1")
    times = []
    for _ in range(500):
        began = time.perf_counter()
        await statement.fetchval()
        times.append(1000 * (time.perf_counter() - began))
    await connection.close()
    return statistics.median(times)


async def taking_over(server: Server, schema: str, lanes: int, states: int) -> tuple[float, float]:
    """Seconds until a second session has its half, and the longest hold-up of the event loop of both in ms."""
    async with a_session(server, schema) as store:
        for batch in batches(lanes, lanes):
            await append(store, batch)
        other = await asyncpg.connect(server.url().partition("?")[0])
        await other.execute(
            f"INSERT INTO {schema}.state (bot, key, scope, state) SELECT 1, 'chat:' || n, '', 'a state'"
            f" FROM generate_series(1, {states}) AS n ON CONFLICT DO NOTHING"
        )
        lag = _Lag()
        began = time.perf_counter()
        async with a_session(server, schema):
            counting = f"SELECT min(n) FROM (SELECT count(*) AS n FROM {schema}.share WHERE owner IS NOT NULL GROUP BY owner) AS c"
            parts = f"SELECT count(DISTINCT owner) FROM {schema}.share WHERE owner IS NOT NULL"
            while await other.fetchval(parts) < 2 or await other.fetchval(counting) < 400:
                await asyncio.sleep(0.02)
            took = time.perf_counter() - began
            longest = lag.end()
        await other.close()
    return took, longest


class _Lag:
    """How long the event loop is held up."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + 0.002
            await asyncio.sleep(0.002)
            self._longest = max(self._longest, 1000 * (time.perf_counter() - due))

    def end(self) -> float:
        self._task.cancel()
        return self._longest


def run(rounds: int, scale: float) -> list[Row]:
    with a_server() as server:
        return [
            *_of_one(server, rounds, int(100_000 * scale)),
            *_of_several(server, rounds, int(100_000 * scale)),
            *_of_a_single_update(server, rounds, int(_ALONE_UPDATES * min(1, scale))),
            *_of_taking_over(server, rounds, scale),
            *_beside_a_transaction(server, rounds, int(_HELD_UPDATES * scale)),
            *_echoes(server, rounds, int(15_000 * scale)),
        ]


def _of_one(server: Server, rounds: int, updates: int) -> list[Row]:
    rate, ours, theirs = _turned([uvloop.run(full(server, f"full{n}", updates)) for n in range(rounds)])
    return [
        Row("no-op dispatch, one process", "updates/s", rate).at_least(15_000),
        Row("CPU of the process for an update", "us", ours).at_most(50),
        Row("CPU of the server for an update", "us", theirs).at_most(30),
    ]


def _of_several(server: Server, rounds: int, updates: int) -> list[Row]:
    rows = []
    for processes in (1, 2):
        schemas = [f"shared{processes}of{n}" for n in range(rounds)]
        found = [uvloop.run(shared(server, schema, updates, processes)) for schema in schemas]
        rate, ours, theirs = _turned(found)
        name = f"{processes} process{'es' * (processes > 1)} of their own"
        rows += [
            Row(f"{name}: no-op dispatch", "updates/s", rate),
            Row(f"{name}: CPU of them for an update", "us", ours),
            Row(f"{name}: CPU of the server for an update", "us", theirs),
        ]
    return rows


def _of_a_single_update(server: Server, rounds: int, updates: int) -> list[Row]:
    there, here, trip = [], [], []
    for number in range(rounds):
        there.append(statistics.median(uvloop.run(alone(server.url(f"alone{number}"), updates))))
        here.append(statistics.median(uvloop.run(alone("memory:", updates))))
        trip.append(uvloop.run(round_trip(server)))
    extra = [a - b - 3 * c for a, b, c in zip(there, here, trip, strict=True)]
    return [
        Row("a single update, from its arrival until its reply can be sent", "ms", there),
        Row("the same in memory", "ms", here),
        Row("a round trip", "ms", trip),
        Row("what PostgreSQL adds, beyond three round trips", "ms", extra).at_most(2),
    ]


def _of_taking_over(server: Server, rounds: int, scale: float) -> list[Row]:
    lanes, states = int(_LANES * scale), int(_STATES * scale)
    schemas = [f"moving{n}" for n in range(rounds)]
    taken, lag = _turned([uvloop.run(taking_over(server, schema, lanes, states)) for schema in schemas])
    return [
        Row(f"half of {lanes:,} pending lanes to a second process", "s", taken).at_most(2),
        Row("longest hold-up of the event loop of both then", "ms", lag),
    ]


def _beside_a_transaction(server: Server, rounds: int, updates: int) -> list[Row]:
    held = [uvloop.run(beside_a_transaction(server, f"held{n}", updates)) for n in range(rounds)]
    return [Row("rate before / beside a transaction held open", "ratio", held).at_most(1.2)]


def _echoes(server: Server, rounds: int, messages: int) -> list[Row]:
    ratios = []
    tune_garbage_collection()
    for number in range(rounds):
        there, here = (
            uvloop.run(echo.measured(partial(echo.with_engine, store_kind=kind), messages))[0]
            for kind in (server.url(f"echo{number}"), "sqlite")
        )
        ratios.append(there / here)
    return [Row("echo over HTTP, PostgreSQL / SQLite", "ratio", ratios).at_least(0.7)]


def _turned(found: list[Any]) -> list[list[float]]:
    return [list(each) for each in zip(*found, strict=True)]
