"""Settles a delivery after its handler has ended: commit, park, bury or release, repeated until the store has done it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import structlog

from engine.asking import Asking, StoreFailed
from engine.checks import checked_calls
from engine.config import EngineConfig
from engine.current import about
from engine.errors import (
    LeaseLost,
    NotPeeked,
    Park,
    Reject,
    Retries,
    Retry,
    StateChanged,
    StoreError,
    TooManyTimers,
    TransactionFailed,
)
from engine.model import KEEP, Call, Delivery, Effects, Queue
from engine.outcome import Released, described, storable, with_trace
from engine.store import Store

log = structlog.get_logger(__name__)
T = TypeVar("T")

Failed = Callable[[Delivery, bool], tuple[Call, ...]]
"""Returns calls to send for a failed delivery: after each counted failure, and (second argument True) on giving up."""

_CHANGED_MAX: Final = 10
"""After this many StateChanged without a commit of another lane to its states, a head counts as failed: its handler's
`was` values are wrong, and the lane must not spin."""

_PRECEDENCE_S: Final = 5.0
"""A handler whose commit met StateChanged has precedence in its next run: for this long no other lane of the pool commits a
state that it writes. Short, since the others may have a time limit of Telegram."""

_PRECEDENCE_AFTER: Final = 3
"""From this many StateChanged in a row on, precedence lasts as long as a handler may run: else a slow one never commits.
Urgent lanes do not wait that long."""


class _Lost(NamedTuple):
    """The StateChanged history of a head: how many in a row, how many of them while it had precedence and no other lane
    committed its states, and the states that it writes.
    """

    times: int
    alone: int
    states: frozenset[tuple[str, str]]


@dataclass(slots=True)
class _First:
    """The handler with precedence: lane, states, start (loop time), maximum duration, and a future for its end.

    `was_passed`: another lane stopped waiting and committed one of these states meanwhile.
    """

    lane: str
    states: frozenset[tuple[str, str]]
    since: float
    longest_s: float
    over: "asyncio.Future[None]"
    was_passed: bool = False


_AS_CONFIGURED: Final = Retries()

CUT_OFF: Final = "it was cut off when the bot stopped"
"""The reason stored for a delivery whose handler was cancelled by a stop."""

_GIVE_BACK_S: Final = 5.0
"""Pause before a delivery that could not be committed, parked or buried is released, to be handled again."""


class Settling:
    """Settles the deliveries of one pool.

    `backoff` returns the pause after the n-th failure, in seconds; its second argument is the pause after the first one, if
    not the configured one.
    """

    def __init__(
        self,
        store: Store,
        queue: Queue,
        config: EngineConfig,
        asking: Asking,
        backoff: Callable[[int, float | None], float],
        failed: Failed | None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._config = config
        self._asking = asking
        self._backoff = backoff
        self._failed = failed
        self.changed: dict[str, _Lost] = {}  # by lane: heads whose last commit met StateChanged
        self._first: _First | None = None

    def is_calm(self) -> bool:
        """Return whether no lane has met StateChanged: then a delivery is settled by the store's commit alone."""
        return self._first is None and not self.changed

    def begin(self, delivery: Delivery) -> None:
        """Give precedence to a delivery of a lane in `changed` that is handled again, unless another one has it."""
        lost = self.changed.get(delivery.lease.key)
        if lost is not None and self._first is None:
            loop = asyncio.get_running_loop()
            longest_s = _PRECEDENCE_S if lost.times < _PRECEDENCE_AFTER else self._config.handler_timeout_s
            self._first = _First(
                delivery.lease.key, lost.states, loop.time(), longest_s, loop.create_future()
            )

    async def settle(
        self, delivery: Delivery, outcome: Effects | Exception, *, more: bool
    ) -> Delivery | None:
        """Settle a delivery with its handler's outcome; return the lane's next delivery if the lane is kept (`more`)."""
        lost = self.changed.pop(delivery.lease.key, None) if self.changed else None
        try:
            if not isinstance(outcome, Effects):
                return await self._to_the_end(delivery, self._put_back(delivery, outcome))
            if self._first is not None:
                await self._give_way(delivery, outcome)
            try:
                return await self._store.commit(delivery, outcome, more=more)
            except BaseException as why:  # noqa: BLE001 - sorted there
                return await self.not_committed(delivery, outcome, why, lost)
        finally:
            if self._first is not None and self._first.lane == delivery.lease.key:
                self._first.over.set_result(None)
                self._first = None

    async def not_committed(
        self, delivery: Delivery, effects: Effects, why: BaseException, lost: _Lost | None = None
    ) -> Delivery | None:
        """Continue after the first commit has raised `why`; `lost`: the StateChanged that its head met before.

        SqlFailed if the author's SQL was refused: the handler decides about it, and the delivery is still to be settled.
        """
        again = self._commit_again(delivery, effects, why, lost or _Lost(0, 0, frozenset()))
        return await self._to_the_end(delivery, again)

    async def _to_the_end(self, delivery: Delivery, settled: Awaitable[T]) -> T | None:
        try:
            return await settled
        except LeaseLost:
            lease = delivery.lease
            log.warning("lease lost", queue=self._queue.value, key=lease.key, fence=lease.fence)
        except StoreFailed as failed:
            await self._give_back(delivery, failed)
        return None

    async def _give_way(self, delivery: Delivery, effects: Effects) -> None:
        """Wait until the handler with precedence has been settled, if it writes one of these states."""
        first = self._first
        if (
            first is None
            or first.lane == delivery.lease.key
            or not first.states & self._states(delivery, effects)
        ):
            return
        clock = asyncio.get_running_loop().time
        is_urgent = delivery.lease.key.startswith(self._config.urgent)
        until = first.since + (min(first.longest_s, _PRECEDENCE_S) if is_urgent else first.longest_s)
        while not first.over.done() and (wait_s := until - clock()) > 0:
            try:
                await asyncio.wait((first.over,), timeout=wait_s)
            except asyncio.CancelledError:
                if self._asking.is_over:
                    raise  # else it was meant for a handler that has ended
        first.was_passed = first.was_passed or not first.over.done()

    def _states(self, delivery: Delivery, effects: Effects) -> frozenset[tuple[str, str]]:
        """Return (key, scope) of each state that a commit compares and writes."""
        names = {(self._store.lane(change.key), change.scope) for change in effects.states}
        if effects.state is not KEEP:
            names.add((delivery.lease.key, delivery.envelope.scope))
        return frozenset(names)

    async def _commit_again(
        self, delivery: Delivery, effects: Effects, why: BaseException, lost: _Lost
    ) -> Delivery | None:
        if effects.within is not None:
            effects.within.abandon()
        first = self._first
        is_alone = first is not None and first.lane == delivery.lease.key and not first.was_passed
        try:
            return await self._asking.insist(lambda: self._store.commit(delivery, effects, more=False), why)
        except StateChanged:
            lost = _Lost(lost.times + 1, lost.alone + is_alone, self._states(delivery, effects))
            if lost.alone < _CHANGED_MAX:  # the handler runs again, with the current states
                self.changed[delivery.lease.key] = lost
                await self._asking.insist(lambda: self._store.release(delivery))
            else:
                await self._put_back(delivery, Retry(f"StateChanged, {lost.times} times in a row"))
        except (NotPeeked, TooManyTimers) as refused:
            await self._put_back(delivery, Retry(described(refused)))
        except TransactionFailed as again:
            await self._put_back(delivery, again)
        except StoreFailed as failed:
            await self._put_back(delivery, Retry(f"not committed: {failed}"))
        return None

    async def _put_back(self, delivery: Delivery, outcome: Exception) -> None:
        match outcome:
            case Reject():
                await self._bury(delivery, outcome.reason, outcome.__cause__)
            case Park():
                await self._park(delivery, outcome.reason, outcome.delay_s, counted=False)
            case Retry():
                await self._retry(delivery, outcome)
            case Released():
                await self._hand_back(delivery)
            case LeaseLost():
                raise outcome

    async def _hand_back(self, delivery: Delivery) -> None:
        """Release a delivery whose handler was cancelled by a stop: uncounted, but recorded in the store (inbox)."""
        if self._queue is Queue.INBOX:
            try:
                await self._store.park(delivery, 0.0, counted=False, reason=CUT_OFF)
            except (LeaseLost, StoreError):
                raise
            except BaseException as error:  # a stop does not wait for an unavailable store to record it
                if isinstance(error, asyncio.CancelledError) and self._asking.is_over:
                    raise
                log.debug("not noted that it was cut off", key=delivery.lease.key, reason=described(error))
            else:
                return
        await self._asking.insist(lambda: self._store.release(delivery))

    async def _give_back(self, delivery: Delivery, failed: StoreFailed) -> None:
        """Release, after a pause, a delivery for which the store accepts no outcome: it is handled again."""
        with about(delivery):
            log.error(
                "a delivery could not be settled",
                key=delivery.lease.key,
                id=delivery.envelope.id,
                reason=str(failed),
            )
        await asyncio.sleep(_GIVE_BACK_S)
        try:
            await self._asking.insist(lambda: self._store.release(delivery), forever=True)
        except LeaseLost:
            log.warning("lease lost", queue=self._queue.value, key=delivery.lease.key)

    async def _retry(self, delivery: Delivery, outcome: Retry) -> None:
        retries = outcome.retries or _AS_CONFIGURED
        if delivery.attempt >= (retries.attempts_max or self._config.attempts_max):
            await self._bury(delivery, outcome.reason, outcome.__cause__)
        else:
            delay_s = outcome.after_s
            if delay_s is None:
                delay_s = self._backoff(delivery.attempt, retries.backoff_s)
            await self._park(delivery, outcome.reason, delay_s, counted=True)

    async def _park(self, delivery: Delivery, reason: str, delay_s: float, *, counted: bool) -> None:
        reason = storable(reason)
        calls = self._last_words(delivery, given_up=False) if counted else ()
        await self._asking.insist(
            lambda: self._store.park(delivery, delay_s, counted=counted, reason=reason, calls=calls)
        )

    async def _bury(self, delivery: Delivery, reason: str, cause: BaseException | None) -> None:
        reason = storable(reason)
        calls = self._last_words(delivery, given_up=True)
        with about(delivery):
            log.warning(
                "dead letter",
                queue=self._queue.value,
                key=delivery.lease.key,
                id=delivery.envelope.id,
                attempt=delivery.attempt,
                reason=reason,
            )
        kept = with_trace(reason, cause)
        await self._asking.insist(lambda: self._store.bury(delivery, kept, calls))

    def _last_words(self, delivery: Delivery, *, given_up: bool) -> tuple[Call, ...]:
        if self._failed is None:
            return ()
        try:
            return checked_calls(self._failed(delivery, given_up))
        except BaseException:  # the delivery is settled all the same
            with about(delivery):
                log.exception(
                    "the calls to send at a failure could not be made",
                    key=delivery.lease.key,
                    id=delivery.envelope.id,
                )
            return ()
