"""An event loop on which several processes of a bot live: each can crash, and freeze and wake up.

A process is a context variable: whatever is scheduled from inside it (tasks, timers, callbacks) carries it, and the
loop asks it before every step. A crash runs no `finally`: the steps are just never taken again.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

from tests.kit.virtual import VirtualLoop

T = TypeVar("T")


class Process:
    """One process of a bot."""

    def __init__(self, number: int, loop: "SimLoop") -> None:
        self.number = number
        self.is_frozen = False
        self.is_dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.at_crash: list[Callable[[], object]] = []
        """What the operating system does for a dead process: close its files, drop its connections."""

        self.context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.frozen_s = 0.0
        """How long it was frozen, until it last went on."""

        self._frozen_at = 0.0
        self._loop = loop
        loop.processes.append(self)
        self._held: list[asyncio.Handle] = []

    def spawn(self, main: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something in this process."""
        return self._loop.create_task(main, context=self.context.copy())

    def crash(self) -> None:
        """Take no step any more."""
        if self.is_dead:
            return
        self.is_dead = True
        self._held.clear()
        for let_go in self.at_crash:
            let_go()

    def freeze(self) -> None:
        """Take no step until `thaw`, while the clock goes on."""
        if not self.is_frozen:
            self.is_frozen = True
            self._frozen_at = self._loop.time()

    def thaw(self) -> None:
        """Take the steps that have come due meanwhile."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        self.frozen_s += self._loop.time() - self._frozen_at
        held, self._held = self._held, []
        self._loop.resume(held)

    def bury(self) -> None:
        """Free what a dead process has left: `finally` runs now, and can reach nothing any more."""
        self.crash()
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined] # it is meant to be pending
                with suppress(BaseException):
                    task.get_coro().close()

    def step(self, handle: asyncio.Handle, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Take one step, if the process can."""
        if self.is_dead:
            return
        if self.is_frozen:
            self._held.append(handle)
        else:
            callback(*args)


_PROCESS: Final[ContextVar[Process | None]] = ContextVar("process", default=None)


class ProcessFuture(asyncio.Future[Any]):
    """A future that knows in which process it was made, if in any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.process = _PROCESS.get()


class SimLoop(VirtualLoop):
    """Virtual time and processes; everything is decided by `rng`."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.shuffled = False
        """Whether the steps of one instant come in any order, beyond what asyncio itself would do."""

        self.processes: list[Process] = []
        """All there ever were: a task that is collected as garbage would run its `finally`."""

        self.set_task_factory(_task_that_is_kept)
        self._jumping.before_select = self._shuffle

    def call_soon(  # type: ignore[override] # typeshed's signature, without its type variables
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        process, context = _process_of(context)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        step: Callable[[], None] = process.step  # type: ignore[assignment] # its arguments follow
        return _guarded(process, super().call_soon(step, context=context), callback, args)

    def call_at(  # type: ignore[override] # as above
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        process, context = _process_of(context)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        step: Callable[[], None] = process.step  # type: ignore[assignment] # its arguments follow
        return _guarded(process, super().call_at(when, step, context=context), callback, args)

    def create_future(self) -> asyncio.Future[Any]:
        return ProcessFuture(self)

    def short_s(self) -> float:
        """How long something takes that is usually quick."""
        return self._rng.choice((0.0, 0.001, 0.01)) * self._rng.random()

    def close(self) -> None:
        if not self.is_closed():
            for process in self.processes:
                process.bury()
        super().close()

    def resume(self, held: list[asyncio.Handle]) -> None:
        """Put steps that were held back in line."""
        self._ready.extend(held)  # type: ignore[attr-defined] # there is no public way to run a Handle

    def _shuffle(self) -> None:
        if self.shuffled:
            ready = list(self._ready)  # type: ignore[attr-defined]
            self._rng.shuffle(ready)
            self._ready.clear()  # type: ignore[attr-defined]
            self._ready.extend(ready)  # type: ignore[attr-defined]


H = TypeVar("H", bound=asyncio.Handle)


def _guarded(process: Process, handle: H, callback: Any, args: tuple[Any, ...]) -> H:
    handle._args = (handle, callback, args)
    return handle


def _process_of(context: Context | None) -> tuple[Process | None, Context]:
    context = copy_context() if context is None else context
    return context.get(_PROCESS), context


def _task_that_is_kept(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None
) -> "asyncio.Task[Any]":
    process, context = _process_of(context)
    task = asyncio.Task(coroutine, loop=loop, context=context)
    if process is not None:
        process.tasks.append(task)
    return task


def running_process(context: Context) -> Process | None:
    """Return the process of a context; None outside of all."""
    return context.get(_PROCESS)


def process_number() -> int:
    """Return the number of the process that runs now; 0 outside of all."""
    process = _PROCESS.get()
    return 0 if process is None else process.number
