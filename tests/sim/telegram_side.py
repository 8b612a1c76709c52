"""Telegram as the bot's processes see it, on virtual time: the queue with the real server's rules, and a bad network."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any, Final, TypeVar

from telegram.botapi.errors import ApiError as ClientApiError
from telegram.botapi.errors import Conflict, NotSent, OutcomeUnknown, RetryAfter, ServerTrouble
from telegram.botapi.intake import RawUpdate, split
from telegram.botapi.types import User
from telegram.fake.protocol.answers import ApiError
from telegram.fake.server.polling import LongPoll
from telegram.fake.world.queue import UpdateQueue
from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import BotReply, SentText
from tests.sim.hook import HookSide
from tests.sim.loop import Process
from tests.sim.trouble import NETWORK, Trouble

T = TypeVar("T")

_SERVER: Final = copy_context()
CALL_TIMEOUT_S: Final = 30.0  # telegram/client/client.py
POLL_SPARE_S: Final = 10.0


class TelegramSide:
    """The server: what people sent, what the bot's processes took, and the replies in the order of their execution."""

    def __init__(self, trouble: Trouble) -> None:
        loop = asyncio.get_running_loop()
        self.trouble = trouble
        self.queue = UpdateQueue(clock=loop.time, rng=trouble.rng)
        self.poll = LongPoll(self.queue)
        self.hook = HookSide(self.queue, trouble, self.run)
        self.queue.on_push = self._pushed
        self.sent: list[SentText] = []
        self.seen: list[BotReply] = []
        self.on_reply: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[Any]] = set()

    def say(self, chat_id: int, text: str) -> None:
        """Somebody writes to the bot."""
        message = {
            "message_id": len(self.sent) + 1,
            "date": 1,
            "chat": {"id": chat_id, "type": "private"},
            "from": {"id": chat_id, "is_bot": False, "first_name": "X"},
            "text": text,
        }
        update_id = self.queue.push("message", b'"message":' + json.dumps(message).encode(), chat_id)
        self.sent.append(SentText(chat_id, update_id, text))

    def _pushed(self) -> None:
        self.poll.wake()
        self.hook.wake()

    async def webhook(self, method: str, url: str) -> object:
        """Execute setWebhook, deleteWebhook or getWebhookInfo."""
        if method == "getWebhookInfo":
            return {"url": self.queue.webhook_url, "pending_update_count": self.queue.pending}
        now = asyncio.get_running_loop().time()
        if url and now < self.hook.next_set_at:
            raise RetryAfter(method, 429, "Too Many Requests: retry after 1", {"retry_after": 1})
        if url:
            self.hook.next_set_at = now + 1
        self.hook.set(url)
        self.poll.webhook_changed()
        return True

    def run(self, act: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something on the server's side: it goes on whatever becomes of who asked."""
        task = asyncio.get_running_loop().create_task(act, context=_SERVER.copy())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who asked may be gone

    async def execute(self, body: bytes, was_answered: "Answered") -> None:
        """Execute sendMessage."""
        params = json.loads(body)
        now = asyncio.get_running_loop().time()
        place = len(self.seen)
        self.seen.append(BotReply(params["chat_id"], Evidence.parse(params["text"]), now, answered=False))

        def mark() -> None:
            self.seen[place] = self.seen[place]._replace(answered=True)

        was_answered.mark = mark
        self.on_reply()


class Answered:
    """Tells the server's record that the bot got to know."""

    def __init__(self) -> None:
        self.mark: Callable[[], None] = lambda: None


class SimClient:
    """What Bot needs of a TgClient, for one process."""

    bot_id = 1

    def __init__(self, side: TelegramSide, process: Process) -> None:
        self._side = side
        self._process = process

    def time(self) -> float:
        """Unix time by Telegram's clock, which nobody sets."""
        return 1.7e9 + asyncio.get_running_loop().time()

    async def get_me(self) -> User:
        async def me() -> User:
            return User.model_validate({"id": 1, "is_bot": True, "first_name": "Bot", "username": "bot"})

        return await self._ask("getMe", me, CALL_TIMEOUT_S)

    async def get_updates(
        self, offset: int, *, limit: int, timeout_s: int, allowed_updates: Sequence[str] | None
    ) -> list[RawUpdate]:
        async def take() -> list[RawUpdate]:
            try:
                raw = await self._side.poll.take(offset, limit, timeout_s, allowed_updates)
            except ApiError as error:
                raise Conflict("getUpdates", error.code, error.description, {}) from None
            return split(b'{"ok":true,"result":[' + b",".join(raw) + b"]}")

        return await self._ask("getUpdates", take, timeout_s + POLL_SPARE_S)

    async def call(self, method: str, /, **params: Any) -> Any:
        return await self._ask(
            method, lambda: self._side.webhook(method, params.get("url", "")), CALL_TIMEOUT_S
        )

    async def post(self, method: str, body: bytes) -> None:
        answered = Answered()
        await self._ask(method, lambda: self._side.execute(body, answered), CALL_TIMEOUT_S)
        answered.mark()

    async def _ask(self, method: str, act: Callable[[], Awaitable[T]], within_s: float) -> T:
        """One request over the bad network."""
        trouble = self._side.trouble
        fault = trouble.pick("network", NETWORK, asyncio.get_running_loop().time())
        await asyncio.sleep(trouble.short_s())
        if fault == "not sent":
            raise NotSent(method, "simulated")
        if fault == "status":
            raise trouble.rng.choice(_REFUSALS)(method)

        async def serve() -> T:
            await asyncio.sleep(trouble.long_s() if fault == "slow" else trouble.short_s())
            if fault == "late":
                await asyncio.sleep(within_s + trouble.short_s())
            return await act()

        asked = self._side.run(serve())
        try:
            async with asyncio.timeout(within_s):
                result = await asyncio.shield(asked)
                await asyncio.sleep(trouble.short_s())
                if fault == "never":
                    await asyncio.sleep(within_s)
        except TimeoutError:
            raise OutcomeUnknown(method, "simulated: no answer in time") from None
        if fault == "answer lost":
            raise OutcomeUnknown(method, "simulated: the connection was cut")
        return result


def _too_many(method: str) -> ClientApiError:
    return RetryAfter(method, 429, "Too Many Requests: retry after 2", {"retry_after": 2})


def _bad_gateway(method: str) -> ClientApiError:
    return ServerTrouble(method, 502, "Bad Gateway", {})


_REFUSALS: Final = (_too_many, _bad_gateway)
