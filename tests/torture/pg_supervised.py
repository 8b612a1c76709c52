"""Processes over PostgreSQL that are replaced, or killed, while people write: how long a chat waits.

A wait is the time from the moment in which an update could have been handled (it was sent, and the handler before it in its chat
had ended) to the beginning of its handler.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.stores.postgres.ledger import TTL_S
from telegram.fake import RemoteFake
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import BotReply, Interruption
from tests.kit.database import Server
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import Stage

PROCESSES: Final = 4
PER_S: Final = 100.0
CHATS_MAX: Final = 200
WAIT_MAX_S: Final = 1.0
_TICK_S: Final = 0.05
_AFTER_S: Final = 1.0  # until what the last trouble has delayed is handled
_PATIENCE_S: Final = 90.0
_NS: Final = 1_000_000_000


class Wait(NamedTuple):
    """Of one update. Times are of the monotonic clock, in ns."""

    update_id: int
    since_ns: int
    begin_ns: int

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.begin_ns - self.since_ns) / _NS


def waits(sent_ns: Mapping[int, int], replies: Iterable[BotReply]) -> list[Wait]:
    """Return the waits of all updates that were answered."""
    ended_ns: dict[int, int] = {}
    found = []
    firsts = {(reply.chat_id, reply.evidence.update_id): reply.evidence for reply in reversed([*replies])}
    for (chat_id, update_id), evidence in sorted(firsts.items(), key=lambda each: each[1].counted):
        since_ns = max(sent_ns[update_id], ended_ns.get(chat_id, 0))
        found.append(Wait(update_id, since_ns, evidence.begin_ns))
        ended_ns[chat_id] = evidence.end_ns
    return found


def longest(found: Iterable[Wait], began_ns: int, ended_ns: int) -> float:
    """Return the longest wait in seconds of those that began, or ended, within this time."""
    within = [each.seconds for each in found if each.begin_ns >= began_ns and each.since_ns <= ended_ns]
    return max(within, default=0.0)


class Troubled:
    """People, and the processes of one bot; `troubles` are the times in which something was done to them."""

    def __init__(self, stage: Stage, services: Sequence[Service]) -> None:
        self.stage = stage
        self.services = services
        self.sent_ns: dict[int, int] = {}
        self.troubles: list[tuple[int, int]] = []
        self.failures: list[str] = []

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """People write meanwhile, PER_S texts a second."""
        enough = asyncio.Event()

        async def write() -> None:
            began, count = time.monotonic(), 0
            while not enough.is_set():
                due = int((time.monotonic() - began) * PER_S) + 1
                if due > count:
                    at_ns = time.monotonic_ns()
                    self.sent_ns |= {line.update_id: at_ns for line in await self.stage.say(due - count)}
                    count = due
                await asyncio.sleep(_TICK_S)

        async def look() -> None:
            while not enough.is_set():
                await self.stage.look()
                await asyncio.sleep(_AFTER_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            group.create_task(look())
            try:
                yield
            finally:
                enough.set()

    async def end(self, campaign: str, began: float, wait_max_s: float, facts: dict[str, Any]) -> Result:
        """Let all be answered, stop the processes, and judge."""
        await self.stage.all_answered()
        for each in self.services:
            if code := (await each.stop()).code:
                self.failures.append(f"exit code {code}: {each.last_log_line()}")
        await self.stage.look()
        found = waits(self.sent_ns, self.stage.replies())
        in_trouble = sorted(longest(found, *each) for each in self.troubles)
        for number, seconds in enumerate((longest(found, *each) for each in self.troubles), 1):
            if seconds > wait_max_s:
                self.failures.append(f"trouble {number}: a chat waited for {seconds:.2f} s")
        usual = sorted(each.seconds for each in found)
        facts |= {
            "longest wait of a chat in each": ", ".join(f"{each:.2f}" for each in in_trouble) + " s",
            "wait of all updates": f"{usual[len(usual) // 2]:.3f} s (median), {usual[len(usual) * 99 // 100]:.3f} s (99 %)",
        }
        return Result(campaign, self.stage.judge(), time.monotonic() - began, facts, self.failures)


@asynccontextmanager
async def troubled(plan: Plan, tell: Tell, *services: Mapping[str, str]) -> AsyncIterator[Troubled]:
    """Set everything up, a service with each of these settings; afterwards no process is left."""
    plan = plan._replace(chats=min(plan.chats, CHATS_MAX))
    folder = Path(tempfile.mkdtemp(prefix="chatlane-"))
    server = Server()
    try:
        async with AsyncExitStack() as stack:
            fake = await stack.enter_async_context(await RemoteFake.spawn(history=0, seed=plan.seed))
            started = []
            for number, settings in enumerate(services):
                (folder / f"{number}").mkdir()
                bot = Service(
                    folder / f"{number}",
                    fake.url,
                    fake.token,
                    BotPlan(journal=None),
                    **{"STORE_URL": server.url(), **settings},
                )
                started.append(await stack.enter_async_context(bot))
                await bot.spawn()
                await bot.logged("all processes work" if "PROCESSES" in settings else "started", timeout_s=60)
            yield Troubled(Stage(fake, started[0], plan, tell), started)
    finally:
        server.remove()
        shutil.rmtree(folder)


async def rolling(plan: Plan, tell: Tell) -> Result:
    """`plan.rounds` rolling restarts of all processes: nothing is lost or repeated, and no chat waits longer than WAIT_MAX_S."""
    began = time.monotonic()
    async with troubled(plan, tell, {"PROCESSES": str(PROCESSES)}) as all_:
        (bot,) = all_.services
        async with all_.writing():
            await asyncio.sleep(_AFTER_S)
            for number in range(plan.rounds):
                began_ns = time.monotonic_ns()
                bot.send_signal(signal.SIGHUP)
                await count_of(bot, "all processes are replaced", number + 1)
                await asyncio.sleep(_AFTER_S)
                all_.troubles.append((began_ns, time.monotonic_ns()))
                tell(f"{number + 1} rolling restarts, {len(all_.sent_ns)} updates", keep=True)
        result = await all_.end("postgres-rolling", began, WAIT_MAX_S, {"rolling restarts": plan.rounds})
        if result.verdict.repeated:
            all_.failures.append(f"{result.verdict.repeated} replies are repeated")
        return result


async def killed(plan: Plan, tell: Tell) -> Result:
    """`plan.rounds` kills of a supervised process: its chats go on within WAIT_MAX_S."""
    began = time.monotonic()
    async with troubled(plan, tell, {"PROCESSES": str(PROCESSES)}) as all_:
        (bot,) = all_.services
        async with all_.writing():
            await asyncio.sleep(_AFTER_S)
            for number in range(plan.rounds):
                at, at_ns = time.time(), time.monotonic_ns()
                pids = {
                    line["process"]: line["pid"] for line in bot.log() if line["event"] == "process started"
                }
                count = len(bot.log())
                os.kill(pids[all_.stage.rng.randrange(PROCESSES)], signal.SIGKILL)
                await asyncio.sleep(2 * WAIT_MAX_S)
                all_.troubles.append((at_ns, time.monotonic_ns()))
                all_.stage.interruptions.append(Interruption(at, time.time()))
                await until(lambda since=count: "started" in [line["event"] for line in bot.log()[since:]])
                await asyncio.sleep(_AFTER_S)  # until it has its part
                tell(f"{number + 1} kills, {len(all_.sent_ns)} updates", keep=True)
        return await all_.end("postgres-supervised", began, WAIT_MAX_S, {"kills": plan.rounds})


async def killed_alone(plan: Plan, tell: Tell) -> Result:
    """`plan.rounds` kills of one of several processes that no supervisor watches: its chats go on within TTL_S + 1 s."""
    began = time.monotonic()
    async with troubled(plan, tell, *[{} for _ in range(PROCESSES)]) as all_:
        async with all_.writing():
            await asyncio.sleep(TTL_S + _AFTER_S)  # for so long after its start the server is given time
            for number in range(plan.rounds):
                at, at_ns = time.time(), time.monotonic_ns()
                victim = all_.services[all_.stage.rng.randrange(PROCESSES)]
                await victim.kill()
                sent = await all_.stage.say(len(all_.stage.chats))
                all_.sent_ns |= {line.update_id: time.monotonic_ns() for line in sent}
                await until(lambda sent=sent: all(map(all_.stage.is_answered, sent)))
                all_.troubles.append((at_ns, time.monotonic_ns()))
                await victim.start()
                all_.stage.interruptions.append(Interruption(at, time.time()))
                await asyncio.sleep(2 * _AFTER_S)
                tell(f"{number + 1} kills, {len(all_.sent_ns)} updates", keep=True)
        return await all_.end("postgres-unsupervised", began, TTL_S + WAIT_MAX_S, {"kills": plan.rounds})


async def count_of(bot: Service, event: str, count: int) -> None:
    """Wait until the log has so many of these events; TimeoutError."""
    await until(lambda: [line["event"] for line in bot.log()].count(event) >= count)


async def until(condition: Any) -> None:
    """Wait for it; TimeoutError."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():
            await asyncio.sleep(_TICK_S)
