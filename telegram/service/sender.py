"""The outbox's handler: sends one call, and maps its result to an outcome for the lane.

| result                                     | outcome                                                           |
|--------------------------------------------|-------------------------------------------------------------------|
| ok, or an error that says "already so"     | done                                                              |
| the group has become a supergroup          | sent again at once, to the new id (client/peers.py)               |
| the message that it replies to is gone     | sent again at once, without the reply (botapi/late.py)            |
| the answer to a button press is too long   | sent again at once, shortened (botapi/late.py)                    |
| a text cannot be parsed, fallback="plain"  | sent again at once, as plain text (plain.py)                      |
| its message or query is gone               | dropped, with a line in the log (botapi/late.py)                  |
| "wrong file_id or ... temporarily"         | retried once, then a dead letter                                  |
| its named message is not known              | dropped, or sent without the reply (names.py)                     |
| this process stood still                   | not sent: other processes may have taken its chats over           |
| rate limit reached (pace.py)               | not sent: waits up to 0.25 s, else parked, no attempt             |
| 429                                        | not executed: the lane is parked for retry_after, no attempt      |
| nothing was sent (connection refused, DNS) | parked, no attempt, for as long as it takes                       |
| 5xx, time-out, connection cut              | outcome unknown: retried with backoff, so it can repeat; with     |
|                                            | "give-up", a call that creates something becomes a dead letter    |
| connection cut before a file was sent      | not executed: retried with backoff, as it may be the file     |
| a file is missing or unreadable            | dead letter that names it, for a replay when it is back           |
| 401                                        | parked: the poller stops the bot, the call waits for a good token |
| 400, 403, 404, 413                         | dead letter with Telegram's reason                                |
| a refusal that a `refused` handler takes   | done, and an event of the lane in the same step (refusals.py)     |
| a 403 that says the chat is unreachable    | the same, else dropped; later calls there are dropped (peers.py)  |
| the same, but an update came from the chat | retried                                                           |
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from engine import Delivery, Effects, Envelope, Park, Reject, Retry, Work
from engine.sharing import ALONE, Sharing
from telegram.botapi.calls import Files, decode_call, files_of
from telegram.botapi.errors import (
    Conflict,
    FileUnusable,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    TelegramError,
    Unauthorized,
    UploadCut,
)
from telegram.botapi.kept_files import ON_ONE_MACHINE, KeptFiles
from telegram.botapi.late import outcome_of_refusal, with_shorter_answer, without_lost_reply
from telegram.botapi.named import FORGET, PLAIN, has_flag, is_quiet, naming_of
from telegram.botapi.repeatable import makes_something
from telegram.client.peers import Peers
from telegram.dialogue.router.refusals import Refusal, Wanted, takes
from telegram.service.names import NamedCall
from telegram.service.outage import PAUSE_MIN_S, Outage, Tried
from telegram.service.pace import Pace
from telegram.service.plain import without_markup
from telegram.settings.bot_config import UnknownOutcome

log = structlog.get_logger(__name__)

_DONE: Final = Effects()
_CORRECTIONS_MAX: Final = 3  # a group that moved, a reply that is gone, a text that cannot be parsed
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


class CallMeter(Protocol):
    """Counts calls, as engine/meter.py: instead of the events Sent and SendFailed."""

    @property
    def clock(self) -> Callable[[], float]:
        """Returns the time in seconds, from any origin."""
        ...

    def sent(self, method: str, began: float, delivery: Delivery, /) -> None:
        """Count a request that was begun at `began`, and that Telegram has executed now."""
        ...

    def not_sent(self, delivery: Delivery) -> None:
        """Note that a call is done without having been executed: it is dropped."""
        ...

    def send_failed(self, method: str, began: float, error: TelegramError) -> None:
        """Count a request that has failed now."""
        ...


class _Ready(NamedTuple):
    """A call to send; `named`: its names, None if it has none."""

    method: str
    body: bytes
    files: Files
    named: NamedCall | None


class Sender:
    """Handles deliveries of the outbox. `jitter` returns a float in [0, 1)."""

    def __init__(
        self,
        client: Poster,
        *,
        peers: Peers | None = None,
        unknown_outcome: UnknownOutcome = "repeat",
        pace: Pace | None = None,
        jitter: Callable[[], float] = random.random,
        refused: Sequence[Wanted] = (),
        meter: CallMeter | None = None,
        files: KeptFiles = ON_ONE_MACHINE,
        sharing: Sharing = ALONE,
    ) -> None:
        """`refused`: the refusals that handlers take; `files`: where the files of calls are; `pace` None: no limits.

        `sharing`: that of the store.
        """
        self._client = client
        self._meter = meter
        self._files = files
        self._sharing = sharing
        self._pace = pace
        self._clock = None if meter is None else meter.clock
        self._sent = None if meter is None else meter.sent
        self._waiting = 0  # workers in _wait_for_turn
        self._peers = Peers() if peers is None else peers
        self._gives_up = unknown_outcome == "give-up"
        self._jitter = jitter
        self._wanted = refused
        self._outage = Outage(jitter)

    async def __call__(self, work: Work) -> Effects:
        """Send one call; raises Park, Retry or Reject by the table above."""
        loop = asyncio.get_running_loop()
        delivery = work.delivery
        ready = await self._ready(work)
        if isinstance(ready, Effects):
            return self._without_sending(delivery, ready)
        method, body, _, named = ready
        call = Tried(delivery.lease.key, method, loop.time())
        if self._pace is not None:
            await self._wait_for_turn(self._pace, call, body)
            call = call._replace(started=loop.time())
        if wait_s := self._outage.wait_s(call.started):
            raise Park("Telegram cannot be reached", delay_s=wait_s)
        if not self._sharing.is_in_time():
            raise Park("other processes may have taken over", delay_s=PAUSE_MIN_S)
        try:
            result = await self._send(ready, delivery)
        except RetryAfter as error:
            self._outage.over(call)
            if self._pace is not None:
                self._pace.refused(call.lane, error.retry_after_s, loop.time())
            raise Park(str(error), delay_s=error.retry_after_s + self._jitter()) from None
        except Refused as error:
            self._outage.over(call)
            if error.passing and delivery.attempt == 1:
                raise Retry(str(error)) from None
            if named is None or not named.is_gone(error):
                refused = self._refused(error, body, call, delivery.envelope)
                return self._without_sending(delivery, refused)
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
            if named is not None:
                return named.sent(method, body, result)
        return _DONE

    def _without_sending(self, delivery: Delivery, effects: Effects) -> Effects:
        if self._meter is not None:
            self._meter.not_sent(delivery)
        return effects

    async def _ready(self, work: Work) -> "_Ready | Effects":
        """Return the call as it is to be sent now; the effects to commit if it is not to be sent."""
        lane, stored = work.delivery.lease.key, work.delivery.envelope.body
        method, body = decode_call(stored)
        body = self._peers.readdressed(body)
        named = None
        if (naming := naming_of(stored)) is not None:
            named = await NamedCall.read(work, naming)
            if method == FORGET:
                return named.forgotten()
        if self._peers.drops(lane, body):
            return _DONE
        if named is not None:
            if (filled := named.filled(method, body)) is None:
                return _DONE
            method, body = filled
        return _Ready(method, body, files_of(stored, self._files), named)

    def _refused(self, error: Refused, body: bytes, call: Tried, stored: Envelope) -> Effects:
        """Handle a permanent refusal: raise Reject, or return the effects if the call is done, dropped or reported."""
        outcome = outcome_of_refusal(error)
        if outcome == "done":
            return _DONE
        taken = bool(self._wanted) and not is_quiet(stored.body) and takes(self._wanted, error)
        lost = self._peers.lost(error, body, call.started, reported=taken)
        if lost == "back":
            raise Retry(str(error)) from None
        if lost == "again" or (lost == "first" and not taken):
            return _DONE
        if taken:
            naming = naming_of(stored.body)
            name = None if naming is None else naming.name
            return Effects(posts=(Refusal(call.lane, json.loads(body), name, error).post(),))
        if outcome != "dropped":
            raise Reject(str(error)) from None
        log.warning("a call came too late and is dropped", reason=str(error), lane=call.lane)
        return _DONE

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

    async def _send(self, ready: _Ready, delivery: Delivery) -> object:
        """Send a call; if Telegram refuses it for a correctable reason, send it again with that corrected.

        Return its result if it has names or files.
        """
        method, body, files, named = ready
        clock, sent, corrections = self._clock, self._sent, 0
        while True:
            began = 0.0 if clock is None else clock()
            try:
                result = await self._post(method, body, files, named)
            except TelegramError as error:
                if self._meter is not None:
                    self._meter.send_failed(method, began, error)
                corrections += 1
                if not isinstance(error, Refused) or corrections > _CORRECTIONS_MAX:
                    raise
                corrected = self._corrected(error, body, named, delivery.envelope)
                if corrected is None:
                    raise
                body = corrected
            else:
                if sent is not None:
                    sent(method, began, delivery)
                return result

    def _corrected(
        self, error: Refused, body: bytes, named: NamedCall | None, stored: Envelope
    ) -> bytes | None:
        """Return the call as Telegram may accept it after this refusal; None: it will be refused again."""
        moved = self._peers.moved(error, body)
        return (
            (moved if named is None else named.after_move(moved))
            or without_lost_reply(error, body)
            or with_shorter_answer(error, body)
            or (without_markup(error, body, stored.key) if has_flag(stored.body, PLAIN) else None)
        )

    def _post(self, method: str, body: bytes, files: Files, named: NamedCall | None) -> Awaitable[object]:
        if files or named is not None:  # `post` returns no result
            return self._client.upload(method, body, files)
        return self._client.post(method, body)
