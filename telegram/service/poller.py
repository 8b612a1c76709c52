"""The poller fetches updates (getUpdates) and appends them to the inbox; it knows neither handlers nor state.

- Append first, confirm second: the offset moves only when the batch is durable in the inbox. Updates that were
  received but not stored are fetched again.
- The next offset is the last received id + 1, even if that is lower: after an idle week Telegram continues at a random id.
- It polls only while its process alone may append (others wait for the right), and begins anew when that right is
  another one than before: another process may have polled meanwhile.
- No error ends it except Unauthorized, and no error makes it spin. Consecutive failures are logged when they begin, once
  per kind, and when they end.
- To stop it, cancel `run`: a waiting poll is aborted, and one short last call confirms what is stored. Then it resigns.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog

from engine import Observe, Right, RightLost, StoreError, StoreUnavailable
from telegram.botapi.errors import Conflict, Refused, RetryAfter, TelegramError, Unauthorized
from telegram.botapi.intake import RawUpdate
from telegram.service.failures import Failures
from telegram.service.incoming import Inbox, take_in
from telegram.service.observe import Polled, PollFailed

T = TypeVar("T")

LIMIT_MAX: Final = 100  # Telegram Bot API, getUpdates
CONFIRM_WITHIN_S: Final = 2.0  # the server confirms when the request arrives; its answer is not needed
EMPTY_EVERY_S: Final = 1.0  # interval of polls at a server that answers "nothing" at once
# A poll, its append and the commits that follow cost as much for one update as for ten, so at a steady rate it is cheaper
# to poll a little later. The first update after a pause is not delayed, nor is a backlog.
FEW: Final = 20
FEW_EVERY_S: Final = 0.01
RETRY_AFTER_JITTER_S: Final = 1.0


WEBHOOK_ACTIVE: Final = "webhook is active"
"""In the text of the 409 that getUpdates gets while a webhook is set (telegram-bot-api, Client.cpp)."""


class Client(Protocol):
    """What the poller needs of a TgClient."""

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method and return its result; TelegramError."""
        ...

    async def get_updates(
        self, offset: int, *, limit: int, timeout_s: int, allowed_updates: Sequence[str] | None
    ) -> list[RawUpdate]:
        """Wait up to `timeout_s` for updates from `offset` on; TelegramError."""
        ...


class Poller:
    """Fetches updates and appends them to the inbox."""

    def __init__(
        self,
        client: Client,
        inbox: Inbox,
        *,
        poll_timeout_s: int = 50,  # Telegram's maximum, for the fewest empty answers
        allowed_updates: Sequence[str] | None = None,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
        log: Any = None,
        observe: Observe | None = None,
    ) -> None:
        """`wall` returns Unix time by Telegram's clock. `observe` is called with Polled, PollFailed and Received; it must not raise."""
        self._observe = observe
        self._client = client
        self._wall = wall
        self._inbox = inbox
        self._poll_timeout_s = poll_timeout_s
        self._allowed_updates = allowed_updates
        self._log = structlog.get_logger() if log is None else log
        self._rng = random.Random() if rng is None else rng
        self._polling = Failures("polling fails", self._rng, self._log)
        self._storing = Failures("store unavailable, polling waits", self._rng, self._log)
        self._right: Right | None = None
        self._offset = 0  # everything below it is stored; 0: nothing received yet, under this right
        self._sent_offset = 0  # of the last request: Telegram confirms when it arrives; -1: unknown

    async def run(self) -> None:
        """Poll until cancelled, then confirm what is stored. Raises Unauthorized: the token is not valid (any more)."""
        try:
            while True:
                await self._step()
        except asyncio.CancelledError:
            await self._confirm()
            raise
        finally:
            await self._resign()

    async def _step(self) -> None:
        """One poll, and whatever waiting must come before the next."""
        limit = min(await self._insist(self._inbox.room), LIMIT_MAX)
        right = await self._insist(self._inbox.right)
        if right != self._right:
            # Lost, perhaps while it waited for room. Telegram would forget what is below the offset, also what another
            # process has not stored yet.
            self._right, self._offset, self._sent_offset = right, 0, 0
        clock = asyncio.get_running_loop().time
        began = clock()
        self._sent_offset = self._offset
        try:
            updates = await self._client.get_updates(
                self._offset,
                limit=limit,
                timeout_s=self._poll_timeout_s,
                allowed_updates=self._allowed_updates,
            )
        except Unauthorized:
            raise  # waiting does not help
        except TelegramError as error:
            if self._observe is not None:
                self._observe(PollFailed(clock() - began, error))
            self._sent_offset = -1
            await asyncio.sleep(self._delay_after_s(error))
            if isinstance(error, Conflict) and WEBHOOK_ACTIVE in str(error):
                await self._remove_webhook()
            return
        if self._observe is not None:
            self._observe(Polled(len(updates), clock() - began))
        if not updates:
            self._polling.over()
            await asyncio.sleep(began + EMPTY_EVERY_S - clock())
            return
        went_back = updates[0].update_id < self._offset
        store = partial(take_in, self._inbox, right, updates, self._wall(), self._observe)
        try:
            await self._insist(store)
        except RightLost:
            self._log.warning("another process polls: these updates are left to it", updates=len(updates))
            return
        self._offset = updates[-1].update_id + 1
        if went_back:
            # Once: the numbering has restarted. Repeatedly: the server ignores the offset, so pause.
            wait_s = self._polling.failed("went back", "the server answered with ids below the offset")
            await asyncio.sleep(wait_s)
            return
        self._polling.over()
        if len(updates) < FEW and (wait_s := began + FEW_EVERY_S - clock()) > 0:
            await asyncio.sleep(wait_s)

    async def _remove_webhook(self) -> None:
        """Remove the webhook; Telegram keeps the updates that wait."""
        try:
            await self._client.call("deleteWebhook", drop_pending_updates=False)
            self._log.warning("a webhook was set, and is removed: this bot polls")
        except TelegramError as error:
            self._log.debug("the webhook is not removed", reason=str(error))

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the store's answer, waiting while it is unavailable. Nothing is polled meanwhile."""
        while True:
            try:
                answer = await ask()
            except StoreUnavailable as error:
                await asyncio.sleep(self._storing.failed("store", str(error), alarm=True))
            else:
                self._storing.over()
                return answer

    async def _resign(self) -> None:
        """Let another process poll at once; if that fails, it waits until this one's session has ended."""
        if self._right is not None:
            with suppress(StoreUnavailable, StoreError, TimeoutError):
                async with asyncio.timeout(CONFIRM_WITHIN_S):
                    await self._inbox.resign(self._right)

    def _delay_after_s(self, error: TelegramError) -> float:
        """Seconds to wait after a failed poll."""
        kind = type(error).__name__
        match error:
            case RetryAfter():
                delay_s = error.retry_after_s + self._rng.uniform(0, RETRY_AFTER_JITTER_S)
                return self._polling.failed(kind, str(error), delay_s=delay_s)
            case Conflict():
                # It may be a previous process that is just ending, so this is no reason to give up.
                reason = f"another poller uses this token or a webhook is set: {error}"
                return self._polling.failed(kind, reason, alarm=True)
            case _:
                return self._polling.failed(kind, str(error), alarm=isinstance(error, Refused))

    async def _confirm(self) -> None:
        """Confirm to Telegram what is stored. A failure is harmless: it is sent again, and ids seen before are ignored.

        Not for an offset that was sent already: the server delays a repeated one by 3 s (Telegram Bot API server,
        getUpdates).
        """
        if self._offset == self._sent_offset:
            return
        try:
            async with asyncio.timeout(CONFIRM_WITHIN_S):
                right = await self._inbox.right()
                if right != self._right:
                    self._right = right  # the one to resign
                    return
                await self._client.get_updates(
                    self._offset, limit=1, timeout_s=0, allowed_updates=self._allowed_updates
                )
        except (TelegramError, StoreUnavailable, StoreError, TimeoutError) as error:
            self._log.debug("last confirm failed", kind=type(error).__name__, reason=str(error))
