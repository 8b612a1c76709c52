"""The thread that uses a store's file: it runs jobs in the order of `submit`, and each outcome comes back to the event loop.

An own thread with a plain queue instead of an executor, because an executor's futures cost more than a small transaction
does: here one job is one `put` and one `call_soon_threadsafe`.

The thread never keeps the process alive: it is a daemon thread. A job that hangs on a disk delays neither the
interpreter's exit nor a forced stop. What such a job leaves in the file is what a killed process leaves, and its caller has no
outcome.
"""

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar

from engine.stores.owned.writer import fail

T = TypeVar("T")

Then = Callable[[], object]
"""Called on the event loop; it must not raise."""

Job = Callable[[], Then]
"""Called on the thread; returns what the event loop has to do with its outcome."""

Failed = Callable[[BaseException], object]
"""Called on the event loop instead, if the job raised."""


class JobThread(Protocol):
    """Where a store's jobs run. A simulation has one of its own. Methods are called on the event loop."""

    def submit(self, job: Job, failed: Failed) -> None:
        """Run `job()` after all jobs submitted before."""

    def end(self) -> None:
        """End after the jobs submitted before; may be repeated."""

    def join(self) -> None:
        """After `end`: block until the thread has ended."""


class OwnThread:
    """A thread. If it is dropped without `end`, it ends then. Thread safe."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, Failed] | None] = SimpleQueue()
        # Outcomes run in the context of the opening, not in that of whichever caller's request came first.
        deliver = partial(_deliver, asyncio.get_running_loop(), copy_context())
        self._thread = Thread(target=_run, args=(self._jobs, deliver), name="sqlite writer", daemon=True)
        self._thread.start()
        self._end = weakref.finalize(self, self._jobs.put, None)
        self._end.atexit = False

    def submit(self, job: Job, failed: Failed) -> None:
        """See JobThread."""
        self._jobs.put((job, failed))

    def end(self) -> None:
        """See JobThread."""
        self._end()

    def join(self) -> None:
        """See JobThread."""
        self._thread.join()


def result_on(thread: JobThread, function: Callable[[], T]) -> "asyncio.Future[T]":
    """Run a function on the thread; the future gets its result or its error."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    thread.submit(lambda: partial(_resolve, future, function()), partial(fail, future))
    return future


def outcome(job: Job, failed: Failed) -> Then:
    """Run a job; return what the event loop has to do."""
    try:
        return job()
    except BaseException as error:  # noqa: BLE001 - `failed` gets it
        return partial(failed, error)


def _run(jobs: "SimpleQueue[tuple[Job, Failed] | None]", deliver: Callable[[Then], None]) -> None:
    while (job := jobs.get()) is not None:
        deliver(outcome(*job))
        del job  # else an idle thread would keep its store from being dropped


def _deliver(loop: asyncio.AbstractEventLoop, context: Context, then: Then) -> None:
    # The loop may be closed. No caller waits any more then, but the next job may be the one that closes the file.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(then, context=context)


def _resolve(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)
