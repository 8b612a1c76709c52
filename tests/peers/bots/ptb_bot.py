"""python-telegram-bot as its documentation starts a bot; "concurrent": with concurrent_updates(True)."""
# the framework is not in our environment, and its `telegram` is not ours:
# mypy: ignore-errors

import asyncio
import time

from telegram.ext import Application, ContextTypes, MessageHandler, filters

from telegram import Update

from .work import TOKEN, URL, VARIANT, die_with_parent, evidence, work_s


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    begin_ns = time.monotonic_ns()
    text = update.message.text
    await asyncio.sleep(work_s(text))
    counted = context.chat_data["count"] = context.chat_data.get("count", 0) + 1
    await update.message.reply_text(evidence(text, update.update_id, counted, begin_ns))


def main() -> None:
    builder = Application.builder().token(TOKEN).base_url(f"{URL}/bot")
    if VARIANT == "concurrent":
        builder.concurrent_updates(True)
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
    application.run_polling(allowed_updates=Update.ALL_TYPES)


if __name__ == "__main__":
    die_with_parent()
    main()
