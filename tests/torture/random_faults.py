"""Random faults between the bot and Telegram: one or several at once for a short time, and short outages."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from telegram.fake import Fault
from telegram.load.checkers.checker import Interruption
from tests.torture.stage import Stage

_OUTAGE: Final = 0.15  # share of outages; the others are faults
_OUTAGE_MAX_S: Final = 1.0
_AT_ONCE_MAX: Final = 3
_LENGTH_S: Final = (0.2, 2.0)  # of the faults, and of the pause after them
_SLOW_S: Final = (0.1, 3.0)
_METHODS: Final[dict[str | None, tuple[int, int]]] = {
    "sendMessage": (6, 30),
    "getUpdates": (3, 3),
    None: (1, 10),  # any, also getMe while the bot starts
}
"""The method that a fault hits -> how often it is chosen, and how often it hits at most."""

KINDS: Final[tuple[Callable[[random.Random], Fault], ...]] = (
    lambda _: Fault("cut_before"),
    lambda _: Fault("cut_after"),
    lambda _: Fault("truncate"),
    lambda _: Fault("garbage"),
    lambda _: Fault("html"),
    lambda rng: Fault("status", code=rng.choice((500, 502, 503, 504))),
    lambda _: Fault("status", code=429, retry_after=1),
    lambda rng: Fault("slow", seconds=rng.uniform(*_SLOW_S)),
)


def draw(rng: random.Random) -> Fault:
    """A fault of any kind, for some of the calls of some method."""
    weights, hits = zip(*_METHODS.values(), strict=True)
    (chosen,) = rng.choices(range(len(_METHODS)), weights)
    fault = rng.choice(KINDS)(rng)
    fault.method = list(_METHODS)[chosen]
    fault.times = rng.randint(1, hits[chosen])
    fault.probability = rng.uniform(0.1, 1.0)
    return fault


async def inject(stage: Stage, rng: random.Random, over: asyncio.Event) -> None:
    """Inject faults, with pauses between them, until `over` is set; then there are none."""
    while not over.is_set():
        if rng.random() < _OUTAGE:
            await outage(stage, rng.uniform(0, _OUTAGE_MAX_S))
        else:
            for _ in range(rng.randint(1, _AT_ONCE_MAX)):
                await stage.fake.add_fault(draw(rng))
            await _unless_over(over, rng.uniform(*_LENGTH_S))
            await stage.clear_faults()
        await _unless_over(over, rng.uniform(*_LENGTH_S))


async def outage(stage: Stage, length_s: float) -> None:
    """The server is down; requests in flight are cut."""
    began = time.time()
    await stage.fake.down()
    await asyncio.sleep(length_s)
    await stage.fake.up()
    stage.interruptions.append(Interruption(began, time.time()))
    stage.faults["outage"] += 1


async def _unless_over(over: asyncio.Event, length_s: float) -> None:
    try:
        async with asyncio.timeout(length_s):
            await over.wait()
    except TimeoutError:
        pass
