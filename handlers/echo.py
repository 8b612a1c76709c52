"""The smallest conversation: say everything back."""

from telegram.dialogue import MessageContext, Router, text

router = Router()


@router.message(text)
async def echo(ctx: MessageContext) -> None:
    """Answer a text with exactly that text."""
    ctx.reply(ctx.text)
