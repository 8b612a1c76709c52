"""The policy for the backlog after a downtime: messages that waited at Telegram for longer than a limit.

    handle          handle them like others (default)
    drop:SECONDS    acknowledge those that waited longer without a handler; count and log them
    tell:SECONDS    the same, and send each private chat a text, once for its whole backlog

The waiting time is the arrival minus the message's date, both by Telegram's clock. Both are in the inbox, so the policy
does not depend on restarts. Telegram keeps messages for 24 h (Telegram Bot API, Getting updates). Only messages and
reactions are dropped, since a person can repeat them. All other kinds are handled: changes of members and chats, business
connections, payments, and updates without a date (a button press waits at most 150 s).
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, cast

from engine import Delivery
from telegram.botapi.shortcuts import part
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import MESSAGE_KINDS, MessageContext
from telegram.dialogue.filters.limits import date_of, has_begun, is_payment

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
    """A policy: messages that waited longer than `older_s` seconds are dropped; with "tell" private chats get a text."""

    what: Literal["drop", "tell"]
    older_s: float
    text: str = BACKLOG_TEXT

    def concerns(self, ctx: Context, delivery: Delivery) -> bool:
        """Return whether to drop the update."""
        if ctx.kind not in _KINDS or has_begun(delivery) or is_payment(ctx):
            return False
        if any(part(ctx.event, name) is not None for name in _MIGRATIONS):
            return False
        date = date_of(ctx)
        return date is not None and delivery.envelope.at - (date + 1.0) > self.older_s

    async def tell(self, ctx: Context, state: State, now: float) -> None:
        """Send the text if the chat is private and did not get it since the message was written.

        The time of sending is a state of the lane, in the same commit, so the text is sent once even if the process dies.
        """
        if self.what != "tell" or not self.text or not _is_private(ctx):
            return
        where = (ctx.key, _SCOPE)
        ctx.memory.lend(_SCOPE, where, await state(*where))
        known = ctx.conversation(_SCOPE).data
        if known.get(_TOLD_AT, 0.0) < (date_of(ctx) or 0.0):
            cast("MessageContext", ctx).reply(ctx.said(self.text), parse_mode=None)
            known[_TOLD_AT] = now


def _is_private(ctx: Context) -> bool:
    return ctx.kind in {"message", "edited_message"} and part(part(ctx.event, "chat"), "type") == "private"


def read_backlog(policy: str, text: str = BACKLOG_TEXT) -> Backlog | None:
    """Parse "handle" (None), "drop:SECONDS" or "tell:SECONDS"; ValueError with one line for anything else."""
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
