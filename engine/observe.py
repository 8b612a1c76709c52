"""What happens to updates and calls, as frozen events for one callable: for metrics, a live view, tests.

    observed_store(store, observe)        Appended, Claimed, Committed, Parked, Buried, Released, LeaseGone, StoreCalled
    observed_handler(handler, observe)    Handled
    metered_store(store, observe)         the same without what an Engine tells its meter (engine/meter.py)

Both wrap what they are given, so a bot without an observer pays nothing. The observer is called on the event loop after the
event, and must not block. What it raises is logged and changes nothing. The events of one delivery come in order; those of
different deliveries may be interleaved. A caller that is cancelled (a stop) may miss the event of what the store has done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast

from engine.errors import LeaseLost
from engine.model import Call, Delivery, Effects, Envelope, Post, Queue, Right
from engine.outcome import split_trace
from engine.store import FullStore
from engine.work import FullHandler, Handler, Work, guarded

T = TypeVar("T")
_FAILED: Final = "the observer failed"


@dataclass(frozen=True, slots=True)
class Appended:
    """A batch is durable in the inbox; `new` of its updates had not been seen before.

    A worker may be faster than the append's caller: then Claimed of one of its updates comes first.
    """

    batch: tuple[Envelope, ...]
    new: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker has the next delivery of a lane: a new lease, or the lane's next head after a commit."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Handled:
    """A handler has ended after `took_s` seconds: with effects, or with the exception that it raised."""

    delivery: Delivery
    took_s: float
    outcome: Effects | BaseException


@dataclass(frozen=True, slots=True)
class Committed:
    """A delivery is acked, with `effects.also` further ones, and its effects are stored."""

    delivery: Delivery
    effects: Effects


@dataclass(frozen=True, slots=True)
class Parked:
    """A delivery is put back, and its lane waits for `delay_s` seconds; `counted`: as a failed attempt."""

    delivery: Delivery
    delay_s: float
    counted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Buried:
    """A delivery has become a dead letter."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """A lane is released with its head unchanged."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class LeaseGone:
    """The store refused a call (name of the method) of a holder whose lease is lost; nothing was changed."""

    delivery: Delivery
    call: str


@dataclass(frozen=True, slots=True)
class StoreCalled:
    """A method of the store has returned or raised `error` after `took_s` seconds. Waiting for a lane is not reported."""

    name: str
    took_s: float
    error: BaseException | None


Event: TypeAlias = (
    Appended | Claimed | Handled | Committed | Parked | Buried | Released | LeaseGone | StoreCalled
)
Observe: TypeAlias = Callable[[Any], object]
"""Called with each event: an Event, or an event of what is built on the engine."""


def observed_store(store: FullStore, observe: Observe) -> FullStore:
    """Return the store, with its events reported to `observe`."""
    return cast("FullStore", _ObservedStore(store, guarded(observe, _FAILED)))


def metered_store(store: FullStore, observe: Observe) -> FullStore:
    """Return the store of an Engine with a meter: without the events of claims, and of the first commit of a delivery."""
    return cast("FullStore", _MeteredStore(store, guarded(observe, _FAILED)))


def observed_handler(handler: Handler, observe: Observe) -> Handler:
    """Return the handler, with its runs reported to `observe`; it has the hooks of `handler` (FullHandler)."""
    return _ObservedHandler(handler, guarded(observe, _FAILED))


class _ObservedStore:
    """Reports the calls of the engine; other attributes are the store's own."""

    def __init__(self, store: FullStore, observe: Observe) -> None:
        self._store = store
        self._observe = observe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope],
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        new = await self._called("append", self._store.append(right, batch, aliases, posts))
        if batch or not posts:
            self._observe(Appended(tuple(batch), new))
        return new

    async def claim(self, queue: Queue) -> Delivery:
        delivery = await self._store.claim(queue)
        self._observe(Claimed(delivery))
        return delivery

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return await self._called("peek", self._store.peek(delivery, limit), delivery)

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return await self._called("look", self._store.look(delivery, limit), delivery)

    async def state(self, key: str, scope: str) -> bytes | None:
        return await self._called("state", self._store.state(key, scope))

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        following = await self._called("commit", self._store.commit(delivery, effects, more=more), delivery)
        self._observe(Committed(delivery, effects))
        if following is not None:
            self._observe(Claimed(following))
        return following

    async def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        call = self._store.park(delivery, delay_s, counted=counted, reason=reason, calls=calls)
        await self._called("park", call, delivery)
        self._observe(Parked(delivery, delay_s, counted, reason))

    async def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        await self._called("bury", self._store.bury(delivery, reason, calls), delivery)
        self._observe(Buried(delivery, split_trace(reason)[0]))

    async def release(self, delivery: Delivery) -> None:
        await self._called("release", self._store.release(delivery), delivery)
        self._observe(Released(delivery))

    async def _called(self, name: str, call: Awaitable[T], delivery: Delivery | None = None) -> T:
        clock = asyncio.get_running_loop().time
        began = clock()
        error: BaseException | None = None
        try:
            return await call
        except BaseException as why:
            error = why
            if delivery is not None and isinstance(why, LeaseLost):
                self._observe(LeaseGone(delivery, name))
            raise
        finally:
            self._observe(StoreCalled(name, clock() - began, error))


class _MeteredStore(_ObservedStore):
    """`first_commit`: of a delivery, which its pool reports itself (engine/meter.py)."""

    def __init__(self, store: FullStore, observe: Observe) -> None:
        super().__init__(store, observe)
        vars(self).update(claim=store.claim, first_commit=store.commit)


class _ObservedHandler:
    def __init__(self, handler: Handler | FullHandler, observe: Observe) -> None:
        self._handler = handler
        self._observe = observe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def __call__(self, work: Work) -> Effects:
        clock = asyncio.get_running_loop().time
        began = clock()
        outcome: Effects | BaseException
        try:
            outcome = await self._handler(work)
        except BaseException as error:
            self._observe(Handled(work.delivery, clock() - began, error))
            raise
        self._observe(Handled(work.delivery, clock() - began, outcome))
        return outcome
