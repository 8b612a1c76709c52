"""The outbox's handler: sends one call, and says what its failure means for the lane.

| what happened                              | what becomes of the call                                          |
|--------------------------------------------|-------------------------------------------------------------------|
| ok, or an error that says "it is so"       | done                                                              |
| the group has become a supergroup          | sent again at once, to the new id (telegram/client/peers.py)             |
| the message that it replies to is gone     | sent again at once, without the reply (telegram/botapi/late.py)          |
| the answer to a press is too long          | sent again at once, cut (telegram/botapi/late.py)                        |
| what it is about is gone                   | dropped, with a line in the log (telegram/botapi/late.py)                |
| "wrong file_id or ... temporarily"         | tried once more, then a dead letter                               |
| too many messages for now (telegram/pace)  | not sent: parked until there is room, no attempt                  |
| 429                                        | not executed: its lane is parked for retry_after, no attempt      |
| nothing was sent (refused, DNS)            | parked, no attempt, for as long as it takes                       |
| 5xx, time-out, connection cut              | outcome unknown: tried again with backoff, so it can repeat; with |
|                                            | "give-up", what would make something twice is a dead letter       |
| connection cut before a file had left      | not executed: tried again with backoff, as it may be the file     |
| a file is missing or unreadable            | dead letter that says which, for a replay when it is back         |
| 401                                        | parked: the poller stops the bot, the call waits for a good token |
| 400, 403, 404, 413                         | dead letter with Telegram's reason                                |
| a 403 that says the chat is out of reach   | the same, and later calls for it are dropped until it is back     |
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from engine import Delivery, Effects, Park, Reject, Retry
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
from telegram.settings.bot import UnknownOutcome

log = structlog.get_logger(__name__)

_DONE: Final = Effects()
_MENDED_MAX: Final = 2  # a group that moved, a reply that is gone
_UNAUTHORIZED_PARK_S: Final = 60.0
_TURN_MAX_S: Final = 0.25  # a call that waits longer gives its sender to others
_WAITING_MAX: Final = 16  # senders that wait


class Poster(Protocol):
    """What the sender needs of a TgClient."""

    async def post(self, method: str, body: bytes) -> None:
        """Call `method` with a JSON body; raises TelegramError."""
        ...

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        """Do as post, with the files that belong into the body."""
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
        self._waiting = 0  # for their turn, here
        self._peers = Peers() if peers is None else peers
        self._gives_up = unknown_outcome == "give-up"
        self._jitter = jitter
        self._outage = Outage(jitter)

    async def __call__(self, delivery: Delivery) -> Effects:
        """Send one call; raises Park, Retry or Reject as the table of this module says."""
        loop = asyncio.get_running_loop()
        method, body = decode_call(delivery.envelope.body)
        files = files_of(delivery.envelope.body)
        body = self._peers.readdressed(body)
        if self._peers.drops(body):
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
            self._take(error, body, call)
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
            self._peers.reached(body)
        return _DONE

    def _take(self, error: Refused, body: bytes, call: Tried) -> None:
        """Take a refusal for good: raise Reject, or return if the call is done or dropped."""
        match outcome_of_refusal(error):
            case "done":
                return
            case "dropped":
                log.warning("a call came too late and is dropped", reason=str(error), lane=call.lane)
                return
        if not self._peers.lost(error, body, call.started):
            raise Reject(str(error)) from None

    async def _wait_for_turn(self, pace: Pace, call: Tried, body: bytes) -> None:
        """Return when the call may go out; raise Park if that takes longer than a sender should be held up."""
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
        """Send a call, without the reply and to the supergroup if only that was in the way."""
        for _ in range(_MENDED_MAX):
            try:
                await self._post(method, body, files)
            except Refused as error:
                mended = (
                    self._peers.moved(error, body)
                    or without_lost_reply(error, body)
                    or with_shorter_answer(error, body)
                )
                if mended is None:
                    raise
                body = mended
            else:
                return
        await self._post(method, body, files)

    def _post(self, method: str, body: bytes, files: Files) -> Awaitable[object]:
        if files:
            return self._client.upload(method, body, files)
        return self._client.post(method, body)
