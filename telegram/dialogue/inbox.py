"""The inbox's handler: decode, route, run, effects."""

from engine import Delivery, Effects, Reject
from telegram.decoding import decode
from telegram.dialogue.context import Context
from telegram.dialogue.router import Router
from telegram.errors import Unreadable
from telegram.peers import Peers
from telegram.shortcuts import current


class InboxHandler:
    """Runs the handler that `router` finds for an update. What the handler raises is the engine's business."""

    def __init__(self, router: Router, *, username: str | None = None, peers: Peers | None = None) -> None:
        self._router = router
        self._peers = Peers() if peers is None else peers
        self.username = username
        """The bot's own name, which Telegram tells at the start: "/help@other_bot" is not for us."""

    async def __call__(self, delivery: Delivery) -> Effects:
        """Rejects an update that cannot be read; acknowledges one that nobody wants."""
        try:
            update = decode(delivery.envelope.body)
        except Unreadable as error:
            raise Reject(error.reason) from None
        ctx = Context(update, delivery, username=self.username)
        self._note_who_is_there(ctx)
        handler = self._router.match(ctx)
        if handler is None:
            return Effects()
        current.set(ctx)  # seen by this handler alone: the engine gives each one a context of its own
        await handler(ctx)
        return ctx.effects()

    def _note_who_is_there(self, ctx: Context) -> None:
        """A chat from which something comes can be reached; not if what comes is that the bot was shut out."""
        if not ctx.key.startswith("chat:") or (chat_id := ctx.chat_id) is None:
            return  # the ids of other accounts' chats may equal those of the bot's own
        member = getattr(ctx.event, "new_chat_member", None) if ctx.kind == "my_chat_member" else None
        if getattr(member, "status", None) not in {"left", "kicked"}:
            self._peers.seen(chat_id)
