"""The owner: messages to all customers, and reports of errors."""

from collections.abc import AsyncIterator

from handlers.salon.model import salon
from telegram.dialogue import Context, EventContext, MessageContext, Post, Router, chat_type, command

router = Router()


def is_owner(ctx: Context) -> bool:
    """Match updates from the owner's chat."""
    return salon(ctx).owner == ctx.chat_id


@router.resource
async def poster(post: Post) -> AsyncIterator[Post]:
    """Posts events to the lanes of other chats."""
    yield post


@router.message(command("owner"), chat_type("private"))
async def owner(ctx: MessageContext) -> None:
    """Make the first one who asks the owner: send /owner yourself before you publish the bot."""
    if salon(ctx).owner is None:
        salon(ctx).owner = ctx.chat_id
        ctx.reply(ctx.t("You are the owner. /tell TEXT writes to all customers."))


@router.message(command("tell"), is_owner, timeout_s=600)
async def tell(ctx: MessageContext) -> None:
    """Post a text to the lane of each customer: durable, and once even if this handler runs again."""
    post = ctx.use(poster)
    customers = salon(ctx).customers
    for chat in customers:
        await post(chat, "news", {"text": ctx.args}, id=ctx.idempotency_key)
    ctx.reply(ctx.t("Sent to {n} customer", "Sent to {n} customers", n=len(customers)))


@router.event("news")
async def news(ctx: EventContext) -> None:
    """Send the owner's text, in order with what the customer does."""
    ctx.reply(ctx.payload["text"])


async def report(ctx: Context, error: Exception) -> None:
    """Report an update that is given up to the owner; the customer gets the usual apology."""
    if (chat := salon(ctx).owner) is not None:
        ctx.send(chat, f"{type(error).__name__}: {error}"[:1000])
