"""kill -9, aimed at each of the moments that matter, a new start each time."""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from telegram.load.bot.journal import JournalEntry
from telegram.load.bot.plan import BotPlan
from tests.torture import aims
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import SENDERS, Stage, open_stage

UPDATES_PER_S: Final = 3500
"""How fast people write between two kills: faster than 64 workers of 20 ms each, so no kill meets an idle bot."""

_LONG: Final = BotPlan(handler_ms=50_000)
"""So that handlers are at work when the kill comes that is aimed at them, also on a busy machine."""


async def run(plan: Plan, tell: Tell) -> Result:
    """Nothing lost or swapped, each update committed once; a reply that was in flight at a kill may come again."""
    began = time.monotonic()
    async with open_stage(plan, tell) as stage:
        for number in range(plan.rounds):
            await _round(stage, plan.updates // plan.rounds, aims.ALL[number % len(aims.ALL)])
        await stage.start()
        await stage.all_answered()
        ended = await stage.bot.stop()
        await stage.look()
        verdict = stage.judge()
        facts = {
            "kills": stage.kills,
            "handlers cut off and run again": cut_off(stage.bot.journal()),
            "replies repeated": f"{verdict.repeated} (at most {SENDERS} a kill can be in flight)",
        }
        failures = [f"exit code {ended.code} after SIGTERM"] if ended.code else []
        if verdict.repeated > SENDERS * stage.kills:
            failures.append("more replies were repeated than can have been in flight")
        return Result("kill", verdict, time.monotonic() - began, facts, failures)


async def _round(stage: Stage, updates: int, aim: aims.Aim) -> None:
    """Start, write, kill in the middle of it."""
    longest_s = updates / UPDATES_PER_S
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.say_evenly(updates, longest_s))
        await stage.start(_LONG if aim is aims.handling else None)
        await asyncio.sleep(stage.rng.uniform(0, longest_s))
        if aim is aims.handling:
            await stage.bot.soon(lambda: _is_at_work(stage) or None)
        await aim(stage)
    await stage.look()


def _is_at_work(stage: Stage) -> bool:
    return any(note.event == "begin" and note.pid == stage.bot.pid for note in stage.bot.journal())


def cut_off(notes: Iterable[JournalEntry]) -> int:
    """How many handlers began and did not end, whatever became of their updates later."""
    runs: dict[str, set[tuple[int, int]]] = {"begin": set(), "end": set()}
    for note in notes:
        if note.event in runs:
            runs[note.event].add((note.update_id, note.pid))
    return len(runs["begin"] - runs["end"])
