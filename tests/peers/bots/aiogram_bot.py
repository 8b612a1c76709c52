"""aiogram as its documentation starts a bot; "isolated": with the event isolation for state in memory."""
# the framework is not in our environment:
# mypy: ignore-errors

import asyncio
import time

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.fsm.context import FSMContext
from aiogram.fsm.storage.memory import MemoryStorage, SimpleEventIsolation
from aiogram.types import Message, Update

from .work import TOKEN, URL, VARIANT, die_with_parent, evidence, work_s

isolation = SimpleEventIsolation() if VARIANT == "isolated" else None
dispatcher = Dispatcher(storage=MemoryStorage(), events_isolation=isolation)


@dispatcher.message(F.text)
async def echo(message: Message, state: FSMContext, event_update: Update) -> None:
    begin_ns = time.monotonic_ns()
    await asyncio.sleep(work_s(message.text))
    counted = await state.get_value("count", 0) + 1
    await state.update_data(count=counted)
    await message.answer(evidence(message.text, event_update.update_id, counted, begin_ns))


async def main() -> None:
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(URL)))
    await dispatcher.start_polling(bot)


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main())
