"""A pool of workers over one queue of a store: claim -> handle -> commit, lane by lane.

Promises:

* A lane has at most one handler running; different lanes run side by side, up to `workers`.
* A worker keeps its lane from commit to commit until it is empty or the quantum is spent (sticky, yet fair).
* A handler that fails or overruns its deadline parks only its own lane, with backoff; in the end its update
  goes to the dead letters and the lane goes on.
* While the store is unavailable nothing is handled twice: a finished handler's effects wait for the store.
* `drain` claims nothing new, lets what runs finish, and hands back what does not finish in time.

Not to be asked: order across lanes, and exactly-once for what a handler does outside its effects.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeVar

import structlog

from engine.errors import LeaseLost, NotPeeked, Park, Reject, Retry, StateChanged, StoreUnavailable
from engine.isolate import Isolated
from engine.keeper import Keeper, Running, Worker
from engine.model import Call, Delivery, Effects, Queue, check_calls
from engine.store import Store

log = structlog.get_logger(__name__)
T = TypeVar("T")

Handler = Callable[[Delivery], Awaitable[Effects]]
"""Handles one delivery; raises Retry, Park or Reject to say what it wishes instead of effects."""

Farewell = Callable[[Delivery, bool], tuple[Call, ...]]
"""The calls that go out although the delivery failed: with each counted failure, and (True) when it is given up."""

current_delivery: Final[ContextVar[Delivery | None]] = ContextVar("current_delivery", default=None)
"""The delivery that the running handler handles, for logs."""

_ASK_AGAIN_MAX_S: Final = 10.0
"""An unavailable store is asked at least this often."""

_CHANGED_MAX: Final = 10
"""A head whose states were changed meanwhile so often in a row counts as failed: its lane must not spin."""

_REASON_MAX: Final = 1000  # characters

_LET_FINISH_S: Final = 0.5
"""How long a cancelled handler may take to clean up at the end of a drain."""


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


class _Released(Exception):  # noqa: N818 - why a handler was cut, not an error
    """The drain's deadline came while the handler ran."""


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
        self._workers: list[Worker] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._draining = False
        self._changed: dict[str, int] = {}  # lane -> how often in a row its head met a StateChanged
        self._turned_away = 0  # workers that wait for an unavailable store

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start the workers; one that dies brings the group down."""
        for number in range(1, self._config.workers + 1):
            worker = Worker(number)
            worker.task = group.create_task(self._work(worker), name=f"{self._queue.value} worker {number}")
            self._workers.append(worker)
        self._keeping = [
            group.create_task(self._keeper.renew_leases(), name=f"{self._queue.value} leases"),
            group.create_task(self._keeper.watch_deadlines(), name=f"{self._queue.value} deadlines"),
        ]

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
            self._keeper.cut(worker, _Released())
        for worker in await self._wait_for_workers(_LET_FINISH_S):
            log.error("a handler would not stop, or the store was unavailable", worker=worker.number)
            worker.task.cancel()
        for task in self._keeping:
            task.cancel()

    async def _wait_for_workers(self, timeout_s: float) -> list[Worker]:
        if tasks := [worker.task for worker in self._workers if not worker.task.done()]:
            await asyncio.wait(tasks, timeout=max(0.0, timeout_s))
        return [worker for worker in self._workers if not worker.task.done()]

    # -- the life of one delivery ----------------------------------------------------------------------------

    async def _work(self, worker: Worker) -> None:
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
            try:
                return await self._store.claim(self._queue)
            except StoreUnavailable:
                return await self._insist(lambda: self._store.claim(self._queue))
        except asyncio.CancelledError:
            if not self._draining:
                raise
            return None
        finally:
            worker.claiming = False

    async def _deliver(self, worker: Worker, delivery: Delivery, *, more: bool) -> Delivery | None:
        """Handle one delivery and settle it; return the lane's next one if we keep the lane."""
        outcome = await self._handle(worker, delivery)
        changed = self._changed.pop(delivery.lease.key, 0) if self._changed else 0
        try:
            if isinstance(outcome, Effects):
                try:
                    return await self._store.commit(delivery, outcome, more=more and not self._draining)
                except (StoreUnavailable, StateChanged, NotPeeked) as why:
                    return await self._not_committed(delivery, outcome, why, changed)
            await self._put_back(delivery, outcome)
        except LeaseLost:
            lease = delivery.lease
            log.warning("lease lost", queue=self._queue.value, key=lease.key, fence=lease.fence)
        return None

    async def _not_committed(
        self, delivery: Delivery, effects: Effects, why: Exception, changed: int
    ) -> Delivery | None:
        try:
            if isinstance(why, StoreUnavailable):
                return await self._insist(lambda: self._store.commit(delivery, effects, more=False))
            raise why
        except StateChanged:
            if changed < _CHANGED_MAX:  # the handler runs again, with what is true now
                self._changed[delivery.lease.key] = changed + 1
                await self._insist(lambda: self._store.release(delivery))
            else:
                await self._put_back(delivery, Retry(f"StateChanged, {changed + 1} times in a row"))
        except NotPeeked as slip:
            await self._put_back(delivery, Retry(f"NotPeeked: {slip}"))
        return None

    async def _put_back(self, delivery: Delivery, outcome: Exception) -> None:
        match outcome:
            case Reject():
                await self._bury(delivery, outcome.reason)
            case Park():
                await self._park(delivery, outcome.reason, outcome.delay_s, counted=False)
            case Retry():
                await self._retry(delivery, outcome)
            case _Released():
                await self._insist(lambda: self._store.release(delivery))
            case LeaseLost():
                raise outcome

    async def _handle(self, worker: Worker, delivery: Delivery) -> Effects | Exception:
        """Run the handler in a context of its own; whatever it does becomes a value that we know."""
        context = copy_context()
        context.run(current_delivery.set, delivery)
        outcome: Effects | Exception
        self._keeper.enter(worker, delivery)
        try:
            outcome = await Isolated(context, self._handler(delivery))
            if isinstance(outcome, Effects):
                outcome.check(self._queue)
            else:
                outcome = Retry(f"the handler returned {type(outcome).__name__}, not Effects")
        except (Reject, Park, Retry) as wish:
            outcome = wish
        except (Exception, SystemExit) as error:
            log.exception("handler failed", key=delivery.lease.key, id=delivery.envelope.id)
            outcome = Retry(_told(error))
        except asyncio.CancelledError:
            if worker.cut is None and worker.task.cancelling():
                raise  # not the handler is meant, but the worker: the house is coming down
            outcome = Retry("the handler raised CancelledError")
        finally:
            cut = self._keeper.leave(worker)
        return cut or outcome

    async def _retry(self, delivery: Delivery, wish: Retry) -> None:
        if delivery.attempt >= self._config.attempts_max:
            await self._bury(delivery, wish.reason)
        else:
            delay_s = self._backoff(delivery.attempt) if wish.after_s is None else wish.after_s
            await self._park(delivery, wish.reason, delay_s, counted=True)

    async def _park(self, delivery: Delivery, reason: str, delay_s: float, *, counted: bool) -> None:
        reason = _storable(reason)
        calls = self._last_words(delivery, given_up=False) if counted else ()
        await self._insist(
            lambda: self._store.park(delivery, delay_s, counted=counted, reason=reason, calls=calls)
        )

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        reason = _storable(reason)
        calls = self._last_words(delivery, given_up=True)
        log.warning(
            "dead letter",
            queue=self._queue.value,
            key=delivery.lease.key,
            id=delivery.envelope.id,
            attempt=delivery.attempt,
            reason=reason,
        )
        await self._insist(lambda: self._store.bury(delivery, reason, calls))

    def _last_words(self, delivery: Delivery, *, given_up: bool) -> tuple[Call, ...]:
        if self._farewell is None:
            return ()
        try:
            calls = self._farewell(delivery, given_up)
            check_calls(calls)
        except Exception:  # the failure itself is what matters
            log.exception("the farewell failed", key=delivery.lease.key, id=delivery.envelope.id)
            return ()
        return calls

    async def _insist(self, act: Callable[[], Awaitable[T]]) -> T:
        """Ask an unavailable store until it does it: what was handled once is not handled again."""
        for tries in count():
            try:
                result = await act()
            except StoreUnavailable as error:
                if not tries:
                    self._turned_away += 1
                    if self._turned_away == 1:  # one line for all workers
                        log.error(  # noqa: TRY400 - the reason says it all, a traceback nothing
                            "store unavailable", queue=self._queue.value, reason=str(error)
                        )
                await asyncio.sleep(min(self._backoff(tries + 1), _ASK_AGAIN_MAX_S))
            else:
                if tries:
                    self._turned_away -= 1
                    if not self._turned_away:
                        log.info("store available again", queue=self._queue.value)
                return result
        raise AssertionError  # count() does not end

    def _backoff(self, attempt: int) -> float:
        longest = min(self._config.backoff_max_s, self._config.backoff_s * 2.0 ** min(attempt - 1, 30))
        return longest * (0.5 + 0.5 * self._jitter())


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the text of somebody's error is somebody's code
        return type(error).__name__


def _storable(reason: str) -> str:
    """Return a reason that every store and every terminal takes: it may quote what a user wrote."""
    return reason[:_REASON_MAX].encode("utf-8", "backslashreplace").decode()
