"""Runs a bot until SIGINT or SIGTERM: the first one drains it, the second one stops it at once."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from engine import StoreError
from telegram.botapi.errors import Unauthorized
from telegram.process.systemd import Systemd
from telegram.process.watchdog import Watchdog
from telegram.service.bot import Bot

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def unless_signalled(work: Coroutine[Any, Any, T], watchdog: Watchdog) -> T | None:
    """Return the result of what comes before the bot; None if SIGINT or SIGTERM comes first, which cancels it."""
    signalled = asyncio.Event()
    watchdog.watch(lambda _: signalled.set())
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(signalled.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        return None if working.cancelled() else working.result()
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.wait({working, waiting})


async def run_until_signal(bot: Bot, watchdog: Watchdog, systemd: Systemd | None = None) -> int:
    """Run the bot; the first SIGINT or SIGTERM drains it, a second one stops at once. Return the exit code."""
    systemd = systemd or Systemd({})
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    watchdog.watch(received.put_nowait)

    async def work() -> None:
        await bot.start()
        watchdog.serve()
        systemd.ready()
        await bot.wait()

    async def at_signal() -> signal.Signals:
        return await received.get()

    working = asyncio.create_task(work())
    signalled = asyncio.create_task(at_signal())
    try:
        await asyncio.wait({working, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if working.done() or bot.me is None:
            working.cancel()
            await asyncio.wait({working})
            return 0 if working.cancelled() else _raise_reason(working)
        systemd.stopping()
        stopping = asyncio.create_task(bot.stop())
        signalled = asyncio.create_task(at_signal())
        await asyncio.wait({stopping, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            return _raise_reason(stopping)
        stopping.cancel()
        await asyncio.wait({stopping})
        log.warning("stopped at once: what was not committed is handled again at the next start")
        return 128 + signalled.result()
    finally:
        for task in (working, signalled):
            task.cancel()
        await asyncio.wait({working, signalled})


def _raise_reason(task: asyncio.Task[None]) -> int:
    """Return 0 if the task ended without an error; else raise it, of a group preferably one that a person can repair."""
    error = task.exception()
    if error is None:
        return 0
    while isinstance(error, BaseExceptionGroup):
        known = error.subgroup((StoreError, Unauthorized))
        error = (known or error).exceptions[0]
    raise error
