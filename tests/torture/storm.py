"""Everything at once, for minutes or hours: people write, Telegram is bad, and the bot is killed, frozen and stopped.

Bounded, however long it lasts: it goes in windows. At the end of each the trouble pauses, the bot answers what is left
and is stopped; the window is judged as a part of the whole (tests/torture/window.py), and all that it left in memory
and on the disk is forgotten, except the bot's store.

The first window with a broken promise ends the storm; its folder is kept.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, NamedTuple

import psutil

from telegram.load.checkers.checker import Interruption, Verdict
from tests.torture import aims, random_faults
from tests.torture.kill import cut_off
from tests.torture.report import Plan, Result, Tell, found
from tests.torture.stage import PATIENCE_S, SENDERS, Stage, open_stage
from tests.torture.window import Windows, together

UPDATES_PER_S: Final = 250
"""About what the bot can follow with in spite of it all, so that no kill meets an idle bot."""

BACKLOG_MAX: Final = 3000
"""People pause while so much is unanswered: a slow machine is no anomaly."""

CHATS_MAX: Final = 200
"""Few, so that lanes are deep."""

_LIFE_S: Final = 0.5  # at most, from a start to what comes next
_TICK_S: Final = 0.1
_WINDOW_MIN_S: Final = 5.0  # less is not worth a verdict
_WINDOWS_MIN: Final = 2  # also on a slow machine: what one leaves behind, the next one meets
_BLINK_S: Final = (0.05, 3.0)
_BEYOND_LEASE_S: Final = (16.0, 20.0)  # leases last 15 s
_BEYOND_TIMEOUTS_S: Final = (31.0, 34.0)  # the client waits 30 s for an answer


async def _blink(stage: Stage) -> None:
    await stage.freeze(stage.rng.uniform(*_BLINK_S))


async def _sleep_beyond_lease(stage: Stage) -> None:
    await stage.freeze(stage.rng.uniform(*_BEYOND_LEASE_S))


async def _sleep_beyond_timeouts(stage: Stage) -> None:
    began = time.time()
    await stage.freeze(stage.rng.uniform(*_BEYOND_TIMEOUTS_S))
    stage.interruptions.append(Interruption(began, time.time()))  # what was answered meanwhile came too late


_BEYOND_TIMEOUTS: Final = "SIGSTOP beyond all time-outs"


class Blow(NamedTuple):
    """One thing that happens to the bot's process; `weight` is how often it does, in relation to the others."""

    name: str
    weight: int
    strike: Callable[[Stage], Awaitable[None]]


BLOWS: Final = (
    Blow("kill -9 while storing", 28, aims.storing),
    Blow("kill -9 while handling", 14, aims.handling),
    Blow("kill -9 while committing", 20, aims.committing),
    Blow("kill -9 while sending", 28, aims.sending),
    Blow("kill -9 while draining", 28, aims.draining),
    Blow("kill -9 at any moment", 18, aims.whenever),
    Blow("kill -9 while starting", 16, aims.starting),
    Blow("kill -9 while stopped by SIGSTOP", 12, aims.frozen),
    Blow("SIGTERM", 16, Stage.stop),
    Blow("SIGSTOP for a moment", 14, _blink),
    Blow("SIGSTOP beyond the lease", 2, _sleep_beyond_lease),
    Blow(_BEYOND_TIMEOUTS, 1, _sleep_beyond_timeouts),
)


class Deck:
    """Draws blows like cards: by chance, and yet each as often as its weight says."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._cards: list[Blow] = []

    def draw(self) -> Blow:
        """The next card; an empty deck is shuffled anew."""
        if not self._cards:
            self._cards = [blow for blow in BLOWS for _ in range(blow.weight)]
            self._rng.shuffle(self._cards)
        return self._cards.pop()


class Storm:
    """One storm on one stage."""

    def __init__(self, stage: Stage, plan: Plan, tell: Tell) -> None:
        self._stage = stage
        self._plan = plan
        self._tell = tell
        self._deck = Deck(random.Random(f"{plan.seed} blows"))
        self._faults_rng = random.Random(f"{plan.seed} faults")
        self._windows = Windows()
        self._blows: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._repeats_max = 0
        self._behind_max = 0
        self._cut_off = 0
        self._memory: list[str] = []
        self._verdicts: list[Verdict] = []
        self._lines: list[str] = []
        self._failures: list[str] = []

    async def window(self, length_s: float) -> bool:
        """Let it storm, let the bot catch up, and judge; return whether every promise was kept."""
        kills, blows, stormed = self._stage.kills, self._blows.copy(), time.monotonic() + length_s
        try:
            await self._rage(stormed)
            stormed = time.monotonic()
            await self._settle()
        except* Exception as errors:  # noqa: BLE001 - a storm of hours ends with its verdict, whatever happens
            self._failures += [f"{type(error).__name__}: {error}" for error in errors.exceptions]
        else:
            caught_up_s = time.monotonic() - stormed
            self._judge(self._stage.kills - kills, self._blows - blows, caught_up_s)
        if self._failures:
            self._keep_evidence()
            return False
        await self._clean_up()
        return True

    def result(self, took_s: float) -> Result:
        """All windows together."""
        verdict = together(self._verdicts)
        kills = self._stage.kills
        facts = {
            "kills": f"{kills}, one every {took_s / max(1, kills):.1f} s",
            "blows": _listed(self._blows),
            "faults that hit": _listed(self._faults),
            "handlers cut off and run again": self._cut_off,
            "replies repeated": f"{verdict.repeated} (bound {self._repeats_max}: {SENDERS} for each kill, outage and"
            " SIGSTOP beyond all time-outs, and one for each answer that was cut)",
            "farthest behind": f"{self._behind_max} updates",
            "after the first window": next(iter(self._memory), "-"),
            "after the last window": next(reversed(self._memory), "-"),
        }
        return Result("storm", verdict, took_s, facts, self._failures, self._lines)

    async def _rage(self, until: float) -> None:
        """Until then, and to the end of the last blow; the bot may run afterwards or not."""
        stage, over = self._stage, asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._people(over))
            group.create_task(random_faults.inject(stage, self._faults_rng, over))
            while time.monotonic() < until:
                blow = self._deck.draw()
                if not stage.bot.is_running:
                    await stage.start()
                await asyncio.sleep(stage.rng.uniform(0, _LIFE_S))
                await blow.strike(stage)
                self._blows[blow.name] += 1
            over.set()

    async def _people(self, over: asyncio.Event) -> None:
        stage = self._stage
        while not over.is_set():
            if stage.backlog < BACKLOG_MAX:
                await stage.say(round(UPDATES_PER_S * _TICK_S))
            await stage.look()
            self._behind_max = max(self._behind_max, stage.backlog)
            await asyncio.sleep(_TICK_S)

    async def _settle(self) -> None:
        """Let the bot answer what is left, and stop it with nothing kept: what it repeats later would be no repeat."""
        stage, give_up = self._stage, time.monotonic() + PATIENCE_S
        while True:
            if not stage.bot.is_running:
                await stage.start()
            answered = await stage.all_answered()
            await stage.stop()
            told = await stage.bot.logged("stopped")
            kept = {name: told[name] for name in ("updates_kept", "calls_kept") if told[name]}
            if not kept or not answered:
                break  # what is not answered is lost: that is for the judge
            if time.monotonic() > give_up:
                raise TimeoutError(f"all is answered, and still it has something to do: {kept}")
        await stage.look()

    def _judge(self, kills: int, blows: Counter[str], caught_up_s: float) -> None:
        stage = self._stage
        verdict = self._windows.judge(stage.sent, stage.replies(), stage.gaps())
        unknown = sum(call.delivered and call.status != HTTPStatus.OK for call in stage.calls)
        cuts = kills + stage.faults["outage"] + blows[_BEYOND_TIMEOUTS]
        repeats_max = SENDERS * cuts + unknown
        number = len(self._verdicts) + 1
        line = (
            f"window {number}: {verdict.updates} updates, {kills} kills, {blows['SIGTERM']} SIGTERMs,"
            f" {len(stage.freezes)} freezes, {stage.faults.total()} faults: {found(verdict)},"
            f" {verdict.repeated} repeats (bound {repeats_max}), caught up in {caught_up_s:.1f} s"
        )
        self._tell(line, keep=True)
        self._verdicts.append(verdict)
        self._lines.append(line)
        self._faults += stage.faults
        self._repeats_max += repeats_max
        if verdict.anomalies:
            self._failures.append(f"window {number} has {len(verdict.anomalies)} anomalies")
        if verdict.repeated > repeats_max:
            self._failures.append(f"window {number}: more repeats than can have been in flight")

    async def _clean_up(self) -> None:
        """Leave nothing of the window but the store; the bot does not run."""
        stage = self._stage
        self._cut_off += cut_off(stage.bot.journal())
        for name in ("journal", "log"):
            (stage.bot.folder / name).unlink(missing_ok=True)
        await stage.begin_anew()
        self._memory.append(_memory(stage))

    def _keep_evidence(self) -> None:
        """What the judge saw, beside what the bot left."""
        stage = self._stage
        evidence = {
            "sent": stage.sent,
            "calls": stage.calls,
            "interruptions": stage.interruptions,
            "freezes": stage.freezes,
        }
        (stage.bot.folder / "evidence.json").write_text(json.dumps(evidence))
        stage.keep_folder = True
        self._failures.append(
            f"the seed was {self._plan.seed}; what is left of the window: {stage.bot.folder}"
        )


async def run(plan: Plan, tell: Tell) -> Result:
    """Nothing lost, swapped or committed twice, whatever happens; repeats only where an answer was cut off."""
    began = time.monotonic()
    end = began + 60 * plan.minutes
    async with open_stage(plan._replace(chats=min(plan.chats, CHATS_MAX)), tell) as stage:
        storm = Storm(stage, plan, tell)
        left_s, windows = 60 * plan.minutes, 0
        while left_s > 0 or windows < _WINDOWS_MIN:
            if not await storm.window(min(plan.window_s, max(left_s, _WINDOW_MIN_S))):
                break
            left_s, windows = end - time.monotonic(), windows + 1
        return storm.result(time.monotonic() - began)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in counts.most_common())


def _memory(stage: Stage) -> str:
    harness, fake = (psutil.Process(pid).memory_info().rss >> 20 for pid in (None, stage.fake.pid))
    store = sum(path.stat().st_size for path in stage.bot.folder.iterdir()) >> 10
    return f"harness {harness} MB, fake server {fake} MB, the bot's folder {store} KB"
