"""python-telegram-bot, as https://docs.python-telegram-bot.org shows it."""
# the framework is not in our environment, and its `telegram` is not ours:
# mypy: ignore-errors

import hashlib

from telegram.error import BadRequest, RetryAfter
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    PollAnswerHandler,
    filters,
)

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputMediaPhoto, ReplyKeyboardMarkup, Update

from .told import COMMANDS, NO_MESSAGE, PICTURES, POLL_OPTIONS, TOKEN, URL, die_with_parent, told

Context = ContextTypes.DEFAULT_TYPE


async def start(update: Update, context: Context) -> None:
    me = await context.bot.get_me()
    commands = await context.bot.get_my_commands()
    markup = InlineKeyboardMarkup([[InlineKeyboardButton("Press me", callback_data="pressed")]])
    sent = await update.message.reply_text("Hello", reply_markup=markup)
    facts = {
        "username": me.username,
        "commands": {each.command: each.description for each in commands},
        "message_id": sent.message_id,
        "button": sent.reply_markup.inline_keyboard[0][0].callback_data,
    }
    await update.message.reply_text(told("start", **facts))


async def pressed(update: Update, context: Context) -> None:
    query = update.callback_query
    answered = await query.answer("Done")
    edited = await query.edit_message_text("Pressed")
    facts = {
        "answered": answered,
        "message_id": edited.message_id,
        "text": edited.text,
        "edited": edited.edit_date is not None,
    }
    await context.bot.send_message(update.effective_chat.id, told("press", **facts))


async def keyboard(update: Update, context: Context) -> None:
    markup = ReplyKeyboardMarkup([["Red", "Blue"]], resize_keyboard=True)
    sent = await update.message.reply_text("Choose", reply_markup=markup)
    await update.message.reply_text(told("keyboard", message_id=sent.message_id))


async def photo(update: Update, context: Context) -> None:
    sent = await update.message.reply_photo(PICTURES / "one.png", caption="One <picture>")
    largest = sent.photo[-1]
    facts = {
        "message_id": sent.message_id,
        "file_size": largest.file_size,
        "width": largest.width,
        "caption": sent.caption,
    }
    await update.message.reply_text(told("photo", **facts))


async def album(update: Update, context: Context) -> None:
    media = [
        InputMediaPhoto((PICTURES / "one.png").read_bytes(), caption="Two pictures"),
        InputMediaPhoto((PICTURES / "two.png").read_bytes()),
    ]
    sent = await update.message.reply_media_group(media)
    facts = {
        "message_ids": [each.message_id for each in sent],
        "groups": len({each.media_group_id for each in sent}),
        "file_sizes": [each.photo[-1].file_size for each in sent],
        "captions": [each.caption for each in sent],
    }
    await update.message.reply_text(told("album", **facts))


async def document(update: Update, context: Context) -> None:
    file = await update.message.document.get_file()
    content = await file.download_as_bytearray()
    facts = {
        "file_name": update.message.document.file_name,
        "file_size": file.file_size,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    await update.message.reply_text(told("file", **facts))


async def poll(update: Update, context: Context) -> None:
    sent = await update.message.reply_poll("Tea or coffee?", POLL_OPTIONS, is_anonymous=False)
    facts = {
        "message_id": sent.message_id,
        "poll_id": sent.poll.id,
        "options": [option.text for option in sent.poll.options],
        "anonymous": sent.poll.is_anonymous,
    }
    await update.message.reply_text(told("poll", **facts))


async def vote(update: Update, context: Context) -> None:
    answer = update.poll_answer
    facts = {"poll_id": answer.poll_id, "user_id": answer.user.id, "option_ids": answer.option_ids}
    await context.bot.send_message(answer.user.id, told("vote", **facts))


async def refusal(update: Update, context: Context) -> None:
    try:
        await context.bot.edit_message_text("Nothing", update.effective_chat.id, NO_MESSAGE)
    except BadRequest as error:
        await update.message.reply_text(told("refusal", description=error.message))


async def flood(update: Update, context: Context) -> None:
    try:
        await update.message.reply_text("Too much")
    except RetryAfter as error:
        await update.message.reply_text(told("flood", retry_after=error.retry_after))


async def echo(update: Update, context: Context) -> None:
    sent = await update.message.reply_text(update.message.text, reply_to_message_id=update.message.message_id)
    facts = {
        "message_id": sent.message_id,
        "text": sent.text,
        "reply_to": sent.reply_to_message.message_id,
    }
    await update.message.reply_text(told("echo", **facts))


async def set_commands(application: Application) -> None:
    await application.bot.set_my_commands(list(COMMANDS.items()))


def main() -> None:
    builder = Application.builder().token(TOKEN).base_url(f"{URL}/bot").base_file_url(f"{URL}/file/bot")
    application = builder.post_init(set_commands).build()
    for handler in (start, keyboard, photo, album, poll, refusal, flood):
        application.add_handler(CommandHandler(handler.__name__, handler))
    application.add_handler(CallbackQueryHandler(pressed))
    application.add_handler(PollAnswerHandler(vote))
    application.add_handler(MessageHandler(filters.Document.ALL, document))
    application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
    application.run_polling(allowed_updates=Update.ALL_TYPES)


if __name__ == "__main__":
    die_with_parent()
    main()
