"""Learns from updates which chats are reachable."""

from telegram.client.peers import Peers
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.routes.route import EVENT, TIMER


def note_reachable(ctx: Context, peers: Peers) -> None:
    """Record that the update's chat is reachable, unless the update says that the bot was blocked or removed there."""
    if ctx.kind in {EVENT, TIMER}:
        return  # not from Telegram
    if not ctx.key.startswith("chat:") or (chat_id := ctx.chat_id) is None:
        return  # the ids of other accounts' chats may equal those of the bot's own
    if ctx.kind == "my_chat_member":
        member = getattr(ctx.event, "new_chat_member", None)
        if getattr(member, "status", None) in ("left", "kicked"):  # not a set: the status may be unhashable
            return
    peers.seen(chat_id)
