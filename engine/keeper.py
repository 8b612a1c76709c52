"""Who runs what, and cutting off what must not go on: lost leases, handlers that overrun, the end of a drain."""

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from engine.errors import LeaseLost, Retry, StoreUnavailable
from engine.model import Delivery
from engine.store import Store

log = structlog.get_logger(__name__)

_CUT_AGAIN_S: Final = 5.0
"""A handler that swallowed its cancellation is cancelled again after this long."""


class Running(NamedTuple):
    """What one worker does now; `since` is the event loop's time."""

    worker: int
    delivery: Delivery
    since: float


class Worker:
    """A task of the pool. `cut` says why its handler was cancelled, `cuts` how many times."""

    __slots__ = ("allowed_s", "claiming", "cut", "cuts", "delivery", "number", "since", "task")

    def __init__(self, number: int) -> None:
        self.number = number
        self.task: asyncio.Task[None]
        self.claiming = False  # waits for a lane, holding none
        self.delivery: Delivery  # while it is among the running: what it handles, and since when
        self.since: float
        self.allowed_s: float
        self.cut: Exception | None = None
        self.cuts = 0


class Keeper:
    """Keeps the leases of running handlers alive, and cancels handlers; the worker's task itself goes on."""

    def __init__(self, store: Store, *, handler_timeout_s: float, renew_every_s: float) -> None:
        self._store = store
        self._timeout_s = handler_timeout_s
        self._renew_every_s = renew_every_s
        self._running: dict[Worker, None] = {}  # an ordered set: longest running first
        self._allowed = asyncio.Event()  # a deadline has changed

    def running(self) -> list[Running]:
        """Return what runs now, longest running first."""
        return [Running(worker.number, worker.delivery, worker.since) for worker in self._running]

    def enter(self, worker: Worker, delivery: Delivery) -> None:
        """Note that the worker's handler starts."""
        worker.delivery = delivery
        worker.since = asyncio.get_running_loop().time()
        worker.allowed_s = self._timeout_s
        self._running[worker] = None

    def allow(self, delivery: Delivery, seconds: float) -> None:
        """Let the handler of `delivery` run for so long, counted from its start, instead of the usual time."""
        for worker in self._running:
            if worker.delivery is delivery:
                worker.allowed_s = seconds
                self._allowed.set()

    def leave(self, worker: Worker) -> Exception | None:
        """Note that the handler is over; return why it was cut, if it was."""
        del self._running[worker]
        if worker.cut is None:
            return None
        for _ in range(worker.cuts):
            worker.task.uncancel()
        cut, worker.cut, worker.cuts = worker.cut, None, 0
        return cut

    def cut(self, worker: Worker, why: Exception) -> None:
        """Cancel the worker's handler, if it runs one.

        The cancellation can only land inside the handler: we are called while the worker waits there, and
        between the handler's end and `leave` there is no await.
        """
        if worker not in self._running:
            return
        if worker.cuts:
            envelope = worker.delivery.envelope
            log.error(
                "handler ignores its cancellation", worker=worker.number, key=envelope.key, id=envelope.id
            )
        worker.cut = worker.cut or why
        worker.cuts += 1
        worker.task.cancel()

    async def renew_leases(self) -> None:
        """Keep the leases alive for ever; cut handlers whose lease is lost."""
        while True:
            try:
                lost = set(await self._store.renew([worker.delivery.lease for worker in self._running]))
            except StoreUnavailable as error:
                log.warning("cannot renew leases", reason=str(error))
            else:
                for worker in list(self._running):
                    if worker.delivery.lease in lost:
                        self.cut(worker, LeaseLost(worker.delivery.lease.key))
            await asyncio.sleep(self._renew_every_s)

    async def watch_deadlines(self) -> None:
        """Cut handlers that overrun, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            wake_at = now + self._timeout_s
            for worker in list(self._running):
                due = worker.since + worker.allowed_s + worker.cuts * _CUT_AGAIN_S
                if due <= now:
                    self.cut(worker, Retry(f"the handler ran longer than {worker.allowed_s:g} s"))
                    due = now + _CUT_AGAIN_S
                wake_at = min(wake_at, due)
            self._allowed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(wake_at):
                    await self._allowed.wait()
