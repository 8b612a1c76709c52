"""What is done with the backlog after a downtime: messages that waited at Telegram's for longer than the author likes.

    handle          like any other (default)
    drop:SECONDS    those that waited longer are acknowledged without a handler, counted and logged
    tell:SECONDS    the same, and each private chat is sent a text, once for its whole backlog

How long an update waited is its arrival less its date, both by Telegram's clock. Both are in the inbox, so the policy
holds through any restart. Telegram keeps messages for 24 h (Telegram Bot API, Getting updates). Only messages and
reactions are dropped: what they are about can be said again. All other kinds are handled: changes of members and
chats, business connections, payments, and what has no date (a press waits for 150 s at the most).
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, cast

from engine import Delivery
from telegram.botapi.shortcuts import part
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import MESSAGE_KINDS, MessageContext
from telegram.dialogue.limits import date_of, has_begun, is_payment

BACKLOG: Final = "handle"
BACKLOG_TEXT: Final = "I was away for a while. If it still matters, please send it again."
TEXT_MAX: Final = 4096
"""Characters of a message (Telegram Bot API, sendMessage: text)."""

_KINDS: Final = MESSAGE_KINDS | {"message_reaction", "message_reaction_count"}
_MIGRATIONS: Final = ("migrate_to_chat_id", "migrate_from_chat_id")
_OLDER_MAX_S: Final = 86_400
_SCOPE: Final = "~backlog"
_TOLD_AT: Final = "told_at"

State = Callable[[str, str], Awaitable[bytes | None]]
"""Reads the state of a key and a scope."""


class Backlog(NamedTuple):
    """A policy: what waited for longer than `older_s` is dropped; with "tell" its private chat is sent a text."""

    what: Literal["drop", "tell"]
    older_s: float
    text: str = BACKLOG_TEXT

    def concerns(self, ctx: Context, delivery: Delivery) -> bool:
        """Whether the update is to be dropped."""
        if ctx.kind not in _KINDS or has_begun(delivery) or is_payment(ctx):
            return False
        if any(part(ctx.event, name) is not None for name in _MIGRATIONS):
            return False
        date = date_of(ctx)
        return date is not None and delivery.envelope.at - (date + 1.0) > self.older_s

    async def tell(self, ctx: Context, state: State, now: float) -> None:
        """Send the text, if the chat is a private one that was not sent it since the message was written.

        When it was sent is a state of the lane, in the same commit: so it goes out once, also over a kill.
        """
        if self.what != "tell" or not self.text or not _is_private(ctx):
            return
        where = (ctx.key, _SCOPE)
        ctx.memory.lend(_SCOPE, where, await state(*where))
        known = ctx.conversation(_SCOPE).data
        if known.get(_TOLD_AT, 0.0) < (date_of(ctx) or 0.0):
            cast("MessageContext", ctx).reply(self.text)
            known[_TOLD_AT] = now


def _is_private(ctx: Context) -> bool:
    return ctx.kind in {"message", "edited_message"} and part(part(ctx.event, "chat"), "type") == "private"


def read_backlog(policy: str, text: str = BACKLOG_TEXT) -> Backlog | None:
    """Read "handle" (None), "drop:SECONDS" or "tell:SECONDS"; ValueError with one line for anything else."""
    if len(text) > TEXT_MAX:
        raise ValueError(f"the text for a backlog has at most {TEXT_MAX} characters, not {len(text)}")
    what, colon, seconds = policy.partition(":")
    if policy == BACKLOG:
        return None
    if what not in {"drop", "tell"} or not colon or not seconds.isascii() or not seconds.isdecimal():
        raise ValueError("write handle, drop:SECONDS or tell:SECONDS")
    if not 1 <= int(seconds[:10]) <= _OLDER_MAX_S:
        raise ValueError(
            f"the seconds of a backlog are from 1 to {_OLDER_MAX_S}: Telegram keeps nothing longer"
        )
    return Backlog("drop" if what == "drop" else "tell", float(seconds), text)
