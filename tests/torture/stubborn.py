"""SIGTERM while one user's handler will not stop (tests/torture/stubbornness.py): one kind after the other.

The process has to end within a second after DRAIN_TIMEOUT_S. The next one handles what was cut off, and the others
lose and notice nothing but the restart.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from telegram.load.bot.plan import BotPlan
from telegram.load.checkers.checker import Interruption, SentText
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import PATIENCE_S, Stage, open_stage
from tests.torture.stubbornness import KINDS

DRAIN_TIMEOUT_S: Final = 2.0
ALLOWED_S: Final = DRAIN_TIMEOUT_S + 1.0
CHATS: Final = 50
_PER_S: Final = 100.0
_RESISTS_S: Final = 0.3
_LOOK_EVERY_S: Final = 0.02
_GIVE_UP_S: Final = 15.0


class Bout(NamedTuple):
    """How one kind ended."""

    name: str
    code: int
    took_s: float
    failures: list[str]

    def line(self) -> str:
        """For people."""
        return f"exit code {self.code} after {self.took_s:.2f} s" + "".join(
            f", {each}" for each in self.failures
        )


async def _bout(stage: Stage, name: str, allowed_s: float) -> Bout:
    bad, *others = stage.chats
    failures = []
    await stage.start()
    async with _others_write(stage, others):
        (bad_id,) = await stage.fake.send_messages([(bad, bad, name)])
        stage.sent.append(sent := SentText(bad, bad_id, name))
        await _struck(stage, bad_id)
        await asyncio.sleep(_RESISTS_S)
        pid, began, asked = stage.bot.pid, time.time(), time.monotonic()
        stage.bot.send_signal(signal.SIGTERM)
        code, took_s = await _ended(stage, asked + max(allowed_s, _GIVE_UP_S)), time.monotonic() - asked
        if took_s > allowed_s:
            failures.append(f"took {took_s:.2f} s")
        _kill_what_is_left(pid)
        await stage.bot.ended()
        began = await stage.unnoted_since(began)
        await stage.start()
        if code:
            stage.interruptions.append(Interruption(began, time.time()))
        if not await stage.all_answered([sent]):
            failures.append("the update that was cut off was not answered")
    if not await stage.all_answered():
        failures.append("the others were not all answered")
    await stage.stop()
    if dead := (await stage.bot.command("dead")).out.strip():
        failures += [] if dead == "no dead letters" else [f"dead letters: {dead[:200]}"]
    return Bout(name, code, took_s, failures)


@contextlib.asynccontextmanager
async def _others_write(stage: Stage, others: list[int]):
    over = asyncio.Event()

    async def write() -> None:
        while not over.is_set():
            await stage.say(round(_PER_S / 10), others)
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        try:
            yield
        finally:
            over.set()


async def _struck(stage: Stage, update_id: int) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not (stage.bot.folder / f"struck {update_id}").exists():
        if time.monotonic() > give_up:
            raise TimeoutError(f"the handler did not begin; the log ends: {stage.bot.log()[-10:]}")
        await asyncio.sleep(_LOOK_EVERY_S)


async def _ended(stage: Stage, give_up: float) -> int:
    """Return the exit code; what does not end is killed. Its pipe may be held open by what it has left."""
    while stage.bot.is_running:
        if time.monotonic() > give_up:
            stage.bot.send_signal(signal.SIGKILL)
            give_up += _GIVE_UP_S
        await asyncio.sleep(_LOOK_EVERY_S)
    return stage.bot.returncode or 0


def _kill_what_is_left(session: int) -> None:
    """End what the bot's process has left in its session."""
    for pid in _processes(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes(session: int) -> Iterable[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # proc(5), /proc/pid/stat: after the name in brackets come state, ppid, pgrp, session.
            if path.read_text().rpartition(")")[2].split()[3] == str(session):
                yield int(path.parent.name)


async def run(
    plan: Plan, tell: Tell, names: Iterable[str] = tuple(KINDS), *, allowed_s: float = ALLOWED_S
) -> Result:
    """Each process ends in time, nothing is lost, nothing comes twice that was not cut off."""
    began = time.monotonic()
    bouts = []
    settings = {"DRAIN_TIMEOUT_S": str(DRAIN_TIMEOUT_S)}
    bot_plan = BotPlan("tests.torture.stubborn_bot:router", handler_ms=5.0, journal=None)
    async with open_stage(plan._replace(chats=CHATS), _silent, bot_plan, **settings) as stage:
        for name in names:
            bouts.append(await _bout(stage, name, allowed_s))
            tell(f"{name}: {bouts[-1].line()}", keep=True)
        await stage.look()
        verdict = stage.judge()
    facts: dict[str, object] = {bout.name: bout.line() for bout in bouts}
    facts["kinds"] = len(bouts)
    facts["slowest end"] = f"{max(bout.took_s for bout in bouts):.2f} s (allowed: {allowed_s} s)"
    failures = [f"{bout.name}: {failure}" for bout in bouts for failure in bout.failures]
    return Result("stubborn", verdict, time.monotonic() - began, facts, failures)


def _silent(_: str, /, *, keep: bool = False) -> None:
    """The stage's own progress is not shown."""
