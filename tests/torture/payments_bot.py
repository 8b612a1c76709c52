"""What the bot of the payments campaign runs: texts as evidence, some of them slowly, and each query answered at once."""

import asyncio
import time
from pathlib import Path
from typing import Any

from telegram.dialogue import CallbackContext, ChatContext, Context, MessageContext, Router, text
from telegram.load.bot.counting import count

SLOW = "slow"
ENOUGH = "enough"
"""A file in the working directory: slow handlers end."""

_LOOK_EVERY_S = 0.1

router = Router()


@router.message(text)
async def handle(ctx: MessageContext) -> None:
    """Answer with evidence; "slow 30 ..." takes half a minute, or until it is ENOUGH."""
    if ctx.text.startswith(SLOW):
        end = time.monotonic() + float(ctx.text.split()[1])
        while time.monotonic() < end and not Path(ENOUGH).exists():
            await asyncio.sleep(_LOOK_EVERY_S)
    await count(ctx)


@router.pre_checkout_query()
async def pays(ctx: ChatContext[Any]) -> None:
    """Count in the private chat's state, which its texts count in, too."""
    ctx.data["payments"] = ctx.data.get("payments", 0) + 1
    ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)


@router.inline_query()
async def types(ctx: Context[Any]) -> None:
    """Find nothing."""
    ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])


@router.callback_query()
async def presses(ctx: CallbackContext) -> None:
    """Say so."""
    ctx.answer("noted")
