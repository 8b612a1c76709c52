"""Handlers that an update can stop: /cancel does not wait behind the work that it is to cancel.

The stopping update is an ordinary one of the lane, handled next and in its order; all that is special is that its
arrival ends what stands before it, running or not yet begun.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from engine import Envelope


class Stopped(Exception):  # noqa: N818 - a wish of the user, not an error
    """An update has ended the handler: nothing of what it wanted happens."""


class _Run(NamedTuple):
    task: "asyncio.Task[Any]"
    stops: Callable[[Envelope], bool]


class Stoppable:
    """The handlers that run now and can be stopped, one at most in each lane."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def arrived(self, batch: Sequence[Envelope]) -> None:
        """Stop what one of these updates stops; they are in the inbox by now."""
        if self._runs:
            for envelope in batch:
                run = self._runs.get(envelope.key)
                if run is not None and run.stops(envelope):
                    run.task.cancel(Stopped)

    async def run(self, key: str, work: Awaitable[Any], stops: Callable[[Envelope], bool]) -> Any:
        """Await `work`; raises Stopped if an update has stopped it. Cancelling this cancels the work."""
        task = asyncio.ensure_future(work)
        self._runs[key] = _Run(task, stops)
        try:
            return await task
        except asyncio.CancelledError as cancelled:
            if Stopped in cancelled.args and not _cancelling():
                raise Stopped from None
            raise
        finally:
            del self._runs[key]


def _cancelling() -> bool:
    """Whether the task that awaits was itself cancelled (a lost lease, a deadline, the end of a drain)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
