"""Several updates handled as one: an album, or all that a person wrote while the lane was busy."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from engine import Envelope
from telegram.dialogue.contexts import MessageContext
from telegram.types import Message

ALBUM_MAX: Final = 10
"""Messages of one media group (Telegram Bot API, sendMediaGroup)."""

BURST_MAX: Final = 100

ALBUM_WAIT_S: Final = 0.5
"""Telegram sends an album's messages one after another; so long after one the next may take."""

SPLIT_MAX: Final = 1000
"""Conversations whose failed bursts are remembered; of older ones, one more burst may fail."""


class Splits:
    """Which messages are handled one at a time: those of a burst that failed, until all of them were handled.

    Kept in memory. After a restart, the attempt number of the first message says the same of that one.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], frozenset[int]] = OrderedDict()

    def add(self, head: Envelope, ids: frozenset[int]) -> None:
        """Remember the updates of the failed burst that `head` began."""
        self._ids[head.key, head.scope] = ids
        if len(self._ids) > SPLIT_MAX:
            self._ids.popitem(last=False)

    def has(self, head: Envelope) -> bool:
        """Whether `head` belongs to a burst that failed. Any other update of the conversation ends the memory of it."""
        ids = self._ids.get((head.key, head.scope), frozenset())
        if head.id in ids:
            return True
        self._ids.pop((head.key, head.scope), None)
        return False


async def gather(
    first: MessageContext,
    batch: str,
    peek: Callable[[int], Awaitable[Sequence[Envelope]]],
    read: Callable[[Envelope], Awaitable[MessageContext | None]],
) -> list[Message]:
    """Return the messages of the batch that begins with `first`; they stand in a row in its lane.

    `read` gives what belongs to it; the first that does not ends it. For an album whose end is not in sight yet,
    waits until no more of it come.
    """
    is_album = batch == "album"
    known = 0 if is_album else BURST_MAX
    while True:
        behind = await peek(ALBUM_MAX - 1 if is_album else BURST_MAX - 1)
        messages = [first.message]
        for envelope in behind:
            ctx = await read(envelope)
            if ctx is None or (is_album and ctx.message.media_group_id != first.message.media_group_id):
                return messages
            messages.append(ctx.message)
        if len(messages) <= known or len(messages) >= ALBUM_MAX:
            return messages
        known = len(messages)
        await asyncio.sleep(ALBUM_WAIT_S)
