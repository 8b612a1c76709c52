"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

An hour of backoff runs in milliseconds, and `loop.time()` returns exactly how long it would have taken. For pure asyncio
only: no sockets; functions for an executor run in the loop's thread (else the clock would jump meanwhile).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

SPINS_MAX: Final = (
    200_000  # far above what an honest test does within one instant; about a second of real time
)


SAME_MOMENT_S: Final = 1e-5
"""Times closer than this are the same moment: Unix time as a float is accurate to a quarter of a microsecond only."""


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: the tasks wait for ever."""


class LivelockError(Exception):
    """The loop is always busy, so its clock never moves: there is a busy loop somewhere."""


def _nothing() -> None:
    """The default callback before a select: do nothing."""


class _JumpingSelector(selectors.SelectSelector):
    """Does not wait: a select with a timeout moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.before_select: Callable[[], None] = _nothing
        self.end: float | None = None
        """The clock does not go beyond this moment; there `at_end` is called."""
        self.at_end: Callable[[], None] = _nothing
        self.next_at: float | None = None
        """When stopped there: the moment of the next timer, if there is one."""
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
            if self.end is not None and (timeout is None or self.now + timeout > self.end + SAME_MOMENT_S):
                self.next_at = None if timeout is None else self.now + timeout
                self.now = max(self.now, self.end)
                self.at_end()
                return events
            if timeout is None:
                raise DeadlockError(f"nothing is ready and no timer is set at {self.now:g} s")
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that starts at time 0 and never sleeps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self.is_in_executor = False
        """Whether it runs a function for an executor."""
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds since the loop was created."""
        return self._jumping.now

    def run_to(self, moment: float) -> float | None:
        """Run everything up to and at `moment`; return when the next timer is due, None if there is none.

        Raises LivelockError if that does not end. Call it without a running loop.
        """
        self._jumping.end, self._jumping.at_end = moment, self.stop
        try:
            self.run_forever()
        finally:
            self._jumping.end = None
        return self._jumping.next_at

    def run_in_executor(  # type: ignore[override] # a Future, as asyncio's own does in fact
        self, _executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call `func` in the loop's thread, in one iteration: in a thread it would run while the clock jumps."""
        future = self.create_future()
        self.call_soon(self._call, future, func, args)
        return future

    def start_thread(self, run: Callable[[], None], _name: str) -> None:
        """Call `run` in the loop's thread, in one iteration, for `in_thread` (telegram/dialogue/routes/threads.py)."""
        self.call_soon(self._call, self.create_future(), run, ())

    def _call(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Call the function, as a thread would, even if the future was cancelled."""
        self.is_in_executor = True
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - the waiting caller gets it
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)
        finally:
            self.is_in_executor = False


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, on virtual time. Raises DeadlockError or LivelockError; call it without a running loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
