"""A fake Telegram over HTTP and a store, on which whole bots start and stop: for stories from public trackers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engine import Observe
from telegram.client import TgClient
from telegram.dialogue import Router
from telegram.fake import FakeServer
from telegram.service.assembly import BotMeter, Traces
from telegram.service.bot import Bot, BotConfig
from tests.kit.bounds import WITHIN_S

STORES = ("memory:", "sqlite:")


class Stage:
    """A fake Telegram and a store that outlive the bots on them; tests get one for each store as the fixture `stage`."""

    def __init__(self, fake: FakeServer, store: Any) -> None:
        self.fake = fake
        self.store = store

    @asynccontextmanager
    async def bot(
        self,
        router: Router,
        *,
        observe: Observe | None = None,
        meter: BotMeter | None = None,
        traces: Traces | None = None,
        **config: Any,
    ) -> AsyncIterator[Bot]:
        """A bot that runs; `config` as of BotConfig."""
        config = {"messages_per_s": 0, "drain_timeout_s": WITHIN_S, **config}
        async with TgClient(self.fake.token, base_url=self.fake.url) as client:
            bot = Bot(
                client, self.store, router, BotConfig(**config), observe=observe, meter=meter, traces=traces
            )
            await bot.start()
            try:
                yield bot
            finally:
                await bot.stop()

    async def idle(self) -> None:
        """Return when nothing waits: at Telegram's, in the inbox, in the outbox; TimeoutError after WITHIN_S."""
        async with asyncio.timeout(WITHIN_S):
            await self._idle()

    async def _idle(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            # Looked at first: what is confirmed after it may be in the inbox after `stats`.
            if self.fake.queue.pending:
                continue
            stats = await self.store.stats()
            if not (stats.inbox.pending or stats.outbox.pending):
                await asyncio.sleep(0)  # after an engine that hears of its commit in this turn of the loop
                return

    def sent(self, method: str = "sendMessage") -> list[dict[str, Any]]:
        """The parameters of the calls of a method, in their order."""
        return [call.params for call in self.fake.calls if call.method == method]

    def texts(self) -> list[str]:
        """What was sent."""
        return [str(params["text"]) for params in self.sent()]

    def answers(self) -> list[str | None]:
        """What was answered to presses."""
        return [params.get("text") for params in self.sent("answerCallbackQuery")]

    async def press(self, chat_id: int, user_id: int, button: str) -> None:
        """Press a button of the newest message with buttons by its text, and wait until nothing waits."""
        for shown in reversed(self.fake.world.messages(chat_id)):
            for row in shown.get("reply_markup", {}).get("inline_keyboard", ()):
                for each in row:
                    if each["text"] == button:
                        self.fake.world.press(chat_id, user_id, shown["message_id"], each["callback_data"])
                        await self.idle()
                        return
        raise LookupError(f"there is no button {button!r}")

    async def says(self, chat_id: int, user_id: int, text: str, **fields: Any) -> None:
        """Write a message, and wait until nothing waits."""
        self.fake.world.send_message(chat_id, user_id, text, **fields)
        await self.idle()

    async def reasons(self) -> list[tuple[str, int]]:
        """Reason and attempts of each dead letter."""
        return [(letter.reason, letter.attempts) for letter in await self.store.dead_letters()]
