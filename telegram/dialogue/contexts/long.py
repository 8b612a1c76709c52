"""Feedback of long handlers: a repeated chat action, and a progress message.

Both are sent at once through the client, outside the commit. Neither raises in the handler, and both end with it.

If the handler runs again in the same process, it continues with its progress message; after a kill it sends a second one,
and the first stays as it was (a message's id is known only after it was sent, and Telegram has no idempotency key). The
text of `done` is committed with the handler's effects.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack

import structlog

from telegram.botapi.errors import Refused, RetryAfter, TelegramError
from telegram.botapi.late import outcome_of_refusal
from telegram.client import TgClient

if TYPE_CHECKING:
    from telegram.botapi.collected import EditTextParams

log = structlog.get_logger(__name__)

ACTION_EVERY_S: Final = 4.0
"""Telegram shows an action for 5 s (Telegram Bot API, sendChatAction)."""

EDIT_EVERY_S: Final = 1.0
"""Telegram's limit per chat is about one message a second (Bots FAQ, "My bot is hitting limits")."""

SETTLE_S: Final = 2.0
"""How long the end of a handler waits for a running edit, which could otherwise overtake the last one."""


@asynccontextmanager
async def kept_alive(client: TgClient | None, params: dict[str, Any]) -> AsyncIterator[None]:
    """Send the chat action now and every ACTION_EVERY_S, while the block runs."""
    if client is None:
        yield
        return
    task = asyncio.create_task(_act(client, params))
    try:
        yield
    finally:
        await ended(task)


async def _act(client: TgClient, params: dict[str, Any]) -> None:
    while True:
        pause_s = ACTION_EVERY_S
        try:
            await client.call("sendChatAction", **params)
        except Exception as error:  # noqa: BLE001 - optional feedback
            log.debug("chat action not shown", reason=str(error))
            pause_s = max(pause_s, _wait_s(error))
        await asyncio.sleep(pause_s)


def _wait_s(error: Exception) -> float:
    return error.retry_after_s if isinstance(error, RetryAfter) else 0.0


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait((task,))


class Progress:
    """A progress message of a handler. Created by `ctx.progress`."""

    def __init__(
        self,
        client: TgClient | None,
        place: dict[str, Any],
        text: str,
        params: dict[str, Any],
        collect: Callable[..., None],
        message_id: int | None,
    ) -> None:
        self._client = client
        self._place = place
        self._title = text
        self._params = params
        self._collect = collect
        self.message_id = message_id
        """The message's id; None if it could not be sent."""
        self._wanted = text
        self._shown: str | None = None
        self._changed = asyncio.Event()
        self._calling = asyncio.Lock()  # held during an edit
        self._writer: asyncio.Task[None] | None = None
        self._is_done = False

    async def begin(self) -> None:
        """Show the first text: in the message of an earlier attempt if there is one, else in a new one."""
        if self._client is None:
            return
        try:
            if self.message_id is not None and not await self._goes_on(self._client, self.message_id):
                self.message_id = None
            if self.message_id is None:
                sent = await self._client.call(
                    "sendMessage", **{**self._place, "text": self._title, **self._params}
                )
                self.message_id = sent["message_id"]
        except Exception as error:  # noqa: BLE001 - optional feedback
            log.debug("progress not shown", reason=str(error))
        self._shown = self._title
        if self.message_id is not None:
            self._writer = asyncio.create_task(self._write(self._client, self.message_id))

    async def update(self, what: str | float) -> None:
        """Show a text, or a fraction from 0 to 1 as a percentage after the first text.

        Returns at once. There is at most one edit a second, with the newest text; the last text is shown at the end.
        """
        self._wanted = what if isinstance(what, str) else f"{self._title} {min(max(what, 0.0), 1.0):.0%}"
        self._changed.set()
        await asyncio.sleep(0)  # lets the writer run, also for a handler that never awaits

    def done(self, text: str, /, **params: "Unpack[EditTextParams]") -> None:
        """Make `text` the final text; it is committed with the handler's effects. `params` for editMessageText."""
        self._is_done = True
        self._last(text, {**params})

    async def settle(self) -> None:
        """Wait for a running edit, and collect an edit with the newest text, unless the handler has called `done`."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._calling.acquire()  # not released: no further edit starts
        except TimeoutError:
            log.debug("an edit of a progress message takes long", message_id=self.message_id)
        if not self._is_done and self.message_id is not None and self._wanted != self._shown:
            self._last(self._wanted, self._params)

    def stopped(self) -> None:
        """Do nothing: the message of a handler that was stopped stays as it is."""

    async def end(self) -> None:
        """Stop editing at once."""
        if self._writer is not None:
            await ended(self._writer)

    def _last(self, text: str, params: dict[str, Any]) -> None:
        if self.message_id is None:
            self._collect("sendMessage", **{**self._place, "text": text, **params})
        else:
            self._collect("editMessageText", **{**self._edit(self.message_id, text), **params})

    def _edit(self, message_id: int, text: str) -> dict[str, Any]:
        place = {name: self._place.get(name) for name in ("chat_id", "business_connection_id")}
        return {**place, "message_id": message_id, "text": text}

    async def _goes_on(self, client: TgClient, message_id: int) -> bool:
        """Edit the message of an earlier attempt; return False if it does not exist any more."""
        try:
            await client.call("editMessageText", **{**self._edit(message_id, self._title), **self._params})
        except Refused as error:
            return outcome_of_refusal(error) == "done"
        except TelegramError as error:
            log.debug("progress not shown", reason=str(error))
        return True

    async def _write(self, client: TgClient, message_id: int) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time() + EDIT_EVERY_S
        while True:
            await self._changed.wait()
            await asyncio.sleep(next_at - loop.time())
            async with self._calling:
                next_at = loop.time() + EDIT_EVERY_S
                self._changed.clear()
                if (text := self._wanted) != self._shown:
                    try:
                        await client.call(
                            "editMessageText", **{**self._edit(message_id, text), **self._params}
                        )
                        self._shown = text
                    except Exception as error:  # noqa: BLE001 - optional feedback
                        log.debug("progress not shown", reason=str(error))
                        next_at += _wait_s(error)
                        if isinstance(error, RetryAfter):
                            self._changed.set()  # it was not executed
