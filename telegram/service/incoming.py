"""The path of updates from Telegram into the inbox, shared by the poller, a webhook and the test kit.

A group that becomes a supergroup continues in its old lane: the alias is stored in the same step as the updates.
"""

from collections.abc import Sequence
from typing import Protocol

from engine import Envelope, Observe, Right
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope, migration
from telegram.service.observe import Received


class Inbox(Protocol):
    """What `take_in` needs of engine.Inbox."""

    async def right(self) -> Right:
        """Wait until this process alone may append; return its right, the same one for as long as it holds it."""
        ...

    async def resign(self, right: Right) -> None:
        """Let another process append."""
        ...

    async def room(self) -> int:
        """Wait until there is room; return how many more updates fit, at least 1. StoreUnavailable."""
        ...

    async def accept(
        self, right: Right, batch: Sequence[Envelope], aliases: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Append updates and aliases; they are durable when it returns. StoreUnavailable or RightLost otherwise."""
        ...


async def take_in(
    inbox: Inbox, right: Right, updates: Sequence[RawUpdate], at: float, observe: Observe | None = None
) -> None:
    """Append updates that arrived at Unix time `at`, by Telegram's clock; they are durable when it returns.

    `observe` is called with Received first; it must not raise. After StoreUnavailable repeat it with the same updates;
    those already stored are ignored. After RightLost nothing was stored, and Telegram must not be asked for later updates.
    """
    if observe is not None:
        observe(Received(tuple(updates), at))
    moved = [found for update in updates if (found := migration(update.fields)) is not None]
    await inbox.accept(right, [envelope(update, at) for update in updates], moved)
