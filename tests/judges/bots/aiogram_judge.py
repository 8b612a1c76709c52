"""aiogram, as https://docs.aiogram.dev shows it."""
# the framework is not in our environment:
# mypy: ignore-errors

import asyncio
import hashlib

from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramBadRequest, TelegramRetryAfter
from aiogram.filters import Command, CommandStart
from aiogram.types import (
    BotCommand,
    CallbackQuery,
    FSInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    KeyboardButton,
    Message,
    PollAnswer,
    ReplyKeyboardMarkup,
)

from .told import COMMANDS, NO_MESSAGE, PICTURES, POLL_OPTIONS, TOKEN, URL, die_with_parent, told

router = Router()


@router.message(CommandStart())
async def start(message: Message, bot: Bot) -> None:
    me = await bot.me()
    commands = await bot.get_my_commands()
    button = InlineKeyboardButton(text="Press me", callback_data="pressed")
    sent = await message.answer("Hello", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[button]]))
    facts = {
        "username": me.username,
        "commands": {each.command: each.description for each in commands},
        "message_id": sent.message_id,
        "button": sent.reply_markup.inline_keyboard[0][0].callback_data,
    }
    await message.answer(told("start", **facts))


@router.callback_query(F.data == "pressed")
async def pressed(query: CallbackQuery) -> None:
    answered = await query.answer("Done")
    edited = await query.message.edit_text("Pressed")
    facts = {
        "answered": answered,
        "message_id": edited.message_id,
        "text": edited.text,
        "edited": edited.edit_date is not None,
    }
    await query.message.answer(told("press", **facts))


@router.message(Command("keyboard"))
async def keyboard(message: Message) -> None:
    buttons = [[KeyboardButton(text="Red"), KeyboardButton(text="Blue")]]
    markup = ReplyKeyboardMarkup(keyboard=buttons, resize_keyboard=True)
    sent = await message.answer("Choose", reply_markup=markup)
    await message.answer(told("keyboard", message_id=sent.message_id))


@router.message(Command("photo"))
async def photo(message: Message) -> None:
    sent = await message.answer_photo(FSInputFile(PICTURES / "one.png"), caption="One <picture>")
    largest = sent.photo[-1]
    facts = {
        "message_id": sent.message_id,
        "file_size": largest.file_size,
        "width": largest.width,
        "caption": sent.caption,
    }
    await message.answer(told("photo", **facts))


@router.message(Command("album"))
async def album(message: Message) -> None:
    media = [
        InputMediaPhoto(media=FSInputFile(PICTURES / "one.png"), caption="Two pictures"),
        InputMediaPhoto(media=FSInputFile(PICTURES / "two.png")),
    ]
    sent = await message.answer_media_group(media)
    facts = {
        "message_ids": [each.message_id for each in sent],
        "groups": len({each.media_group_id for each in sent}),
        "file_sizes": [each.photo[-1].file_size for each in sent],
        "captions": [each.caption for each in sent],
    }
    await message.answer(told("album", **facts))


@router.message(F.document)
async def document(message: Message, bot: Bot) -> None:
    file = await bot.get_file(message.document.file_id)
    content = (await bot.download_file(file.file_path)).read()
    facts = {
        "file_name": message.document.file_name,
        "file_size": file.file_size,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    await message.answer(told("file", **facts))


@router.message(Command("poll"))
async def poll(message: Message) -> None:
    sent = await message.answer_poll("Tea or coffee?", options=list(POLL_OPTIONS), is_anonymous=False)
    facts = {
        "message_id": sent.message_id,
        "poll_id": sent.poll.id,
        "options": [option.text for option in sent.poll.options],
        "anonymous": sent.poll.is_anonymous,
    }
    await message.answer(told("poll", **facts))


@router.poll_answer()
async def vote(answer: PollAnswer, bot: Bot) -> None:
    facts = {"poll_id": answer.poll_id, "user_id": answer.user.id, "option_ids": answer.option_ids}
    await bot.send_message(answer.user.id, told("vote", **facts))


@router.message(Command("refusal"))
async def refusal(message: Message, bot: Bot) -> None:
    try:
        await bot.edit_message_text("Nothing", chat_id=message.chat.id, message_id=NO_MESSAGE)
    except TelegramBadRequest as error:
        await message.answer(told("refusal", description=error.message))


@router.message(Command("flood"))
async def flood(message: Message) -> None:
    try:
        await message.answer("Too much")
    except TelegramRetryAfter as error:
        await message.answer(told("flood", retry_after=error.retry_after))


@router.message(F.text)
async def echo(message: Message) -> None:
    sent = await message.reply(message.text)
    facts = {
        "message_id": sent.message_id,
        "text": sent.text,
        "reply_to": sent.reply_to_message.message_id,
    }
    await message.answer(told("echo", **facts))


async def main() -> None:
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(URL)))
    await bot.set_my_commands([BotCommand(command=name, description=what) for name, what in COMMANDS.items()])
    dispatcher = Dispatcher()
    dispatcher.include_router(router)
    await dispatcher.start_polling(bot)


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main())
