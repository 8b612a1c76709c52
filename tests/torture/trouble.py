"""A server with every kind of fault, one after another, while users go on writing."""

import time
from typing import Final

from telegram.load.bot.service import Finished
from tests.torture import server_faults
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import Stage, open_stage

TRICKLE_PER_S: Final = 50
BURST: Final = 500
"""Number of updates in flight when a fault begins, so that it hits many handlers and senders at once."""

BAD: Final = {
    "invalid UTF-8": b'"callback_query":{"id":"1","from":{"id":%d,"is_bot":false,"first_name":"X"},'
    b'"chat_instance":"1","data":"\xff\xfe"}',
    "unknown kind of update": b'"mind_reading":{"chat":{"id":%d,"type":"private"},"thought":"?"}',
    "message.date: missing": b'"message":{"message_id":1,"chat":{"id":%d,"type":"private"},"text":"no date"}',
    "lone surrogate": b'"message":{"message_id":1,"date":1,"chat":{"id":%d,"type":"private"},"text":"\\ud800"}',
}
"""The reason that a dead letter gives -> an update that no handler may see; %d is its chat."""


async def run(plan: Plan, tell: Tell) -> Result:
    """Nothing lost or swapped; it recovers by itself from each; a bounded number of requests during each."""
    began = time.monotonic()
    async with open_stage(plan, tell) as stage:
        facts, failures = {}, []
        await say_bad_batch(stage)
        await stage.bot.start()
        if not await stage.all_answered():
            failures.append("the good updates beside the bad ones were not answered")
        troubles: dict[str, tuple[server_faults.ServerFault, float]] = {
            "server down": (server_faults.down, plan.outage_s)
        }
        troubles |= {name: (fault, plan.fault_s) for name, fault in server_faults.ALL.items()}
        async with stage.trickle(TRICKLE_PER_S):
            for name, (fault, length_s) in troubles.items():
                tell(name)
                facts[name] = await cause(stage, fault, length_s, failures)
        await stage.all_answered()
        ended = await stage.bot.stop()
        await stage.look()
        if ended.code:
            failures.append(f"exit code {ended.code} after SIGTERM")
        failures += not_buried(await stage.bot.command("dead"))
        facts["dead letters"] = "the four bad updates, and nothing else"
        return Result("trouble", stage.judge(), time.monotonic() - began, facts, failures)


async def cause(stage: Stage, fault: server_faults.ServerFault, length_s: float, failures: list[str]) -> str:
    """Cause a fault and wait until all is answered; return its figures as text."""
    await stage.say(BURST)
    began = time.monotonic()
    bounds = await fault(stage, length_s)
    over = time.monotonic()
    if not await stage.all_answered():
        failures.append(f"{fault.__name__}: no recovery")
    failures += [f"{fault.__name__}: {bound}" for bound in bounds if bound.came > bound.most]
    recovered_s = time.monotonic() - over
    return ", ".join([f"{over - began:.0f} s", *map(str, bounds), f"recovered {recovered_s:.1f} s after it"])


async def say_bad_batch(stage: Stage) -> None:
    """Good and bad updates by turns, all in one chat and before the bot starts, so that they come in one batch."""
    chat = stage.chats[0]
    for rest in BAD.values():
        await stage.say(1, [chat])
        await stage.fake.push_raw(rest.replace(b"%d", str(chat).encode()))
    await stage.say(1, [chat])


def not_buried(dead: Finished) -> list[str]:
    """What is wrong with the output of `run.py dead` after a bad batch: one line for each of its updates is right."""
    letters = [line for line in dead.out.splitlines() if "attempts" in line]
    failures = [f"no dead letter has the reason {reason!r}" for reason in BAD if reason not in dead.out]
    if len(letters) != len(BAD):
        failures.append(f"{len(letters)} dead letters instead of {len(BAD)}")
    return failures
