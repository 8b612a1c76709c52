"""Events of the service for an observer: what comes from Telegram, and what becomes of calls.

An observer is one callable, given to a `Bot` or registered at a router (`@router.observer`). It is called with these
events, and with those of engine/observe.py and telegram/dialogue/routes/observe.py.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from engine import Delivery, Observe, current_delivery, guarded
from telegram.botapi.calls import Files
from telegram.botapi.errors import TelegramError
from telegram.botapi.intake import RawUpdate
from telegram.service.sender import Poster

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """Updates have come from Telegram, at Unix time `at`; Appended follows when they are stored."""

    updates: tuple[RawUpdate, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Polled:
    """getUpdates has brought this number of updates, after `took_s` seconds."""

    updates: int
    took_s: float


@dataclass(frozen=True, slots=True)
class PollFailed:
    """getUpdates has failed with `error` after `took_s` seconds; it is called again."""

    took_s: float
    error: TelegramError


@dataclass(frozen=True, slots=True)
class Sent:
    """Telegram has executed a call after `took_s` seconds. `lane` is the key of its lane.

    `body` is what was sent; `delivery` has the call as it was committed.
    """

    lane: str
    method: str
    body: bytes
    took_s: float
    delivery: Delivery | None = None


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A call has failed with `error` after `took_s` seconds. It may be sent again (Parked, or Buried, follows)."""

    lane: str
    method: str
    body: bytes
    took_s: float
    error: TelegramError


def observer_of(observers: Sequence[Observe]) -> Observe | None:
    """Return one observer that calls all of them and does not raise: what one raises is logged. None if there are none."""
    guards = [guarded(each, "the observer failed") for each in observers]
    if len(guards) < 2:
        return guards[0] if guards else None

    def observe(event: object) -> None:
        for each in guards:
            each(event)

    return observe


class ObservedPoster:
    """Sends as `poster` does, and reports each request. `observe` must not raise."""

    def __init__(self, poster: Poster, observe: Observe) -> None:
        self._poster = poster
        self._observe = observe

    async def post(self, method: str, body: bytes) -> None:
        """Call `method` with a JSON body; TelegramError."""
        await self._sent(self._poster.post(method, body), method, body)

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        """Call `method` with a JSON body and the files that belong into it; TelegramError."""
        return await self._sent(self._poster.upload(method, body, files), method, body)

    async def _sent(self, request: Awaitable[T], method: str, body: bytes) -> T:
        clock = asyncio.get_running_loop().time
        began = clock()
        delivery = current_delivery.get()
        lane = "" if delivery is None else delivery.lease.key
        try:
            result = await request
        except TelegramError as error:
            self._observe(SendFailed(lane, method, body, clock() - began, error))
            raise
        self._observe(Sent(lane, method, body, clock() - began, delivery))
        return result
