"""The path of updates from Telegram into the inbox, shared by the poller, a webhook and the test kit.

A group that becomes a supergroup continues in its old lane: the alias is stored before the updates of the new chat.
"""

from collections.abc import Sequence
from typing import Protocol

from engine import Envelope, Observe
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope, migration
from telegram.service.observe import Received


class Inbox(Protocol):
    """What `take_in` needs of engine.Inbox."""

    async def room(self) -> int:
        """Wait until there is room; return how many more updates fit, at least 1. StoreUnavailable."""
        ...

    async def accept(self, batch: Sequence[Envelope]) -> None:
        """Append updates; they are durable when it returns. StoreUnavailable otherwise."""
        ...

    async def alias(self, name: str, key: str) -> None:
        """Append what comes for the lane `name` to the lane `key` from now on; durable as `accept`."""
        ...


async def take_in(
    inbox: Inbox, updates: Sequence[RawUpdate], at: float, observe: Observe | None = None
) -> None:
    """Append updates that arrived at Unix time `at`, by Telegram's clock; they are durable when it returns.

    `observe` is called with Received first; it must not raise. After StoreUnavailable repeat it with the same updates; those
    already stored are ignored.
    """
    if observe is not None:
        observe(Received(tuple(updates), at))
    for update in updates:
        if (moved := migration(update.fields)) is not None:
            await inbox.alias(*moved)
    await inbox.accept([envelope(update, at) for update in updates])
