"""What comes from Telegram, on its way into the inbox: the poller, a webhook and the test kit go through here.

A group that becomes a supergroup goes on in its old lane: that is stored before the updates of its new chat.
"""

from collections.abc import Sequence
from typing import Protocol

from engine import Envelope
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope, migration


class Inbox(Protocol):
    """Where updates go."""

    async def room(self) -> int:
        """Wait until there is room; return how many more updates fit, at least 1. Raises StoreUnavailable."""
        ...

    async def accept(self, batch: Sequence[Envelope]) -> None:
        """Durable when it returns; raises StoreUnavailable otherwise."""
        ...

    async def alias(self, name: str, key: str) -> None:
        """Lead what comes for the lane `name` from now on into the lane `key`; durable as `accept`."""
        ...


async def take_in(inbox: Inbox, updates: Sequence[RawUpdate], at: float) -> None:
    """Put updates into the inbox that arrived at Unix time `at`, by Telegram's clock; they are durable when it returns.

    StoreUnavailable: ask again with the same; what is stored already is ignored then.
    """
    for update in updates:
        if (moved := migration(update.fields)) is not None:
            await inbox.alias(*moved)
    await inbox.accept([envelope(update, at) for update in updates])
