"""What the bot of the stubborn campaign runs: every text is answered with evidence; what names a kind is stubborn once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from telegram.dialogue import MessageContext, Router, text
from telegram.load.bot.counting import count
from tests.torture.stubbornness import KINDS, RESOURCE_CLOSES

router = Router()


@router.resource
async def resource() -> AsyncIterator[None]:
    """Does not close if a kind wants that."""
    yield
    while not RESOURCE_CLOSES.is_set():
        await asyncio.sleep(3600)


@router.message(text)
async def handle(ctx: MessageContext) -> None:
    """Answer with evidence; whoever asks for a kind gets the answer of the next process."""
    if (resist := KINDS.get(ctx.text)) and not (mark := Path(f"struck {ctx.update_id}")).exists():
        mark.touch()
        await resist()
    await count(ctx)
