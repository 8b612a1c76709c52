"""Ids that a session has reserved: blocks of a counter in the database, so that each is given once."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from engine.stores.owned.ids import Kind, Span
from engine.stores.postgres.connection import Connection

BLOCKS: Final[dict[Kind, int]] = {"calls": 1 << 22, "timers": 1 << 22, "letters": 1 << 10}
"""How many ids a session reserves at once. There are 2**52: enough for 2**30 times, a reservation a second for 34 years."""

_RESERVE: Final = """
INSERT INTO {0}.mark (bot, kind, value) VALUES ($1, $2, $3)
ON CONFLICT (bot, kind) DO UPDATE SET value = mark.value + $3 RETURNING value"""
_GIVE_BACK: Final = "UPDATE {0}.mark SET value = $3 WHERE bot = $1 AND kind = $2 AND value = $4"


class Blocks:
    """The blocks of one session. `reading` opens a connection for a reservation when a block comes to its end."""

    def __init__(
        self, schema: str, bot: int, reading: Callable[[], AbstractAsyncContextManager[Connection]]
    ) -> None:
        self.spans: dict[Kind, Span] = {
            kind: Span(1, 0, partial(self._reserve_more, kind)) for kind in BLOCKS
        }
        self._schema = schema
        self._bot = bot
        self._reading = reading
        self._reserving: dict[Kind, asyncio.Task[None]] = {}

    async def reserve(self, connection: Connection, *kinds: Kind) -> None:
        """Reserve ids that are higher than all that were reserved before."""
        for kind in kinds:
            size = BLOCKS[kind]
            last = await connection.fetchval(_RESERVE.format(self._schema), self._bot, kind, size)
            self.spans[kind].continue_with(last - size + 1, last)

    async def give_back(self, connection: Connection, kind: Kind) -> None:
        """Let the next session use what is left, if no other one has reserved ids meanwhile."""
        await connection.execute(_GIVE_BACK.format(self._schema), self._bot, kind, *self.spans[kind].unused)

    def _reserve_more(self, kind: Kind) -> None:
        async def more() -> None:
            async with self._reading() as connection:
                await self.reserve(connection, kind)

        if kind in self._reserving and not self._reserving[kind].done():
            return
        self._reserving[kind] = task = asyncio.create_task(more(), name="reserving ids")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
