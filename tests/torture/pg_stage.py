"""The stage of the campaigns on PostgreSQL: a server, several processes of one bot, each behind proxies, and people who write."""

import asyncio
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from engine.embedded.seen import SEGMENT_BYTES
from telegram.fake import RemoteFake
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Interruption
from tests.kit.database import Server
from tests.kit.proxy import Proxy
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import Stage

PER_S: Final = 120.0
"""How fast people write: so that two shared cores have time for what goes wrong."""

CHATS_MAX: Final = 200
_ASKED: Final = re.compile(rb'/getUpdates (?:.|\n)*?"offset": ?(-?\d+)')


class Poll(NamedTuple):
    """A poll that has confirmed something: by which process, whether that had the right to, and how much was not durable."""

    number: int
    offset: int
    has_right: bool
    missing: int


class Fleet:
    """The server, the processes, and each one's lines to the server and to Telegram."""

    def __init__(self, stage: Stage, server: Server) -> None:
        self.stage = stage
        self.server = server
        self.services: list[Service] = []
        self.lines: list[Proxy] = []
        self.polls: list[Poll] = []
        self.failures: list[str] = []
        self.facts: Counter[str] = Counter()
        self.recoveries_s: list[float] = []
        self.standby: Server | None = None
        self._confirmed = 0

    async def sql(self, act: Callable[[Any], Any]) -> Any:
        """Return what `act` returns, given a connection to the server itself."""
        connection: Any = await asyncpg.connect(self.server.url().partition("?")[0])
        try:
            return await act(connection)
        finally:
            connection.terminate()

    async def value(self, query: str, *values: Any) -> Any:
        """Return one value from the database."""
        return await self.sql(lambda connection: connection.fetchval(query, *values))

    async def poller(self) -> int:
        """Return the number of the process that has the right to poll; -1: none has."""
        query = "SELECT holder FROM chatlane.session JOIN chatlane.bot ON owner = session.id"
        holder = str(await self.value(query) or "")
        return next((n for n, each in enumerate(self.services) if f"process {each.pid} " in holder), -1)

    def moved_to(self, server: Server) -> None:
        """Let the addresses that the processes know lead to another server from now on."""
        self.server = server
        for line in self.lines:
            line.to = server.port
            line.cut()

    async def recovered(self, began: float) -> bool:
        """Wait until a text of each fourth chat is answered, and note how long that took.

        The trouble began at Unix time `began`, and is over now.
        """
        ended = time.time()
        sent = await self.stage.say(len(self.stage.chats) // 4)
        is_right = await self.stage.all_answered(sent)
        self.recoveries_s.append(time.time() - ended)
        self.stage.interruptions.append(Interruption(began, time.time()))
        for number, line in await self.start_ended():
            self.failures.append(f"process {number} has ended: {line}")
        return is_right

    async def start_ended(self) -> list[tuple[int, str]]:
        """Start the processes that have ended by themselves; return their numbers and last lines."""
        ended = [(n, each.last_log_line()) for n, each in enumerate(self.services) if not each.is_running]
        for number, _ in ended:
            await self.services[number].start()
        return ended

    def facts_of_recoveries(self) -> dict[str, str]:
        """Return how long it took until texts were answered after a trouble was over."""
        if not self.recoveries_s:
            return {}
        sorted_s = sorted(self.recoveries_s)
        return {
            "seconds until a text after it was answered": f"{sorted_s[len(sorted_s) // 2]:.1f} (median), {sorted_s[-1]:.1f} (longest)"
        }

    async def note_poll(self, number: int, data: bytes) -> None:
        """See what a process sends to Telegram: a higher offset confirms, so all below it has to be durable by now."""
        if (found := _ASKED.search(data)) is None or int(found[1]) <= self._confirmed:
            return
        offset = int(found[1])
        ids = [line.update_id for line in self.stage.sent if self._confirmed <= line.update_id < offset]
        right, missing = await self.sql(partial(self._durable, number, ids))
        self.polls.append(Poll(number, offset, right, missing))
        self._confirmed = offset

    async def _durable(self, number: int, ids: list[int], connection: Any) -> tuple[bool, int]:
        """Return whether the process has the right to poll, and how many of the ids are not durable."""
        query = "SELECT holder FROM chatlane.session JOIN chatlane.bot ON owner = session.id"
        holder = str(await connection.fetchval(query) or "")
        rows = await connection.fetch("SELECT segment, bits FROM chatlane.seen")
        seen = {row[0]: row[1] for row in rows}
        missing = [id_ for id_ in ids if not _has(seen.get(id_ >> 12, b""), id_)]
        return f"process {self.services[number].pid} " in holder, len(missing)

    async def stop(self) -> None:
        """Stop the processes."""
        for number, each in enumerate(self.services):
            if code := (await each.stop()).code:
                self.failures.append(f"process {number}: exit code {code}; {each.last_log_line()}")
        await self.stage.look()

    async def end(self, campaign: str, began: float) -> Result:
        """Let all be answered, stop the processes, and judge."""
        await self.stage.all_answered()
        await self.stop()
        verdict = self.stage.judge()
        confirmed = (await self.stage.fake.stats()).confirmed
        facts = {**self.facts, "updates confirmed to Telegram": confirmed, **self.facts_of_recoveries()}
        return Result(campaign, verdict, time.monotonic() - began, facts, self.failures)


def _has(bits: bytes, id_: int) -> bool:
    byte = (id_ >> 3) % SEGMENT_BYTES
    return byte < len(bits) and bool(bits[byte] & (1 << (id_ & 7)))


@asynccontextmanager
async def open_fleet(
    plan: Plan, tell: Tell, *, processes: int, ttl_s: float = 15.0, sees_polls: bool = False
) -> AsyncIterator[Fleet]:
    """Start all; afterwards no process is left."""
    plan = plan._replace(chats=min(plan.chats, CHATS_MAX))
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chatlane-"))
        stack.callback(shutil.rmtree, folder)
        database = await asyncio.to_thread(Server)
        fleet_: list[Fleet] = []

        def remove() -> None:
            for server in [fleet_[0].server, fleet_[0].standby] if fleet_ else [database]:
                if server is not None:
                    server.remove()

        stack.callback(remove)
        fake = await stack.enter_async_context(await RemoteFake.spawn(history=0, seed=plan.seed))
        telegram = int(fake.url.rpartition(":")[2])
        for number in range(processes):
            line = await stack.enter_async_context(Proxy(database.port))
            see = (lambda data, n=number: fleet_[0].note_poll(n, data)) if sees_polls else None
            phone = await stack.enter_async_context(Proxy(telegram, see))
            home = folder / str(number)
            home.mkdir()
            environment = {
                "STORE_URL": database.url().replace(f":{database.port}/", f":{line.port}/"),
                "HANDLERS": "tests.torture.pg_bot:router",
                "TORTURE_TTL_S": str(ttl_s),
                "WORKERS": "64",
            }
            service = Service(
                home, f"http://127.0.0.1:{phone.port}", fake.token, BotPlan(journal=None), **environment
            )
            if not fleet_:
                fleet_.append(Fleet(Stage(fake, service, plan, tell), database))
            fleet_[0].services.append(await stack.enter_async_context(service))
            fleet_[0].lines.append(line)
        for each in fleet_[0].services:
            await each.start()
        yield fleet_[0]
