"""The smallest conversation: say everything back."""

from telegram.dialogue import Context, Router, text

router = Router()


@router.message(text)
async def echo(ctx: Context) -> None:
    """Answer a text with exactly that text."""
    ctx.reply(ctx.text)
