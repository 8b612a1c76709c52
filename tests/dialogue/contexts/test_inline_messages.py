"""Messages that were sent via the bot, in chats that it is not told of: they are edited, and all who press share a state.

Met by others: whipermr5/countmeinbot#5 (one poll in several chats), Tishka17/aiogram_dialog#208 (no chat in the press).
"""

import asyncio
from typing import Any

import pytest

from engine.stores import open_store
from telegram.botapi.types import ChosenInlineResult
from telegram.client import TgClient
from telegram.dialogue import CallbackContext, Context, Router, data
from telegram.dialogue.buttons.keyboards import inline
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from telegram.testing import Conversations

BUTTONS = inline([("I come", "yes")])
ARTICLE = {
    "type": "article",
    "id": "party",
    "title": "Party",
    "input_message_content": {"message_text": "Party"},
}


def counting() -> Router:
    """Who comes to what; the title is known from the chosen result."""
    router = Router()

    @router.chosen_inline_result()
    async def chosen(ctx: Context[ChosenInlineResult]) -> None:
        ctx.data["title"] = ctx.event.result_id

    @router.callback_query()
    async def comes(ctx: CallbackContext) -> None:
        guests = ctx.data.setdefault("guests", [])
        guests.append(ctx.user_id)
        await asyncio.sleep(0)
        ctx.edit(f"{ctx.data.get('title')}: {len(guests)}", reply_markup=BUTTONS)
        ctx.answer("Noted")

    return router


def test_all_who_press_share_a_state_and_see_the_edit() -> None:
    with Conversations(counting()) as bot:
        people = [bot.chat(name) for name in ("Ann", "Bob", "Cleo")]
        for person in people:
            person.presses_inline("one", "yes")
            assert person.toast == "Noted"
        people[0].presses_inline("other", "yes")
        bot.restart()
        people[0].presses_inline("one", "yes")
        assert bot.scene.inline["one"]["text"] == "None: 4"
        assert bot.scene.inline["other"]["text"] == "None: 1"


def test_the_chosen_result_begins_the_state() -> None:
    with Conversations(counting()) as bot:
        ann = bot.chat("Ann")
        assert (
            bot.scene.choose(ann.user_id, ARTICLE) == ""
        )  # without buttons Telegram does not name the message
        markup = {"inline_keyboard": [[{"text": "I come", "callback_data": "yes"}]]}
        name = bot.scene.choose(ann.user_id, {**ARTICLE, "reply_markup": markup})
        bot.happens()
        bot.chat("Bob").presses_inline(name, "yes")
        assert bot.scene.inline[name]["text"] == "party: 1"


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
async def test_presses_of_many_at_once_are_counted_each(store: str, tmp_path: Any) -> None:
    url = store if store == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"
    async with FakeServer(seed=1, strict=True) as fake, TgClient(fake.token, base_url=fake.url) as client:
        opened = await open_store(url, "1")
        bot = Bot(client, opened, counting(), BotConfig(drain_timeout_s=10, messages_per_s=0))
        await bot.start()
        for user_id in range(1, 41):
            fake.world.press_inline(user_id, "one", "yes")
            fake.world.press_inline(user_id, "two", "yes")
        await fake.wait_for_calls(80, "editMessageText", delivered=True)
        await bot.stop()
        texts = [call.text for call in fake.calls if call.params.get("inline_message_id") == "one"]
        assert await opened.dead_letters() == []
        await opened.close()
    assert texts == [f"None: {number}" for number in range(1, 41)]
    assert fake.world.inline["two"]["text"] == "None: 40"


async def test_a_reply_to_a_press_under_an_inline_message_goes_to_who_has_pressed(stage: Any) -> None:
    """Tishka17/aiogram_dialog#208, klappvisor/haskell-telegram-api#57: Telegram names no chat there, and replies failed five times."""
    router = Router()

    @router.callback_query(data("more"))
    async def more(ctx: CallbackContext) -> None:
        ctx.reply("in private")

    stage.fake.world.add_user("Ann", user_id=5)
    async with stage.bot(router):
        ann = {"id": 5, "is_bot": False, "first_name": "Ann"}
        press = {"id": "1", "from": ann, "chat_instance": "1", "data": "more", "inline_message_id": "i"}
        stage.fake.world.push("callback_query", press)
        await stage.idle()
    assert [(params["chat_id"], params["text"]) for params in stage.sent()] == [(5, "in private")]
    assert await stage.reasons() == []
