"""Several bots in one process, for a program of your own: each has a token, a router, a store, lanes and limits of its own.

    async def main() -> int:
        return await Bots([OneBot(token_a, router_a, url), OneBot(token_b, router_b, url)]).run()

What ends one bot by an error (its token is revoked, its file is in use) is logged, and the others go on. In a database all may have
the same `store_url`: each row has the number of its bot. Of files each bot has its own.
"""

import asyncio
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from engine import StoreError
from engine.stores import open_store
from telegram.botapi.errors import Unauthorized, redact
from telegram.client import TgClient
from telegram.dialogue import Router
from telegram.service.bot import Bot
from telegram.settings.bot_config import BotConfig
from telegram.settings.webhook import WebhookConfig

log = structlog.get_logger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class OneBot:
    """What one of several bots needs; `config` and `webhook` as for Bot, `api_url` is the Bot API server."""

    token: str = field(repr=False)
    router: Router
    store_url: str = field(repr=False)
    config: BotConfig = field(default_factory=BotConfig)
    webhook: WebhookConfig | None = None
    api_url: str = "https://api.telegram.org"


class Bots:
    """Several bots: `run` once. ValueError for none, for a token that occurs twice, and for two bots with one file."""

    def __init__(self, bots: Iterable[OneBot]) -> None:
        self._bots = [*bots]
        self._stop = asyncio.Event()
        self._failed = 0
        self.running: dict[int, Bot] = {}
        """The bots that handle updates now, by their number (the part of the token before the colon)."""

        _check(self._bots)

    async def run(self) -> int:
        """Run all until SIGINT, SIGTERM or `stop`, or until each has ended; return the exit code: 1 if one has failed.

        The first signal drains them, a second one stops at once.
        """
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self._keep(one), name=f"bot {_number(one)}") for one in self._bots]

        def signalled() -> None:
            if self._stop.is_set():
                for task in tasks:
                    task.cancel()
            self.stop()

        for number in _SIGNALS:
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, signalled)
        try:
            await asyncio.wait(tasks)
        finally:
            for number in _SIGNALS:
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return 1 if self._failed else 0

    def stop(self) -> None:
        """Let all take nothing new, finish what runs, and end."""
        self._stop.set()

    async def _keep(self, one: OneBot) -> None:
        """Run one bot to its end; what ends it concerns no other one."""
        number = _number(one)
        structlog.contextvars.bind_contextvars(bot_id=number)
        try:
            await self._serve(number, one)
        except Exception as error:  # noqa: BLE001 - logged below
            self._failed += 1
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            is_known = isinstance(error, Unauthorized | StoreError | ValueError | OSError)
            tell = log.error if is_known else log.exception
            tell("a bot has ended", reason=redact(f"{type(error).__name__}: {error}", one.token))

    async def _serve(self, number: int, one: OneBot) -> None:
        async with TgClient(one.token, base_url=one.api_url, connections=one.config.senders) as client:
            store = await open_store(one.store_url, str(number), wall=client.time, shared=True)
            try:
                await self._live(number, Bot(client, store, one.router, one.config, webhook=one.webhook))
            finally:
                await store.close()

    async def _live(self, number: int, bot: Bot) -> None:
        stop = asyncio.create_task(self._stop.wait())
        working = asyncio.create_task(self._work(number, bot))
        try:
            await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.running.pop(number, None)
            stop.cancel()
            working.cancel()
            await asyncio.wait({working})
            await bot.stop()  # also if this task was cancelled; raises what has ended it
        if not working.cancelled():
            working.result()  # raises why it could not start

    async def _work(self, number: int, bot: Bot) -> None:
        await bot.start()
        self.running[number] = bot
        await bot.wait()


def _number(one: OneBot) -> int:
    return int(one.token.partition(":")[0])


def _check(bots: list[OneBot]) -> None:
    if not bots:
        raise ValueError("there is no bot")
    if any(not one.token.partition(":")[0].isdecimal() for one in bots):
        raise ValueError("malformed bot token: it looks like 123456789:AbCdEf, as @BotFather gives it")
    if len({_number(one) for one in bots}) < len(bots):
        raise ValueError("a bot occurs twice")
    files = [one.store_url for one in bots if one.store_url.startswith("sqlite:")]
    if len(set(files)) < len(files):
        raise ValueError("two bots have one file: give each its own")
