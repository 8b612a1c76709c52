"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

An hour of backoff runs in milliseconds, and `loop.time()` tells exactly how long it would have taken.
For pure asyncio only: no sockets; what is given to a thread runs in the loop's own (the clock would jump meanwhile).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

SPINS_MAX: Final = (
    200_000  # far above what an honest test does within one instant; about a second of real time
)


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: what the tasks wait for can never happen."""


class LivelockError(Exception):
    """The loop is always busy, so its clock never moves: somewhere a hot loop runs."""


def _nothing() -> None:
    """Stands where nobody wants to do something before a select."""


class _JumpingSelector(selectors.SelectSelector):
    """Does not wait: a select with a timeout moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.before_select: Callable[[], None] = _nothing
        self._spins = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.before_select()
        if timeout is not None and timeout <= 0:
            self._spins += 1
            if self._spins > SPINS_MAX:
                self._spins = 0  # the loop must still be able to cancel its tasks
                raise LivelockError(f"{SPINS_MAX} turns of the loop at {self.now:g} s")
            return super().select(0)
        self._spins = 0
        events = super().select(0)
        if not events:
            if timeout is None:
                raise DeadlockError(f"nothing is ready and no timer is set at {self.now:g} s")
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that starts at time 0 and never sleeps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(  # type: ignore[override] # a Future, as asyncio's own does in fact
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call it here, within one turn of the loop: a thread would work while the clock jumps."""
        future = self.create_future()
        self.call_soon(self._call, future, func, args)
        return future

    @staticmethod
    def _call(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """As the thread would: it is done, whether anybody waits for it any more or not."""
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, on virtual time. Raises DeadlockError or LivelockError; to be called without a running loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
