"""The inbox's handler: decode, route, run, effects."""

from engine import Delivery, Effects, Reject
from telegram.dialogue.context import Context
from telegram.dialogue.router import Router
from telegram.errors import Unreadable
from telegram.types import decode


class InboxHandler:
    """Runs the handler that `router` finds for an update. What the handler raises is the engine's business."""

    def __init__(self, router: Router, *, username: str | None = None) -> None:
        self._router = router
        self.username = username
        """The bot's own name, which Telegram tells at the start: "/help@other_bot" is not for us."""

    async def __call__(self, delivery: Delivery) -> Effects:
        """Rejects an update that cannot be read; acknowledges one that nobody wants."""
        try:
            update = decode(delivery.envelope.body)
        except Unreadable as error:
            raise Reject(error.reason) from None
        ctx = Context(update, delivery, username=self.username)
        handler = self._router.match(ctx)
        if handler is None:
            return Effects()
        await handler(ctx)
        return ctx.effects()
