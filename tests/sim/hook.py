"""The webhook on Telegram's side: updates are delivered to the bot's processes by the rules of the fake server, over a bad network."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from telegram.fake.world.queue import Pending, UpdateQueue
from telegram.fake.world.webhook import Schedule
from tests.sim.trouble import NETWORK, Trouble

URL: Final = "https://bot.example/updates"
CONNECTIONS: Final = 4
ANSWER_WITHIN_S: Final = 60.0  # telegram/fake/server/delivery.py

Accept = Callable[[bytes], "asyncio.Future[int] | None"]
"""Lets a process take an update; return its answer's status. None: nothing listens there."""


class Runs(Protocol):
    """Runs something on the server's side."""

    def __call__(self, act: Coroutine[Any, Any, None]) -> object:
        """Run it."""
        ...


class HookSide:
    """The webhook, if it is set. `accept` stands for the URL's address, `run` runs on the server's side."""

    def __init__(self, queue: UpdateQueue, trouble: Trouble, run: Runs) -> None:
        self._queue = queue
        self._trouble = trouble
        self._run = run
        self._schedule: Schedule | None = None
        self._sending = 0
        self._timer: asyncio.TimerHandle | None = None
        self.next_set_at = 0.0
        self.taken = 0
        self.accept: Accept = lambda _: None

    def set(self, url: str) -> None:
        """Set or delete it; what is under way is delivered again."""
        if url and self._queue.webhook_url == url:
            return
        self._queue.webhook_url = url
        self._sending = 0
        rng = random.Random(self._trouble.rng.random())
        self._schedule = Schedule(self._queue, CONNECTIONS, rng) if url else None
        self.wake()

    def wake(self) -> None:
        """Deliver what is due."""
        schedule = self._schedule
        if schedule is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        schedule.load()
        while self._sending < CONNECTIONS and (update := schedule.take()) is not None:
            self._sending += 1
            self._run(self._deliver(schedule, update))
        if self._sending < CONNECTIONS and schedule.due_at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(schedule.due_at, loop.time()), self.wake)

    async def _deliver(self, schedule: Schedule, update: Pending) -> None:
        status = await self._request(update.raw)
        if schedule is not self._schedule:
            return
        self._sending -= 1
        if status == 200:
            self.taken += 1
            schedule.ok(update.id)
        else:
            schedule.failed(update.id, 1 if status == 503 else 0)
        self.wake()

    async def _request(self, raw: bytes) -> int:
        """Return the status of the answer; 0: there was none."""
        trouble = self._trouble
        fault = trouble.pick("network", NETWORK, asyncio.get_running_loop().time())
        await asyncio.sleep(trouble.long_s() if fault == "slow" else trouble.short_s())
        if fault in {"not sent", "status"}:
            return 502 if fault == "status" else 0
        if fault == "late":
            self._run(self._later(raw))
            await asyncio.sleep(ANSWER_WITHIN_S)
            return 0
        answer = self.accept(raw)
        if answer is None:
            return 0
        done, _ = await asyncio.wait({answer}, timeout=ANSWER_WITHIN_S)
        await asyncio.sleep(ANSWER_WITHIN_S if fault == "never" else trouble.short_s())
        return 0 if not done or fault in {"never", "answer lost"} else answer.result()

    async def _later(self, raw: bytes) -> None:
        await asyncio.sleep(ANSWER_WITHIN_S + self._trouble.long_s())
        self.accept(raw)
