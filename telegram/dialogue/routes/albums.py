"""Albums: one call of the handler for all messages of a media group, even if they are not consecutive.

Each message of a media group is an update of its own; only `media_group_id` connects them (Telegram Bot API, Message).
Other people's messages can be between them, and the last ones can arrive a second later.

When the first message is handled, the group's other messages in the lane are gathered, until no more arrive. They are
acked with it, or when their turn comes (telegram/dialogue/routes/taken.py); the state is one of the album.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeGuard

from engine import Delivery, Envelope, Park
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import MessageContext
from telegram.dialogue.routes.taken import take, was_taken

ALBUM_MAX: Final = 10
"""Messages of one media group (Telegram Bot API, sendMediaGroup)."""

ALBUM_WAIT_S: Final = 1.2
"""Maximum time between two messages of an album: a second, and the latency of a long poll."""

ALBUM_KINDS: Final = frozenset(("message", "channel_post"))

_SCOPE: Final = "~album"
_LEFT_MAX: Final = 1000

Look = Callable[[], Awaitable[Sequence[Envelope]]]
Read = Callable[[Envelope], Context | None]


class Albums:
    """Gathers albums; remembers those that no album handler took, whose other messages are not waited for."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, None] = OrderedDict()
        self.is_stopping = False
        """The bot stops polling: an incomplete album waits in the lane for the next start."""

    async def gather(
        self, ctx: MessageContext, delivery: Delivery, was: bytes | None, look: Look, read: Read
    ) -> bool:
        """Set the context's `album`; False if the message was handled with its album before (`was`: the album's state).

        Park if the bot stops before the album is complete.
        """
        ctx.memory.lend(_SCOPE, (ctx.key, scope_of(ctx)), was)
        if was_taken(ctx, _SCOPE):
            return False
        known = -1
        while True:
            members, is_whole = _members(ctx, delivery, await look(), read)
            if is_whole or scope_of(ctx) in self._left:
                break
            if self.is_stopping:
                raise Park("the bot stops in the middle of an album", delay_s=0.0)
            if len(members) == known:
                break
            known = len(members)
            await asyncio.sleep(ALBUM_WAIT_S)
        ctx.album = tuple(members)
        return True

    def leave(self, ctx: MessageContext) -> None:
        """Note that no album handler took it, so that its other messages are not waited for."""
        self._left[scope_of(ctx)] = None
        if len(self._left) > _LEFT_MAX:
            self._left.popitem(last=False)

    async def close(self, ctx: MessageContext, peek: Look) -> None:
        """Add the ack of the other messages to the commit."""
        await take(ctx, _SCOPE, [each.update_id for each in ctx.album[1:]], peek)


def scope_of(ctx: MessageContext) -> str:
    """Return the scope of the album's state."""
    return f"{_SCOPE}:{ctx.message.media_group_id}"


def is_album(ctx: Context) -> TypeGuard[MessageContext]:
    """Return whether the update is a message of a media group that may be gathered."""
    return (
        isinstance(ctx, MessageContext) and ctx.kind in ALBUM_KINDS and ctx.message.media_group_id is not None
    )


def _members(
    first: MessageContext, delivery: Delivery, behind: Sequence[Envelope], read: Read
) -> tuple[list[MessageContext], bool]:
    """Return the album's messages in the lane, and whether it is complete.

    An album is sent at once: a later message of the same sender shows that it is complete. In a channel all messages have
    the same sender, and two albums can be interleaved: a message of another album shows it only if none of this one follows.
    """
    group = first.message.media_group_id
    members, is_whole = [first], False
    for envelope in behind:
        if envelope.scope != delivery.envelope.scope:
            continue
        other: Any = read(envelope) if b'"media_group_id"' in envelope.body else None
        if not is_album(other) or other.kind != first.kind:
            return members, True
        if is_whole := other.message.media_group_id != group:
            continue
        members.append(other)
    return members, is_whole or len(members) >= ALBUM_MAX
