"""Who runs what, and cutting off what must not go on: lost leases, handlers that overrun, the end of a drain."""

import asyncio
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog

from engine.errors import LeaseLost, Retry, StoreError, StoreUnavailable
from engine.model import Delivery
from engine.store import Store

log = structlog.get_logger(__name__)

_CUT_AGAIN_S: Final = 5.0
"""A handler that swallowed its cancellation is cancelled again after this long."""

_LOOK_EVERY_S: Final = 1.0
"""The clock is looked at this often (or four times within a shorter deadline): a stall of the process shows as a
look that comes late."""

_STALL_S: Final = 0.1
"""A look that comes later than this tells of a stall; less is ordinary load."""

_AFTER_ERROR_S: Final = 1.0


class Running(NamedTuple):
    """What one worker does now; `since` is the event loop's time."""

    worker: int
    delivery: Delivery
    since: float


class Worker:
    """A task of the pool. `cut` says why its handler was cancelled, `cuts` how many times."""

    __slots__ = ("allowed_s", "claiming", "cut", "cuts", "delivery", "number", "since", "stalled_s", "task")

    def __init__(self, number: int) -> None:
        self.number = number
        self.task: Any  # an asyncio.Task[None], whose type lacks _must_cancel
        self.claiming = False  # waits for a lane, holding none
        self.delivery: Delivery  # while it is among the running: what it handles, and since when
        self.since: float
        self.allowed_s: float
        self.stalled_s: float  # of its time, how long the whole process stood still
        self.cut: Exception | None = None
        self.cuts = 0

    def is_cancelled(self) -> bool:
        """Return whether a cancellation of the task is noted, or under way.

        One that came while no await followed is not counted any more after `uncancel` (until Python 3.13).
        """
        return bool(self.task.cancelling() or self.task._must_cancel)  # noqa: SLF001 - there is no public way to ask


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

    def is_running(self, worker: Worker) -> bool:
        """Return whether a handler runs in this worker."""
        return worker in self._running

    def enter(self, worker: Worker, delivery: Delivery) -> None:
        """Note that the worker's handler starts."""
        worker.delivery = delivery
        worker.since = asyncio.get_running_loop().time()
        worker.allowed_s = self._timeout_s
        worker.stalled_s = 0.0
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
        """Keep the leases alive for ever; cut handlers whose lease is lost. Ends with a StoreError only."""
        while True:
            try:
                lost = set(await self._store.renew([worker.delivery.lease for worker in self._running]))
                for worker in list(self._running):
                    if worker.delivery.lease in lost:
                        self.cut(worker, LeaseLost(worker.delivery.lease.key))
            except StoreUnavailable as error:
                log.warning("cannot renew leases", reason=str(error))
            except StoreError:
                raise
            except Exception:
                log.exception("unexpected error at the renewal of leases")
            await asyncio.sleep(self._renew_every_s)

    async def watch_deadlines(self) -> None:
        """Cut handlers that overrun, for ever.

        A deadline counts the time in which the process ran: while another handler blocks the event loop, or while the
        process is stopped or its machine suspended, no handler can make use of its time.
        """
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            now = loop.time()
            try:
                self._note_stall(look_at, now)
                look_at = self._cut_overdue(now)
            except Exception:
                log.exception("unexpected error at the watch over deadlines")
                look_at = now + _AFTER_ERROR_S
            self._allowed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._allowed.wait()

    def _note_stall(self, expected: float, now: float) -> None:
        """Give back to whoever runs what a stall took away: the look that was due at `expected` comes only now."""
        if now - expected > _STALL_S:
            for worker in self._running:
                worker.stalled_s += max(0.0, now - max(expected, worker.since))

    def _cut_overdue(self, now: float) -> float:
        """Cut whoever is over its time; return when to look again."""
        look_at = now + min(_LOOK_EVERY_S, self._timeout_s / 4)
        for worker in list(self._running):
            due = worker.since + worker.allowed_s + worker.stalled_s + worker.cuts * _CUT_AGAIN_S
            if due <= now:
                self.cut(worker, Retry(f"the handler ran longer than {worker.allowed_s:g} s"))
                due = now + _CUT_AGAIN_S
            look_at = min(look_at, due)
        return look_at
