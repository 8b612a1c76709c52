"""What keeps one process of the bot running: starts it, and starts it again whatever has become of it."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from engine import StoreError, StoreUnavailable
from telegram.service.bot import Bot
from telegram.settings.webhook import WebhookConfig
from tests.sim.hook import URL
from tests.sim.loop import Process
from tests.sim.posts import EVENT
from tests.sim.telegram_side import SimClient

if TYPE_CHECKING:
    from engine.store import FullStore
    from telegram.client import TgClient
    from tests.sim.scenario import Scenario

_STOP_SPARE_S: Final = 60.0
"""Beyond drain_timeout_s: closing waits for a store that answers slowly."""


class Supervisor:
    """One process at a time; no call of it waits for the process, except `end`."""

    def __init__(self, scenario: "Scenario") -> None:
        self._scenario = scenario
        self._loop = scenario.loop
        self._process: Process | None = None
        self._main: asyncio.Task[None] | None = None
        self._bot: Bot | None = None
        self._ending = False
        self._has_webhook = False
        self.store: FullStore | None = None
        """Of the process that runs, once it is open."""

    def start(self) -> None:
        """Start a process, if none runs."""
        if self._process is not None or self._ending:
            return
        self._scenario.process_numbers += 1
        self._process = process = Process(self._scenario.process_numbers, self._loop)
        self._main = process.spawn(self._run(process))
        self._main.add_done_callback(self._ended, context=self._scenario.outside)

    def crash(self, restart_after_s: float) -> None:
        """End it as `kill -9` does."""
        if self._process is None:
            return
        self._process.crash()
        self._forget()
        self._loop.call_later(restart_after_s, self.start)

    def freeze(self, for_s: float) -> None:
        """Stop it as SIGSTOP does, and let it go on later."""
        if self._process is None or self._process.is_frozen:
            return
        self._process.freeze()
        self._loop.call_later(for_s, self._process.thaw)

    def stop(self) -> None:
        """Ask it to end as SIGTERM does."""
        if self._process is not None:
            self._process.spawn(self._stop(self._process))

    def look(self, for_s: float) -> None:
        """Let somebody ask the store for its dead letters, and give up after so long."""
        if self._process is not None and self.store is not None:
            self._process.spawn(self._look(self.store, for_s))

    def post(self, chat: int, number: int) -> "tuple[asyncio.Task[None], asyncio.Future[bool]] | None":
        """Let the process post an event; return its task and whether it has it for certain. None if it does not run."""
        if self._process is None or self._bot is None:
            return None
        answer = self._loop.create_future()
        return self._process.spawn(self._post(self._bot, chat, number, answer)), answer

    async def _post(self, bot: Bot, chat: int, number: int, answer: "asyncio.Future[bool]") -> None:
        is_durable = False
        with suppress(StoreUnavailable, StoreError, RuntimeError):  # the last: it stops, or does not run yet
            await bot.post(chat, EVENT, {"number": number}, id=number)
            is_durable = True
        if not answer.done():
            answer.set_result(is_durable)

    def accept(self, raw: bytes) -> "asyncio.Future[int] | None":
        """Let the process take an update, and answer with a status; None if nothing listens there."""
        if self._process is None or self._bot is None or not self._has_webhook:
            return None
        answer = self._loop.create_future()
        self._process.spawn(self._accept(self._bot, raw, answer))
        return answer

    async def _accept(self, bot: Bot, raw: bytes, answer: "asyncio.Future[int]") -> None:
        status = 503
        with suppress(StoreUnavailable, StoreError, RuntimeError):  # the last: it stops, or does not run yet
            await bot.accept(raw)
            status = 200
        if not answer.done():
            answer.set_result(status)

    async def _look(self, store: "FullStore", for_s: float) -> None:
        with suppress(TimeoutError, StoreError, StoreUnavailable):
            async with asyncio.timeout(for_s):
                await store.dead_letters()

    def heal(self) -> None:
        """End what hinders it."""
        if self._process is not None and self._process.is_frozen:
            self._process.thaw()

    async def end(self) -> None:
        """Stop it for good, in time."""
        self._ending = True
        if (process := self._process) is None or (main := self._main) is None:
            return
        self.stop()
        allowed_s = self._scenario.config.drain_timeout_s + _STOP_SPARE_S
        await asyncio.wait({main}, timeout=allowed_s)
        if not main.done():
            self._scenario.failures.append(f"did not stop within {allowed_s:g} s")
        process.crash()  # its files are free, whatever it has left

    async def _run(self, process: Process) -> None:
        """What run.py does."""
        scenario = self._scenario
        while True:
            try:
                store = await scenario.stores.open(process)
            except (StoreError, StoreUnavailable):
                await asyncio.sleep(1)
            else:
                break
        self.store = store
        scenario.opened()
        scenario.note_what_comes(store)
        scenario.judge_time_outs(store, process)
        client = cast("TgClient", SimClient(scenario.side, process))
        self._has_webhook = scenario.perils.webhook and scenario.rng.random() < 0.5
        webhook = WebhookConfig(URL, secret="s") if self._has_webhook else None
        self._bot = bot = Bot(
            client, store, scenario.router(process), scenario.config, rng=scenario.rng, webhook=webhook
        )
        parts = bot._parts
        parts.handling._handler = scenario.timed(scenario.with_timers(parts.handler, store), process)
        try:
            await bot.start()
            await bot.wait()
        finally:
            await store.close()

    async def _stop(self, process: Process) -> None:
        if self._bot is None or self._bot.me is None:
            if self._main is not None and self._process is process:
                self._main.cancel()
        else:
            await self._bot.stop()

    def _ended(self, main: "asyncio.Task[None]") -> None:
        if main is not self._main:
            return  # of a process that has crashed
        error = None if main.cancelled() else main.exception()
        is_right = isinstance(error, StoreError) and self._scenario.trouble.counts["volume"]
        if error is not None and not is_right:
            self._scenario.failures.append(f"died: {error!r}")
        if self._process is not None:
            self._process.crash()  # the end of a process frees its files, whatever was under way
        self._forget()
        self._loop.call_later(1.0, self.start)

    def _forget(self) -> None:
        self._process = self._main = self._bot = self.store = None
