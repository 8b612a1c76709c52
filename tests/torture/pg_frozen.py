"""Two processes with one token: one is frozen (SIGSTOP) longer than its session lasts, the other takes over, the first wakes.

Each getUpdates that confirms something is looked at on its way to Telegram: what it confirms has to be durable, and its sender
has to have the right to poll at that moment. Each update has to be committed once.
"""

import asyncio
import signal
import time
from itertools import pairwise
from typing import Final

from telegram.load.checkers.checker import Interruption
from tests.torture.pg_stage import PER_S, Fleet, open_fleet
from tests.torture.report import Plan, Result, Tell

TTL_S: Final = 3.0
"""Short, so that fifty rounds take minutes."""

_FROZEN_S: Final = (0.3, 2.5)
"""Beyond the time of the session; in every fifth round it is the whole time, which is too short for a take-over."""

_AWAKE_S: Final = (0.0, 1.0)


async def run(plan: Plan, tell: Tell) -> Result:
    """Five freezes for ten rounds: who polls and who does not take turns."""
    began = time.monotonic()
    async with open_fleet(plan, tell, processes=2, ttl_s=TTL_S, sees_polls=True) as fleet:
        async with fleet.stage.trickle(PER_S):
            for number in range(plan.rounds // 2):
                if not await _freeze(fleet, polls=number % 2 == 0, is_short=number % 5 == 4):
                    fleet.failures.append(f"not recovered from freeze {number + 1}")
                    break
                tell(f"{number + 1} freezes, {len(fleet.polls)} confirming polls")
        result = await fleet.end("postgres-frozen", began)
    polls = fleet.polls
    failures = [
        f"process {poll.number} confirmed up to {poll.offset}: {poll.missing} of them are not durable"
        for poll in polls
        if poll.missing
    ]
    failures += [
        f"process {poll.number} confirmed up to {poll.offset} without the right to poll"
        for poll in polls
        if not poll.has_right
    ]
    facts = {
        **result.facts,
        "polls that confirmed": len(polls),
        "of them, not durable": sum(poll.missing > 0 for poll in polls),
        "of them, without the right": sum(not poll.has_right for poll in polls),
        "changes of who confirms": sum(a.number != b.number for a, b in pairwise(polls)),
    }
    return result._replace(facts=facts, failures=[*result.failures, *failures])


async def _freeze(fleet: Fleet, *, polls: bool, is_short: bool) -> bool:
    """Freeze and wake one of the two; return whether all went on."""
    rng = fleet.stage.rng
    poller = max(0, await fleet.poller())
    victim = fleet.services[poller if polls else 1 - poller]
    await asyncio.sleep(rng.uniform(*_AWAKE_S))
    at = time.time()
    before = len(victim.log())
    victim.send_signal(signal.SIGSTOP)
    await asyncio.sleep(rng.uniform(0, TTL_S) if is_short else TTL_S + rng.uniform(*_FROZEN_S))
    fleet.stage.freezes.append(Interruption(at, time.time()))
    victim.send_signal(signal.SIGCONT)
    is_right = await fleet.recovered(at)
    fleet.facts["freezes of who polls" if polls else "freezes of the other one"] += 1
    fleet.facts["take-overs that the woken one noticed"] += any(
        line["event"].startswith("the store is in doubt") for line in victim.log()[before:]
    )
    return is_right
