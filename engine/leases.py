"""The running handlers: cancels those that lost the lease, overran, or outlasted a drain."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog

from engine.errors import LeaseLost, Retry
from engine.model import Delivery, Lease
from engine.store import Store

log = structlog.get_logger(__name__)

_CUT_AGAIN_S: Final = 5.0
"""A handler that swallowed its cancellation is cancelled again after this long."""

_LOOK_EVERY_S: Final = 1.0
"""Interval of the deadline check (at most a quarter of the time-out). A check that runs late shows that the process
stalled."""

_STALL_S: Final = 0.1
"""A check that is late by more than this is a stall; less is ordinary load."""

_AFTER_ERROR_S: Final = 1.0


class Running(NamedTuple):
    """One running handler; `since` is the event loop's time."""

    worker: int
    delivery: Delivery
    since: float
    task: "asyncio.Task[Any] | None" = None
    """The task that runs it (engine/isolate.py, `frames_of`)."""


class Overran(Retry):
    """The outcome of a handler that was cancelled since it ran longer than it may."""


class Worker:
    """A task of the pool. `cut` is the outcome if its handler is cancelled, `cuts` how often it was cancelled."""

    __slots__ = (
        "again_at",
        "allowed_s",
        "began",
        "claiming",
        "cut",
        "cuts",
        "delivery",
        "ended",
        "is_over",
        "number",
        "since",
        "stalled_s",
        "task",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.task: Any  # an asyncio.Task[None], whose type lacks _must_cancel
        self.claiming = False  # waits in `claim`, without a lane
        self.delivery: Delivery  # valid while its handler runs, as the next three are
        self.since: float
        self.allowed_s: float
        self.stalled_s: float  # how much of its time the process was stalled
        self.began = self.ended = 0.0  # of its last handler, by the meter's clock
        self.cut: Exception | None = None
        self.cuts = 0
        self.is_over = False  # it was cancelled for another reason than its time
        self.again_at: float  # when it is cancelled again, if it was

    def is_cancelled(self) -> bool:
        """Return whether a cancellation of the task is counted, or still to be raised at its next await.

        After `uncancel` the task may still have to raise one (`_must_cancel`), until Python 3.13.
        """
        return bool(self.task.cancelling() or self.task._must_cancel)  # noqa: SLF001 - there is no public way to ask


class Keeper:
    """Knows the running handlers, and cancels them; the worker's task itself goes on."""

    def __init__(self, store: Store, *, handler_timeout_s: float) -> None:
        self.store = store
        self._timeout_s = handler_timeout_s
        self._look_every_s = min(_LOOK_EVERY_S, handler_timeout_s / 4)
        self._running: dict[Worker, None] = {}  # an ordered set: longest running first
        self._changed = asyncio.Event()  # a deadline has changed, or the first handler runs
        self._idle = False  # the watch over deadlines waits for the first handler

    def running(self) -> list[Running]:
        """Return the running handlers, longest running first."""
        return [
            Running(worker.number, worker.delivery, worker.since, worker.task) for worker in self._running
        ]

    def is_running(self, worker: Worker) -> bool:
        """Return whether a handler runs in this worker."""
        return worker in self._running

    def enter(self, worker: Worker, delivery: Delivery) -> None:
        """Record that the worker's handler starts."""
        worker.delivery = delivery
        worker.since = asyncio.get_running_loop().time()
        worker.allowed_s = self._timeout_s
        worker.stalled_s = 0.0
        self._running[worker] = None
        if self._idle:
            self._changed.set()

    def allow(self, delivery: Delivery, seconds: float) -> None:
        """Give the handler of `delivery` a time-out of `seconds` from its start, instead of the usual one."""
        for worker in self._running:
            if worker.delivery is delivery:
                worker.allowed_s = seconds
                self._changed.set()

    def go_on(self, delivery: Delivery, seconds: float) -> TimeoutError | None:
        """Let the handler of `delivery`, which was cancelled for its time, run for `seconds` more, and return the error.

        None if it was not, or if it was cancelled for another reason, too: then its cancellation stays in force.
        """
        for worker in self._running:
            if worker.delivery is delivery and isinstance(worker.cut, Overran) and not worker.is_over:
                overran, worker.cut, worker.cuts = worker.cut, None, 0
                ran_s = asyncio.get_running_loop().time() - worker.since - worker.stalled_s
                worker.allowed_s = ran_s + seconds
                while worker.task.cancelling():
                    worker.task.uncancel()
                self._changed.set()
                return TimeoutError(overran.reason)
        return None

    def leave(self, worker: Worker) -> Exception | None:
        """Record that the handler has ended; return the outcome given to `cut`, or None if it was not cut."""
        del self._running[worker]
        if worker.cut is None:
            return None
        cut, worker.cut, worker.cuts, worker.is_over = worker.cut, None, 0, False
        return cut

    def cut(self, worker: Worker, why: Exception) -> None:
        """Cancel the worker's handler, if it runs one; the first `why` becomes the outcome.

        The cancellation can only arrive inside the handler: this is called while the worker awaits there, and
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
        worker.is_over = worker.is_over or not isinstance(why, Overran)
        worker.cuts += 1
        worker.again_at = asyncio.get_running_loop().time() + _CUT_AGAIN_S
        worker.task.cancel()

    def lost(self, leases: Collection[Lease]) -> None:
        """Cut the handlers whose lease is lost (Store.watch)."""
        lost = set(leases)
        for worker in list(self._running):
            if worker.delivery.lease in lost:
                self.cut(worker, LeaseLost(worker.delivery.lease.key))

    async def watch_deadlines(self) -> None:
        """Cut handlers that overrun, or swallowed their cancellation, until cancelled.

        A deadline counts only the time in which the event loop ran, not the time in which another handler blocked it,
        or the process was stopped, or its machine suspended.
        """
        loop = asyncio.get_running_loop()
        look_at = self._began()
        while True:
            now = loop.time()
            try:
                self._note_stall(look_at, now)
                look_at = self._cut_overdue(now)
            except Exception:
                log.exception("unexpected error at the watch over deadlines")
                look_at = now + _AFTER_ERROR_S
            self._changed.clear()
            self._idle = not self._running
            if self._idle:  # an idle bot is not woken
                await self._changed.wait()
                self._idle = False
                self._changed.clear()
                look_at = self._began() + self._look_every_s
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._changed.wait()

    def _began(self) -> float:
        """Return when the longest running handler started (loop time); it may have blocked the loop since then."""
        return next((worker.since for worker in self._running), asyncio.get_running_loop().time())

    def _note_stall(self, expected: float, now: float) -> None:
        """Extend the deadlines by a stall: the check that was due at `expected` runs only now."""
        if now - expected > _STALL_S:
            for worker in self._running:
                worker.stalled_s += max(0.0, now - max(expected, worker.since))

    def _cut_overdue(self, now: float) -> float:
        """Cut handlers past their deadline; return when to check again (loop time)."""
        look_at = now + self._look_every_s
        for worker in list(self._running):
            due = worker.again_at if worker.cuts else worker.since + worker.allowed_s + worker.stalled_s
            if due <= now:
                self.cut(worker, Overran(f"the handler ran longer than {worker.allowed_s:g} s"))
                due = worker.again_at
            look_at = min(look_at, due)
        return look_at
