"""The outbox's handler: sends one call, and maps its result to an outcome for the lane.

| result                                     | outcome                                                           |
|--------------------------------------------|-------------------------------------------------------------------|
| ok, or an error that says "already so"     | done                                                              |
| the group has become a supergroup          | sent again at once, to the new id (client/peers.py)               |
| the message that it replies to is gone     | sent again at once, without the reply (botapi/late.py)            |
| the answer to a button press is too long   | sent again at once, shortened (botapi/late.py)                    |
| its message or query is gone               | dropped, with a line in the log (botapi/late.py)                  |
| "wrong file_id or ... temporarily"         | retried once, then a dead letter                                  |
| rate limit reached (pace.py)               | not sent: waits up to 0.25 s, else parked, no attempt             |
| 429                                        | not executed: the lane is parked for retry_after, no attempt      |
| nothing was sent (connection refused, DNS) | parked, no attempt, for as long as it takes                       |
| 5xx, time-out, connection cut              | outcome unknown: retried with backoff, so it can repeat; with     |
|                                            | "give-up", a call that creates something becomes a dead letter    |
| connection cut before a file was sent      | not executed: retried with backoff, as it may be the file     |
| a file is missing or unreadable            | dead letter that names it, for a replay when it is back           |
| 401                                        | parked: the poller stops the bot, the call waits for a good token |
| 400, 403, 404, 413                         | dead letter with Telegram's reason                                |
| a 403 that says the chat is unreachable    | the same, and later calls to it are dropped until it is reachable |
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from engine import Effects, Park, Reject, Retry, Work
from telegram.botapi.calls import Files, decode_call, files_of
from telegram.botapi.errors import (
    Conflict,
    FileUnusable,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    Unauthorized,
    UploadCut,
)
from telegram.botapi.late import outcome_of_refusal, with_shorter_answer, without_lost_reply
from telegram.botapi.repeatable import makes_something
from telegram.client.peers import Peers
from telegram.service.outage import PAUSE_MIN_S, Outage, Tried
from telegram.service.pace import Pace
from telegram.settings.bot_config import UnknownOutcome

log = structlog.get_logger(__name__)

_DONE: Final = Effects()
_CORRECTIONS_MAX: Final = 2  # a group that moved, a reply that is gone
_UNAUTHORIZED_PARK_S: Final = 60.0
_TURN_MAX_S: Final = 0.25  # a call that has to wait longer is parked, which frees its worker
_WAITING_MAX: Final = 16  # workers that wait at a time


class Poster(Protocol):
    """What the sender needs of a TgClient."""

    async def post(self, method: str, body: bytes) -> None:
        """Call `method` with a JSON body; TelegramError."""
        ...

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        """Call `method` with a JSON body and the files that belong into it; TelegramError."""
        ...


class Sender:
    """Handles deliveries of the outbox. `jitter` returns a float in [0, 1)."""

    def __init__(
        self,
        client: Poster,
        *,
        peers: Peers | None = None,
        unknown_outcome: UnknownOutcome = "repeat",
        per_s: float = 0.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._pace = Pace(per_s, jitter) if per_s else None
        self._waiting = 0  # workers in _wait_for_turn
        self._peers = Peers() if peers is None else peers
        self._gives_up = unknown_outcome == "give-up"
        self._jitter = jitter
        self._outage = Outage(jitter)

    async def __call__(self, work: Work) -> Effects:
        """Send one call; raises Park, Retry or Reject by the table above."""
        loop = asyncio.get_running_loop()
        delivery = work.delivery
        method, body = decode_call(delivery.envelope.body)
        files = files_of(delivery.envelope.body)
        body = self._peers.readdressed(body)
        if self._peers.drops(delivery.lease.key, body):
            return _DONE
        call = Tried(delivery.lease.key, method, loop.time())
        if self._pace is not None:
            await self._wait_for_turn(self._pace, call, body)
            call = call._replace(started=loop.time())
        if wait_s := self._outage.wait_s(call.started):
            raise Park("Telegram cannot be reached", delay_s=wait_s)
        try:
            await self._send(method, body, files)
        except RetryAfter as error:
            self._outage.over(call)
            if self._pace is not None:
                self._pace.refused(call.lane, error.retry_after_s, loop.time())
            raise Park(str(error), delay_s=error.retry_after_s + self._jitter()) from None
        except Refused as error:
            self._outage.over(call)
            if error.passing and delivery.attempt == 1:
                raise Retry(str(error)) from None
            self._refused(error, body, call)
        except FileUnusable as error:
            raise Reject(f"{method}: {error}: put it there and replay") from None
        except UploadCut as error:
            self._outage.failed(call, loop.time(), str(error))
            raise Retry(str(error)) from None
        except NotSent as error:
            self._outage.failed(call, loop.time(), str(error), sent=False)
            raise Park(str(error), delay_s=PAUSE_MIN_S * (1.0 + self._jitter())) from None
        except (OutcomeUnknown, ServerTrouble, Conflict) as error:
            self._outage.failed(call, loop.time(), str(error))
            if self._gives_up and not isinstance(error, Conflict) and makes_something(method):
                raise Reject(f"outcome unknown, not tried again: {error}") from None
            raise Retry(str(error)) from None
        except Unauthorized as error:
            raise Park(str(error), delay_s=_UNAUTHORIZED_PARK_S) from None
        else:
            self._outage.over(call)
            self._peers.reached(call.lane, body)
        return _DONE

    def _refused(self, error: Refused, body: bytes, call: Tried) -> None:
        """Handle a permanent refusal: raise Reject, or return if the call is done or dropped."""
        match outcome_of_refusal(error):
            case "done":
                return
            case "dropped":
                log.warning("a call came too late and is dropped", reason=str(error), lane=call.lane)
                return
        if not self._peers.lost(error, body, call.started):
            raise Reject(str(error)) from None

    async def _wait_for_turn(self, pace: Pace, call: Tried, body: bytes) -> None:
        """Return when the call may be sent; raise Park if that takes longer than a worker should wait."""
        now = asyncio.get_running_loop().time
        while (wait_s := pace.wait_s(call.lane, call.method, body, now())) > 0.0:
            if wait_s > _TURN_MAX_S or self._waiting >= _WAITING_MAX:
                raise Park("messages are spaced", delay_s=wait_s)
            self._waiting += 1
            try:
                await asyncio.sleep(wait_s)
            finally:
                self._waiting -= 1

    async def _send(self, method: str, body: bytes, files: Files) -> None:
        """Send a call; if Telegram refuses it for a correctable reason, send it again with that corrected."""
        for _ in range(_CORRECTIONS_MAX):
            try:
                await self._post(method, body, files)
            except Refused as error:
                corrected = (
                    self._peers.moved(error, body)
                    or without_lost_reply(error, body)
                    or with_shorter_answer(error, body)
                )
                if corrected is None:
                    raise
                body = corrected
            else:
                return
        await self._post(method, body, files)

    def _post(self, method: str, body: bytes, files: Files) -> Awaitable[object]:
        if files:
            return self._client.upload(method, body, files)
        return self._client.post(method, body)
