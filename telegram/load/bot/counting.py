"""The default bot under test: answers each text with the evidence for telegram/load/checkers/checker.py."""

import asyncio
import os
import time

from telegram.dialogue import MessageContext, Router, text
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan

HANDLER_S = BotPlan.read().handler_ms / 1000
PID = os.getpid()

router = Router()


@router.message(text)
async def count(ctx: MessageContext) -> None:
    """Sleep for HANDLER_S, increment the count in the state, and reply with both as evidence."""
    begin_ns = time.monotonic_ns()
    await asyncio.sleep(HANDLER_S)
    end_ns = time.monotonic_ns()
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    ctx.reply(str(Evidence(ctx.text, ctx.update_id, ctx.data["count"], begin_ns, end_ns, PID)))
