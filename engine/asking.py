"""Asks a store until it answers: an outage is waited for, an unexpected error is tried once more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from engine.errors import LeaseLost, NotPeeked, StateChanged, StoreError, StoreUnavailable, TooManyTimers
from engine.outcome import described

log = structlog.get_logger(__name__)
T = TypeVar("T")

_ASK_AGAIN_MAX_S: Final = 10.0
"""An unavailable store is asked at least this often."""

_UNEXPECTED_MAX: Final = 2
"""An unexpected error may be that of another delivery in the same transaction: the second one is this delivery's."""

_ANSWERS: Final = (LeaseLost, StateChanged, NotPeeked, TooManyTimers, StoreError, GeneratorExit)
"""What is raised as it is: an answer of the store, or its end."""


class StoreFailed(Exception):  # noqa: N818 - of one request
    """The store raised what it should not, again: it will not do this one thing."""


class Asking:
    """Makes the requests of one pool. `backoff` gives the pause before the n-th try, in seconds."""

    def __init__(self, queue: str, backoff: Callable[[int], float]) -> None:
        self._queue = queue
        self._backoff = backoff
        self._waiting = 0  # requests that wait for an unavailable store
        self.is_over = False
        """The pool has ended: from now on a cancellation is meant."""

    async def insist(
        self, act: Callable[[], Awaitable[T]], failed: BaseException | None = None, *, forever: bool = False
    ) -> T:
        """Return what `act` returns; `failed` is what its first try has raised, the second one comes at once.

        Raises what the store answers, and StoreFailed for an unexpected error, unless it is to try `forever`.
        """
        tries = unexpected = 0
        is_away = False
        if failed is not None:
            unexpected = self._sort(failed)
        try:
            while True:
                try:
                    return await act()
                except BaseException as error:
                    tries += 1
                    unexpected += self._sort(error)
                    if isinstance(error, StoreUnavailable) and not is_away:
                        is_away = True
                        self._went_away(error)
                    if isinstance(error, asyncio.CancelledError) or (unexpected == 1 and tries == 1):
                        continue
                    if unexpected >= _UNEXPECTED_MAX and not forever:
                        raise StoreFailed(described(error)) from error
                await self._pause(tries)
        finally:
            if is_away:
                self._came_back()

    def _sort(self, error: BaseException) -> int:
        """Raise what is an answer; return 1 for an unexpected error, 0 for what is only to be asked again."""
        if isinstance(error, _ANSWERS):
            raise error
        if isinstance(error, StoreUnavailable):
            return 0
        if isinstance(error, asyncio.CancelledError):
            if self.is_over:
                raise error
            return 0  # it was meant for a handler that is gone: any request may be repeated
        log.error("unexpected error of the store", queue=self._queue, error=described(error), exc_info=error)
        return 1

    async def _pause(self, tries: int) -> None:
        try:
            await asyncio.sleep(min(self._backoff(tries), _ASK_AGAIN_MAX_S))
        except asyncio.CancelledError:
            if self.is_over:
                raise

    def _went_away(self, error: StoreUnavailable) -> None:
        self._waiting += 1
        if self._waiting == 1:  # one line for all workers
            log.error("store unavailable", queue=self._queue, reason=str(error))

    def _came_back(self) -> None:
        self._waiting -= 1
        if not self._waiting and not self.is_over:
            log.info("store available again", queue=self._queue)
