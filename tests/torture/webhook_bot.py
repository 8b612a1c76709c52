"""What the bot of the webhook campaign runs: it counts the numbers of each chat, and notes what does not follow."""

from typing import Final

from telegram.dialogue import MessageContext, Router, regex

TOTAL: Final = "total"
_NOTED_MAX: Final = 5

router = Router()


@router.message(regex("[0-9]+"))
async def number(ctx: MessageContext) -> None:
    """Count; a number other than the next one is noted with the count."""
    count = ctx.data.get("count", 0)
    found = int(ctx.text)
    if found != count + 1:
        ctx.data["wrong"] = [*ctx.data.get("wrong", []), [count, found]][:_NOTED_MAX]
    ctx.data["count"] = count + 1


@router.message(regex(TOTAL))
async def total(ctx: MessageContext) -> None:
    """Say the count, and what did not follow."""
    ctx.reply(f"{ctx.data.get('count', 0)} {ctx.data.get('wrong', [])}")
