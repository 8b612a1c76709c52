"""The poller fetches updates and routes them into the inbox; it knows neither handlers nor state.

- Append first, confirm second: the offset moves only when the inbox has the batch durably. Updates that were
  received but not stored are fetched again.
- The next offset is the last received id + 1, also when that falls: after an idle week Telegram goes on at a random id.
- No trouble ends it except Unauthorized; no trouble makes it spin. What it says about trouble is one line at the
  start and one at the end.
- To stop it, cancel `run`: a waiting poll is aborted, and one short last call confirms what is stored.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog

from engine import StoreUnavailable
from telegram.botapi.errors import Conflict, Refused, RetryAfter, TelegramError, Unauthorized
from telegram.botapi.intake import RawUpdate
from telegram.service.incoming import Inbox, take_in

T = TypeVar("T")

LIMIT_MAX: Final = 100  # Telegram Bot API, getUpdates
CONFIRM_WITHIN_S: Final = 2.0  # the server confirms when the request arrives; its reply is of no use to us
EMPTY_EVERY_S: Final = 1.0  # a server that answers "nothing" at once is asked this often
# A poll, its append and the commits that follow cost as much for one update as for ten, so at a steady pace it is cheaper
# to ask a little later. After a pause the next update does not wait, and a backlog does not either.
FEW: Final = 20
FEW_EVERY_S: Final = 0.01
# Asking for the same offset again within 0.5 s brings one update only: never retry sooner.
BACKOFF_MIN_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
RETRY_AFTER_JITTER_S: Final = 1.0


class Client(Protocol):
    """The one method that the poller needs of a TgClient."""

    async def get_updates(
        self, offset: int, *, limit: int, timeout_s: int, allowed_updates: Sequence[str] | None
    ) -> list[RawUpdate]:
        """Wait up to `timeout_s` for updates from `offset` on; raises TelegramError."""
        ...


class Spell:
    """One stretch of trouble, from a failure to the next success: how long to wait, and what to say about it."""

    def __init__(self, name: str, rng: random.Random, log: Any) -> None:
        self._name = name
        self._rng = rng
        self._log = log
        self._since_s = 0.0
        self._tries = 0
        self._told: set[str] = set()

    def delay_s(self) -> float:
        """A random time between half and all of a ceiling that doubles with each try; within BACKOFF_MIN_S..BACKOFF_MAX_S."""
        low = min(BACKOFF_MIN_S * 2 ** min(self._tries, 16), BACKOFF_MAX_S / 2)
        return self._rng.uniform(low, 2 * low)

    def failed(self, kind: str, reason: str, *, delay_s: float | None = None, alarm: bool = False) -> float:
        """Note a failure; return the seconds to wait. Each kind of failure is told once in a spell."""
        wait_s = self.delay_s() if delay_s is None else delay_s
        if not self._tries:
            self._since_s = asyncio.get_running_loop().time()
        self._tries += 1
        if kind not in self._told:
            self._told.add(kind)
            tell = self._log.error if alarm else self._log.warning
            tell(self._name, kind=kind, reason=reason, wait_s=round(wait_s, 1))
        else:
            self._log.debug(self._name, kind=kind, reason=reason, wait_s=round(wait_s, 1), tries=self._tries)
        return wait_s

    def over(self) -> None:
        """Note a success."""
        if self._tries:
            lasted_s = asyncio.get_running_loop().time() - self._since_s
            self._log.info(f"{self._name}: over", lasted_s=round(lasted_s, 1), tries=self._tries)
            self._tries = 0
            self._told.clear()


class Poller:
    """Fetches updates and appends them to the inbox."""

    def __init__(
        self,
        client: Client,
        inbox: Inbox,
        *,
        poll_timeout_s: int = 50,  # Telegram clamps to 50: the fewest empty answers
        allowed_updates: Sequence[str] | None = None,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
        log: Any = None,
    ) -> None:
        """`wall` gives Unix time by Telegram's clock."""
        self._client = client
        self._wall = wall
        self._inbox = inbox
        self._poll_timeout_s = poll_timeout_s
        self._allowed_updates = allowed_updates
        self._log = structlog.get_logger() if log is None else log
        self._rng = random.Random() if rng is None else rng
        self._polling = Spell("polling is in trouble", self._rng, self._log)
        self._storing = Spell("store unavailable, polling stands still", self._rng, self._log)
        self._offset = 0  # everything below it is stored; 0: nothing received yet
        self._told_offset = 0  # the one that Telegram was asked for: it confirms when a request arrives

    async def run(self) -> None:
        """Poll until cancelled, then confirm what is stored. Raises Unauthorized: the token is not valid (any more)."""
        try:
            while True:
                await self._step()
        except asyncio.CancelledError:
            await self._confirm()
            raise

    async def _step(self) -> None:
        """One poll, and whatever waiting must come before the next."""
        limit = min(await self._insist(self._inbox.room), LIMIT_MAX)
        clock = asyncio.get_running_loop().time
        began = clock()
        self._told_offset = self._offset
        try:
            updates = await self._client.get_updates(
                self._offset,
                limit=limit,
                timeout_s=self._poll_timeout_s,
                allowed_updates=self._allowed_updates,
            )
        except Unauthorized:
            raise  # no waiting mends it
        except TelegramError as error:
            self._told_offset = -1
            await asyncio.sleep(self._delay_after_s(error))
            return
        if not updates:
            self._polling.over()
            await asyncio.sleep(began + EMPTY_EVERY_S - clock())
            return
        went_back = updates[0].update_id < self._offset
        store = partial(take_in, self._inbox, updates, self._wall())
        await self._insist(store)
        self._offset = updates[-1].update_id + 1
        if went_back:
            # Once: ids were re-based. Again and again: the server ignores our offset, and would serve forever.
            wait_s = self._polling.failed("went back", "the server answered with ids below the offset")
            await asyncio.sleep(wait_s)
            return
        self._polling.over()
        if len(updates) < FEW and (wait_s := began + FEW_EVERY_S - clock()) > 0:
            await asyncio.sleep(wait_s)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, however long it is away. Nothing is polled meanwhile: it would pile up here."""
        while True:
            try:
                answer = await ask()
            except StoreUnavailable as error:
                await asyncio.sleep(self._storing.failed("store", str(error), alarm=True))
            else:
                self._storing.over()
                return answer

    def _delay_after_s(self, error: TelegramError) -> float:
        """Seconds to wait after a failed poll."""
        kind = type(error).__name__
        match error:
            case RetryAfter():
                delay_s = error.retry_after_s + self._rng.uniform(0, RETRY_AFTER_JITTER_S)
                return self._polling.failed(kind, str(error), delay_s=delay_s)
            case Conflict():
                # It may be a predecessor that is just dying, so this is no reason to give up.
                reason = f"another poller uses this token or a webhook is set: {error}"
                return self._polling.failed(kind, reason, alarm=True)
            case _:
                return self._polling.failed(kind, str(error), alarm=isinstance(error, Refused))

    async def _confirm(self) -> None:
        """Tell Telegram what is stored. A failure is harmless: it comes again, and ids seen before are ignored.

        Telling the same offset again would only be held back for 3 s (Telegram Bot API server, getUpdates).
        """
        if self._offset == self._told_offset:
            return
        try:
            async with asyncio.timeout(CONFIRM_WITHIN_S):
                await self._client.get_updates(
                    self._offset, limit=1, timeout_s=0, allowed_updates=self._allowed_updates
                )
        except (TelegramError, TimeoutError) as error:
            self._log.debug("last confirm failed", kind=type(error).__name__, reason=str(error))
