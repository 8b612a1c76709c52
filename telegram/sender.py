"""The outbox's handler: sends one call, and says what its failure means for the lane.

| what happened                              | what becomes of the call                                          |
|--------------------------------------------|-------------------------------------------------------------------|
| ok, or an error that says "it is so"       | done                                                              |
| 429                                        | not executed: its lane is parked for retry_after, no attempt      |
| nothing was sent (refused, DNS)            | parked, no attempt, for as long as it takes                       |
| 5xx, time-out, connection cut              | outcome unknown: tried again with backoff, so it can repeat       |
| 401                                        | parked: the poller stops the bot, the call waits for a good token |
| 400, 403, 404, 413                         | dead letter with Telegram's reason                                |
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from engine import Delivery, Effects, Park, Reject, Retry
from telegram.calls import decode_call
from telegram.errors import (
    Conflict,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    Unauthorized,
)

log = structlog.get_logger(__name__)

_DONE: Final = Effects()
_UNAUTHORIZED_PARK_S: Final = 60.0
_OUTAGE_AFTER: Final = 3  # failures in a row; one lane's bad call alone must not hold up the others
_PAUSE_MIN_S: Final = 0.5
_PAUSE_MAX_S: Final = 10.0  # people wait this long after the outage is over
_SPREAD_S: Final = 1.0  # of those who wait for the probe


class Poster(Protocol):
    """The one method that the sender needs of a TgClient."""

    async def post(self, method: str, body: bytes) -> None:
        """Call `method` with a JSON body; raises TelegramError."""
        ...


class Outage:
    """While Telegram cannot be reached, one call at a time finds out whether it is over; the others stay parked."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0  # in a row
        self._pause_s = 0.0  # 0: no outage
        self._known_since = 0.0
        self._next_probe = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long a call has to wait; 0: it may go out, during an outage as the probe."""
        if not self._pause_s:
            return 0.0
        if now >= self._next_probe:
            self._next_probe = now + self._pause_s
            return 0.0
        return self._next_probe - now + _SPREAD_S * self._jitter()

    def failed(self, started: float, now: float, reason: str) -> None:
        """Note that a call that went out at `started` did not get through."""
        if started < self._known_since:
            return  # one of many that were on their way when the outage began: nothing new
        self._failures += 1
        if self._failures < _OUTAGE_AFTER:
            return
        if not self._pause_s:
            log.warning("sending is in trouble: one call at a time tries", reason=reason)
        self._pause_s = min(_PAUSE_MAX_S, max(_PAUSE_MIN_S, self._pause_s * 2))
        self._known_since = now
        self._next_probe = now + self._pause_s * (0.5 + 0.5 * self._jitter())

    def over(self) -> None:
        """Note that a call got through."""
        if self._pause_s:
            log.info("sending works again", failures=self._failures)
        self._failures = 0
        self._pause_s = 0.0


class Sender:
    """Handles deliveries of the outbox. `jitter` returns a float in [0, 1)."""

    def __init__(self, client: Poster, *, jitter: Callable[[], float] = random.random) -> None:
        self._client = client
        self._jitter = jitter
        self._outage = Outage(jitter)

    async def __call__(self, delivery: Delivery) -> Effects:
        """Send one call; raises Park, Retry or Reject as the table of this module says."""
        loop = asyncio.get_running_loop()
        method, body = decode_call(delivery.envelope.body)
        started = loop.time()
        if wait_s := self._outage.wait_s(started):
            raise Park("Telegram cannot be reached", delay_s=wait_s)
        try:
            await self._client.post(method, body)
        except RetryAfter as error:
            self._outage.over()
            raise Park(str(error), delay_s=error.retry_after_s + self._jitter()) from None
        except Refused as error:
            self._outage.over()
            if not error.moot:
                raise Reject(str(error)) from None
        except NotSent as error:
            self._outage.failed(started, loop.time(), str(error))
            raise Park(str(error), delay_s=_PAUSE_MIN_S * (1.0 + self._jitter())) from None
        except (OutcomeUnknown, ServerTrouble, Conflict) as error:
            self._outage.failed(started, loop.time(), str(error))
            raise Retry(str(error)) from None
        except Unauthorized as error:
            raise Park(str(error), delay_s=_UNAUTHORIZED_PARK_S) from None
        else:
            self._outage.over()
        return _DONE
