"""Handlers that an update can stop: /cancel does not wait behind the work that it is to cancel.

The stopping update is an ordinary one of the lane, handled next and in its order; all that is special is that its
arrival ends what stands before it, running or not yet begun. Who is first is decided when it arrives: a handler that
has not returned by then is stopped, whatever it does with its cancellation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from engine import Envelope
from telegram.botapi.routing import chat_beside

log = structlog.get_logger(__name__)


class Stopped(Exception):  # noqa: N818 - a wish of the user, not an error
    """An update has ended the handler: nothing of what it wanted happens."""


class _Run:
    __slots__ = ("cuts", "stops", "task")

    def __init__(self, task: "asyncio.Task[Any]", stops: Callable[[Envelope], bool]) -> None:
        self.task = task
        self.stops = stops
        self.cuts = 0  # how many times it was cancelled


class Stoppable:
    """The handlers that run now and can be stopped: one at most in each lane, a few in a private chat's and those beside it."""

    def __init__(self) -> None:
        self._runs: dict[str, list[_Run]] = {}

    def arrived(self, batch: Sequence[Envelope]) -> None:
        """Stop what one of these updates stops; they are in the inbox by now."""
        if self._runs:
            for envelope in batch:
                for run in self._runs.get(chat_beside(envelope.key), ()):
                    if run.stops(envelope):
                        # It can only land inside the handler: the task waits there, and `run` notices its end at once.
                        run.cuts += 1
                        run.task.cancel()

    async def run(self, key: str, work: Awaitable[Any], stops: Callable[[Envelope], bool]) -> None:
        """Await `work`; Stopped if an update has stopped it."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a handler runs in a task")
        chat, run = chat_beside(key), _Run(task, stops)
        self._runs.setdefault(chat, []).append(run)
        try:
            await work
        except asyncio.CancelledError:
            if not run.cuts:
                raise
        except Exception:
            if not run.cuts:
                raise
            log.warning("a handler failed while it was being stopped", exc_info=True)
        finally:
            self._runs[chat].remove(run)
            if not self._runs[chat]:
                del self._runs[chat]
            for _ in range(run.cuts):
                task.uncancel()
        if run.cuts:
            if task.cancelling():  # by a lost lease, a deadline or a drain as well, which counts more
                raise asyncio.CancelledError
            raise Stopped
