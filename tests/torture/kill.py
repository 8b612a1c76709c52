"""kill -9 at random moments, a new start each time."""

import asyncio
import time
from typing import Final

from telegram.load.checker import Interruption
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import SENDERS, Stage, open_stage

UPDATES_PER_S: Final = 3500
"""How fast people write between two kills: faster than 64 workers of 20 ms each, so no kill meets an idle bot."""

_KILLED_WHILE_STARTING: Final = 0.2
_KILLED_WHILE_STORING: Final = 0.5
_STARTING_S: Final = 0.8
_STORING_S: Final = 0.006  # from the arrival of updates to the poll that confirms them, and a bit more

_BURST: Final = 100


async def run(plan: Plan, tell: Tell) -> Result:
    """Nothing lost or swapped, each update committed once; a reply that was in flight at a kill may come again."""
    began = time.monotonic()
    async with open_stage(plan, tell) as stage:
        for _ in range(plan.rounds):
            await _round(stage, plan.updates // plan.rounds)
        await stage.bot.start()
        await stage.all_answered()
        ended = await stage.bot.stop()
        await stage.look()
        verdict = stage.judge()
        notes = stage.bot.journal()
        cut_off = len({(note.update_id, note.pid) for note in notes if note.event == "begin"}) - len(
            {(note.update_id, note.pid) for note in notes if note.event == "end"}
        )
        facts = {
            "kills": plan.rounds,
            "handlers cut off and run again": cut_off,
            "replies repeated": f"{verdict.repeated} (at most {SENDERS} a kill can be in flight)",
        }
        failures = [f"exit code {ended.code} after SIGTERM"] if ended.code else []
        if verdict.repeated > SENDERS * plan.rounds:
            failures.append("more replies were repeated than can have been in flight")
        return Result("kill", verdict, time.monotonic() - began, facts, failures)


async def _round(stage: Stage, updates: int) -> None:
    """Start, write, kill in the middle of it; some of the kills aim at the start, many at the storing of updates."""
    longest_s = updates / UPDATES_PER_S
    aim = stage.rng.random()
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.say_evenly(updates, longest_s))
        if aim < _KILLED_WHILE_STARTING:
            await stage.bot.spawn()
            await asyncio.sleep(stage.rng.uniform(0, _STARTING_S))
        else:
            await stage.bot.start()
            await asyncio.sleep(stage.rng.uniform(0, longest_s))
            if aim < _KILLED_WHILE_STARTING + _KILLED_WHILE_STORING:
                await stage.say(_BURST)
                await asyncio.sleep(stage.rng.uniform(0, _STORING_S))
        killed_at = time.time()
        await stage.bot.kill()
        stage.interruptions.append(Interruption(killed_at, time.time()))
    await stage.look()
