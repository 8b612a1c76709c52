"""Calls that come late: what they are about has changed, or is gone, since the handler asked for them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import structlog

from engine.stores import open_store
from telegram.botapi.errors import Refused, api_error
from telegram.botapi.late import outcome_of_refusal, with_shorter_answer, without_lost_reply
from telegram.botapi.shortcuts import outlives_its_message
from telegram.botapi.types import ReplyParameters
from telegram.client import TgClient
from telegram.dialogue import CallbackContext, MessageContext, Router, data, inline, text
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig

GROUP = -1_001_000_000_100


# ---- the table


def refused(description: str, code: int = 400) -> Refused:
    body = json.dumps({"ok": False, "error_code": code, "description": description}).encode()
    error = api_error("x", code, body)
    assert isinstance(error, Refused)
    return error


@pytest.mark.parametrize(
    ("description", "outcome"),
    [
        # telegram-bot-api, Client.cpp, fail_query_with_error
        ("Bad Request: message is not modified: specified new message content is the same", "done"),
        ("Bad Request: message to delete not found", "done"),
        ("Bad Request: query is too old and response timeout expired or query ID is invalid", "done"),
        ("Bad Request: poll has already been closed", "done"),
        ("Bad Request: chat description is not modified", "done"),
        ("Bad Request: TOPIC_NOT_MODIFIED", "done"),
        ("MESSAGE IS NOT MODIFIED", "done"),
        # tucnak/telebot#570: a request to join that was withdrawn, or that an administrator has answered
        ("Bad Request: HIDE_REQUESTER_MISSING", "done"),
        ("Bad Request: USER_ALREADY_PARTICIPANT", "done"),
        ("Bad Request: QUERY_ID_INVALID", "done"),
        # the same file, check_message; TelegramBotAPI/errors#7, tdlib/telegram-bot-api#400
        ("Bad Request: message to edit not found", "dropped"),
        ("Bad Request: message to react not found", "dropped"),
        ("Bad Request: message to pin not found", "dropped"),
        ("Bad Request: MESSAGE_ID_INVALID", "dropped"),
        # check_message_topic; tucnak/telebot#762
        ("Bad Request: message thread not found", "dropped"),
        ("Bad Request: TOPIC_DELETED", "dropped"),
        # Matt0550/TagEveryoneTelegramBot#26, TediCross/TediCross#200, eternnoir/pyTelegramBotAPI#2068
        ("Bad Request: TOPIC_CLOSED", "dead letter"),
        ("Bad Request: have no rights to send a message", "dead letter"),
        ("Bad Request: not enough rights to send text messages to the chat", "dead letter"),
        ("Bad Request: need administrator rights in the channel chat", "dead letter"),
        ("Bad Request: message can't be edited", "dead letter"),
        ("Bad Request: message can't be deleted", "dead letter"),
        ("Bad Request: message to forward not found", "dead letter"),
        ("Bad Request: can't parse entities: message is not modified", "dead letter"),
        ("Bad Request: message to be replied not found", "dead letter"),
    ],
)
def test_the_outcome_of_a_refusal(description: str, outcome: str) -> None:
    assert outcome_of_refusal(refused(description)) == outcome


@pytest.mark.parametrize("method", ["answerPreCheckoutQuery", "answerShippingQuery"])
def test_a_payment_that_was_answered_too_late_is_no_silent_success(method: str) -> None:
    late = Refused(
        method, 400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
    )
    assert outcome_of_refusal(late) == "dropped"


LOST = refused("Bad Request: message to be replied not found")


@pytest.mark.parametrize(
    ("error", "params", "mended"),
    [
        (
            LOST,
            b'{"chat_id":5,"reply_parameters":{"message_id":1,"chat_id":6},"text":"x"}',
            b'{"chat_id":5,"text":"x"}',
        ),
        (refused("Bad Request: replied message not found"), b'{"reply_parameters":{"message_id":1}}', b"{}"),
        (LOST, b'{"reply_parameters":{"message_id":1,"allow_sending_without_reply":false}}', None),
        (LOST, b'{"chat_id":5}', None),
        (refused("Bad Request: message to edit not found"), b'{"reply_parameters":{"message_id":1}}', None),
    ],
)
def test_a_call_without_its_lost_reply(error: Refused, params: bytes, mended: bytes | None) -> None:
    assert without_lost_reply(error, params) == mended


LENIENT = {"message_id": 1, "allow_sending_without_reply": True}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"message_id": 1}, LENIENT),
        (
            {"message_id": 1, "allow_sending_without_reply": False},
            {**LENIENT, "allow_sending_without_reply": False},
        ),
        ({"message_id": 1, "chat_id": 6}, {"message_id": 1, "chat_id": 6}),
        (ReplyParameters(message_id=1), ReplyParameters(message_id=1, allow_sending_without_reply=True)),
        (ReplyParameters(message_id=1, chat_id=6), ReplyParameters(message_id=1, chat_id=6)),
        ('{"message_id":1}', '{"message_id":1}'),
    ],
)
def test_a_reply_outlives_its_message_by_default(given: Any, sent: Any) -> None:
    assert outlives_its_message(given) == sent


# ---- a whole bot over HTTP, on both stores


class Late(NamedTuple):
    """What a handler asks for, what happens before it is sent, and what becomes of it."""

    asks: Callable[[MessageContext], None]
    happens: Callable[[FakeServer], Any]
    outcome: str  # "done", "dropped", "sent", or the reason of the dead letter


class Scene:
    """A bot whose handler of "go" waits for `open` before it returns; what it asked for is sent then."""

    def __init__(
        self, fake: FakeServer, bot: Bot, store: Any, entered: asyncio.Event, gate: asyncio.Event
    ) -> None:
        self.fake, self.bot, self.store = fake, bot, store
        self.entered, self.open = entered, gate

    async def goes_on(self) -> None:
        """Wait until the chat goes on behind the late call, and all is sent."""
        known = 0
        while not any(call.text == "after go" for call in self.fake.calls):
            known += 1
            await self.fake.wait_for_calls(known)
        await self.bot.stop()


@asynccontextmanager
async def a_scene(url: str, asks: Callable[[MessageContext], None]) -> AsyncIterator[Scene]:
    router, entered, gate = Router(), asyncio.Event(), asyncio.Event()

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        if ctx.text == "go":
            entered.set()
            await gate.wait()
            asks(ctx)
        ctx.reply(f"after {ctx.text}")

    async with FakeServer(seed=1, strict=True) as fake:
        store = await open_store(url, "1")
        async with TgClient(fake.token, base_url=fake.url) as client:
            bot = Bot(client, store, router, BotConfig(drain_timeout_s=10, messages_per_s=0))
            try:
                await bot.start()
                yield Scene(fake, bot, store, entered, gate)
            finally:
                await bot.stop()
                await store.close()


@pytest.fixture(params=["memory:", "sqlite:"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return "memory:" if request.param == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"


def delete_the_message(fake: FakeServer) -> None:
    newest = fake.world.messages(5)[-1]["message_id"]
    assert fake.world.delete_message(5, newest)


def reply_with_quote(ctx: MessageContext) -> None:
    ctx.message.reply("late", quote=True)


def call_with_quote(ctx: MessageContext) -> None:
    ctx.call(
        "sendDice",
        chat_id=ctx.chat_id,
        reply_parameters=ReplyParameters(message_id=ctx.message.message_id),
    )


def reply_in_another_chat(ctx: MessageContext) -> None:
    reply = ReplyParameters(message_id=ctx.message.message_id, chat_id=ctx.chat_id)
    ctx.send(6, "late", reply_parameters=reply)


@pytest.mark.parametrize("asks", [reply_with_quote, call_with_quote, reply_in_another_chat])
async def test_a_reply_to_a_message_that_was_deleted_is_sent_without_the_quote(url: str, asks: Any) -> None:
    """Black-Bulls-Bots/zerotwobot#43, InsanusMokrassar/ktgbotapi#191: the author deletes the command at once."""
    async with a_scene(url, asks) as scene:
        scene.fake.world.add_user("Bob", user_id=6)
        scene.fake.world.send_message(5, 5, "go")
        await scene.entered.wait()
        delete_the_message(scene.fake)
        scene.open.set()
        await scene.goes_on()
        there = 6 if asks is reply_in_another_chat else 5
        late = next(m for m in scene.fake.world.messages(there) if m.get("text") == "late" or "dice" in m)
        assert not late.keys() & {"reply_to_message", "external_reply"}
        assert await scene.store.dead_letters() == []


async def test_a_reply_to_a_message_that_is_there_has_its_quote(url: str) -> None:
    async with a_scene(url, reply_with_quote) as scene:
        scene.fake.world.send_message(5, 5, "go")
        scene.open.set()
        await scene.goes_on()
        late = next(m for m in scene.fake.world.messages(5) if m.get("text") == "late")
        assert late["reply_to_message"]["text"] == "go"


async def test_a_reply_that_needs_its_message_is_a_dead_letter_without_it(url: str) -> None:
    def asks(ctx: MessageContext) -> None:
        reply = ReplyParameters(message_id=ctx.message.message_id, allow_sending_without_reply=False)
        ctx.reply("late", reply_parameters=reply)

    async with a_scene(url, asks) as scene:
        scene.fake.world.send_message(5, 5, "go")
        await scene.entered.wait()
        delete_the_message(scene.fake)
        scene.open.set()
        await scene.goes_on()
        (letter,) = await scene.store.dead_letters()
        assert letter.reason.endswith("message to be replied not found")


def edit(ctx: MessageContext) -> None:
    ctx.call("editMessageText", chat_id=5, message_id=1, text="new")


def edit_as_it_is(ctx: MessageContext) -> None:
    ctx.call("editMessageText", chat_id=5, message_id=1, text="old")


def delete_it(ctx: MessageContext) -> None:
    ctx.call("deleteMessage", chat_id=5, message_id=1)


def react(ctx: MessageContext) -> None:
    ctx.call("setMessageReaction", chat_id=5, message_id=1, reaction=[{"type": "emoji", "emoji": "👍"}])


def into_the_topic(ctx: MessageContext) -> None:
    ctx.send(GROUP, "late", message_thread_id=7)


def into_the_group(ctx: MessageContext) -> None:
    ctx.send(GROUP, "late")


STORIES = {
    "edited as it is": Late(edit_as_it_is, lambda _fake: None, "done"),
    "edited, deleted meanwhile": Late(edit, lambda fake: fake.world.delete_message(5, 1), "dropped"),
    "deleted by somebody else": Late(delete_it, lambda fake: fake.world.delete_message(5, 1), "done"),
    "reaction to what is gone": Late(react, lambda fake: fake.world.delete_message(5, 1), "dropped"),
    "topic deleted": Late(into_the_topic, lambda fake: fake.world.delete_topic(GROUP, 7), "dropped"),
    "topic closed": Late(into_the_topic, lambda fake: fake.world.close_topic(GROUP, 7), "TOPIC_CLOSED"),
    "right to write lost": Late(
        into_the_group,
        lambda fake: fake.world.mute(GROUP),
        "not enough rights to send text messages to the chat",
    ),
    "thrown out": Late(into_the_group, lambda fake: fake.world.kick(GROUP), "dropped"),
    "blocked": Late(
        lambda ctx: ctx.send(6, "late"),
        lambda fake: fake.world.block(6),
        "dropped",
    ),
    "group deleted": Late(into_the_group, lambda fake: fake.world.delete_group(GROUP), "dropped"),
}


@pytest.mark.parametrize("name", STORIES)
async def test_a_call_that_comes_late_has_the_outcome_that_is_declared(url: str, name: str) -> None:
    """airatk/kaishnik-bot#1, tgbot-collection/ytdlbot#435, teloxide/teloxide#450: such calls ended whole bots."""
    story = STORIES[name]
    async with a_scene(url, story.asks) as scene:
        world = scene.fake.world
        world.add_group("Forum", [5, 6], chat_id=GROUP, is_forum=True)
        world.send_message(GROUP, 6, "hi", message_thread_id=7, is_topic_message=True)
        await scene.fake.wait_for_calls(1, "sendMessage")
        world.add_user("Ann", user_id=5)
        world.add_user("Bob", user_id=6)
        world.post(world.chat_for_bot({"chat_id": 5}), {"text": "old"})
        world.send_message(5, 5, "go")
        await scene.entered.wait()
        story.happens(scene.fake)
        scene.open.set()
        await scene.goes_on()
        reasons = [letter.reason for letter in await scene.store.dead_letters()]
    late = [call for call in scene.fake.calls if call.method != "getMe"][-2:]
    assert any(call.status != 200 for call in late)
    if story.outcome in ("done", "dropped"):
        assert reasons == []
    else:
        (reason,) = reasons
        assert reason.endswith(story.outcome)


async def test_what_is_dropped_is_logged(url: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with a_scene(url, edit) as scene:
            scene.fake.world.send_message(5, 5, "hi")
            await scene.fake.wait_for_calls(1, "sendMessage")
            scene.fake.world.delete_message(5, 1)
            scene.fake.world.send_message(5, 5, "go")
            scene.open.set()
            await scene.goes_on()
    (line,) = [each for each in logs if each["event"] == "a call came too late and is dropped"]
    assert line["reason"] == "editMessageText: 400 Bad Request: message to edit not found"
    assert line["lane"] == "chat:5"


@pytest.mark.parametrize("letter", ["x", "🙂"])
async def test_an_answer_that_is_too_long_is_cut_and_the_button_does_not_wait(
    stage: Any, letter: str
) -> None:
    """eternnoir/pyTelegramBotAPI#500: a notice of 300 characters is MESSAGE_TOO_LONG, and the button goes on waiting."""
    router = Router()

    @router.message(text)
    async def asks(ctx: MessageContext) -> None:
        ctx.reply("Rules?", reply_markup=inline([("Show", "show")]))

    @router.callback_query(data("show"))
    async def shows(ctx: CallbackContext) -> None:
        ctx.answer(letter * 300, show_alert=True)

    async with stage.bot(router):
        await stage.says(5, 5, "hi")
        await stage.press(5, 5, "Show")
    refused, cut = (call for call in stage.fake.calls if call.method == "answerCallbackQuery")
    assert (refused.status, cut.status) == (400, 200)
    assert cut.params["text"] == letter * (199 if letter == "x" else 99) + "…"
    assert cut.params["show_alert"]
    assert await stage.reasons() == []


def test_no_other_call_is_cut() -> None:
    assert with_shorter_answer(refused("Bad Request: MESSAGE_TOO_LONG"), b'{"text":"x"}') is None
    short = Refused("answerCallbackQuery", 400, "Bad Request: MESSAGE_TOO_LONG")
    assert with_shorter_answer(short, b'{"text":"x"}') is None
    assert with_shorter_answer(short, b"{}") is None
    other = Refused("answerCallbackQuery", 400, "Bad Request: URL_INVALID")
    assert with_shorter_answer(other, b'{"text":"%s"}' % (b"x" * 300)) is None
