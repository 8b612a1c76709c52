"""The entry for sources of updates: waits for room, and makes updates durable."""

import asyncio
from collections.abc import Sequence

import structlog

from engine.errors import StoreUnavailable
from engine.model import Envelope, Post, Right
from engine.moved import deprecated, former_right
from engine.store import Arrived, Store

log = structlog.get_logger(__name__)

_FULL_POLL_S = 0.2


class Inbox:
    """The inbox as a source of updates sees it. `pending_max` is the number of pending updates that stops polling."""

    def __init__(self, store: Store, *, pending_max: int = 1_000_000, arrived: Arrived | None = None) -> None:
        if arrived is not None:
            deprecated("arrived=", "use a handler with the method arrived(batch)")
        self._store = store
        self._arrived = arrived
        self._pending_max = pending_max

    async def room(self) -> int:
        """Wait until there is room; return how many more updates fit, at least 1.

        A full inbox is an error in the log: Telegram drops callbacks after 150 s and keeps at most 100,000 updates.
        """
        full = False
        while (room := await self._store.room(self._pending_max)) < 1:
            if not full:
                log.error("inbox full: polling waits", pending_max=self._pending_max)
            full = True
            await asyncio.sleep(_FULL_POLL_S)
        return room

    async def right(self) -> Right:
        """Wait until this process alone may append; return its right, the same one for as long as it holds it."""
        return await self._store.right()

    async def resign(self, right: Right) -> None:
        """Let another process append."""
        await self._store.resign(right)

    async def accept(
        self, right: Right, batch: Sequence[Envelope] | None = None, aliases: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Make aliases (name and key of the lane) and updates durable, in one step.

        StoreUnavailable if that cannot be done now; RightLost if another process may append.
        """
        if batch is None:
            right, batch = await former_right(self._store, right)
        await self._store.append(right, batch, aliases)
        if self._arrived is not None:
            self._arrived(batch)

    async def post(self, posts: Sequence[Post]) -> None:
        """Make posts durable.

        StoreUnavailable if that cannot be done now, also because the inbox is full; TooManyTimers if a lane has too many.
        """
        if await self._store.room(self._pending_max) < len(posts):
            raise StoreUnavailable(f"the inbox is full: {self._pending_max} updates are pending")
        await self._store.post(posts)
