"""/start and /help, and three buttons that show what a lane does."""

import asyncio
from typing import Final

from telegram.dialogue import CallbackContext, MessageContext, Router, button, command, inline

router = Router()

SLOW_JOB_S: Final = 3

KEYBOARD: Final = inline([("👋 Hello", "hello"), ("🔢 Count", "count"), ("🐢 Slow job", "slow")])


@router.message(command("start", help="A greeting and three buttons"))
async def start(ctx: MessageContext) -> None:
    """Greet by first name, with the buttons."""
    name = ctx.user.first_name if ctx.user else "there"
    ctx.reply(f"Hello, {name}! Write me something, or press a button.", reply_markup=KEYBOARD)


@router.message(command("help", help="What I can do"))
async def show_help(ctx: MessageContext) -> None:
    """List what the bot can do."""
    ctx.reply(
        "/start - a greeting and three buttons\n"
        "/help - this list\n"
        "/survey - three questions, with checks, back and a time-out\n"
        "/order - a basket and an address\n"
        "/quiz - a game for a group\n"
        "/report - a job that makes a file\n"
        "Any other text comes back as it is.\n\n"
        f"Try this: press “Slow job” and write at once. Your text waits {SLOW_JOB_S} s for its turn, "
        "because each chat is answered in order. Another chat does not wait."
    )


@router.callback_query(button("hello"))
async def hello(ctx: CallbackContext) -> None:
    """Answer with a short notice on top of the chat."""
    ctx.answer("Hello to you, too! 👋")


@router.callback_query(button("count"))
async def count(ctx: CallbackContext) -> None:
    """Count in the conversation state, which survives a restart, and show it in the message itself."""
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    ctx.edit(f"You have counted to {ctx.data['count']}.", reply_markup=KEYBOARD)
    ctx.answer()


@router.callback_query(button("slow"))
async def slow_job(ctx: CallbackContext) -> None:
    """Work for a while: this chat's next updates wait, other chats go on."""
    await asyncio.sleep(SLOW_JOB_S)
    ctx.answer()
    ctx.reply(f"The slow job took {SLOW_JOB_S} s. What you wrote meanwhile is answered now, in its order.")
