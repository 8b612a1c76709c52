"""A whole bot on virtual time: the real Bot over a store, and a Telegram in this process instead of a client."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from structlog.testing import capture_logs

from engine.stores.memory import MemoryStore
from telegram.botapi.intake import RawUpdate
from telegram.botapi.types import User
from telegram.dialogue import Router
from telegram.service.bot import Bot, BotConfig
from tests.kit.virtual import run_virtual

if TYPE_CHECKING:
    from telegram.client import TgClient

T = TypeVar("T")
Json = dict[str, Any]

ALICE = {"id": 7, "is_bot": False, "first_name": "Alice"}
BOB = {"id": 8, "is_bot": False, "first_name": "Bob"}


def now() -> float:
    return asyncio.get_running_loop().time()


class Sent(NamedTuple):
    at: float
    method: str
    params: Json


class OfflineTelegram:
    """As much of a TgClient as a bot needs. What is pushed comes with the next poll, at once."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.troubles: dict[str, list[Exception]] = {}  # what the next calls of a method raise
        self.takes_s: dict[str, float] = {}  # how long each call of a method takes
        self.asked: list[Any] = []  # allowed_updates of each poll
        self._updates: list[RawUpdate] = []
        self._came = asyncio.Event()
        self._ids = iter(range(1, 10_000))
        self._messages = iter(range(501, 10_000))

    def time(self) -> float:
        """Unix time by Telegram's clock."""
        return time.time()

    # -- what people do

    def push(self, *updates: Json) -> list[int]:
        """All of these in one poll."""
        ids = []
        for update in updates:
            fields = {"update_id": next(self._ids), **update}
            self._updates.append(RawUpdate(fields["update_id"], json.dumps(fields).encode(), fields))
            ids.append(fields["update_id"])
        self._came.set()
        return ids

    def say(self, text: str | None, *, user: Json = ALICE, chat: int | None = None, **more: Any) -> int:
        return self.push(said(text, user=user, chat=chat, **more))[0]

    def press(self, data: str, *, user: Json = ALICE, chat: int | None = None) -> int:
        return self.push(pressed(data, user=user, chat=chat))[0]

    # -- what the bot does

    async def get_me(self) -> User:
        return User(id=99, is_bot=True, first_name="Bot", username="my_bot")

    async def get_updates(
        self, offset: int, *, timeout_s: int, allowed_updates: Any = None, **_: Any
    ) -> list[RawUpdate]:
        self.asked.append(allowed_updates)
        while timeout_s and not self._updates:
            self._came.clear()
            await self._came.wait()
        updates, self._updates = self._updates, []
        return updates

    async def post(self, method: str, body: bytes) -> None:
        await self.call(method, **json.loads(body))

    async def call(self, method: str, /, **params: Any) -> Any:
        await asyncio.sleep(self.takes_s.get(method, 0.0))
        if self.troubles.get(method):
            raise self.troubles[method].pop(0)
        self.sent.append(
            Sent(
                round(now(), 3), method, {name: value for name, value in params.items() if value is not None}
            )
        )
        return {"message_id": next(self._messages)} if method == "sendMessage" else True

    def texts(self, *methods: str) -> list[str]:
        """The texts of what was sent, or of the calls of these methods."""
        return [
            sent.params.get("text", "") for sent in self.sent if sent.method in (methods or ("sendMessage",))
        ]

    def times(self, method: str) -> list[float]:
        return [sent.at for sent in self.sent if sent.method == method]


def said(text: str | None, *, user: Json = ALICE, chat: int | None = None, **more: Any) -> Json:
    message = {
        "message_id": 11,
        "date": 1_790_000_000,
        "chat": place(chat, user),
        "from": user,
        **({} if text is None else {"text": text}),
        **more,
    }
    return {"message": message}


def pressed(data: str, *, user: Json = ALICE, chat: int | None = None) -> Json:
    message = {"message_id": 12, "date": 1_790_000_000, "chat": place(chat, user), "text": "the bot's"}
    return {
        "callback_query": {
            "id": "q1",
            "from": user,
            "chat_instance": "1",
            "message": message,
            "data": data,
        }
    }


def place(chat: int | None, user: Json) -> Json:
    if chat is None:
        return {"id": user["id"], "type": "private", "first_name": user["first_name"]}
    return {"id": chat, "type": "supergroup", "title": "Group", "is_forum": True}


class Scene:
    """A running bot, and what is around it."""

    def __init__(self, bot: Bot, telegram: OfflineTelegram, store: Any) -> None:
        self.bot = bot
        self.telegram = telegram
        self.store = store

    async def idle(self, within_s: float = 300.0) -> None:
        """Wait until nothing is pending any more, in the inbox and in the outbox; TimeoutError after `within_s` seconds."""
        async with asyncio.timeout(within_s):
            while True:
                await asyncio.sleep(0.01)  # also at first: what was pushed is not polled yet
                stats = await self.store.stats()
                if not stats.inbox.pending + stats.outbox.pending:
                    return

    async def reasons(self) -> list[tuple[str, int]]:
        return [(letter.reason, letter.attempts) for letter in await self.store.dead_letters()]

    async def state(self, key: str = "chat:7", scope: str = "7") -> Any:
        state = await self.store.state(key, scope)
        return None if state is None else json.loads(state)


def play(
    router: Router,
    scenario: Callable[[Scene], Awaitable[T]],
    *,
    store: Any = None,
    logs: list[Any] | None = None,
    **config: Any,
) -> T:
    """Run the bot through `scenario`, stop it, and check that it leaves no task and no lost exception behind."""

    async def main() -> T:
        lost: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: lost.append(context))
        telegram = OfflineTelegram()
        own = store or MemoryStore(wall=lambda: 1_790_000_000 + loop.time())
        bot = Bot(cast("TgClient", telegram), own, router, BotConfig(**config))
        await bot.start()
        try:
            result = await scenario(Scene(bot, telegram, own))
        finally:
            await bot.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}, asyncio.all_tasks()
        gc.collect()
        assert not lost
        return result

    with capture_logs() as events:
        result = run_virtual(main())
    if logs is not None:
        logs += events
    return result
