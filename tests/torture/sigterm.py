"""SIGTERM at random moments, a new start each time."""

import asyncio
import time
from typing import Final

from telegram.fake import Fault
from telegram.load.bot.journal import JournalEntry
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Ended
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import Stage, open_stage

HANDLER_MS: Final = 100
DRAIN_TIMEOUT_S: Final = 20
UPDATES_PER_S: Final = 700
"""Faster than 64 workers of 100 ms each: no SIGTERM meets an idle bot."""


SLOW_ANSWER_S: Final = 0.3
"""Of some sends: so there are always calls under way, whose cut would mean to send them again."""


async def run(plan: Plan, tell: Tell) -> Result:
    """Nothing lost, repeated or swapped; exit code 0 in time; every handler that has begun finishes, once."""
    began = time.monotonic()
    bot_plan = BotPlan(handler_ms=HANDLER_MS)
    async with open_stage(plan, tell, bot_plan, DRAIN_TIMEOUT_S=str(DRAIN_TIMEOUT_S)) as stage:
        slow = Fault("slow", seconds=SLOW_ANSWER_S, method="sendMessage", probability=0.05)
        await stage.fake.add_fault(slow)
        signals_ns, ends = [], []
        for _ in range(plan.rounds):
            signal_ns, ended = await _round(stage, plan.updates // plan.rounds)
            signals_ns.append(signal_ns)
            ends.append(ended)
        await stage.bot.start()
        await stage.all_answered()
        ends.append(await stage.bot.stop())
        await stage.look()
        notes = stage.bot.journal()
        interrupted = [running_at(signal_ns, notes) for signal_ns in signals_ns]
        facts = {
            "SIGTERMs": len(ends),
            "slowest stop": f"{max(end.took_s for end in ends):.2f} s (allowed: {DRAIN_TIMEOUT_S} s)",
            "handlers at work when it came": f"{sum(interrupted)}, in {sum(map(bool, interrupted))} of {plan.rounds} rounds",
        }
        failures = [
            f"stop {n}: exit code {end.code} after {end.took_s:.1f} s"
            for n, end in enumerate(ends, 1)
            if end.code or end.took_s > DRAIN_TIMEOUT_S
        ]
        failures += unfinished(notes)
        return Result("sigterm", stage.judge(), time.monotonic() - began, facts, failures)


async def _round(stage: Stage, updates: int) -> tuple[int, Ended]:
    longest_s = updates / UPDATES_PER_S
    await stage.bot.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.say_evenly(updates, longest_s))
        await asyncio.sleep(stage.rng.uniform(0, longest_s))
        signal_ns = time.monotonic_ns()
        ended = await stage.bot.stop()
    await stage.look()
    return signal_ns, ended


def running_at(moment_ns: int, notes: list[JournalEntry]) -> int:
    """How many handlers had begun and not ended then."""
    at = [note.event for note in notes if note.at_ns <= moment_ns]
    return at.count("begin") - at.count("end")


def unfinished(notes: list[JournalEntry]) -> list[str]:
    """What a graceful stop must not leave: a beginning without an end, or an update that was begun again."""
    begun = [note.update_id for note in notes if note.event == "begin"]
    finished = {note.update_id for note in notes if note.event == "end"}
    cut_off = set(begun) - finished
    failures = [f"{len(cut_off)} handlers were cut off"] if cut_off else []
    if len(begun) > len(set(begun)):
        failures.append(f"{len(begun) - len(set(begun))} handlers ran again")
    return failures
