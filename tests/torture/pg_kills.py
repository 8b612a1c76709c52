"""The server of several processes is killed again and again while people write, as a whole or a single backend of it."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from tests.torture.pg_stage import PER_S, Fleet, open_fleet
from tests.torture.report import Plan, Result, Tell

_RUNS_S: Final = (0.2, 1.5)
"""How long it works between two kills."""

_LOOK_EVERY_S: Final = 0.02
_BACKENDS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'chatlane %' ORDER BY random() LIMIT 1"
)


async def run(plan: Plan, tell: Tell) -> Result:
    """`plan.rounds` kills: no update is lost, swapped or committed twice."""
    began = time.monotonic()
    async with open_fleet(plan, tell, processes=3) as fleet:
        rng = fleet.stage.rng
        async with fleet.stage.trickle(PER_S):
            for number in range(plan.rounds):
                await asyncio.sleep(rng.uniform(*_RUNS_S))
                at = time.time()
                kill = KILLS[number % len(KILLS)]
                await kill(fleet)
                fleet.facts[kill.__name__.replace("_", " ")] += 1
                if not await fleet.recovered(at):
                    fleet.failures.append(f"not recovered from kill {number + 1}")
                    break
                tell(
                    f"{number + 1} kills of the server, the last one over {fleet.recoveries_s[-1]:.1f} s later"
                )
        return await fleet.end("postgres-kills", began)


async def server_killed(fleet: Fleet) -> None:
    """kill -9 of the postmaster, and a start."""
    await asyncio.to_thread(fleet.server.stop, signal.SIGKILL)
    await asyncio.sleep(fleet.stage.rng.uniform(0, 1.0))
    await asyncio.to_thread(fleet.server.start)


async def backend_killed(fleet: Fleet) -> None:
    """kill -9 of a backend that works for a process: the server ends all others, and starts again by itself."""
    while True:
        with suppress(ProcessLookupError):  # its connection has just been closed
            if (pid := await fleet.value(_BACKENDS)) is not None:
                os.kill(pid, signal.SIGKILL)
                return
        await asyncio.sleep(_LOOK_EVERY_S)


async def server_ended_at_once(fleet: Fleet) -> None:
    """An immediate shutdown, which is a crash for the data, and a start."""
    await asyncio.to_thread(fleet.server.stop, signal.SIGQUIT)
    await asyncio.to_thread(fleet.server.start)


KILLS: Final[tuple[Callable[[Fleet], Awaitable[None]], ...]] = (
    server_killed,
    backend_killed,
    backend_killed,
    server_ended_at_once,
)
