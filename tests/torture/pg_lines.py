"""The lines between processes and the server are cut, slow, or open at one end only, each process's for itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.kit.proxy import Proxy
from tests.torture.pg_stage import PER_S, Fleet, open_fleet
from tests.torture.report import Plan, Result, Tell

TTL_S: Final = 3.0
_RUNS_S: Final = (0.1, 1.0)
_HALF_OPEN_S: Final = (0.5, 2 * TTL_S)
_DOWN_S: Final = (0.5, 2 * TTL_S)
_SLOW_S: Final = (0.02, 0.5)
_SLOW_FOR_S: Final = 2.0
_CUTS: Final = 5


async def run(plan: Plan, tell: Tell) -> Result:
    """`plan.rounds` troubles of one process's lines, or of all: no update is lost, swapped or committed twice."""
    began = time.monotonic()
    async with open_fleet(plan, tell, processes=3, ttl_s=TTL_S) as fleet:
        rng = fleet.stage.rng
        async with fleet.stage.trickle(PER_S):
            for number in range(plan.rounds):
                await asyncio.sleep(rng.uniform(*_RUNS_S))
                at = time.time()
                trouble = TROUBLES[number % len(TROUBLES)]
                lines = fleet.lines if number % 7 == 6 else [rng.choice(fleet.lines)]
                await asyncio.gather(*(trouble(fleet, line) for line in lines))
                fleet.facts[f"{trouble.__name__.replace('_', ' ')}{', all' if len(lines) > 1 else ''}"] += 1
                if not await fleet.recovered(at):
                    fleet.failures.append(f"not recovered from trouble {number + 1}")
                    break
                tell(f"{number + 1} troubles, the last one over {fleet.recoveries_s[-1]:.1f} s later")
        return await fleet.end("postgres-lines", began)


async def cut(fleet: Fleet, line: Proxy) -> None:
    """All connections of a process end, a few times."""
    for _ in range(fleet.stage.rng.randint(1, _CUTS)):
        line.cut()
        await asyncio.sleep(fleet.stage.rng.uniform(0, 0.5))


async def slow(fleet: Fleet, line: Proxy) -> None:
    """Each piece takes its time, which is no outage; then the connections end in the middle of it."""
    line.delay_s = fleet.stage.rng.uniform(*_SLOW_S)
    await asyncio.sleep(_SLOW_FOR_S)
    line.cut()
    line.delay_s = 0.0


async def half_open(fleet: Fleet, line: Proxy) -> None:
    """Nothing comes through, and no end learns of it; later all that was held back comes through."""
    line.stop()
    await asyncio.sleep(fleet.stage.rng.uniform(*_HALF_OPEN_S))
    line.resume()


async def half_open_then_cut(fleet: Fleet, line: Proxy) -> None:
    """The same, and what was held back is lost."""
    line.stop()
    await asyncio.sleep(fleet.stage.rng.uniform(*_HALF_OPEN_S))
    line.cut()
    line.resume()


async def down(fleet: Fleet, line: Proxy) -> None:
    """The connections end, and no new ones can be made."""
    line.is_down = True
    line.cut()
    await asyncio.sleep(fleet.stage.rng.uniform(*_DOWN_S))
    line.is_down = False


TROUBLES: Final[tuple[Callable[[Fleet, Proxy], Awaitable[None]], ...]] = (
    cut,
    half_open,
    slow,
    half_open_then_cut,
    down,
)
