"""Albums: one call of the handler for all messages of a media group, even if they are not consecutive.

Each message of a media group is an update of its own; only `media_group_id` connects them (Telegram Bot API, Message).
Other people's messages can be between them, and the last ones can arrive a second later.

1. When the first message is handled, the group's other messages in the lane are gathered, until no more arrive.
2. The commit acks the first message and those directly behind it. The ids of the others are stored, in the same commit,
   in a state of the album.
3. When their turn comes they are acked without a handler; the state is deleted with the last of them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeGuard

from engine import Delivery, Envelope, Park
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import MessageContext

ALBUM_MAX: Final = 10
"""Messages of one media group (Telegram Bot API, sendMediaGroup)."""

ALBUM_WAIT_S: Final = 1.2
"""Maximum time between two messages of an album: a second, and the latency of a long poll."""

ALBUM_KINDS: Final = frozenset(("message", "channel_post"))

_SCOPE: Final = "~album"
_HANDLED: Final = "handled"
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
        state = ctx.conversation(_SCOPE).data
        handled: list[int] = state.get(_HANDLED, [])
        if ctx.update_id in handled:
            handled.remove(ctx.update_id)
            if not handled:
                state.clear()
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
        """Add to the commit: the ack of the messages directly behind the first, and the ids of the others as state."""
        ids = [each.update_id for each in ctx.album[1:]]
        row = 0
        for envelope in await peek():
            if envelope.id not in ids:
                break
            ids.remove(envelope.id)
            row += 1
        ctx.also = row
        if ids:
            ctx.conversation(_SCOPE).data[_HANDLED] = ids


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
