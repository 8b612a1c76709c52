"""Commands as people write them, in texts and captions, and as Telegram marks them (telegram/dialogue/contexts/commands.py)."""

from typing import Any

import pytest

from telegram.dialogue import MessageContext, Router, any_of, caption, command, regex, text, text_or_caption
from telegram.dialogue.router.table import Table
from telegram.testing import Conversations
from tests.kit.deliveries import context, message, press

PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]


def said(words: str | None, **more: Any) -> Any:
    return context({"message": message(words, **more)}, username="my_bot")


def marked(kind: str, length: int, offset: int = 0) -> list[dict[str, Any]]:
    more = {"url": "https://example.org/"} if kind == "text_link" else {}
    return [{"type": kind, "offset": offset, "length": length, **more}]


BOLD = [*marked("bold", 7), *marked("bot_command", 7)]
QUOTE = [*marked("blockquote", 7), *marked("bot_command", 7)]


@pytest.mark.parametrize(
    ("words", "entities", "expected"),
    [
        ("/cancel", marked("bot_command", 7), ("cancel", "")),
        ("/cancel.", marked("bot_command", 7), ("cancel", "")),
        ("/cancel!!!", None, ("cancel", "")),
        ("/Cancel@My_Bot", marked("bot_command", 14), ("cancel", "")),
        ("/cancel@other_bot", marked("bot_command", 17), (None, "")),
        ("/cancel\nplease", marked("bot_command", 7), ("cancel", "please")),
        ("/cancel@my_bot\n\n1, 2", marked("bot_command", 14), ("cancel", "1, 2")),
        ("/cancel", BOLD, ("cancel", "")),
        ("/cancel", QUOTE, ("cancel", "")),
        ("/cancel", marked("code", 7), (None, "")),
        ("/cancel", marked("pre", 7), (None, "")),
        ("/cancel", marked("text_link", 7), (None, "")),
        ("/cancel /stop", [*marked("code", 7), *marked("bot_command", 5, 8)], (None, "")),
        ("/cancel it", [*marked("bot_command", 7), *marked("code", 2, 8)], ("cancel", "it")),
        ("please /cancel", marked("bot_command", 7, 7), (None, "")),
        ("/etc/passwd", None, (None, "")),
    ],
)
def test_a_command_is_what_telegram_marks_as_one(words, entities, expected):
    """tdlib/td, MessageEntity.cpp: match_bot_commands finds them, fix_entities drops those inside code, pre and links.

    Users of python-telegram-bot were surprised by commands in formatted text (python-telegram-bot#1020).
    """
    ctx = said(words, entities=entities) if entities else said(words)
    assert (ctx.command, ctx.args) == expected
    is_ours_or_theirs = expected[0] is not None or "@other_bot" in words
    assert text(ctx) is not is_ours_or_theirs
    assert (text_or_caption.read(ctx) is None) is is_ours_or_theirs
    of_caption = said(
        None, photo=PHOTO, caption=words, **({"caption_entities": entities} if entities else {})
    )
    assert (of_caption.command, of_caption.args) == expected
    assert (caption.read(of_caption) is None) is is_ours_or_theirs
    assert (text_or_caption.read(of_caption) is None) is is_ours_or_theirs


def test_which_filter_takes_texts_and_which_captions():
    words, pictured, bare = said("words"), said(None, photo=PHOTO, caption="words"), said(None, photo=PHOTO)
    assert [text(each) for each in (words, pictured, bare)] == [True, False, False]
    assert [caption.read(each) for each in (words, pictured, bare)] == [None, "words", None]
    assert [text_or_caption.read(each) for each in (words, pictured, bare)] == ["words", "words", None]
    assert [bool(regex("w").read(each)) for each in (words, pictured, bare)] == [True, False, False]
    assert any_of(text_or_caption)(pictured)
    assert [each.caption for each in (words, pictured, bare)] == ["", "words", ""]
    assert caption.read(context({"callback_query": press("data")})) is None


def test_the_table_finds_them():
    router = Router()

    @router.message(command("search"))
    async def search() -> None: ...

    @router.message(caption)
    async def pictured() -> None: ...

    @router.message(text_or_caption)
    async def words() -> None: ...

    def taker(ctx: Any) -> Any:
        found = Table(router).find(ctx)
        return None if found is None else found.handler

    assert taker(said(None, photo=PHOTO, caption="/search this")) is search
    assert taker(said("/search this")) is search
    assert taker(said(None, photo=PHOTO, caption="this")) is pictured
    assert taker(said("this")) is words
    assert taker(said(None, photo=PHOTO)) is None


def test_a_command_in_a_caption_runs_its_handler_with_the_arguments():
    """People send a picture with "/search" under it (python-telegram-bot#3061, aiogram#604, tucnak/telebot#346)."""
    router = Router()

    @router.message(command("search"))
    async def search(ctx: MessageContext) -> None:
        ctx.reply(f"{bool(ctx.message.photo)} {ctx.args}")

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.sends(photo=True, caption="/search red cars")
        assert ann.sees("True red cars")
        ann.says(
            "/search@test_bot blue\ncars",
            forward_origin={"type": "hidden_user", "date": 1, "sender_user_name": "B"},
        )
        assert ann.sees("False blue\ncars")
        calls = len(bot.calls())
        ann.says("/search code", entities=marked("code", 12))
        assert len(bot.calls()) == calls
        assert [message.get("caption_entities") for message in ann.messages if "caption" in message] == [
            marked("bot_command", 7)
        ]
