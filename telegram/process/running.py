"""Runs a main coroutine to its end, whatever its tasks raise, without waiting for tasks that do not end.

`asyncio.run` ends with the first SystemExit or KeyboardInterrupt of any task or callback: asyncio raises these two out
of the loop (Python's documentation, "Developing with asyncio"; so does uvloop). Here they stay with their task, and the
loop continues; also after a `loop.stop()`. A handler that cancels all tasks does not find the service's. And `asyncio.run`
waits for every task and for the threads of the default executor: for ever, if one ignores its cancellation.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar
from weakref import WeakSet

import structlog

from engine import current_delivery

try:
    import uvloop
except ImportError:  # it does not exist for Windows
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop

log = structlog.get_logger(__name__)
T = TypeVar("T")

_LET_FINISH_S: Final = 0.3
"""Time for tasks, and then for async generators, to end after the main coroutine has ended."""


class Running:
    """One event loop, from its start to its end. `left` names the tasks that did not end."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._loop_factory = loop_factory
        self._ours: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.left: list[str] = []

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Return the result of `main`; then the other tasks are cancelled, and may clean up for _LET_FINISH_S."""
        loop = self._loop_factory()
        loop.set_task_factory(self._create_task)
        asyncio.set_event_loop(loop)
        try:
            return _run(loop, main)
        finally:
            others = self._pending(loop)
            for other in others:
                other.cancel()
            _run(loop, _briefly(others))
            _run(loop, _briefly([loop.shutdown_asyncgens()]))
            self.left = sorted(other.get_name() for other in self._pending(loop))
            asyncio.set_event_loop(None)
            if not self.left:
                loop.close()

    def _create_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, /, **options: Any
    ) -> "asyncio.Task[Any]":
        """A task factory: handlers that cancel all tasks (`asyncio.all_tasks`) find only tasks started by handlers.

        Python's documentation, "Extending": `_unregister_task`.
        """
        task = asyncio.Task(work, loop=loop, **options)
        if current_delivery.get() is None:
            asyncio._unregister_task(task)  # noqa: SLF001 - documented, for implementers of tasks
            self._ours.add(task)
        return task

    def _pending(self, loop: asyncio.AbstractEventLoop) -> list["asyncio.Task[Any]"]:
        return [task for task in {*self._ours, *asyncio.all_tasks(loop)} if not task.done()]


def _run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    task = loop.create_task(main)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if not task.done():
                log.exception("a task or a callback tried to end the process", error=type(error).__name__)
        except RuntimeError as error:
            if not task.done():
                if loop.is_closed():
                    raise
                log.exception("a handler tried to stop the event loop", error=str(error))
        except BaseException:
            if not task.done():
                raise
    return task.result()


async def _briefly(work: Iterable[Awaitable[object]]) -> None:
    """Wait for all of them, for at most _LET_FINISH_S."""
    if tasks := [asyncio.ensure_future(each) for each in work]:
        await asyncio.wait(tasks, timeout=_LET_FINISH_S)


def tune_garbage_collection() -> None:
    """Run the cyclic garbage collector less often: nearly all objects are freed by reference counting.

    The collector costs an echo a tenth of its time. Imported objects are excluded from it (`gc.freeze`).
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
