"""Handlers that an update can stop (`stop=`): /cancel does not wait for the work that it is to cancel.

The stopping update is handled in its turn in the lane; but its arrival stops handlers of earlier updates, running or not
yet started. A handler that has not returned when it arrives is stopped, even if it swallows its cancellation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from engine import Envelope
from telegram.botapi.routing import chat_beside

log = structlog.get_logger(__name__)


class Stopped(Exception):  # noqa: N818 - the user's request, not an error
    """An update has stopped the handler: its effects are discarded."""


class _Run:
    __slots__ = ("cuts", "stops", "task")

    def __init__(self, task: "asyncio.Task[Any]", stops: Callable[[Envelope], bool]) -> None:
        self.task = task
        self.stops = stops
        self.cuts = 0  # how many times it was cancelled

    def cut(self) -> None:
        """Cancel the handler. It can only arrive there: the task awaits in it until `Stoppable.run` ends."""
        self.cuts += 1
        self.task.cancel()


class Stoppable:
    """The running handlers that can be stopped: at most one per lane, several for a chat with urgent lanes."""

    def __init__(self) -> None:
        self._runs: dict[str, list[_Run]] = {}

    def stop(self, key: str, stops: Callable[[Envelope], bool]) -> None:
        """Stop the handler that was started with this `stops`; nothing happens if it has returned."""
        for run in self._runs.get(chat_beside(key), ()):
            if run.stops == stops:
                run.cut()

    def arrived(self, batch: Sequence[Envelope]) -> None:
        """Stop the handlers that one of these updates stops; called when they are durable in the inbox."""
        if self._runs:
            for envelope in batch:
                for run in self._runs.get(chat_beside(envelope.key), ()):
                    if run.stops(envelope):
                        run.cut()

    async def run(self, key: str, work: Awaitable[Any], stops: Callable[[Envelope], bool]) -> None:
        """Await `work`; raise Stopped if an update has stopped it."""
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
            if task.cancelling():  # also cancelled by a lost lease, a deadline or a drain, which has priority
                raise asyncio.CancelledError
            raise Stopped
