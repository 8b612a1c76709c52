"""Repeats a request to a store: an outage is waited out, an unexpected error is retried once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from engine.errors import (
    LeaseLost,
    NotPeeked,
    SqlFailed,
    StateChanged,
    StoreError,
    StoreUnavailable,
    TooManyTimers,
    TransactionFailed,
)
from engine.outcome import described

log = structlog.get_logger(__name__)
T = TypeVar("T")

_ASK_AGAIN_MAX_S: Final = 10.0
"""Longest pause between two attempts at an unavailable store."""

_UNEXPECTED_MAX: Final = 2
"""The first unexpected error may belong to another delivery in the same transaction; the second is this delivery's."""

_ANSWERS: Final = (
    LeaseLost, StateChanged, NotPeeked, TooManyTimers, SqlFailed, TransactionFailed, StoreError, GeneratorExit,
)  # fmt: skip
"""Raised unchanged: a result of the request, the failure of the store, or the destruction of the task."""


class StoreFailed(Exception):  # noqa: N818 - of one request
    """The store raised an unexpected error twice: this one request cannot be done."""


class Asking:
    """Makes the requests of one pool. `backoff` returns the pause after the n-th failed attempt, in seconds."""

    def __init__(self, queue: str, backoff: Callable[[int], float]) -> None:
        self._queue = queue
        self._backoff = backoff
        self._waiting = 0  # requests that wait for an unavailable store
        self.is_over = False
        """The pool has ended: from now on a cancellation is a shutdown."""

    async def insist(
        self, act: Callable[[], Awaitable[T]], failed: BaseException | None = None, *, forever: bool = False
    ) -> T:
        """Return what `act` returns. `failed` is what an earlier attempt raised; `act` is then called at once.

        Raises the errors in _ANSWERS, and StoreFailed after repeated unexpected errors (never with `forever`).
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
        """Raise an error that is an answer; return 1 for an unexpected error, 0 for one that is only retried."""
        if isinstance(error, _ANSWERS):
            raise error
        if isinstance(error, StoreUnavailable):
            return 0
        if isinstance(error, asyncio.CancelledError):
            if self.is_over:
                raise error
            return 0  # it was meant for a handler that has ended: any request may be repeated
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
