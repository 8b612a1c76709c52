"""Stories from public trackers, told to a whole bot over HTTP on each store: what other bots do there, and what ours does."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from telegram.dialogue import (
    END,
    CallbackContext,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    data,
    inline,
    text,
)
from telegram.dialogue.contexts.conduct import APOLOGY, OTHERS_BUTTON

GROUP_ANONYMOUS_BOT = {
    "id": 1087968824,
    "is_bot": True,
    "first_name": "Group",
    "username": "GroupAnonymousBot",
}


class Step(Enum):
    ASKED = "asked"


class Nothing(BaseModel):
    pass


def settings(*, timeout_s: float = 3600) -> Router:
    """/settings asks with a button; whoever began it presses; silence ends it."""
    flow, router = Flow("settings", Step, Nothing), Router()
    flow.at(Step.ASKED).ask("Sure?", reply_markup=inline([("Yes", "yes")]))

    @flow.entry.message(command("settings"))
    async def begin() -> Literal[Step.ASKED]:
        return Step.ASKED

    @flow.at(Step.ASKED).callback_query(data("yes"))
    async def yes(ctx: CallbackContext) -> End[None]:
        ctx.reply("changed")
        return END

    @flow.anywhere.timeout(timeout_s)
    async def late(ctx: TimerContext) -> End[None]:
        ctx.reply("too late")
        return END

    router.include(flow)
    return router


async def test_an_anonymous_admins_press_has_his_own_id_and_is_answered_with_the_reason(stage):
    """tdlib/telegram-bot-api#667: /settings is from 1087968824, the press on its answer from the admin's real id."""
    world = stage.fake.world
    async with stage.bot(settings()):
        for user_id in (5, 6):
            world.send_message(-100, user_id, "/settings", **{"from": GROUP_ANONYMOUS_BOT}, sender_chat=GROUP)
            await stage.idle()
            shown = world.messages(-100)[-1]
            pressed = shown["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
            world.press(-100, user_id, shown["message_id"], pressed)
            await stage.idle()
    assert stage.texts() == ["Sure?", "Sure?"]  # and nothing is changed
    assert stage.answers() == [OTHERS_BUTTON, OTHERS_BUTTON]
    assert await stage.reasons() == []


GROUP = {"id": -100, "type": "supergroup", "title": "Group"}


async def test_who_writes_as_the_group_is_an_admin_and_who_writes_as_a_channel_is_not(stage):
    """Syfaro/foxbot#88: a check of the sender's id against the admins fails for anonymous ones.

    Telegram Bot API, Message: sender_chat is the supergroup itself for messages of its anonymous administrators.
    """
    router = Router()

    @router.message(command("ban"))
    async def ban(ctx: MessageContext) -> None:
        ctx.reply("banned" if ctx.sender_id == ctx.chat_id else f"no: {ctx.sender_id}")

    channel = {"id": -1009, "type": "channel", "title": "News"}
    async with stage.bot(router):
        stage.fake.world.send_message(-100, 5, "/ban", **{"from": GROUP_ANONYMOUS_BOT}, sender_chat=GROUP)
        await stage.idle()
        stage.fake.world.send_message(-100, 5, "/ban", **{"from": GROUP_ANONYMOUS_BOT}, sender_chat=channel)
        stage.fake.world.send_message(-100, 7, "/ban")
        await stage.idle()
    assert stage.texts() == ["banned", "no: -1009", "no: 7"]


async def test_a_time_out_that_is_due_while_the_bot_is_down_ends_the_conversation_at_the_next_start(stage):
    """python-telegram-bot/python-telegram-bot#1825 and #3522: the conversation is persisted, its time-out is not."""
    async with stage.bot(settings(timeout_s=1)):
        stage.fake.world.send_message(5, 5, "/settings")
        await stage.fake.wait_for_calls(1, "sendMessage", delivered=True)
    async with stage.bot(settings(timeout_s=1)):
        await stage.fake.wait_for_calls(2, "sendMessage", delivered=True)
        await stage.idle()
    assert stage.texts() == ["Sure?", "too late"]


async def test_a_reminder_survives_restarts_and_comes_once(stage):
    """python-telegram-bot/python-telegram-bot#974: reminders are lost with the process; #1034: each reload sends one more."""
    router = Router()

    @router.message(text)
    async def remember(ctx: MessageContext) -> None:
        ctx.set_timer("tea", 1.0, {"what": ctx.text})
        ctx.reply("ok")

    @router.timer("tea")
    async def tea(ctx: TimerContext) -> None:
        ctx.reply(ctx.payload["what"])

    async with stage.bot(router):
        stage.fake.world.send_message(5, 5, "tea!")
        await stage.fake.wait_for_calls(1, "sendMessage", delivered=True)
    for _ in range(3):
        async with stage.bot(router):
            await asyncio.sleep(0)
    async with stage.bot(router):
        await stage.fake.wait_for_calls(2, "sendMessage", delivered=True)
    async with stage.bot(router):
        await stage.idle()
    assert stage.texts() == ["ok", "tea!"]


def misspelled(ctx: MessageContext) -> None:
    ctx.reply("hi", reply_markpu=inline([("Yes", "yes")]))  # type: ignore[call-arg] # that is the story


def unknown_to_the_helper(ctx: MessageContext) -> None:
    def send_to_user(words: str) -> None:
        ctx.reply(words)

    send_to_user("hi", parse_mode="HTML")  # type: ignore[call-arg] # that is the story


@pytest.mark.parametrize(
    ("wrong", "named"), [(misspelled, "reply_markup"), (unknown_to_the_helper, "parse_mode")]
)
async def test_a_misspelled_parameter_is_named_at_the_first_attempt_and_the_user_gets_the_apology(
    stage, wrong: Callable[[MessageContext], None], named
):
    """python-telegram-bot/python-telegram-bot#1918: the misspelled parameter is swallowed, the message goes without it.

    chelaxian/tg-ytdlp-bot#459: a TypeError in the branch that tells of errors, and the user hears nothing.
    """
    router = Router()

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        wrong(ctx)

    async with stage.bot(router):
        stage.fake.world.send_message(5, 5, "go")
        await stage.idle()
    ((reason, attempts),) = await stage.reasons()
    assert (attempts, named in reason) == (1, True), reason
    assert stage.texts() == [APOLOGY]


async def test_user_ids_as_keys_do_not_become_other_keys(stage):
    """NWUCA/zaobot#3: after a reload the same person is in the list twice; redis/redis-om-python#628: keys come back as text."""
    router = Router()

    @router.message(command("wake"))
    async def wake(ctx: MessageContext) -> None:
        ctx.data.setdefault("awake", {})[ctx.user_id] = True
        ctx.reply("good morning")

    @router.message(command("up"))
    async def up(ctx: MessageContext) -> None:
        awake = ctx.data.setdefault("awake", {})
        awake[str(ctx.user_id)] = awake.get(str(ctx.user_id), 0) + 1
        ctx.reply(f"{awake}")

    async with stage.bot(router):
        stage.fake.world.send_message(5, 5, "/wake")
        await stage.idle()
    ((reason, attempts),) = await stage.reasons()
    assert (attempts, "data['awake']" in reason) == (1, True), reason
    for _ in range(2):
        async with stage.bot(router):
            stage.fake.world.send_message(5, 5, "/up")
            await stage.idle()
    assert stage.texts() == [APOLOGY, "{'5': 1}", "{'5': 2}"]


async def test_who_asks_for_members_only_still_gets_messages_and_presses(stage):
    """yagop/node-telegram-bot-api#918: with allowed_updates=["chat_member"] the bot hears nothing else any more."""
    router, heard = settings(), []

    @router.chat_member()
    async def member(_ctx: Any) -> None:
        heard.append("member")

    stage.fake.queue.allow(["chat_member"])  # what an earlier program had asked for
    async with stage.bot(router) as bot:
        await stage.fake.wait_for_long_poll()
        stage.fake.world.send_message(5, 5, "/settings")
        await stage.idle()
        shown = stage.fake.world.messages(5)[-1]
        stage.fake.world.press(
            5, 5, shown["message_id"], shown["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        )
        await stage.idle()
        assert set(bot.asked) == {"message", "callback_query", "my_chat_member", "chat_member"}
    assert stage.texts() == ["Sure?", "changed"]
