"""What the bot of the campaign of events over HTTP runs: it answers each event with its count."""

import asyncio
from typing import Final

from telegram.dialogue import EventContext, Router

_PAUSE_S: Final = 0.005

router = Router()


@router.event("numbered")
async def numbered(ctx: EventContext) -> None:
    """Answer with the count of this chat and the event's number."""
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    await asyncio.sleep(_PAUSE_S)
    ctx.reply(f"{ctx.data['count']} {ctx.payload['number']}")
