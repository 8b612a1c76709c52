"""pyTelegramBotAPI's AsyncTeleBot as its documentation starts a bot; "threads": the synchronous TeleBot."""
# the framework is not in our environment:
# mypy: ignore-errors

import asyncio
import threading
import time
from collections import Counter

from telebot import TeleBot, apihelper, asyncio_helper
from telebot.async_telebot import AsyncTeleBot
from telebot.types import Message

from .work import TOKEN, URL, VARIANT, die_with_parent, evidence, work_s

API_URL = f"{URL}/bot{{0}}/{{1}}"
NO_UPDATE_ID = 0  # handlers are given the message only

counts: Counter[int] = Counter()
counting = threading.Lock()


def run_async() -> None:
    asyncio_helper.API_URL = API_URL
    bot = AsyncTeleBot(TOKEN)

    @bot.message_handler(func=lambda _: True)
    async def echo(message: Message) -> None:
        begin_ns = time.monotonic_ns()
        await asyncio.sleep(work_s(message.text))
        counts[message.chat.id] += 1
        reply = evidence(message.text, NO_UPDATE_ID, counts[message.chat.id], begin_ns)
        await bot.send_message(message.chat.id, reply)

    asyncio.run(bot.infinity_polling())


def run_threads() -> None:
    apihelper.API_URL = API_URL
    bot = TeleBot(TOKEN)

    @bot.message_handler(func=lambda _: True)
    def echo(message: Message) -> None:
        begin_ns = time.monotonic_ns()
        time.sleep(work_s(message.text))
        with counting:
            counts[message.chat.id] += 1
            counted = counts[message.chat.id]
        bot.send_message(message.chat.id, evidence(message.text, NO_UPDATE_ID, counted, begin_ns))

    bot.infinity_polling()


if __name__ == "__main__":
    die_with_parent()
    if VARIANT == "threads":
        run_threads()
    else:
        run_async()
