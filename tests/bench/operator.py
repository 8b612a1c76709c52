"""The operator's page with 100,000 lanes: how long an answer takes, and how long it holds up the event loop."""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

import telegram.operating.operating
from engine import Queue
from engine.stores.contract import append
from tests.bench.material import a_store, batches
from tests.bench.report import Row
from tests.kit.operated import SECRET, operated

LANES = 100_000
PENDING = 2 * LANES
DEAD = 200
QUESTIONS = {
    "live, by age": "live?by=age&limit=30",
    "live, by depth": "live?by=depth&limit=30",
    "200 lanes by age": "lanes?by=age&limit=200",
    "200 lanes by depth": "lanes?by=depth&limit=200",
    "stats": "stats",
    "200 dead letters": "dead?limit=200",
    "an audit": "invariants",
}
GOAL_MS = 200.0


async def _measure(rounds: int, scale: float) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        async with a_store("sqlite") as store:
            for batch in batches(int(PENDING * scale), int(LANES * scale)):
                await append(store, batch)
            for _ in range(DEAD):
                await store.bury(await store.claim(Queue.INBOX), "ValueError: no good")
            async with operated(store, Path(folder)) as page, aiohttp.ClientSession() as session:
                headers = {"Authorization": f"Bearer {SECRET}"}
                lag = asyncio.create_task(_longest_lag(figures))
                for _ in range(max(3, rounds)):
                    for what, path in QUESTIONS.items():
                        began = time.perf_counter()
                        async with session.get(f"{page.url}/api/{path}", headers=headers) as answer:
                            await answer.read()
                            assert answer.status == 200
                        figures.setdefault(what, []).append(1000 * (time.perf_counter() - began))
                lag.cancel()
    return figures


async def _longest_lag(figures: dict[str, list[float]]) -> None:
    longest = figures.setdefault("longest hold-up of the event loop", [0.0])
    while True:
        due = time.perf_counter() + 0.002
        await asyncio.sleep(0.002)
        longest[0] = max(longest[0], 1000 * (time.perf_counter() - due))


def run(rounds: int, scale: float) -> list[Row]:
    """Measure in so many rounds; each look is one at all lanes, as the first within a while."""
    setattr(telegram.operating.operating, "RANKED_S", 0.0)  # noqa: B010
    figures = asyncio.run(_measure(rounds, scale))
    lanes = f"{int(LANES * scale):,} lanes"
    return [
        Row(f"{what}, {lanes}", "ms", values).at_most(GOAL_MS)
        if what in QUESTIONS and what != "an audit"
        else Row(what, "ms", values)
        for what, values in figures.items()
    ]
