"""Updates by webhook, as the official server sends them: how fast they are answered, with `kill -9`, and switching.

First a few seconds at each of several rates, without kills: how long an answer takes. Then a minute at 2,000 a second while
the bot is killed `plan.rounds` times. Each chat's texts are numbered; the bot counts them in its state and notes a number
that does not follow (webhook_bot.py), so what is lost, repeated or swapped shows in the commits themselves.

Then polling and webhook take turns, ten times there and back, under load; the bot of the load test answers each text with
its evidence, and the checker judges: nothing lost, swapped or repeated.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import psutil

from telegram.fake import Delivery
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import held_port, hooked
from telegram.load.checkers.checker import Verdict
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import Stage, open_stage
from tests.torture.webhook_bot import TOTAL

RATES: Final = (250, 500, 1_000, 2_000)
CALM_S: Final = 6.0
PER_S: Final = 2_000
LOADED_S: Final = 60.0
ANSWER_P99_S: Final = 0.05
FRESH_S: Final = 2.0
"""After a start the bot catches up: answers are told apart by it."""

SWITCHES: Final = 10
SWITCH_PER_S: Final = 300
_SWITCH_EVERY_S: Final = 1.0
_TICK_S: Final = 0.05
_PATIENCE_S: Final = 120.0


class Answers(NamedTuple):
    """How long the answers to accepted updates took, in milliseconds, and how many requests failed."""

    taken: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: Mapping[int, int]

    def __str__(self) -> str:
        failed = ", ".join(f"{n} x {status or 'no answer'}" for status, n in sorted(self.failed.items()))
        return (
            f"{self.taken} at {self.per_s:.0f}/s, answered in p50 {self.p50_ms:.1f}, p99 {self.p99_ms:.1f},"
            f" max {self.max_ms:.0f} ms; failed: {failed or 'none'}"
        )


def answers(deliveries: Iterable[Delivery], seconds: float) -> Answers:
    """Sum up what was delivered within this time."""
    took_ms, failed = [], Counter[int]()
    for each in deliveries:
        if 200 <= each.status <= 299:
            took_ms.append(each.took_s * 1000)
        else:
            failed[each.status] += 1
    took_ms.sort()

    def share(part: float) -> float:
        return took_ms[min(len(took_ms) - 1, int(len(took_ms) * part))] if took_ms else 0.0

    return Answers(len(took_ms), len(took_ms) / seconds, share(0.5), share(0.99), share(1), failed)


def judge(sent: Mapping[int, int], totals: Mapping[int, str]) -> list[str]:
    """Return what is wrong: `sent` has how many texts each chat wrote, `totals` what the bot says of each."""
    failures = []
    for chat, count in sent.items():
        said = totals.get(chat)
        if said != f"{count} []":
            failures.append(f"chat {chat} wrote {count}; the bot says: {said or 'nothing'}")
    return failures


class Writers:
    """The people of one run: they write numbers, each chat its own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.sent: Counter[int] = Counter(dict.fromkeys(stage.chats, 0))

    async def write(self, per_s: float, seconds: float) -> None:
        """Write at this rate, in random chats; ticks that come late are made up for."""
        began, written = time.monotonic(), 0
        while (past_s := time.monotonic() - began) < seconds:
            due = round(per_s * min(past_s + _TICK_S, seconds)) - written
            lines = []
            for chat in self._stage.rng.choices(self._stage.chats, k=due):
                self.sent[chat] += 1
                lines.append((chat, chat, str(self.sent[chat])))
            written += due
            await self._stage.fake.send_messages(lines)
            await asyncio.sleep(max(0.0, began + written / per_s - time.monotonic()))

    async def totals(self) -> dict[int, str]:
        """Ask in each chat, and return what the bot says; not of chats that get no answer within _PATIENCE_S."""
        await self._stage.fake.send_messages([(chat, chat, TOTAL) for chat in self._stage.chats])
        said: dict[int, str] = {}
        give_up, known = time.monotonic() + _PATIENCE_S, 0
        while len(said) < len(self._stage.chats) and time.monotonic() < give_up:
            await asyncio.sleep(0.1)
            for call in await self._stage.fake.calls(known):
                known = call.n
                if call.method == "sendMessage" and call.delivered:
                    said[call.chat_id or 0] = call.text
        return said


async def run(plan: Plan, tell: Tell) -> Result:
    """Measure, kill, switch."""
    began = time.monotonic()
    with held_port() as port:
        facts, failures, updates = await _loaded(plan, tell, hooked(port))
        verdict, more, switch_failures = await _switching(plan, tell, hooked(port))
    return Result(
        "webhook",
        verdict._replace(updates=verdict.updates + updates),
        time.monotonic() - began,
        facts | more,
        [*failures, *switch_failures],
    )


async def _loaded(plan: Plan, tell: Tell, hook: dict[str, str]) -> tuple[dict[str, object], list[str], int]:
    facts: dict[str, object] = {}
    bot_plan = BotPlan(handlers="tests.torture.webhook_bot:router", journal=None)
    async with open_stage(plan, tell, bot_plan, "webhooks", **hook) as stage:
        writers = Writers(stage)
        await stage.start()
        known = 0
        for per_s in RATES:
            before_s = sum(psutil.Process(stage.bot.pid).cpu_times()[:2])
            await writers.write(per_s, CALM_S)
            cpu_s = sum(psutil.Process(stage.bot.pid).cpu_times()[:2]) - before_s
            found = await stage.fake.deliveries(known)
            known += len(found)
            said = answers(found, CALM_S)
            facts[f"{per_s}/s"] = f"{said}; {1e6 * cpu_s / max(1, said.taken):.0f} us of the bot's CPU each"
            tell(f"{per_s}/s: {facts[f'{per_s}/s']}", keep=True)
        await _settled(stage)
        known += len(await stage.fake.deliveries(known))
        starts: list[float] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(writers.write(PER_S, LOADED_S))
            for _ in range(plan.rounds):
                await asyncio.sleep(stage.rng.uniform(0.5, 1.5) * LOADED_S / (plan.rounds + 1))
                await stage.kill()
                await stage.start()
                starts.append(time.time())
                tell(f"{stage.kills} kills, {(await stage.fake.stats()).pending} wait at Telegram")
        caught_up = time.monotonic()
        await _settled(stage)
        caught_up_s = time.monotonic() - caught_up
        found = await stage.fake.deliveries(known)
        said = answers(found, LOADED_S + caught_up_s)
        calm = [each for each in found if not any(0 <= each.at - at < FRESH_S for at in starts)]
        facts[f"of these, later than {FRESH_S:g} s after a start"] = str(
            answers(calm, LOADED_S + caught_up_s)
        )
        facts[f"{PER_S}/s with {stage.kills} kills"] = f"{said}; the backlog took {caught_up_s:.0f} s more"
        failures = judge(writers.sent, await writers.totals())
        if said.p99_ms > ANSWER_P99_S * 1000:
            failures.append(f"p99 of the answer is {said.p99_ms:.1f} ms")
        ended = await stage.bot.stop()
        failures += [f"exit code {ended.code} after SIGTERM"] if ended.code else []
        return facts, failures[:20], writers.sent.total()


async def _settled(stage: Stage) -> None:
    """Wait until Telegram has delivered everything."""
    while (await stage.fake.stats()).pending:
        await asyncio.sleep(0.1)


async def _switching(
    plan: Plan, tell: Tell, hook: dict[str, str]
) -> tuple[Verdict, dict[str, object], list[str]]:
    failures = []
    async with open_stage(plan, tell, BotPlan(handler_ms=5), "webhooks") as stage:
        async with stage.trickle(SWITCH_PER_S):
            for number in range(2 * SWITCHES):
                await stage.bot.start(None, **({} if number % 2 else hook))
                await asyncio.sleep(_SWITCH_EVERY_S)
                ended = await stage.bot.stop()
                if ended.code:
                    failures.append(f"switch {number}: exit code {ended.code}")
                await stage.look()
        await stage.bot.start()
        await stage.all_answered()
        await stage.stop()
        await stage.look()
        verdict = stage.judge()
        said = answers(await stage.fake.deliveries(), 1)
        polls = (await stage.fake.stats()).polls
    if verdict.repeated:
        failures.append(f"{verdict.repeated} replies were repeated")
    taken = f"{2 * SWITCHES} switches; {said.taken} of {verdict.updates} updates came by the webhook, in {polls} polls the others"
    return verdict, {"switching": taken}, failures
