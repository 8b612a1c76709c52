"""Signs of life of a handler that takes its time: a chat action kept alive, and a message that tells how far it is.

Both are shown at once, outside the commit, through the client. Neither is ever an error for the handler, and nothing of
them runs on when it is over.

What is promised of a progress message when the handler runs again: in the same process it goes on with the message
that it has sent; after a kill it sends a second one, and the first stays as it was. (Telegram has no key by which a
message could be found again, and its id is only known after it was sent.) The text of `done` is committed with the
handler's effects.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from telegram.botapi.errors import Refused, RetryAfter, TelegramError
from telegram.botapi.late import outcome_of_refusal
from telegram.client import TgClient

log = structlog.get_logger(__name__)

ACTION_EVERY_S: Final = 4.0
"""Telegram shows an action for 5 s (Telegram Bot API, sendChatAction)."""

EDIT_EVERY_S: Final = 1.0
"""What Telegram bears in one chat for long (Telegram Bot API, FAQ: limits)."""

SETTLE_S: Final = 2.0
"""How long the end of a handler waits for an edit under way, which could else overtake the last one."""


@asynccontextmanager
async def kept_alive(client: TgClient | None, params: dict[str, Any]) -> AsyncIterator[None]:
    """Send the chat action now and every few seconds, for as long as the block runs."""
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
        except Exception as error:  # noqa: BLE001 - an ornament
            log.debug("chat action not shown", reason=str(error))
            pause_s = max(pause_s, _wait_s(error))
        await asyncio.sleep(pause_s)


def _wait_s(error: Exception) -> float:
    return error.retry_after_s if isinstance(error, RetryAfter) else 0.0


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task of ours and wait until it is over."""
    task.cancel()
    await asyncio.wait((task,))


class Progress:
    """A message that tells how far a handler is. Made by `ctx.progress`."""

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
        """Telegram's number of the message; None if it could not be sent."""
        self._wanted = text
        self._shown: str | None = None
        self._changed = asyncio.Event()
        self._calling = asyncio.Lock()  # held while an edit is under way
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
        except Exception as error:  # noqa: BLE001 - an ornament
            log.debug("progress not shown", reason=str(error))
        self._shown = self._title
        if self.message_id is not None:
            self._writer = asyncio.create_task(self._write(self._client, self.message_id))

    async def update(self, what: str | float) -> None:
        """Show a text, or how much is done, from 0 to 1, behind the first text.

        Returns at once. At most one edit in a second; the newest wins, and the last one is shown at the end in any case.
        """
        self._wanted = what if isinstance(what, str) else f"{self._title} {min(max(what, 0.0), 1.0):.0%}"
        self._changed.set()
        await asyncio.sleep(0)  # a handler that never waits would not let it be shown

    def done(self, text: str, /, **params: Any) -> None:
        """Make `text` the last one; it is committed with the handler's effects. `params` as of editMessageText."""
        self._is_done = True
        self._last(text, params)

    async def settle(self) -> None:
        """Let the edit under way arrive, and have the newest text shown if the handler did not say `done`."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._calling.acquire()  # kept: no edit begins any more
        except TimeoutError:
            log.debug("an edit of a progress message takes long", message_id=self.message_id)
        if not self._is_done and self.message_id is not None and self._wanted != self._shown:
            self._last(self._wanted, self._params)

    async def end(self) -> None:
        """Stop at once."""
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
        """Edit the message of an earlier attempt; False if it is not there any more."""
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
                    except Exception as error:  # noqa: BLE001 - an ornament
                        log.debug("progress not shown", reason=str(error))
                        next_at += _wait_s(error)
                        if isinstance(error, RetryAfter):
                            self._changed.set()  # it was not executed
