"""The part of the bot that the code of all formats runs, also that of before flows and timers."""

import asyncio

from telegram.dialogue import Context, Reject, Retry, Router, command


def simple(*, is_open: bool) -> Router:
    """`is_open`: what waited for it goes on; before, it fails or hangs."""
    found = Router()

    @found.message(command("count"))
    async def count(ctx: Context) -> None:
        ctx.data["count"] = ctx.data.get("count", 0) + 1
        ctx.call("sendMessage", chat_id=ctx.chat_id, text=f"count {ctx.data['count']}")

    @found.message(command("bad"))
    async def bad(ctx: Context) -> None:
        if not is_open:
            raise Reject("not open yet")
        ctx.call("sendMessage", chat_id=ctx.chat_id, text="good now")

    @found.message(command("later"))
    async def later(ctx: Context) -> None:
        if not is_open:
            raise Retry("not open yet", after_s=3600)
        ctx.call("sendMessage", chat_id=ctx.chat_id, text=f"attempt {ctx.attempt}")

    @found.message(command("hang"))
    async def hang(ctx: Context) -> None:
        if not is_open:
            await asyncio.sleep(3600)
        ctx.call("sendMessage", chat_id=ctx.chat_id, text="no longer")

    return found
