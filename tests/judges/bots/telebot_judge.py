"""pyTelegramBotAPI's TeleBot, as https://pytba.readthedocs.io shows it."""
# the framework is not in our environment:
# mypy: ignore-errors

import hashlib

from telebot import TeleBot, apihelper
from telebot.apihelper import ApiTelegramException
from telebot.types import (
    BotCommand,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    InputPollOption,
    Message,
    PollAnswer,
    ReplyKeyboardMarkup,
)

from .told import COMMANDS, NO_MESSAGE, PICTURES, POLL_OPTIONS, TOKEN, URL, die_with_parent, told

apihelper.API_URL = URL + "/bot{0}/{1}"
apihelper.FILE_URL = URL + "/file/bot{0}/{1}"
bot = TeleBot(TOKEN)


@bot.message_handler(commands=["start"])
def start(message: Message) -> None:
    me = bot.get_me()
    commands = bot.get_my_commands()
    markup = InlineKeyboardMarkup()
    markup.add(InlineKeyboardButton("Press me", callback_data="pressed"))
    sent = bot.send_message(message.chat.id, "Hello", reply_markup=markup)
    facts = {
        "username": me.username,
        "commands": {each.command: each.description for each in commands},
        "message_id": sent.message_id,
        "button": sent.reply_markup.keyboard[0][0].callback_data,
    }
    bot.send_message(message.chat.id, told("start", **facts))


@bot.callback_query_handler(func=lambda query: query.data == "pressed")
def pressed(query: CallbackQuery) -> None:
    answered = bot.answer_callback_query(query.id, "Done")
    edited = bot.edit_message_text("Pressed", query.message.chat.id, query.message.message_id)
    facts = {
        "answered": answered,
        "message_id": edited.message_id,
        "text": edited.text,
        "edited": edited.edit_date is not None,
    }
    bot.send_message(query.message.chat.id, told("press", **facts))


@bot.message_handler(commands=["keyboard"])
def keyboard(message: Message) -> None:
    markup = ReplyKeyboardMarkup(resize_keyboard=True)
    markup.add("Red", "Blue")
    sent = bot.send_message(message.chat.id, "Choose", reply_markup=markup)
    bot.send_message(message.chat.id, told("keyboard", message_id=sent.message_id))


@bot.message_handler(commands=["photo"])
def photo(message: Message) -> None:
    with (PICTURES / "one.png").open("rb") as file:
        sent = bot.send_photo(message.chat.id, file, caption="One <picture>")
    largest = sent.photo[-1]
    facts = {
        "message_id": sent.message_id,
        "file_size": largest.file_size,
        "width": largest.width,
        "caption": sent.caption,
    }
    bot.send_message(message.chat.id, told("photo", **facts))


@bot.message_handler(commands=["album"])
def album(message: Message) -> None:
    with (PICTURES / "one.png").open("rb") as one, (PICTURES / "two.png").open("rb") as two:
        media = [InputMediaPhoto(one, caption="Two pictures"), InputMediaPhoto(two)]
        sent = bot.send_media_group(message.chat.id, media)
    facts = {
        "message_ids": [each.message_id for each in sent],
        "groups": len({each.media_group_id for each in sent}),
        "file_sizes": [each.photo[-1].file_size for each in sent],
        "captions": [each.caption for each in sent],
    }
    bot.send_message(message.chat.id, told("album", **facts))


@bot.message_handler(content_types=["document"])
def document(message: Message) -> None:
    file = bot.get_file(message.document.file_id)
    content = bot.download_file(file.file_path)
    facts = {
        "file_name": message.document.file_name,
        "file_size": file.file_size,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    bot.send_message(message.chat.id, told("file", **facts))


@bot.message_handler(commands=["poll"])
def poll(message: Message) -> None:
    options = [InputPollOption(option) for option in POLL_OPTIONS]
    sent = bot.send_poll(message.chat.id, "Tea or coffee?", options, is_anonymous=False)
    facts = {
        "message_id": sent.message_id,
        "poll_id": sent.poll.id,
        "options": [option.text for option in sent.poll.options],
        "anonymous": sent.poll.is_anonymous,
    }
    bot.send_message(message.chat.id, told("poll", **facts))


@bot.poll_answer_handler()
def vote(answer: PollAnswer) -> None:
    facts = {"poll_id": answer.poll_id, "user_id": answer.user.id, "option_ids": answer.option_ids}
    bot.send_message(answer.user.id, told("vote", **facts))


@bot.message_handler(commands=["refusal"])
def refusal(message: Message) -> None:
    try:
        bot.edit_message_text("Nothing", message.chat.id, NO_MESSAGE)
    except ApiTelegramException as error:
        bot.send_message(message.chat.id, told("refusal", description=error.description))


@bot.message_handler(commands=["flood"])
def flood(message: Message) -> None:
    try:
        bot.send_message(message.chat.id, "Too much")
    except ApiTelegramException as error:
        retry_after = error.result_json["parameters"]["retry_after"]
        bot.send_message(message.chat.id, told("flood", retry_after=retry_after))


@bot.message_handler(func=lambda _: True)
def echo(message: Message) -> None:
    sent = bot.reply_to(message, message.text)
    facts = {
        "message_id": sent.message_id,
        "text": sent.text,
        "reply_to": sent.reply_to_message.message_id,
    }
    bot.send_message(message.chat.id, told("echo", **facts))


if __name__ == "__main__":
    die_with_parent()
    bot.set_my_commands([BotCommand(name, what) for name, what in COMMANDS.items()])
    bot.infinity_polling()
