"""A pool of workers over one queue of a store: claim -> handle -> commit, lane by lane.

Promises:

* A lane has at most one handler running; different lanes run side by side, up to `workers`.
* A worker keeps its lane from commit to commit until it is empty or the quantum is spent (sticky, yet fair).
* A handler that fails or overruns its deadline parks only its own lane, with backoff; in the end its update
  goes to the dead letters and the lane goes on.
* While the store is unavailable nothing is handled twice: a finished handler's effects wait for the store.
* Whatever escapes a handler, and whatever the store raises for one delivery, is that delivery's failure. Only a
  StoreError ends the pool, and only `drain` or the end of its group is a shutdown: a cancellation by itself is not.
* `drain` claims nothing new, lets what runs finish, hands back what does not finish in time, and waits for no handler
  that ignores its cancellation.

Not to be asked: order across lanes, and exactly-once for what a handler does outside its effects.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, Final

import structlog

from engine.asking import Asking, StoreFailed
from engine.checks import checked_calls, checked_effects
from engine.errors import LeaseLost, NotPeeked, Park, Reject, Retry, StateChanged, StoreError
from engine.isolate import Isolated
from engine.keeper import Keeper, Running, Worker
from engine.model import Call, Delivery, Effects, Queue
from engine.outcome import Released, described, outcome_of, storable
from engine.store import Store

log = structlog.get_logger(__name__)

Handler = Callable[[Delivery], Awaitable[Effects]]
"""Handles one delivery; raises Retry, Park or Reject to say what it wishes instead of effects."""

Farewell = Callable[[Delivery, bool], tuple[Call, ...]]
"""The calls that go out although the delivery failed: with each counted failure, and (True) when it is given up."""

current_delivery: Final[ContextVar[Delivery | None]] = ContextVar("current_delivery", default=None)
"""The delivery that the running handler handles, for logs."""

_CHANGED_MAX: Final = 10
"""A head whose states were changed meanwhile so often in a row counts as failed: its lane must not spin."""

_LET_FINISH_S: Final = 0.5
"""How long a cancelled handler may take to clean up at the end of a drain, or of the pool."""

_GIVE_BACK_S: Final = 5.0
"""A delivery that can be neither committed, parked nor buried is tried again after this long."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one pool, each with its unit and its reason."""

    workers: int = 64
    """Handlers at a time. Handlers mostly wait for something; a worker is one task of about 2 KB."""

    handler_timeout_s: float = 60.0
    """A handler is cancelled after this long, so that no lane is held for ever."""

    attempts_max: int = 5
    """Failures of one delivery before it goes to the dead letters and its lane goes on."""

    backoff_s: float = 1.0
    """Pause after the first failure; it doubles with each one."""

    backoff_max_s: float = 300.0
    """Longest pause: people wait behind it in this lane."""

    quantum: int = 10
    """Deliveries from one lane before other ready lanes get their turn."""

    renew_every_s: float = 5.0
    """A third of the stores' lease time: two renewals may fail before a lease can be taken over."""


class Engine:
    """Runs one queue: `start` it in a TaskGroup, `drain` it to end. `jitter` returns a float in [0, 1)."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        handler: Handler,
        config: EngineConfig | None = None,
        *,
        farewell: Farewell | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._config = config or EngineConfig()
        self._farewell = farewell
        self._store = store
        self._queue = queue
        self._handler = handler
        self._jitter = jitter
        self._keeper = Keeper(
            store,
            handler_timeout_s=self._config.handler_timeout_s,
            renew_every_s=self._config.renew_every_s,
        )
        self._asking = Asking(queue.value, self._backoff)
        self._workers: list[Worker] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._ended: asyncio.Future[None] | None = None  # the pool's, from its start on
        self._changed: dict[str, int] = {}  # lane -> how often in a row its head met a StateChanged

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start the workers; a StoreError brings the group down.

        The group holds one task, which owns the workers: it alone knows whether a cancellation is a shutdown, and it
        does not wait for a handler that ignores its cancellation.
        """
        name = self._queue.value
        self._ended = asyncio.get_running_loop().create_future()
        for number in range(1, self._config.workers + 1):
            worker = Worker(number)
            worker.task = self._start(self._work(worker), f"{name} worker {number}")
            self._workers.append(worker)
        self._start(self._keeper.renew_leases(), f"{name} leases")
        self._start(self._keeper.watch_deadlines(), f"{name} deadlines")
        owner = group.create_task(self._own(self._ended), name=f"{name} pool")
        # Also if it was cancelled before its first step.
        owner.add_done_callback(lambda _: self._cancel_all())

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)
        return task

    def running(self) -> list[Running]:
        """Return what the workers do now, longest running first."""
        return self._keeper.running()

    def allow(self, delivery: Delivery, seconds: float) -> None:
        """Let the running handler of `delivery` take `seconds` from its start, not `handler_timeout_s`."""
        self._keeper.allow(delivery, seconds)

    async def settle(self, until: float) -> None:
        """Go on until nothing is ready or running any more (what is parked stays), or until loop time `until`."""
        while asyncio.get_running_loop().time() < until:
            stats = (await self._store.stats()).of(self._queue)
            if not stats.ready and not stats.leased:
                return
            await asyncio.sleep(0.01)

    async def drain(self, until: float) -> None:
        """Claim nothing new, let handlers run until loop time `until`, hand back what is not finished then."""
        self._draining = True
        for worker in self._workers:
            if worker.claiming:
                worker.task.cancel()
        for worker in await self._wait_for_workers(until - asyncio.get_running_loop().time()):
            self._keeper.cut(worker, Released())
        await self._wait_for_workers(_LET_FINISH_S)
        self._end()

    async def _own(self, ended: asyncio.Future[None]) -> None:
        """Live as long as the pool; raises what it dies of."""
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
        """Hand back what a worker holds whose handler does not end; what it does from now on is refused."""
        log.error("a handler would not stop, or the store was unavailable", worker=worker.number)
        if self._keeper.is_running(worker):
            try:
                async with asyncio.timeout(_LET_FINISH_S):
                    await self._store.release(worker.delivery)
            except Exception as error:  # noqa: BLE001 - the next process finds it
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
                worker.task.uncancel()  # of a claim at the start of a drain; or meant for a handler that is gone

    async def _serve(self, worker: Worker) -> None:
        quantum = self._config.quantum
        since_pause = 0
        while not self._draining:
            delivery = await self._claim(worker)
            for turn in range(1, quantum + 1):
                if delivery is None:
                    break
                delivery = await self._deliver(worker, delivery, more=turn < quantum)
                since_pause += 1
            if since_pause >= quantum:
                since_pause = 0
                await asyncio.sleep(0)  # handlers that never wait must not starve the loop

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

    async def _deliver(self, worker: Worker, delivery: Delivery, *, more: bool) -> Delivery | None:
        """Handle one delivery and settle it; return the lane's next one if we keep the lane."""
        outcome = await self._handle(worker, delivery)
        changed = self._changed.pop(delivery.lease.key, 0) if self._changed else 0
        try:
            if isinstance(outcome, Effects):
                try:
                    return await self._store.commit(delivery, outcome, more=more and not self._draining)
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
        except NotPeeked as invalid:
            await self._put_back(delivery, Retry(f"NotPeeked: {invalid}"))
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

    async def _handle(self, worker: Worker, delivery: Delivery) -> Effects | Exception:
        """Run the handler in a context of its own; whatever it does becomes a value that we know."""
        context = copy_context()
        context.run(current_delivery.set, delivery)
        outcome: Effects | Exception
        self._keeper.enter(worker, delivery)
        try:
            outcome = await Isolated(context, self._handler(delivery))
            if isinstance(outcome, Effects):
                outcome = checked_effects(outcome, self._queue)
            else:
                outcome = Retry(f"the handler returned {type(outcome).__name__}, not Effects")
        except GeneratorExit:
            raise  # the task itself is destroyed
        except BaseException as error:  # noqa: BLE001 - each is this delivery's failure
            outcome = Released() if self._asking.is_over else self._failed(delivery, error)
        if worker.is_cancelled():
            await self._absorb(worker)
        cut = self._keeper.leave(worker)  # no await before it: what cuts the worker cuts this handler
        return cut or outcome

    async def _absorb(self, worker: Worker) -> None:
        """Take in what cancellations the handler's time has left, whoever made them: the next one has none."""
        while worker.is_cancelled() and not self._asking.is_over:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            while worker.task.cancelling():
                worker.task.uncancel()

    def _failed(self, delivery: Delivery, error: BaseException) -> Exception:
        if isinstance(error, asyncio.CancelledError):
            return Retry("the handler raised CancelledError")
        if not isinstance(error, Reject | Park | Retry):
            try:
                log.error("handler failed", key=delivery.lease.key, id=delivery.envelope.id, exc_info=error)
            except BaseException:  # noqa: BLE001 - its text is the author's code
                log.error("handler failed", error=type(error).__name__)  # noqa: TRY400 - there is no more to tell
        return outcome_of(error)

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

    def _backoff(self, attempt: int) -> float:
        longest = min(self._config.backoff_max_s, self._config.backoff_s * 2.0 ** min(attempt - 1, 30))
        return longest * (0.5 + 0.5 * self._jitter())
