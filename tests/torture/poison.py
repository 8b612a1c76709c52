"""One bad user among a hundred: each message of theirs harms whoever handles it (tests/torture/poisons.py).

A supervisor starts the bot again whenever it has ended. The others write all the time and have to be answered
throughout. The bad message has to end as a dead letter and its lane to go on: a good text of the same user
stands behind it, and its answer tells. Then comes the next poison.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from telegram.load.bot.plan import BotPlan
from telegram.load.checkers.checker import Interruption, SentText, Verdict
from tests.torture.poisons import POISONS
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import Stage, open_stage
from tests.torture.window import together

USERS: Final = 100
ATTEMPTS_MAX: Final = 3
STARTS_MAX: Final = ATTEMPTS_MAX + 1
"""For one poison: a bot that starts more often does not count what kills it."""

SERVED_WITHIN_S: Final = 10.0
"""The longest that a good user may wait: some starts of the bot, far from a lane that stands still."""

_SETTLED_WITHIN_S: Final = 60.0
_PER_S: Final = 100
_TICK_S: Final = 0.1
_LOOK_EVERY_S: Final = 0.05
_RESTART_S: Final = 0.1
_LETTER: Final = re.compile(r"inbox  .*?id (\d+)  attempts")


class Bout(NamedTuple):
    """What one poison did."""

    name: str
    starts: int
    longest_wait_s: float
    took_s: float
    is_settled: bool
    verdict: Verdict
    failures: list[str]

    def line(self) -> str:
        """For people."""
        end = "settled" if self.is_settled else "NOT settled"
        return (
            f"{end} in {self.took_s:.1f} s, {self.starts} starts, {self.verdict.updates} updates of the others,"
            f" longest wait {self.longest_wait_s:.1f} s, {len(self.verdict.anomalies)} anomalies"
        )


class Ward:
    """One bot and its users, while one poison is at work."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._good = stage.chats[1:]
        self._bad = stage.chats[0]
        self._said_at: dict[int, float] = {}
        self._starts = 0
        self._ended: list[int] = []

    async def bout(self, name: str, served_within_s: float) -> Bout:
        """Let one poison come, and judge what became of everybody."""
        stage, began = self._stage, time.monotonic()
        await stage.start()
        async with self._kept_running(), self._others_write():
            await asyncio.sleep(0.5)
            (bad_id,) = await stage.fake.send_messages([(self._bad, self._bad, name)])
            if not POISONS[name].is_dead:
                stage.sent.append(SentText(self._bad, bad_id, name))
            (behind,) = await stage.say(1, [self._bad])
            is_settled = await self._answered(behind)
            took_s = time.monotonic() - began
        failures = []
        if not is_settled:
            failures.append(
                f"the bad user's lane stands still after {self._starts} starts, exit codes {self._ended[-5:]}"
            )
            stage.sent.remove(behind)  # reported already
        elif self._starts > STARTS_MAX:
            failures.append(f"{self._starts} starts, exit codes {self._ended}")
        # A poison that is not settled goes on killing: nobody can be answered then.
        if is_settled and not await stage.all_answered():
            failures.append("the others were not all answered")
        try:
            await stage.stop()
        except RuntimeError as error:
            failures.append(str(error))
        failures += await self._letters(name, bad_id)
        await stage.look()
        waits = self._waits()
        if max(waits) > served_within_s:
            failures.append(f"somebody waited {max(waits):.1f} s")
        return Bout(
            name,
            self._starts,
            max(waits),
            took_s,
            is_settled,
            stage.judge(),
            [f"{name}: {failure}" for failure in failures],
        )

    async def _letters(self, name: str, update_id: int) -> list[str]:
        """What is wrong with the dead letters: there is the bad update's one, if it is to be, and no other."""
        dead = {int(id_) for id_ in _LETTER.findall((await self._stage.bot.command("dead")).out)}
        wanted = {update_id} if POISONS[name].is_dead else set()
        failures = [f"{len(dead - wanted)} updates of others are dead letters"] if dead - wanted else []
        return [*failures, "the bad update is no dead letter"] if wanted - dead else failures

    async def _answered(self, line: SentText) -> bool:
        give_up = time.monotonic() + _SETTLED_WITHIN_S
        while time.monotonic() < give_up and self._starts <= 2 * STARTS_MAX:
            await self._stage.look()
            if self._stage.is_answered(line):
                return True
            await asyncio.sleep(_LOOK_EVERY_S)
        return False

    @asynccontextmanager
    async def _kept_running(self) -> AsyncIterator[None]:
        """Start the bot whenever it has ended."""
        over = asyncio.Event()

        async def supervise() -> None:
            ran = time.time()
            while not over.is_set():
                looked = time.time()
                if not self._stage.bot.is_running:
                    self._ended.append(await self._stage.bot.ended())
                    ran = await self._stage.unnoted_since(ran)
                    await asyncio.sleep(_RESTART_S)
                    self._starts += 1
                    with contextlib.suppress(TimeoutError):  # it has ended before it worked
                        await self._stage.bot.start()
                    self._stage.interruptions.append(Interruption(ran, time.time()))
                ran = looked
                await asyncio.sleep(_LOOK_EVERY_S / 5)

        async with asyncio.TaskGroup() as group:
            group.create_task(supervise())
            yield
            over.set()

    @asynccontextmanager
    async def _others_write(self) -> AsyncIterator[None]:
        over = asyncio.Event()

        async def write() -> None:
            while not over.is_set():
                now = time.time()
                for line in await self._stage.say(round(_PER_S * _TICK_S), self._good):
                    self._said_at[line.update_id] = now
                await asyncio.sleep(_TICK_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            yield
            over.set()

    def _waits(self) -> list[float]:
        first = {reply.evidence.update_id: reply.at for reply in reversed(self._stage.replies())}
        now = time.time()
        return [first.get(update_id, now) - at for update_id, at in self._said_at.items()]


async def run(
    plan: Plan, tell: Tell, names: Iterable[str] = tuple(POISONS), *, served_within_s: float = SERVED_WITHIN_S
) -> Result:
    """The 99 are served throughout; each bad update ends as a dead letter, after a few starts of the bot."""
    began = time.monotonic()
    bouts = []
    for name in names:
        bouts.append(await _bout(plan, name, served_within_s))
        tell(f"{name}: {bouts[-1].line()}", keep=True)
    facts: dict[str, object] = {bout.name: bout.line() for bout in bouts}
    facts["starts"] = (
        f"{sum(bout.starts for bout in bouts)}, at most {max(bout.starts for bout in bouts)} for one"
    )
    facts["longest wait of the others"] = f"{max(bout.longest_wait_s for bout in bouts):.1f} s"
    failures = [failure for bout in bouts for failure in bout.failures]
    return Result(
        "poison", together(bout.verdict for bout in bouts), time.monotonic() - began, facts, failures
    )


async def _bout(plan: Plan, name: str, served_within_s: float) -> Bout:
    bot_plan = BotPlan("tests.torture.poison_bot:router", handler_ms=5.0, journal=None)
    settings = {"ATTEMPTS_MAX": str(ATTEMPTS_MAX), "APOLOGY": "none"}
    async with open_stage(plan._replace(chats=USERS), lambda *_, **__: None, bot_plan, **settings) as stage:
        return await Ward(stage).bout(name, served_within_s)
