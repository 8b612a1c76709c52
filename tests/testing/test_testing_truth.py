"""The test kit tells production's truth: what a bot would not get, send or be allowed to, it does not here."""

import asyncio
from typing import Any

import pytest

from telegram.botapi.types import KeyboardButton, ReplyKeyboardMarkup, ReplyParameters
from telegram.dialogue import (
    CallbackContext,
    ChatContext,
    Context,
    MessageContext,
    Router,
    content,
    inline,
    keyboard,
)
from telegram.dialogue.contexts.conduct import APOLOGY
from telegram.service.bot import BotConfig
from telegram.testing import Conversations


def router_of(handler: Any, kind: str = "message", *filters: Any) -> Router:
    router = Router()
    getattr(router, kind)(*filters)(handler)
    return router


async def nothing(_ctx: Context) -> None:
    """Take it."""


# ---- what is delivered


def test_only_kinds_that_handlers_take_are_delivered():
    """Telegram Bot API, getUpdates, allowed_updates. Met by others: grammyjs/grammY#264, rockneurotiko/ex_gram#139."""
    seen = []

    async def note(ctx: Context) -> None:
        seen.append(ctx.kind)

    router = router_of(note)
    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.sends_update("edited_message", text="x")
        ann.sends_update("message_reaction")
        ann.says("hi")
    router.message_reaction()(note)
    with Conversations(router) as bot:
        bot.chat("Ann").sends_update("message_reaction")
    assert seen == ["message", "message_reaction"]


def test_who_is_met_in_a_group_alone_cannot_be_written_to_in_private():
    """leonschreiber96/telegram-stat-bot#14, obviyus/SuperSeriousBot#317: 403, and the group sees nothing of it."""

    async def whispers(ctx: MessageContext) -> None:
        ctx.send(ctx.user_id or 0, "psst")

    with Conversations(router_of(whispers)) as bot:
        ann = bot.group("Team").member("Ann")
        with pytest.raises(AssertionError, match="bot can't initiate conversation with a user"):
            ann.says("/secret")
        private = bot.chat("Ann")
        private.says("/start")
        ann.says("/secret")
        assert private.messages[-1]["text"] == "psst"


@pytest.mark.parametrize(
    ("name", "method"), [("photo", "sendPhoto"), ("document", "sendDocument"), ("voice", "sendVoice")]
)
def test_a_made_up_file_can_be_sent_back(name: str, method: str):
    async def echo(ctx: MessageContext) -> None:
        found = getattr(ctx.message, name)
        ctx.call(method, chat_id=ctx.chat_id, **{name: (found[-1] if name == "photo" else found).file_id})

    with Conversations(router_of(echo)) as bot:
        ann = bot.chat("Ann")
        ann.sends(**{name: True})
        assert name in ann.messages[-1]


def test_the_setting_overrules_what_handlers_take():
    seen = []

    async def note(ctx: Context) -> None:
        seen.append(ctx.kind)

    with Conversations(router_of(note, "update"), config=BotConfig(allowed_updates=["message"])) as bot:
        ann = bot.chat("Ann")
        ann.sends_update("edited_message", text="x")
        ann.says("hi")
    assert seen == ["message"]


def test_more_updates_than_one_poll_brings_are_all_delivered():
    """Telegram Bot API, getUpdates: 100 at once."""
    seen = []

    async def note(ctx: MessageContext) -> None:
        seen.append(ctx.text)

    with Conversations(router_of(note)) as bot:
        ann = bot.chat("Ann")
        for number in range(149):
            bot.scene.send_message(ann.id, ann.user_id, str(number))
        ann.says("149")
    assert seen == [str(number) for number in range(150)]


# ---- what is sent when a handler fails


def fail_always(kind: str) -> Router:
    async def fails(_ctx: Context) -> None:
        raise RuntimeError("always")

    return router_of(fails, kind)


def test_a_user_gets_an_apology_when_an_update_is_given_up():
    with Conversations(fail_always("message"), config=BotConfig(attempts_max=2)) as bot:
        ann = bot.chat("Ann")
        ann.says("hi", failing=True)
        assert ann.text == ""
        bot.passes(minutes=5, failing=True)
        assert ann.text == APOLOGY
        assert [letter.reason for letter in bot.dead_letters()] == ["RuntimeError: always"]


@pytest.mark.parametrize(("retry", "attempts"), [(False, 1), (True, 2)])
def test_programming_errors_are_tried_again_if_the_bots_settings_say_so(retry, attempts):
    handled = []

    async def fails(_ctx: Context) -> None:
        handled.append(1)
        raise TypeError("wrong")

    config = BotConfig(attempts_max=2, retry_programming_errors=retry)
    with Conversations(router_of(fails, "message"), config=config) as bot:
        bot.chat("Ann").says("hi", failing=True)
        bot.passes(minutes=5, failing=True)
        assert (len(handled), len(bot.dead_letters())) == (attempts, 1)


def test_a_pressed_button_stops_waiting_although_the_handler_fails():
    router = fail_always("callback_query")

    async def ask(ctx: MessageContext) -> None:
        ctx.reply("?", reply_markup=inline([("Go", "go")]))

    router.message()(ask)
    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("hi")
        ann.presses("Go", failing=True)
        assert ann.toast == ""
        bot.passes(hours=1, failing=True)
        assert ann.text == APOLOGY


# ---- what is refused


def test_an_answer_that_comes_late_is_not_seen():
    """A press is shown as waiting for about 15 s (telegram/fake/world/chat_state.py)."""

    async def slow(ctx: CallbackContext) -> None:
        await asyncio.sleep(int(ctx.button or 0))
        ctx.answer("Done")

    async def ask(ctx: MessageContext) -> None:
        ctx.reply("?", reply_markup=inline([("Soon", "10"), ("Late", "20")]))

    router = router_of(slow, "callback_query")
    router.message()(ask)
    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("hi")
        ann.presses("Soon")
        assert ann.toast == "Done"
        ann.presses("Late")
        assert ann.toast is None
        assert bot.calls("answerCallbackQuery")[-1].error.endswith("query ID is invalid")
        assert bot.dead_letters() == []


@pytest.mark.parametrize(
    ("mode", "right", "wrong"),
    [
        ("MarkdownV2", "*bold*\\.", "a."),
        ("Markdown", "*bold*.", "user_name"),
        ("HTML", "<b>bold</b>.", "a < b"),
    ],
)
def test_markup_is_read_and_refused_as_by_telegram(mode, right, wrong):
    async def answer(ctx: MessageContext) -> None:
        ctx.reply(right if ctx.text == "right" else wrong, parse_mode=mode)

    with Conversations(router_of(answer)) as bot:
        ann = bot.chat("Ann")
        ann.says("right")
        assert ann.text == "bold."
        assert ann.messages[-1]["entities"] == [{"type": "bold", "offset": 0, "length": 4}]
        with pytest.raises(AssertionError, match="can't parse entities"):
            ann.says("wrong")


# ---- keys


def ask_who(ctx: ChatContext[Any]) -> None:
    rows = [
        [
            KeyboardButton(text="My number", request_contact=True),
            KeyboardButton(text="I am here", request_location=True),
        ]
    ]
    ctx.reply("Who are you?", reply_markup=ReplyKeyboardMarkup(keyboard=rows))


def test_keys_that_ask_for_a_contact_or_a_place_send_one():
    """Telegram Bot API, KeyboardButton. The text on such a key is never sent."""
    seen = []

    async def note(ctx: MessageContext) -> None:
        seen.append((ctx.text, ctx.message.contact, ctx.message.location))
        ask_who(ctx)

    with Conversations(router_of(note)) as bot:
        ann = bot.chat("Ann")
        ann.says("hi")
        ann.presses("My number")
        ann.presses("I am here")
        (_, contact, _), (_, _, place) = seen[1:]
        assert [text for text, *_ in seen] == ["hi", "", ""]
        assert contact is not None
        assert contact.user_id == ann.user_id
        assert place is not None


def test_such_keys_are_for_private_chats():
    async def ask(ctx: MessageContext) -> None:
        ask_who(ctx)

    with Conversations(router_of(ask)) as bot:
        ann = bot.group("Us").member("Ann")
        with pytest.raises(AssertionError, match="private chats only"):
            ann.says("hi")


def test_a_plain_key_still_sends_its_text():
    async def note(ctx: MessageContext) -> None:
        ctx.reply(f"{ctx.text}?", reply_markup=keyboard(["Yes"]))

    with Conversations(router_of(note)) as bot:
        ann = bot.chat("Ann")
        ann.says("hi")
        ann.presses("Yes")
        assert ann.text == "Yes?"


# ---- messages that are gone, and those sent via the bot


def test_what_is_deleted_is_gone():
    async def late(ctx: MessageContext) -> None:
        await asyncio.sleep(5)
        ctx.message.reply(
            "here",
            reply_parameters=ReplyParameters(
                message_id=ctx.message.message_id, allow_sending_without_reply=ctx.text != "strict"
            ),
        )

    with Conversations(router_of(late)) as bot:
        ann = bot.chat("Ann")
        ann.says("hi", wait=False)
        ann.deletes()
        assert ann.messages == []
        bot.settles()
        assert "reply_to_message" not in ann.messages[-1]
        ann.says("strict", wait=False)
        ann.deletes()
        with pytest.raises(AssertionError, match="message to be replied not found"):
            bot.settles()


def test_a_message_sent_via_the_bot_is_pressed_and_edited():
    async def count(ctx: CallbackContext) -> None:
        ctx.edit("pressed")

    with Conversations(router_of(count, "callback_query")) as bot:
        ann = bot.chat("Ann")
        ann.presses_inline("shared", "x")
        assert bot.scene.inline["shared"]["text"] == "pressed"
        assert ann.toast == ""


def test_content_kinds_are_still_made_up():
    with Conversations(router_of(nothing, "message", content("photo"))) as bot:
        bot.chat("Ann").sends(photo=True)
