"""A pool of workers over one queue of a store: claim -> handle -> commit, lane by lane.

Promises:

* A lane has at most one handler running; different lanes run side by side, up to `workers`.
* A worker keeps its lane from commit to commit until it is empty or the quantum is spent (sticky, yet fair).
* A handler that fails or overruns its deadline parks only its own lane, with backoff; after the last attempt its
  update becomes a dead letter and the lane continues.
* While the store is unavailable nothing is handled twice: a finished handler's effects wait for the store.
* Whatever a handler raises, and whatever the store raises for one delivery, is that delivery's failure. Only a
  StoreError ends the pool, and only `drain` or the end of its group is a shutdown: a cancellation alone is not.
* `drain` claims nothing new, lets running handlers finish, releases what does not finish in time, and does not wait
  for a handler that ignores its cancellation.

Not promised: order across lanes, and exactly-once for what a handler does outside its effects.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

import structlog

from engine.asking import Asking
from engine.checks import checked_effects
from engine.config import EngineConfig
from engine.current import about, current_delivery
from engine.errors import Park, Reject, Retry, SqlFailed, StoreError
from engine.failures import Failures, about_delivery
from engine.isolate import isolated
from engine.leases import Keeper, Running, Worker
from engine.meter import Meter
from engine.model import Delivery, Effects, Queue
from engine.moved import deprecated
from engine.outcome import Released, caused, described, outcome_of
from engine.settling import Failed, Settling
from engine.store import DIED, Arrived, NoNotes, Notes, Store
from engine.work import Handler, Work, guarded

log = structlog.get_logger(__name__)

_LET_FINISH_S: Final = 0.5
"""Time for a cancelled handler to clean up at the end of a drain, or of the pool."""

_AFTER_DEATH_S: Final = 1.0
"""Delay at the next start for an update whose handler ran when the process died, so that others are handled first."""

_SUSPECT_WAITS_S: Final = 0.05
"""Suspects run one at a time: while one runs, another is parked for this long times the number of parked suspects."""


class Engine:
    """Runs one queue: `start` it in a TaskGroup, `drain` ends it. `jitter` returns a float in [0, 1)."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        handler: Handler,
        config: EngineConfig | None = None,
        *,
        jitter: Callable[[], float] = random.random,
        farewell: Failed | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Use the hooks of a FullHandler that `handler` has: `failed`, and for the inbox `arrived`. A meter needs a `metered_store`."""
        if farewell is not None:
            deprecated("farewell=", "a handler has the method failed(delivery, given_up)")
        self._config = config or EngineConfig()
        self._store = store
        self._queue = queue
        self._commit = getattr(store, "first_commit", store.commit)
        self._meter = meter
        self._clock = None if meter is None else meter.clock
        self._handler = handler
        self._jitter = jitter
        self._keeper = Keeper(store, handler_timeout_s=self._config.handler_timeout_s)
        self._asking = Asking(queue.value, self._backoff)
        self._failures = Failures()
        self._about = getattr(handler, "about", about_delivery)
        failed: Failed | None = farewell or getattr(handler, "failed", None)
        self._settling = Settling(store, queue, self._config, self._asking, self._backoff, failed)
        self._workers: list[Worker] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._ended: asyncio.Future[None] | None = None  # set at `start`; done when the pool has ended
        self._notes: Notes = store.notes if queue is Queue.INBOX else NoNotes()
        self._suspect_runs = False
        self._suspects_seen: set[int] = set()  # by id
        self._suspects_parked: set[int] = set()
        arrived: Arrived | None = getattr(handler, "arrived", None)
        arrived = arrived and guarded(arrived, "the handler's hook for arriving updates failed")
        store.watch(queue, self._keeper.lost, arrived)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start the workers; a StoreError fails the group.

        The group holds one task, which owns the workers: it can tell a shutdown from another cancellation, and does
        not wait for a handler that ignores its cancellation.
        """
        name = self._queue.value
        self._ended = asyncio.get_running_loop().create_future()
        for number in range(1, self._config.workers + 1):
            worker = Worker(number)
            worker.task = self._start(self._work(worker), f"{name} worker {number}")
            self._workers.append(worker)
        self._start(self._keeper.watch_deadlines(), f"{name} deadlines")
        owner = group.create_task(self._own(self._ended), name=f"{name} pool")
        # A callback, since a task cancelled before its first step never runs its `finally`.
        owner.add_done_callback(lambda _: self._cancel_all())

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)
        return task

    def running(self) -> list[Running]:
        """Return the running handlers, longest running first."""
        return self._keeper.running()

    async def settle(self, until: float) -> None:
        """Wait until no lane is ready or leased (parked lanes do not count), or until loop time `until`."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._store.settled(self._queue)

    def hold(self) -> None:
        """Claim nothing new from now on; running handlers continue. Call `drain` next."""
        self._draining = True
        for worker in self._workers:
            if worker.claiming:
                worker.task.cancel()

    async def drain(self, until: float) -> None:
        """Claim nothing new, let handlers run until loop time `until`, then cancel and release what is not finished."""
        self.hold()
        for worker in await self._wait_for_workers(until - asyncio.get_running_loop().time()):
            self._keeper.cut(worker, Released())
        await self._wait_for_workers(_LET_FINISH_S)
        self._end()

    async def _own(self, ended: asyncio.Future[None]) -> None:
        """Run as long as the pool; raise the error that ended it."""
        try:
            await ended
        finally:
            self._cancel_all()
            for worker in await self._wait_for_workers(_LET_FINISH_S):
                await self._abandon(worker)

    def _cancel_all(self) -> None:
        self._draining = self._asking.is_over = True
        for task in self._tasks:
            task.cancel()

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if self._ended is not None and not self._ended.done():
            if not task.cancelled() and (error := task.exception()) is not None:
                self._ended.set_exception(error)
            elif self._draining and all(worker.task.done() for worker in self._workers):
                self._end()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def _abandon(self, worker: Worker) -> None:
        """Release the lane of a worker whose handler does not end; its later requests meet a stale fence."""
        log.error("a handler would not stop, or the store was unavailable", worker=worker.number)
        self._notes.end(worker.number)
        if self._keeper.is_running(worker):
            try:
                async with asyncio.timeout(_LET_FINISH_S):
                    await self._store.release(worker.delivery)
            except Exception as error:  # noqa: BLE001 - the lease ends with this process
                log.warning("not handed back", worker=worker.number, reason=described(error))

    async def _wait_for_workers(self, timeout_s: float) -> list[Worker]:
        if tasks := [worker.task for worker in self._workers if not worker.task.done()]:
            await asyncio.wait(tasks, timeout=max(0.0, timeout_s))
        return [worker for worker in self._workers if not worker.task.done()]

    # -- the life of one delivery ----------------------------------------------------------------------------

    async def _work(self, worker: Worker) -> None:
        while not self._draining:
            try:
                await self._serve(worker)
            except asyncio.CancelledError:
                if self._asking.is_over:
                    raise
                worker.task.uncancel()  # a claim cancelled by `hold`, or meant for a handler that has ended

    async def _serve(self, worker: Worker) -> None:
        quantum, settling, commit, meter = self._config.quantum, self._settling, self._commit, self._meter
        committed = None if meter is None else meter.committed
        since_pause = 0
        while not self._draining:
            delivery = await self._claim(worker)
            turns = 0
            while delivery is not None:  # the next head, as long as this worker keeps the lane
                turns += 1
                if settling.changed:
                    settling.begin(delivery)
                if delivery.attempt == 1:
                    outcome = await self._handle(worker, delivery)
                else:
                    outcome = await self._handle_again(worker, delivery)
                more = turns < quantum and not self._draining
                if settling.is_calm() and isinstance(outcome, Effects):
                    try:
                        following = await commit(delivery, outcome, more=more)
                        if committed is not None:
                            committed(delivery, outcome, worker.began, worker.ended)
                    except BaseException as why:  # noqa: BLE001 - sorted there
                        if meter is not None:
                            meter.not_committed(delivery, worker.began, worker.ended, why)
                        following = await self._settled(
                            worker, delivery, settling.not_committed(delivery, outcome, why)
                        )
                    delivery = following
                else:
                    if meter is not None and isinstance(outcome, Effects):
                        meter.handled(delivery, worker.began, worker.ended)
                    settled = settling.settle(delivery, outcome, more=more)
                    delivery = await self._settled(worker, delivery, settled)
            since_pause += turns
            if since_pause >= quantum:
                since_pause = 0
                await asyncio.sleep(0)  # handlers that never wait must not starve the loop

    async def _settled(
        self, worker: Worker, delivery: Delivery, settled: Awaitable[Delivery | None]
    ) -> Delivery | None:
        """Return the lane's next delivery. If the author's SQL was refused, the handler decides what becomes of this one."""
        try:
            return await settled
        except SqlFailed as error:
            failure = error
        decide: Any = getattr(self._handler, "sql_failed", None)
        if decide is None:
            outcome: Effects | Exception = self._failed(delivery, failure)
        else:
            outcome = await self._handle(worker, delivery, lambda work: decide(work, failure))
        try:
            return await self._settling.settle(delivery, outcome, more=False)
        except SqlFailed as again:
            return await self._settling.settle(delivery, outcome_of(again), more=False)

    async def _claim(self, worker: Worker) -> Delivery | None:
        worker.claiming = True
        try:
            return await self._store.claim(self._queue)
        except (StoreError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - sorted there
            return await self._claim_again(error)
        finally:
            worker.claiming = False

    async def _claim_again(self, failed: Exception) -> Delivery | None:
        async def claim() -> Delivery | None:
            return None if self._draining else await self._store.claim(self._queue)

        return await self._asking.insist(claim, failed, forever=True)

    async def _handle_again(self, worker: Worker, delivery: Delivery) -> Effects | Exception:
        death = self._notes.death(delivery.envelope.id)
        if death is None:
            return await self._handle(worker, delivery)
        return await self._handle_suspect(worker, delivery, death)

    async def _handle_suspect(self, worker: Worker, delivery: Delivery, death: str) -> Effects | Exception:
        """Handle a suspect, an update whose handler ran at a death: after others, from the second death on one at a time.

        So others are handled between two deaths, and a further death identifies the cause. One death alone proves
        nothing: supervisors kill processes, too. DIED_WITH_OTHERS is handled again whatever its attempts: another
        update may be the cause.
        """
        attempts = delivery.attempt - 1
        if death == DIED and attempts >= self._config.attempts_max:
            return Reject(f"{DIED}; that was attempt {attempts} of {self._config.attempts_max}")
        id_ = delivery.envelope.id
        if id_ not in self._suspects_seen:
            self._suspects_seen.add(id_)
            return Park(death, delay_s=_AFTER_DEATH_S)
        if not self._notes.is_repeated():
            return await self._handle(worker, delivery)
        if self._suspect_runs:
            self._suspects_parked.add(id_)
            return Park(death, delay_s=_SUSPECT_WAITS_S * len(self._suspects_parked))
        self._suspects_parked.discard(id_)
        self._suspect_runs = True  # no await between the check above and here: two suspects would run
        try:
            return await self._handle(worker, delivery)
        finally:
            self._suspect_runs = False

    async def _handle(
        self, worker: Worker, delivery: Delivery, handler: Handler | None = None
    ) -> Effects | Exception:
        """Run the handler in a context of its own; return its effects, or the exception that decides the outcome."""
        context = copy_context()
        context.run(current_delivery.set, delivery)
        outcome: Effects | Exception
        self._keeper.enter(worker, delivery)
        self._notes.begin(worker.number, delivery.envelope.id)
        work = Work(delivery, self._keeper)
        if (clock := self._clock) is not None:
            worker.began = clock()
        try:
            outcome = await isolated(context, (handler or self._handler)(work))
            if clock is not None:
                worker.ended = clock()
            if isinstance(outcome, Effects):
                outcome = checked_effects(outcome, self._queue)
            else:
                outcome = Reject(f"the handler returned {type(outcome).__name__}, not Effects")
        except GeneratorExit:
            raise  # the task itself is destroyed
        except BaseException as error:  # noqa: BLE001 - each is this delivery's failure
            if self._meter is not None:
                self._meter.handled(delivery, worker.began, self._meter.clock(), error)
            outcome = Released() if self._asking.is_over else self._failed(delivery, error)
        self._notes.end(worker.number)
        if worker.task.cancelling() or worker.task._must_cancel:  # noqa: SLF001 - is_cancelled() without a call
            await self._absorb(worker)
        cut = self._keeper.leave(worker)  # no await since the handler's end: a cut must hit the handler
        if cut is not None and isinstance(outcome, Exception):
            cut.__cause__ = outcome.__cause__  # where it was when its time was over
        outcome = cut or outcome
        if work.within is not None and not (isinstance(outcome, Effects) and outcome.within is work.within):
            work.within.abandon()
        if isinstance(outcome, Retry):
            outcome.retries = work.retries
        return outcome

    async def _absorb(self, worker: Worker) -> None:
        """Consume cancellations left over from the handler's run, so that the next handler is not cancelled by them."""
        while worker.is_cancelled() and not self._asking.is_over:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            while worker.task.cancelling():
                worker.task.uncancel()

    def _failed(self, delivery: Delivery, error: BaseException) -> Exception:
        if isinstance(error, asyncio.CancelledError):
            return caused(Retry("the handler raised CancelledError"), error)
        if self._config.log_failures and not isinstance(error, Reject | Park | Retry):
            with about(delivery):
                self._failures.log(error, self._about(delivery))
        return outcome_of(error, self._config.programming_errors)

    def _backoff(self, attempt: int, first_s: float | None = None) -> float:
        return self._config.backoff(attempt, self._jitter(), first_s)
