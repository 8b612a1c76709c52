"""Chatlane, run by run.py: HANDLERS names this module."""

import asyncio
import time

from telegram.dialogue import MessageContext, Router, text

from .work import die_with_parent, evidence, work_s

router = Router()
die_with_parent()


@router.message(text)
async def echo(ctx: MessageContext) -> None:
    """Work, count in the state, reply."""
    begin_ns = time.monotonic_ns()
    await asyncio.sleep(work_s(ctx.text))
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    ctx.reply(evidence(ctx.text, ctx.update_id, ctx.data["count"], begin_ns))
