"""The bot under test: answers every text with the evidence that telegram/load/checker.py judges by."""

import asyncio
import os
import time

from telegram.dialogue import MessageContext, Router, text
from telegram.load.checker import Evidence
from telegram.load.plan import BotPlan

HANDLER_S = BotPlan.read().handler_ms / 1000
PID = os.getpid()

router = Router()


@router.message(text)
async def count(ctx: MessageContext) -> None:
    """Work for a while, count in the state, and tell both in the reply."""
    begin_ns = time.monotonic_ns()
    await asyncio.sleep(HANDLER_S)
    end_ns = time.monotonic_ns()
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    ctx.reply(str(Evidence(ctx.text, ctx.update_id, ctx.data["count"], begin_ns, end_ns, PID)))
