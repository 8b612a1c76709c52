"""Makes single updates durable, many at a time: those that arrive while one append runs share the next one.

A store appends one batch after another, each with a sync of the disk; one update at a time would be 200 a second. The first
of those that wait leads: it appends for all, and then hands the lead on. Whoever leads may be cancelled at its await: the
others are appended again, and ids seen before are ignored.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from engine import Observe, Right, RightLost, StoreError, StoreUnavailable
from telegram.botapi.intake import UPDATE_BYTES_MAX, RawUpdate, scan, update_id_of
from telegram.service.incoming import Inbox, take_in

STORE_WITHIN_S: Final = 20.0
"""Below the 60 s after which Telegram gives a request up (telegram-bot-api, WebhookActor.cpp)."""

RIGHT_WITHIN_S: Final = 1.0
"""Without the right for so long a request is answered, for a proxy to ask the process that has it."""

BATCH_MAX: Final = 100
_ONES: Final = (StoreUnavailable, StoreError, RightLost)
"""Errors that concern all of a batch."""


Body: TypeAlias = bytes | bytearray | memoryview | str | Mapping[str, Any]
"""An update as web frameworks give it: the body of the request, as bytes or text, or the decoded object."""


def _bytes_of(update: Body) -> bytes:
    if isinstance(update, str):
        return update.encode("utf-8", "surrogateescape")
    if isinstance(update, Mapping):
        return json.dumps(dict(update)).encode()
    if isinstance(update, bytes | bytearray | memoryview):
        return bytes(update)
    raise TypeError(
        f"an update is the body of the request, or the decoded object, not {type(update).__name__}"
    )


def read_update(body: bytes) -> RawUpdate:
    """Return the update in the body of a request, `fields` None if it does not parse; ValueError if it is none."""
    text = body.decode("utf-8", "surrogateescape").strip(" \t\r\n\ufeff")
    fields: dict[str, Any] | None = None
    if len(body) <= UPDATE_BYTES_MAX:
        with suppress(ValueError, RecursionError):
            value, end = scan(text, 0)
            fields = value if type(value) is dict and end == len(text) else None
    update_id = update_id_of(fields, text) if text.startswith("{") else None
    if update_id is None:
        raise ValueError("not an update: a JSON object with an integer update_id")
    return RawUpdate(update_id, body, fields)


class _Waiter:
    """An update that waits. `turn` has the result True if it has to lead, False if it is durable."""

    __slots__ = ("raw", "turn")

    def __init__(self, raw: RawUpdate) -> None:
        self.raw = raw
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Accepting:
    """Makes single updates durable, from the webhook or from `Bot.accept`."""

    def __init__(
        self, inbox: Inbox, *, wall: Callable[[], float] = time.time, observe: Observe | None = None
    ) -> None:
        self._inbox = inbox
        self._wall = wall
        self._observe = observe
        self._waiting: deque[_Waiter] = deque()
        self._is_led = False

    async def accept(self, update: Body) -> None:
        """Append one update; durable on return. ValueError if it is none, StoreUnavailable if it cannot be stored now.

        After a cancellation it may be stored or not: send it again.
        """
        raw = read_update(_bytes_of(update))
        try:
            async with asyncio.timeout(STORE_WITHIN_S):
                await self._durable(_Waiter(raw))
        except RightLost as error:
            raise StoreUnavailable(f"another process may append: {error}") from None
        except TimeoutError:
            raise StoreUnavailable(f"the inbox did not take it within {STORE_WITHIN_S:g} s") from None

    async def _durable(self, waiter: _Waiter) -> None:
        self._waiting.append(waiter)
        if self._is_led:
            try:
                if not await waiter.turn:
                    return
            except asyncio.CancelledError:
                if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                    if waiter.turn.result():
                        self._hand_on()
                elif waiter in self._waiting:
                    self._waiting.remove(waiter)
                raise
        self._is_led = True
        self._waiting.remove(waiter)
        try:
            await self._lead(waiter)
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        """Let the next one lead, if there is any."""
        self._is_led = False
        while self._waiting and not self._is_led:
            turn = self._waiting[0].turn
            if turn.done():
                self._waiting.popleft()  # cancelled
            else:
                turn.set_result(True)
                self._is_led = True

    async def _lead(self, leader: _Waiter) -> None:
        """Append for the leader and those that wait; raise what concerns the leader."""
        batch = [leader]
        try:
            room, right = await self._may_append()
        except _ONES as error:
            while self._waiting:  # it is the same for those that wait, and Telegram's connections are few
                _end(self._waiting.popleft(), error)
            raise
        while self._waiting and len(batch) < room:
            batch.append(self._waiting.popleft())
        try:
            await self._append(right, batch)
        except _ONES as error:
            for each in batch[1:]:
                _end(each, error)
            raise
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch[1:]))
            raise
        except Exception:
            if len(batch) == 1:
                raise
            await self._one_by_one(right, batch)
            return
        for each in batch[1:]:
            _end(each)

    async def _may_append(self) -> tuple[int, Right]:
        """Return how many fit, and the right; StoreUnavailable if another process has it, or may have it."""
        room = min(await self._inbox.room(), BATCH_MAX)
        try:
            async with asyncio.timeout(RIGHT_WITHIN_S):
                return room, await self._inbox.right()
        except TimeoutError:
            raise StoreUnavailable("another process may append") from None

    async def _one_by_one(self, right: Right, batch: list[_Waiter]) -> None:
        """One of them cannot be appended, and the others can."""
        reason: Exception | None = None
        for number, each in enumerate(batch):
            try:
                await self._append(right, [each])
            except asyncio.CancelledError:
                self._waiting.extendleft(reversed(batch[max(1, number) :]))
                raise
            except Exception as error:  # noqa: BLE001 - its caller gets it
                reason = error if each is batch[0] else reason
                _end(each, error)
            else:
                _end(each)
        if reason is not None:
            raise reason

    async def _append(self, right: Right, batch: list[_Waiter]) -> None:
        await take_in(self._inbox, right, [each.raw for each in batch], self._wall(), self._observe)


def _end(waiter: _Waiter, error: Exception | None = None) -> None:
    """Give a waiter its outcome, if it still waits; the leader waits for none."""
    if waiter.turn.done():
        return
    if error is None:
        waiter.turn.set_result(False)
    else:
        waiter.turn.set_exception(error)
