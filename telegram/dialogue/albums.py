"""Albums: one call of the handler for all messages of a media group, also where they do not stand in a row.

Each message of a media group is an update of its own, and only `media_group_id` tells that they belong together
(Telegram Bot API, Message). Other people's messages can stand between them, and the last ones can come a second later.

1. At the first message's turn: gather what there is of the group behind it, for as long as more of it comes.
2. The commit acks the first message and those directly behind it. The others stay in the lane: the same commit names
   them in a state of the album's own.
3. At their turn they are acked without a handler; the state goes with the last of them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeGuard

from engine import Delivery, Envelope, Park
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import MessageContext

ALBUM_MAX: Final = 10
"""Messages of one media group (Telegram Bot API, sendMediaGroup)."""

ALBUM_WAIT_S: Final = 1.2
"""So long after one message of an album the next may still come: a second, and the way of a long poll."""

ALBUM_KINDS: Final = frozenset(("message", "channel_post"))

_SCOPE: Final = "~album"
_HANDLED: Final = "handled"
_LEFT_MAX: Final = 1000

Look = Callable[[], Awaitable[Sequence[Envelope]]]
Read = Callable[[Envelope], Context | None]


class Albums:
    """The albums that are under way; remembers those that no album's handler took, to wait for them once only."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, None] = OrderedDict()
        self.is_stopping = False
        """Nothing is fetched any more: what is not whole waits for the rest until the next start."""

    async def gather(
        self, ctx: MessageContext, delivery: Delivery, was: bytes | None, look: Look, read: Read
    ) -> bool:
        """Give the context its album. False if the message was handled with one before: `was` is the album's state.

        Park if the bot stops before it is whole.
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
        """No handler of albums took it: its other messages are not waited for."""
        self._left[scope_of(ctx)] = None
        if len(self._left) > _LEFT_MAX:
            self._left.popitem(last=False)

    async def close(self, ctx: MessageContext, peek: Look) -> None:
        """Have the commit ack the messages directly behind the first, and remember the others."""
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
    """Return the name of the album's own state."""
    return f"{_SCOPE}:{ctx.message.media_group_id}"


def is_album(ctx: Context) -> TypeGuard[MessageContext]:
    """Whether the update is a message of a media group that may be gathered."""
    return (
        isinstance(ctx, MessageContext) and ctx.kind in ALBUM_KINDS and ctx.message.media_group_id is not None
    )


def _members(
    first: MessageContext, delivery: Delivery, behind: Sequence[Envelope], read: Read
) -> tuple[list[MessageContext], bool]:
    """Return the messages of the album that are there, and whether more cannot come.

    An album is sent in one go: another message of the same sender behind it says that it is whole. In a channel all
    have the same sender, so two albums can come at once: another album says that only if nothing of this one follows.
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
