"""More stories from public trackers, each told to a whole bot over HTTP on each store: kinds of update, places, albums, late calls."""

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from telegram.botapi.types import Message
from telegram.dialogue import (
    END,
    CallbackContext,
    ChatContext,
    Context,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    data,
    inline,
    kind,
    photo,
    text,
)
from tests.kit.silence import Silence
from tests.kit.stage import Stage

PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
ANN = {"id": 5, "is_bot": False, "first_name": "Ann"}
GROUP_ANONYMOUS_BOT = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
CHANNEL_BOT = {"id": 136817688, "is_bot": True, "first_name": "Channel"}


class Step(Enum):
    NAME, AGE = "name", "age"


class Nothing(BaseModel):
    pass


def form() -> Router:
    """/go asks for a name, by a button or a text, then for an age."""
    flow: Flow[Step, Nothing, None] = Flow("form", Step, Nothing)
    flow.at(Step.NAME).ask("name?", reply_markup=inline([("Nobody", "nobody")]))
    flow.at(Step.AGE).ask("age?")

    @flow.entry.any_message(kind("message", "channel_post"), command("go"))
    async def go(ctx: MessageContext) -> Literal[Step.NAME]:
        return Step.NAME

    @flow.at(Step.NAME).any_message(kind("message", "channel_post"), text)
    async def name(ctx: MessageContext) -> Literal[Step.AGE]:
        return Step.AGE

    @flow.at(Step.NAME).callback_query(data("nobody"))
    async def nobody(ctx: CallbackContext) -> Literal[Step.AGE]:
        return Step.AGE

    @flow.at(Step.AGE).any_message(kind("message", "channel_post"), text)
    async def age(ctx: MessageContext) -> End[None]:
        ctx.reply("done")
        return END

    router = Router()
    router.include(flow)
    return router


# ---- kinds that are asked for


@pytest.mark.parametrize("former", [["message", "chat_member"], ["message"], ["poll"]])
async def test_a_button_works_whatever_program_had_the_token_before(stage: Stage, former: list[str]):
    """go-telegram-bot-api/telegram-bot-api#753: an example was run once, and the buttons of the real bot were dead for good.

    windkh/node-red-contrib-telegrambot#296: only a bot with another token had buttons.
    """
    stage.fake.queue.allow(former)
    async with stage.bot(form()):
        await stage.fake.wait_for_long_poll()
        await stage.says(5, 5, "/go")
        await stage.press(5, 5, "Nobody")
        await stage.says(5, 5, "7")
    assert stage.texts() == ["name?", "age?", "done"]


async def test_changes_of_members_come_because_a_handler_takes_them(stage: Stage):
    """rubenlagus/TelegramBots#1430, python-telegram-bot/python-telegram-bot#4519: nothing comes of those who join and leave."""
    router, heard = form(), []

    @router.chat_member()
    async def member(ctx: ChatContext[Any]) -> None:
        heard.append((ctx.user_id, ctx.event.new_chat_member.status))

    world = stage.fake.world
    world.add_group("Us", [5], chat_id=-100)
    world.promote(-100)
    async with stage.bot(router):
        await stage.fake.wait_for_long_poll()
        chat = world.chat_for_bot({"chat_id": -100})
        world.set_member(chat, world.add_user("Bob", user_id=6), {"status": "member"}, by=ANN)
        await stage.idle()
        await stage.says(-100, 5, "/go")
    assert heard == [(5, "member")]
    assert stage.texts() == ["name?"]


# ---- conversations belong to a place


@pytest.mark.parametrize("way", ["text", "button"])
async def test_a_conversation_goes_on_when_its_group_becomes_a_supergroup(stage: Stage, way: str):
    """grammyjs/website#559: the session of the group is gone; ehForwarderBot/efb-telegram-master#75: two service messages."""
    world = stage.fake.world
    world.add_group("Us", [5], chat_id=-200, kind="group")
    async with stage.bot(form()):
        await stage.says(-200, 5, "/go")
        new = world.migrate(-200)["id"]
        await stage.idle()
    async with stage.bot(form()):  # a restart, too
        if way == "text":
            await stage.says(new, 5, "Ann")
        else:
            await stage.press(-200, 5, "Nobody")
        await stage.says(new, 5, "7")
    assert [message["text"] for message in world.messages(new) if "text" in message][-3:] == [
        "age?",
        "7",
        "done",
    ]
    assert await stage.reasons() == []


async def test_a_timer_of_the_group_speaks_in_the_supergroup(stage: Stage):
    """TwiN/gatus#179, defstudio/telegraph#692: what was stored with the group's id is sent to it for ever."""
    router = Router()

    @router.message(command("tea"))
    async def remember(ctx: MessageContext) -> None:
        ctx.set_timer("tea", 60)

    @router.timer("tea")
    async def tea(ctx: TimerContext) -> None:
        ctx.reply("tea!")

    world = stage.fake.world
    world.add_group("Us", [5], chat_id=-200, kind="group")
    async with stage.bot(router):
        await stage.says(-200, 5, "/tea")
        new = world.migrate(-200)["id"]
        await stage.idle()
        stage.fake.clock.advance(60)
        stage.store.clock_moved()
        await stage.fake.wait_for_calls(1, "sendMessage", delivered=True)
        await stage.idle()
    assert world.messages(new)[-1]["text"] == "tea!"
    assert await stage.reasons() == []


async def test_a_reply_in_the_general_topic_is_no_topic_and_stays_in_its_conversation(stage: Stage):
    """tdlib/telegram-bot-api#447, grammyjs/auto-thread#3, openclaw/openclaw#1339: its message_thread_id names a chain of replies."""
    world = stage.fake.world
    world.add_group("Forum", [5], chat_id=-300, is_forum=True)
    async with stage.bot(form()):
        await stage.says(-300, 5, "/go")
        await stage.says(-300, 5, "/go", message_thread_id=9, is_topic_message=True)
        asked = world.messages(-300)[1]
        await stage.says(-300, 5, "Ann", message_thread_id=asked["message_id"], reply_to_message=asked)
        await stage.says(-300, 5, "7")
    assert [(params.get("message_thread_id"), params["text"]) for params in stage.sent()] == [
        (None, "name?"), (9, "name?"), (None, "age?"), (None, "done"),
    ]  # fmt: skip
    assert await stage.reasons() == []


async def test_a_conversation_in_a_channel_has_no_user_and_goes_on(stage: Stage):
    """python-telegram-bot/python-telegram-bot#695 and #560: a post has no user, and the conversation fails with it."""
    stage.fake.world.add_group("News", [5], chat_id=-400, kind="channel")
    async with stage.bot(form()):
        for words in ("/go", "Ann", "7"):
            await stage.says(-400, 5, words)
    assert stage.texts() == ["name?", "age?", "done"]
    assert await stage.reasons() == []


async def test_who_writes_as_two_channels_has_two_conversations(stage: Stage):
    """Taosky/telegram-search-bot#20: who writes as a channel, or as an anonymous admin, has no user of his own."""
    stage.fake.world.add_group("Us", [5], chat_id=-100)
    group = {"id": -100, "type": "supergroup", "title": "Us"}
    first, second = ({"id": each, "type": "channel", "title": "c"} for each in (-1005, -1006))
    async with stage.bot(form()):
        await stage.says(-100, 5, "/go", **{"from": CHANNEL_BOT}, sender_chat=first)
        await stage.says(-100, 5, "Ann", **{"from": CHANNEL_BOT}, sender_chat=second)
        await stage.says(-100, 5, "Ann", **{"from": GROUP_ANONYMOUS_BOT}, sender_chat=group)
        await stage.says(-100, 5, "Ann", **{"from": CHANNEL_BOT}, sender_chat=first)
    assert stage.texts() == ["name?", "age?"]


# ---- commands


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ("/go@chatlane_bot", True),  # telegram-bot-rb/telegram-bot#145, elbekD/kt-telegram-bot#16
        ("/go@CHATLANE_BOT", True),  # php-telegram-bot/core#67
        ("/go@another_bot", False),  # eternnoir/pyTelegramBotAPI#2476
        ("/go@chatlane_bottom", False),
        ("/go@chatlane_bot.", True),
    ],
)
async def test_a_command_with_a_name_is_for_the_bot_of_that_name(stage: Stage, words: str, runs: bool):
    stage.fake.world.add_group("Us", [5], chat_id=-100)
    async with stage.bot(form()):
        await stage.says(-100, 5, words)
    assert stage.texts() == (["name?"] if runs else [])


# ---- albums


def diary(*filters: Any) -> tuple[Router, list[list[str]]]:
    """A router for albums, and the captions of each album that it was called with."""
    router, calls = Router(), []

    @router.album(*filters)
    async def album(ctx: MessageContext, messages: list[Message]) -> None:
        calls.append([each.caption or "" for each in messages])
        ctx.reply(f"{len(messages)}")

    return router, calls


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    return Silence(monkeypatch)


async def test_an_album_behind_a_full_page_is_one(stage: Stage, silence: Silence):
    """zeroclaw-labs/zeroclaw#8955: the page of getUpdates ends in the middle of the album, which becomes two turns."""
    router, calls = diary(photo)
    for number in range(98):
        stage.fake.world.send_message(100 + number, 100 + number, "hi")
    for _ in range(4):
        stage.fake.world.send_message(5, 5, "", photo=PHOTO, media_group_id="a")
    async with stage.bot(router):
        await silence.of(stage.store, 102)
        await stage.idle()
    assert calls == [["", "", "", ""]]


async def test_a_stop_in_the_middle_of_an_album_does_not_cut_it(stage: Stage, silence: Silence):
    """sipeed/picoclaw#2758: what had come of an album is handed out, or lost, when the program is stopped."""
    router, calls = diary(photo)
    async with stage.bot(router) as bot:
        stage.fake.world.send_message(5, 5, "", photo=PHOTO, media_group_id="a")
        while not bot.running()[0]:  # it waits for more of the album
            await asyncio.sleep(0)
        stopping = asyncio.create_task(bot.stop())
        while not bot._parts.handler.albums.is_stopping:
            await asyncio.sleep(0)
        silence.over.set()
        await stopping
    silence.over.clear()
    stage.fake.world.send_message(5, 5, "", photo=PHOTO, media_group_id="a")
    async with stage.bot(router):
        await silence.of(stage.store, 2)
        await stage.idle()
    assert calls == [["", ""]]


@pytest.mark.parametrize("captions", [["", "", "/post now"], ["/post", "one", "two"]])
async def test_a_command_in_any_caption_of_an_album_is_for_all_of_it(
    stage: Stage, silence: Silence, captions: list[str]
):
    """openclaw/openclaw#116827 (a command in a later caption), kirodotdev/KiroCrew#2205 (four pictures were four turns)."""
    router, calls = diary(command("post"))
    async with stage.bot(router):
        for caption in captions:
            stage.fake.world.send_message(
                5, 5, "", photo=PHOTO, media_group_id="a", **({"caption": caption} if caption else {})
            )
        await silence.of(stage.store, len(captions))
        await stage.idle()
    assert calls == [captions]


# ---- calls that come late


async def test_a_press_under_a_message_that_is_out_of_reach_is_handled(stage: Stage):
    """aiogram/aiogram#1675: 30 days later the message of a press has neither text nor the shortcuts of a message."""
    router = Router()

    @router.callback_query(data("go"))
    async def go(ctx: CallbackContext) -> None:
        ctx.edit("new")
        ctx.reply("gone on")

    stage.fake.world.add_user("Ann", user_id=5)
    async with stage.bot(router):
        message = {"chat": {"id": 5, "type": "private", "first_name": "Ann"}, "message_id": 77, "date": 0}
        press = {"id": "1", "from": ANN, "chat_instance": "1", "data": "go", "message": message}
        stage.fake.world.push("callback_query", press)
        await stage.idle()
    assert stage.texts() == ["gone on"]
    assert len(stage.answers()) == 1
    assert await stage.reasons() == []


async def test_a_refresh_that_changes_nothing_is_no_failure(stage: Stage):
    """yi-jiayu/bus-eta-bot#6: the same text again is refused as "not modified"."""
    router = Router()

    @router.message(command("eta"))
    async def eta(ctx: MessageContext) -> None:
        ctx.reply("5 min", reply_markup=inline([("Refresh", "refresh")]))

    @router.callback_query(data("refresh"))
    async def refresh(ctx: CallbackContext) -> None:
        ctx.edit("5 min", reply_markup=inline([("Refresh", "refresh")]))

    async with stage.bot(router):
        await stage.says(5, 5, "/eta")
        await stage.press(5, 5, "Refresh")
    assert [call.status for call in stage.fake.calls if call.method == "editMessageText"] == [400]
    assert len(stage.answers()) == 1
    assert await stage.reasons() == []


async def test_a_request_that_an_administrator_has_answered_is_done(stage: Stage):
    """tucnak/telebot#570: HIDE_REQUESTER_MISSING and USER_ALREADY_PARTICIPANT of approveChatJoinRequest."""
    router = Router()

    @router.chat_join_request()
    async def asks(ctx: ChatContext[Any]) -> None:
        for _ in range(2):
            ctx.call("approveChatJoinRequest", chat_id=ctx.chat_id, user_id=ctx.user_id)

    world = stage.fake.world
    world.add_group("Us", [5], chat_id=-100)
    world.promote(-100, "can_invite_users")
    async with stage.bot(router):
        world.ask_to_join(-100, 6)
        await stage.idle()
    assert [call.status for call in stage.fake.calls if call.method == "approveChatJoinRequest"] == [200, 400]
    assert await stage.reasons() == []


# ---- old is not void, timers


async def test_what_was_written_while_the_bot_was_away_is_handled(stage: Stage):
    """ClickHouse/nerve#171: each restart drops what people had written meanwhile."""
    router, heard = Router(), []

    @router.update(kind("message"))
    async def hears(ctx: Context[Any]) -> None:
        heard.append(ctx.event.text)

    for number in range(150):
        stage.fake.world.send_message(5, 5, f"{number}")
    async with stage.bot(router):
        await stage.idle()
    assert heard == [f"{number}" for number in range(150)]


async def test_a_reminder_that_is_late_by_seconds_comes(stage: Stage):
    """python-telegram-bot/python-telegram-bot#3642 (missed by 4.8 s, and gone), anoadragon453/matrix-reminder-bot#9 and #89."""
    router = Router()

    @router.message(command("tea"))
    async def remember(ctx: MessageContext) -> None:
        ctx.set_timer("tea", 60)

    @router.timer("tea")
    async def tea(ctx: TimerContext) -> None:
        ctx.reply("tea!")

    async with stage.bot(router):
        await stage.says(5, 5, "/tea")
    stage.fake.clock.advance(65)
    stage.store.clock_moved()  # it is due while no bot runs
    async with stage.bot(router):
        await stage.fake.wait_for_calls(1, "sendMessage", delivered=True)
    assert stage.texts() == ["tea!"]
