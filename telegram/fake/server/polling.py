"""Long polling: only one getUpdates request waits; a newer one that must wait ends the older one with 409."""

import asyncio
from collections.abc import Awaitable, Callable

from telegram.fake.protocol.answers import ApiError
from telegram.fake.world.queue import UpdateQueue

TERMINATED = (
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
)
WEBHOOK_SET = "Conflict: terminated by setWebhook request"
WEBHOOK_ACTIVE = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"


class LongPoll:
    """Long polling for one queue."""

    def __init__(
        self, queue: UpdateQueue, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._queue = queue
        self._sleep = sleep
        self._waiter: asyncio.Future[str] | None = None  # the reason that ends it; "": read again
        self._arrival = asyncio.Event()
        queue.on_push = self.wake

    async def take(
        self,
        offset: int,
        limit: int,
        timeout: float,  # noqa: ASYNC109 - Telegram's parameter
        allowed_updates: object = None,
    ) -> list[bytes]:
        """Wait for updates and return them raw; [] after `timeout` seconds. ApiError 409."""
        if self._queue.webhook_url:
            await self._conflict(WEBHOOK_ACTIVE)
        self._queue.allow(allowed_updates)
        limit, timeout = self._queue.admit(offset, limit, timeout)
        batch = self._queue.read(offset, limit)
        if batch or not timeout:
            return batch
        if reason := await self._wait(timeout):
            await self._conflict(reason)
        return self._queue.read(max(offset, 0), limit)  # -N was applied above and must not drop newer updates

    async def waiting(self) -> None:
        """Wait until a getUpdates request waits for updates."""
        while self._waiter is None:
            self._arrival.clear()
            await self._arrival.wait()

    async def _wait(self, timeout: float) -> str:  # noqa: ASYNC109 - not a deadline for the caller
        self._end(TERMINATED)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[str] = loop.create_future()
        self._waiter = waiter
        self._arrival.set()
        timer = loop.call_later(timeout, _resolve, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            if self._waiter is waiter:
                self._waiter = None

    def wake(self) -> None:
        """Let the waiting request read again."""
        self._end("")

    def webhook_changed(self) -> None:
        """End the waiting request if a webhook was set (telegram-bot-api, Client.cpp, abort_long_poll)."""
        if self._queue.webhook_url:
            self._end(WEBHOOK_SET)

    def _end(self, reason: str) -> None:
        if self._waiter is not None:
            _resolve(self._waiter, reason)

    async def _conflict(self, description: str) -> None:
        delay_s = self._queue.conflict_delay_s()
        if delay_s:
            await self._sleep(delay_s)
        raise ApiError(409, description)


def _resolve(waiter: "asyncio.Future[str]", reason: str = "") -> None:
    if not waiter.done():
        waiter.set_result(reason)
