"""The bot's default parse mode and link previews: where they are applied, and where the call has its own.

Elsewhere: aiogram/aiogram#302 and eternnoir/pyTelegramBotAPI#1034 (None does not switch the default off), aiogram/aiogram#460 (it
is sent beside entities, which Telegram then ignores), eternnoir/pyTelegramBotAPI#2232 and aiogram/aiogram#292 (it does not
reach the media of an album, or one of the methods), python-telegram-bot/python-telegram-bot#3305 (it changes the caller's object).
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError

from telegram.botapi.types import (
    InlineQueryResultArticle,
    InlineQueryResultPhoto,
    InputMediaPhoto,
    InputPollOption,
    InputTextMessageContent,
    LinkPreviewOptions,
    ReplyParameters,
)
from telegram.dialogue import (
    Conduct,
    Context,
    Flow,
    Invalid,
    MessageContext,
    Router,
    command,
    text,
)
from telegram.service.bot import BotConfig
from telegram.settings.bot_settings import BotSettings
from telegram.testing import Conversations
from tests.kit.deliveries import Direct, delivery, message, press, sent

HTML = Conduct(parse_mode="HTML")
PLAIN = Conduct(link_preview=LinkPreviewOptions(is_disabled=True))
OFF = {"is_disabled": True}


async def calls(
    act: Callable[[Any], object], update: dict[str, Any] | None = None, conduct: Conduct = HTML
) -> Any:
    router = Router()

    @router.update()
    async def handler(ctx: Context) -> None:
        act(ctx)

    effects = await Direct(router, conduct=conduct)(delivery(update or {"message": message("hi")}))
    return [params for _, _, params in sent(effects)]


MODE = {"parse_mode": "HTML"}
BOLD = {"type": "bold", "offset": 0, "length": 1}


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda ctx: ctx.reply("x"), MODE),
        (lambda ctx: ctx.message.reply("x"), MODE),
        (lambda ctx: ctx.send(5, "x"), MODE),
        (lambda ctx: ctx.call("sendMessage", chat_id=5, text="x"), MODE),
        (lambda ctx: ctx.reply_photo("f", caption="x"), MODE),
        (lambda ctx: ctx.message.edit_text("x"), MODE),
        (lambda ctx: ctx.message.edit_caption("x"), MODE),
        (lambda ctx: ctx.message.copy_to(5, caption="x"), MODE),
        (lambda ctx: ctx.calls.send_gift(user_id=5, gift_id="g", text="x"), {"text_parse_mode": "HTML"}),
        (lambda ctx: ctx.reply("x", parse_mode="MarkdownV2"), {"parse_mode": "MarkdownV2"}),
        (lambda ctx: ctx.reply("x", parse_mode=None), {}),
        (lambda ctx: ctx.reply("x", parse_mode="none"), {"parse_mode": "none"}),
        (lambda ctx: ctx.reply("x", entities=[BOLD]), {"entities": [BOLD]}),
        (lambda ctx: ctx.reply("x", entities=[]), {"entities": []}),
        (lambda ctx: ctx.reply_photo("f", caption="x", caption_entities=[BOLD]), {"caption_entities": [BOLD]}),
        (lambda ctx: ctx.reply_photo("f"), {}),
        (lambda ctx: ctx.reply_dice(), {}),
        (lambda ctx: ctx.calls.answer_callback_query(callback_query_id="1", text="x"), {}),
        (lambda ctx: ctx.reply("x", reply_parameters=ReplyParameters(message_id=1, quote="<")), MODE),
        (lambda ctx: ctx.call_newer("sendNewer", chat_id=5, text="x"), {}),
    ],
)  # fmt: skip
async def test_a_text_has_the_default_unless_its_call_states_something(act, expected):
    (params,) = await calls(act)
    assert {name: value for name, value in params.items() if "mode" in name or "entities" in name} == expected
    assert "quote_parse_mode" not in params.get("reply_parameters", {})


async def test_a_poll():
    options = ["a", {"text": "b"}, InputPollOption(text="c"), InputPollOption(text="d", text_entities=[])]
    (params,) = await calls(lambda ctx: ctx.reply_poll("?", options, explanation="e", question_entities=[]))
    assert params["explanation_parse_mode"] == "HTML"
    assert not params.keys() & {"question_parse_mode", "description_parse_mode"}
    assert [option.get("text_parse_mode") for option in params["options"]] == ["HTML", "HTML", "HTML", None]
    (params,) = await calls(lambda ctx: ctx.reply_poll("?", ["a"]), conduct=PLAIN)
    assert params["options"] == ["a"]


async def test_an_album_and_edited_media():
    album: list[Any] = [
        InputMediaPhoto(media="f", caption="x"),
        InputMediaPhoto(media="f", caption="x", parse_mode=None),
        InputMediaPhoto(media="f"),
        {"type": "photo", "media": "f", "caption": "x"},
        {"type": "photo", "media": "f", "caption": "x", "caption_entities": [BOLD]},
    ]
    (params,) = await calls(lambda ctx: ctx.reply_media_group(album))
    assert [each.get("parse_mode") for each in params["media"]] == ["HTML", None, None, "HTML", None]
    assert album[0].parse_mode is None
    (edited, _) = await calls(lambda ctx: ctx.edit(album[0]), {"callback_query": press("x")})
    assert edited["media"]["parse_mode"] == "HTML"


async def test_the_results_of_an_inline_query():
    both = Conduct(parse_mode="HTML", link_preview=LinkPreviewOptions(is_disabled=True))
    content = InputTextMessageContent(message_text="x")
    results = [
        InlineQueryResultArticle(id="1", title="<a>", input_message_content=content),
        InlineQueryResultPhoto(id="2", photo_url="u", thumbnail_url="u", caption="x"),
        {"type": "article", "id": "3", "title": "a", "input_message_content": {"message_text": "x", "entities": []}},
    ]  # fmt: skip
    update = {"inline_query": {"id": "q", "from": message()["from"], "query": "", "offset": ""}}
    (params,) = await calls(
        lambda ctx: ctx.calls.answer_inline_query(inline_query_id="q", results=results), update, both
    )
    article, photo, other = params["results"]
    assert article["input_message_content"] == {
        "message_text": "x",
        "parse_mode": "HTML",
        "link_preview_options": OFF,
    }
    assert photo["parse_mode"] == "HTML"
    assert other["input_message_content"] == {
        "message_text": "x",
        "entities": [],
        "link_preview_options": OFF,
    }
    assert not {"parse_mode", "link_preview_options"} & (article.keys() | other.keys())


async def test_link_previews():
    (params,) = await calls(lambda ctx: ctx.reply("x"), conduct=PLAIN)
    assert params == {"chat_id": 7, "text": "x", "link_preview_options": OFF}
    shown = LinkPreviewOptions(is_disabled=False)
    (params,) = await calls(lambda ctx: ctx.reply("x", link_preview_options=shown), conduct=PLAIN)
    assert params["link_preview_options"] == {"is_disabled": False}
    (params,) = await calls(lambda ctx: ctx.reply_photo("f", caption="x"), conduct=PLAIN)
    assert params == {"chat_id": 7, "photo": "f", "caption": "x"}


class Step(Enum):
    NAME = "name"


class Data(BaseModel):
    name: str = ""


def conversation() -> Router:
    router = Router()
    flow = Flow("flow", Step, Data)
    router.include(flow)
    flow.at(Step.NAME).ask("<b>Name?</b>")

    @flow.entry.message(command("name"))
    async def begin() -> Literal[Step.NAME]:
        return Step.NAME

    @flow.at(Step.NAME).message(text)
    async def name(ctx: MessageContext) -> None:
        raise Invalid(f"no <{ctx.text}>")

    @router.message(command("fails"))
    async def fails(ctx: MessageContext) -> None:
        raise TypeError

    @router.message(command("works"))
    async def works(ctx: MessageContext) -> None:
        await ctx.progress("<i>Loading</i>")

    return router


def test_prompts_and_progress_have_it_and_texts_about_errors_do_not():
    with Conversations(conversation(), config=BotConfig(parse_mode="HTML", apology="a < b")) as bot:
        alice = bot.chat("Alice")
        alice.says("/name")
        assert alice.sees("Name?")
        alice.says("x")
        assert [each.get("text") for each in alice.messages][-2:] == ["no <x>", "Name?"]
        alice.says("/fails", failing=True)
        assert alice.sees("a < b")
        alice.says("/works")
        assert alice.messages[-1]["entities"] == [{"type": "italic", "offset": 0, "length": 7}]


def test_the_text_about_a_backlog_has_none():
    config = BotConfig(parse_mode="HTML", backlog="tell:600", backlog_text="a < b")
    with Conversations(conversation(), config=config) as bot:
        alice = bot.chat("Alice")
        alice.says("/works", date=int(bot.now.timestamp()) - 3600)
        (call,) = bot.calls("sendMessage")
        assert call.params == {"chat_id": alice.id, "text": "a < b"}


def test_the_settings():
    assert BotSettings().config(is_sandbox=False).conduct().defaults is None
    config = BotSettings(parse_mode="MarkdownV2", link_preview=False).config(is_sandbox=False)
    assert config.conduct().parse_mode == "MarkdownV2"
    assert config.conduct().link_preview == LinkPreviewOptions(is_disabled=True)
    with pytest.raises(ValidationError, match="parse_mode"):
        BotSettings(parse_mode="html")
    with pytest.raises(ValueError, match="one of HTML, MarkdownV2, Markdown, not 'html'"):
        BotConfig(parse_mode="html")  # type: ignore[arg-type]
