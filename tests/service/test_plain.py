"""`fallback="plain"`: a text that Telegram cannot parse is sent as plain text, in its place.

Elsewhere each bot has this by hand, around the line that sends, or loses the message: grandamenium/cortextos#59 (a chunk that
cannot be parsed loses the rest), stevehuang0115/crewly#697, lbb00/hubot-telegram-better#12, BEDOLAGA-DEV/remnawave-bedolaga-telegram-bot#2087.
"""

import asyncio
import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import pytest
import structlog
from pydantic import BaseModel

from engine import Delivery, Effects, Envelope, Lease, Queue, Reject, Work
from telegram.botapi.calls import Files, encode_call
from telegram.botapi.collecting import WrongCall
from telegram.botapi.errors import Refused
from telegram.botapi.files import InputFile
from telegram.botapi.named import PLAIN, has_flag, naming_of, quiet
from telegram.botapi.types import InputMediaPhoto, InputPollOption
from telegram.dialogue import CallbackContext, Flow, MessageContext, RefusedContext, Router, command, inline
from telegram.service.sender import Sender
from telegram.settings.bot_config import BotConfig
from telegram.settings.bot_settings import BotSettings
from telegram.testing import Conversations
from tests.kit.virtual import run_virtual

BROKEN = "<b>5 < 6"
UNPARSABLE = 'Bad Request: can\'t parse entities: Unsupported start tag "" at byte offset 5'
"""tdlib/td, SynchronousRequests.cpp (parseTextEntities), passed on by telegram-bot-api, Client.cpp, get_formatted_text."""


def bot_of(*acts: Callable[[Any], object], config: BotConfig | None = None, **hooks: Any) -> Conversations:
    router = Router()

    @router.message(command("go"))
    async def go(ctx: MessageContext) -> None:
        for act in acts:
            act(ctx)

    return Conversations(router, config=config, **hooks)


def shown(chat: Any) -> list[str]:
    return [each.get("text") or each.get("caption") for each in chat.messages if each["from"]["is_bot"]]


def test_it_is_sent_in_its_place_and_is_no_dead_letter():
    def reply(ctx: MessageContext) -> None:
        ctx.reply("before")
        ctx.reply(BROKEN, parse_mode="HTML", fallback="plain", reply_markup=inline([("a", "a")]))
        ctx.reply("after")

    with structlog.testing.capture_logs() as logs, bot_of(reply) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert shown(alice) == ["before", "5 < 6", "after"]
        assert alice.messages[-2]["reply_markup"]
        assert bot.dead_letters() == []
    (line,) = [each for each in logs if "parsed" in each["event"]]
    assert line["lane"] == f"chat:{alice.id}"
    assert "can't parse entities" in line["reason"]


def test_a_text_that_can_be_parsed_keeps_its_markup_and_is_sent_once():
    with bot_of(lambda ctx: ctx.reply("<b>x</b>", parse_mode="HTML", fallback="plain")) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert alice.messages[-1]["entities"] == [{"type": "bold", "offset": 0, "length": 1}]
        assert len(bot.calls("sendMessage")) == 1


def test_without_it_the_text_is_refused():
    with bot_of(lambda ctx: ctx.reply(BROKEN, parse_mode="HTML")) as bot:
        bot.chat("Alice").says("/go", failing=True)
        (letter,) = bot.dead_letters()
        assert "can't parse entities" in letter.reason


SENT = {
    "send": (lambda ctx: ctx.send(ctx.chat_id, BROKEN, parse_mode="HTML", fallback="plain")),
    "message.reply": (lambda ctx: ctx.message.reply(BROKEN, parse_mode="HTML", fallback="plain")),
    "calls": (
        lambda ctx: ctx.calls.send_message(
            chat_id=ctx.chat_id, text=BROKEN, parse_mode="HTML", fallback="plain"
        )
    ),
    "call": (
        lambda ctx: ctx.call(
            "sendMessage", chat_id=ctx.chat_id, text=BROKEN, parse_mode="HTML", fallback="plain"
        )
    ),
    "a caption": (
        lambda ctx: ctx.reply_photo(
            InputFile(b"x", filename="x"), caption=BROKEN, parse_mode="HTML", fallback="plain"
        )
    ),
    "an album": (
        lambda ctx: ctx.reply_media_group(
            [
                InputMediaPhoto(
                    media=InputFile(b"x", filename=f"{n}"), caption=BROKEN if n else "x", parse_mode="HTML"
                )
                for n in (1, 0)
            ],
            fallback="plain",
        )
    ),
    "a quote": (lambda ctx: ctx.reply(BROKEN, parse_mode="HTML", fallback="plain", quote=True)),
}


@pytest.mark.parametrize("what", SENT)
def test_whatever_sends_a_text_has_it(what: str):
    with bot_of(SENT[what]) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert shown(alice)[0] == "5 < 6"
        assert bot.dead_letters() == []


def test_polls_have_several_texts():
    def poll(ctx: MessageContext) -> None:
        option = InputPollOption(text="<i>1", text_parse_mode="HTML")
        ctx.reply_poll("<b>How many?", [option, "2 <"], question_parse_mode="HTML", fallback="plain")

    with bot_of(poll) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        found = alice.messages[-1]["poll"]
        assert (found["question"], [each["text"] for each in found["options"]]) == ("How many?", ["1", "2 <"])


def test_edits_and_named_messages_have_it():
    router = Router()

    @router.message(command("go"))
    async def go(ctx: MessageContext) -> None:
        ctx.reply(BROKEN, parse_mode="HTML", fallback="plain", name="menu", reply_markup=inline([("a", "a")]))
        ctx.named("menu").edit(
            "<i>one <", parse_mode="HTML", fallback="plain", reply_markup=inline([("a", "a")])
        )

    @router.callback_query()
    async def pressed(ctx: CallbackContext) -> None:
        ctx.edit("<u>two <", parse_mode="HTML", fallback="plain")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert shown(alice) == ["one <"]
        alice.presses("a")
        assert shown(alice) == ["two <"]


class Step(Enum):
    ONE = "one"


class Nothing(BaseModel):
    pass


def test_prompts_of_flows_have_it():
    flow = Flow("flow", Step, Nothing)
    flow.at(Step.ONE).ask(BROKEN, parse_mode="HTML", fallback="plain")

    @flow.entry.message(command("go"))
    async def begin() -> Literal[Step.ONE]:
        return Step.ONE

    @flow.at(Step.ONE).message()
    async def stay() -> None: ...

    router = Router()
    router.include(flow)
    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert alice.text == "5 < 6"


def test_the_default_of_the_bot_and_calls_that_state_none():
    config = BotConfig(parse_mode="HTML", parse_fallback="plain")
    with bot_of(lambda ctx: ctx.reply(BROKEN), config=config) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert alice.text == "5 < 6"
    with bot_of(lambda ctx: ctx.reply(BROKEN, fallback=None), config=config) as bot:
        bot.chat("Alice").says("/go", failing=True)
        assert len(bot.dead_letters()) == 1


def test_the_setting():
    assert BotSettings().config(is_sandbox=False).parse_fallback is None
    assert BotSettings(parse_fallback="plain").config(is_sandbox=False).parse_fallback == "plain"


def test_a_handler_of_refusals_does_not_get_a_text_that_was_sent_plain_but_may_use_it():
    router, seen = Router(), []

    @router.message(command("go"))
    async def go(ctx: MessageContext) -> None:
        ctx.reply(BROKEN, parse_mode="HTML", fallback="plain")
        ctx.reply(BROKEN, parse_mode="HTML")

    @router.refused("entities")
    async def refused(ctx: RefusedContext) -> None:
        seen.append(ctx.params["text"])
        ctx.reply(ctx.params["text"], parse_mode="HTML", fallback="plain")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        assert (seen, shown(alice)) == ([BROKEN], ["5 < 6", "5 < 6"])


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (
            lambda ctx: ctx.reply("x", fallback="text"),
            "fallback of sendMessage is 'plain' or None, not 'text'",
        ),
        (lambda ctx: ctx.reply_dice(fallback="plain"), "sendDice has no text with a parse mode"),
    ],
)
def test_a_wrong_fallback_is_a_mistake(act: Any, why: str):
    with bot_of(act) as bot:
        bot.chat("Alice").says("/go", failing=True)
        (letter,) = bot.dead_letters()
        assert why in letter.reason


def test_a_wrong_fallback_of_a_prompt_is_an_error_at_once():
    with pytest.raises(WrongCall, match="fallback"):
        Flow("flow", Step, Nothing).at(Step.ONE).ask("x", fallback="html")  # type: ignore[arg-type]


# ---- the sender


class Telegram:
    """Refuses what has a parse mode, with `reason`."""

    def __init__(self, reason: str = UNPARSABLE) -> None:
        self.reason = reason
        self.asked: list[dict[str, Any]] = []
        self.dies = False

    async def post(self, method: str, body: bytes) -> None:
        self.asked.append(json.loads(body))
        if b"parse_mode" in body:
            raise Refused(method, 400, self.reason)
        if self.dies:
            raise asyncio.CancelledError

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        await self.post(method, body)
        return {"message_id": 1, "chat": {"id": 7}}


def send(telegram: Telegram, body: bytes) -> Effects:
    head = Envelope(3, "chat:7", "", body)
    return run_virtual(Sender(telegram)(Work(Delivery(Lease(Queue.OUTBOX, "chat:7", 1), head, 1, None))))


def call(text: str = BROKEN, mode: str = "HTML", *, plain: bool = True, **params: Any) -> bytes:
    return encode_call("sendMessage", {"chat_id": 7, "text": text, "parse_mode": mode, **params}, plain=plain)


@pytest.mark.parametrize(
    "beginning", ["can't parse entities", "can't parse entities in message text", "can't parse message text"]
)
def test_the_texts_by_which_it_is_known(beginning: str):
    """Of today's server and of older ones: TelegramBotAPI/errors#2, irazasyed/telegram-bot-sdk#113."""
    telegram = Telegram(f"Bad Request: {beginning}: x")
    assert send(telegram, call()) == Effects()
    assert telegram.asked[1] == {"chat_id": 7, "text": "5 < 6"}


@pytest.mark.parametrize(
    "reason", ["Bad Request: message is too long", "Bad Request: x can't parse entities"]
)
def test_other_refusals_are_no_reason(reason: str):
    telegram = Telegram(reason)
    with pytest.raises(Reject):
        send(telegram, call())
    assert len(telegram.asked) == 1


def test_a_process_that_dies_between_the_two_sends_both_again():
    telegram = Telegram()
    telegram.dies = True
    with pytest.raises(asyncio.CancelledError):
        send(telegram, call())
    telegram.dies = False
    assert send(telegram, call()) == Effects()
    assert [each["text"] for each in telegram.asked] == [BROKEN, "5 < 6"] * 2


def test_a_text_of_tags_alone_is_sent_as_it_is():
    telegram = Telegram()
    send(telegram, call("<b> </b><i>"))
    assert telegram.asked[1]["text"] == "<b> </b><i>"


@pytest.mark.parametrize(("length", "ends"), [(4080, " (https://a.b)"), (4090, "x")])
def test_addresses_that_do_not_fit_are_left_out(length: int, ends: str):
    """At most 4096 characters after entities are parsed (Telegram Bot API, sendMessage)."""
    telegram = Telegram()
    send(telegram, call(f'<a href="https://a.b">{"x" * length}</a><b>'))
    assert telegram.asked[1]["text"].endswith(ends)
    assert len(telegram.asked[1]["text"]) <= 4096


def test_other_texts_of_the_same_object_are_not_changed():
    given = [{"type": "audio", "media": "id", "title": "&lt;", "caption": "&lt;<b>", "parse_mode": "HTML"}]
    telegram = Telegram()
    send(telegram, encode_call("sendMediaGroup", {"chat_id": 7, "media": given}, plain=True))
    assert telegram.asked[1]["media"] == [{"type": "audio", "media": "id", "title": "&lt;", "caption": "<"}]


def test_a_checklist_has_a_title_and_tasks():
    given = {"title": "<b>", "parse_mode": "HTML", "tasks": [{"id": 1, "text": "<i>x", "parse_mode": "HTML"}]}
    telegram = Telegram()
    send(telegram, encode_call("sendChecklist", {"chat_id": 7, "checklist": given}, plain=True))
    assert telegram.asked[1]["checklist"] == {"title": "<b>", "tasks": [{"id": 1, "text": "x"}]}


def test_the_flag_is_only_where_there_is_a_mode_and_beside_the_others():
    assert not has_flag(encode_call("sendMessage", {"chat_id": 7, "text": "x"}, plain=True), PLAIN)
    assert not has_flag(call(plain=False), PLAIN)
    named = quiet(encode_call("sendMessage", {"text": "\tplain\n", "parse_mode": "HTML"}, "menu", plain=True))
    assert has_flag(named, PLAIN)
    naming = naming_of(named)
    assert naming is not None
    assert naming.name == "menu"
    assert has_flag(named, b"quiet")
    assert not has_flag(named, b"pla")
