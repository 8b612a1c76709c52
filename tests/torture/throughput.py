"""Full speed: everything waits at Telegram when the bot starts; how long does it take, and is it right?"""

import time
from typing import Final

from telegram.load.bot.plan import BotPlan
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import WORKERS, open_stage

HANDLER_MS: Final = 20
_AT_ONCE: Final = 10_000


async def run(plan: Plan, tell: Tell) -> Result:
    """Nothing lost, doubled, swapped or overlapping; no repeat is allowed."""
    async with open_stage(plan, tell, BotPlan(handler_ms=HANDLER_MS, journal=None)) as stage:
        for start in range(0, plan.updates, _AT_ONCE):
            await stage.say(min(_AT_ONCE, plan.updates - start))
        await stage.bot.start()
        started = time.time()
        await stage.all_answered()
        ended = await stage.bot.stop()
        await stage.look()
        wall_s = stage.calls[-1].at - started
        verdict = stage.judge()
        ideal_s = plan.updates * HANDLER_MS / 1000 / WORKERS
        facts = {
            "wall": f"{wall_s:.1f} s from the start to the last reply, {plan.updates / wall_s:.0f} updates/s",
            "ideal": f"{ideal_s:.1f} s ({plan.updates} x {HANDLER_MS} ms / {WORKERS} workers)",
            "chats at once": verdict.chats_at_once,
        }
        failures = [f"exit code {ended.code} after SIGTERM"] if ended.code else []
        return Result("throughput", verdict, wall_s, facts, failures)
