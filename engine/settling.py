"""What becomes of a delivery when its handler is over: commit, park, bury or release, each until the store has done it."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from engine.asking import Asking, StoreFailed
from engine.checks import checked_calls
from engine.config import EngineConfig
from engine.errors import LeaseLost, NotPeeked, Park, Reject, Retry, StateChanged, StoreError, TooManyTimers
from engine.model import Call, Delivery, Effects, Queue
from engine.outcome import Released, described, storable
from engine.store import Store

log = structlog.get_logger(__name__)

Farewell = Callable[[Delivery, bool], tuple[Call, ...]]
"""The calls that go out although the delivery failed: with each counted failure, and (True) when it is given up."""

_CHANGED_MAX: Final = 10
"""A head whose states were changed meanwhile so often in a row counts as failed: its lane must not spin."""

_GIVE_BACK_S: Final = 5.0
"""A delivery that can be neither committed, parked nor buried is tried again after this long."""


class Settling:
    """Settles the deliveries of one pool. `backoff` gives the pause after the n-th failure, in seconds."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        config: EngineConfig,
        asking: Asking,
        backoff: Callable[[int], float],
        farewell: Farewell | None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._config = config
        self._asking = asking
        self._backoff = backoff
        self._farewell = farewell
        self._changed: dict[str, int] = {}  # lane -> how often in a row its head met a StateChanged

    async def settle(
        self, delivery: Delivery, outcome: Effects | Exception, *, more: bool
    ) -> Delivery | None:
        """Settle a delivery with what its handler wants; return the lane's next one if it is kept (`more`)."""
        changed = self._changed.pop(delivery.lease.key, 0) if self._changed else 0
        try:
            if isinstance(outcome, Effects):
                try:
                    return await self._store.commit(delivery, outcome, more=more)
                except (LeaseLost, StoreError):
                    raise
                except BaseException as why:  # noqa: BLE001 - sorted there
                    return await self._not_committed(delivery, outcome, why, changed)
            await self._put_back(delivery, outcome)
        except LeaseLost:
            lease = delivery.lease
            log.warning("lease lost", queue=self._queue.value, key=lease.key, fence=lease.fence)
        except StoreFailed as failed:
            await self._give_back(delivery, failed)
        return None

    async def _not_committed(
        self, delivery: Delivery, effects: Effects, why: BaseException, changed: int
    ) -> Delivery | None:
        try:
            return await self._asking.insist(lambda: self._store.commit(delivery, effects, more=False), why)
        except StateChanged:
            if changed < _CHANGED_MAX:  # the handler runs again, with what is true now
                self._changed[delivery.lease.key] = changed + 1
                await self._asking.insist(lambda: self._store.release(delivery))
            else:
                await self._put_back(delivery, Retry(f"StateChanged, {changed + 1} times in a row"))
        except (NotPeeked, TooManyTimers) as refused:
            await self._put_back(delivery, Retry(described(refused)))
        except StoreFailed as failed:
            await self._put_back(delivery, Retry(f"not committed: {failed}"))
        return None

    async def _put_back(self, delivery: Delivery, outcome: Exception) -> None:
        match outcome:
            case Reject():
                await self._bury(delivery, outcome.reason)
            case Park():
                await self._park(delivery, outcome.reason, outcome.delay_s, counted=False)
            case Retry():
                await self._retry(delivery, outcome)
            case Released():
                await self._asking.insist(lambda: self._store.release(delivery))
            case LeaseLost():
                raise outcome

    async def _give_back(self, delivery: Delivery, failed: StoreFailed) -> None:
        """The store takes no outcome of this delivery: it is handled again, after a pause."""
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
        if delivery.attempt >= self._config.attempts_max:
            await self._bury(delivery, outcome.reason)
        else:
            delay_s = self._backoff(delivery.attempt) if outcome.after_s is None else outcome.after_s
            await self._park(delivery, outcome.reason, delay_s, counted=True)

    async def _park(self, delivery: Delivery, reason: str, delay_s: float, *, counted: bool) -> None:
        reason = storable(reason)
        calls = self._last_words(delivery, given_up=False) if counted else ()
        await self._asking.insist(
            lambda: self._store.park(delivery, delay_s, counted=counted, reason=reason, calls=calls)
        )

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        reason = storable(reason)
        calls = self._last_words(delivery, given_up=True)
        log.warning(
            "dead letter",
            queue=self._queue.value,
            key=delivery.lease.key,
            id=delivery.envelope.id,
            attempt=delivery.attempt,
            reason=reason,
        )
        await self._asking.insist(lambda: self._store.bury(delivery, reason, calls))

    def _last_words(self, delivery: Delivery, *, given_up: bool) -> tuple[Call, ...]:
        if self._farewell is None:
            return ()
        try:
            return checked_calls(self._farewell(delivery, given_up))
        except BaseException:  # the failure itself is what matters
            log.exception("the farewell failed", key=delivery.lease.key, id=delivery.envelope.id)
            return ()
