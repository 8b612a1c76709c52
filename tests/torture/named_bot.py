"""What the bot of the campaign `named` runs: it answers with a named message, and edits that by its name."""

from typing import Final

from telegram.dialogue import MessageContext, Router, text

MENU: Final = "menu"
EDITED: Final = "edited"

router = Router()


@router.message(text)
async def answers(ctx: MessageContext) -> None:
    """Send a message and edit it, in one commit."""
    ctx.reply(f"{MENU} {ctx.text}", name="menu")
    ctx.named("menu").edit(f"{EDITED} {ctx.text}")
