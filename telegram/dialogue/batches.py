"""Several updates handled as one: an album, or all that a person wrote while the lane was busy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from engine import Envelope
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import MessageContext
from telegram.dialogue.router import Taken
from telegram.types import Message

ALBUM_MAX: Final = 10
"""Messages of one media group (Telegram Bot API, sendMediaGroup)."""

BURST_MAX: Final = 100

ALBUM_WAIT_S: Final = 0.5
"""Telegram sends an album's messages one after another; so long the rest may take."""


async def gather(
    first: MessageContext,
    taken: Taken,
    peek: Callable[[int], Awaitable[Sequence[Envelope]]],
    read: Callable[[Envelope], Context | None],
) -> list[Message]:
    """Return the messages of the batch that begins with `first`; they stand in a row in its lane.

    For an album whose end is not in sight yet, waits a moment for the rest.
    """
    is_album = taken.options.batch == "album"
    waited = not is_album
    while True:
        behind = await peek(ALBUM_MAX - 1 if is_album else BURST_MAX - 1)
        messages = [first.message]
        for envelope in behind:
            ctx = read(envelope)
            if not isinstance(ctx, MessageContext) or not taken.wants(ctx):
                break
            if is_album and ctx.message.media_group_id != first.message.media_group_id:
                break
            messages.append(ctx.message)
        if waited or len(messages) <= len(behind) or len(messages) == ALBUM_MAX:
            return messages
        await asyncio.sleep(ALBUM_WAIT_S)
        waited = True
