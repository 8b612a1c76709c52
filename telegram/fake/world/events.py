"""Events of a World, delivered to listeners such as the sandbox's page or a test."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from telegram.fake.protocol.answers import Json

EVENTS_MAX = 10_000


class Listener:
    """An async iterator over events until `close()`; also a context manager that closes it.

    Bounded: a listener that is more than EVENTS_MAX behind loses the oldest events; `missed` counts them.
    """

    def __init__(self, listeners: set["Listener"]) -> None:
        self._listeners = listeners
        self._events: deque[Json] = deque(maxlen=EVENTS_MAX)
        self._news = asyncio.Event()
        self._closed = False
        self.missed = 0
        listeners.add(self)

    def put(self, event: Json) -> None:
        """Add an event."""
        self.missed += len(self._events) == EVENTS_MAX
        self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """End the iteration at once; pending events are dropped."""
        self._closed = True
        self._listeners.discard(self)
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Json:
        while not self._events and not self._closed:
            self._news.clear()
            await self._news.wait()
        if self._closed:
            raise StopAsyncIteration
        return self._events.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
