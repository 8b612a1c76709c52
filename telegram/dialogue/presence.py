"""Which chats can be reached, as far as updates tell it."""

from telegram.client.peers import Peers
from telegram.dialogue.context import Context


def note_who_is_there(ctx: Context, peers: Peers) -> None:
    """Note that a chat from which something comes can be reached; not if what comes is that the bot was shut out."""
    if not ctx.key.startswith("chat:") or (chat_id := ctx.chat_id) is None:
        return  # the ids of other accounts' chats may equal those of the bot's own
    if ctx.kind == "my_chat_member":
        member = getattr(ctx.event, "new_chat_member", None)
        if getattr(member, "status", None) in ("left", "kicked"):  # of a tuple: it may be anything
            return
    peers.seen(chat_id)
