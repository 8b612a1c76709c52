"""Named messages: `ctx.reply(..., name="menu")`, later `ctx.named("menu").edit(...)`, through the production path.

Elsewhere authors keep the id of each sent message in a session of their own (EdJoPaTo/grammy-inline-menu#141), and lose it
with a restart (upsuper/telegram-rustevalbot#10).
"""

import json
from typing import Any

import pytest

from telegram.botapi.collecting import WrongCall
from telegram.botapi.files import InputFile
from telegram.botapi.named import NamedId
from telegram.botapi.types import InputMediaPhoto, ReactionTypeEmoji
from telegram.dialogue import MessageContext, NamedMessage, Router, TimerContext, command, inline
from telegram.service.names import NAMES_MAX
from telegram.settings.bot_config import BotConfig
from telegram.testing import Conversations
from tests.kit.deliveries import GROUP, context, message, press, sent
from tests.kit.docs import modules

PHOTO = InputFile(b"png", filename="a.png")


def bot_of(*handlers: Any) -> Router:
    """A router with a command for each function, by its name."""
    router = Router()
    for handler in handlers:
        router.message(command(handler.__name__))(handler)
    return router


async def menu(ctx: MessageContext) -> None:
    ctx.reply(f"Menu {ctx.args}", name="menu", reply_markup=inline([("a", "a")]))


async def edit(ctx: MessageContext) -> None:
    ctx.named("menu").edit(f"Edited {ctx.args}")


async def album(ctx: MessageContext) -> None:
    media = [InputMediaPhoto(type="photo", media=PHOTO), InputMediaPhoto(type="photo", media=PHOTO)]
    ctx.reply_media_group(media, name="menu")


async def picture(ctx: MessageContext) -> None:
    ctx.reply_photo(PHOTO, caption="A picture", name="menu")


async def broken(ctx: MessageContext) -> None:
    ctx.reply("<b>not closed", name="menu", parse_mode="HTML")


async def delete(ctx: MessageContext) -> None:
    ctx.named("menu").delete()


async def quote(ctx: MessageContext) -> None:
    ctx.reply("See above", quote=ctx.named("menu"))


async def refers(ctx: MessageContext) -> None:
    named = ctx.named("menu")
    named.pin()
    named.react([ReactionTypeEmoji(type="emoji", emoji="👍")])
    named.edit_reply_markup(inline([("b", "b")]))
    named.unpin()


def texts(chat: Any) -> list[str]:
    return [
        each.get("text", each.get("caption", ""))
        for each in chat.messages
        if each.get("from", {}).get("is_bot")
    ]


# ---- stories


def test_a_menu_is_edited_by_another_handler():
    with Conversations(bot_of(menu, edit)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu 1")
        alice.says("hello")
        alice.says("/edit 2")
        assert texts(alice) == ["Edited 2"]


def test_an_edit_in_the_same_handler_as_the_message_reaches_it():
    async def both(ctx: MessageContext) -> None:
        ctx.reply("One", name="menu")
        ctx.reply("Two")
        ctx.named("menu").edit("Three")

    with Conversations(bot_of(both)) as bot:
        alice = bot.chat("Alice")
        alice.says("/both")
        assert texts(alice) == ["Three", "Two"]


def test_a_timer_edits_it_after_a_restart():
    router = bot_of(menu)

    @router.message(command("count"))
    async def count(ctx: MessageContext) -> None:
        ctx.set_timer("tick", 60)

    @router.timer("tick")
    async def tick(ctx: TimerContext) -> None:
        ctx.named("menu").edit("Time is up")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu")
        alice.says("/count")
        bot.restart()
        bot.passes(minutes=1)
        assert texts(alice) == ["Time is up"]


def test_the_example_of_the_page():
    with modules("named.md") as made, Conversations(made["countdown"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("/egg")
        bot.passes(minutes=3)
        assert texts(alice) == ["Ready!", "Take the egg out."]
        assert "reply_to_message" in alice.messages[-1]


def test_the_last_message_of_a_name_is_meant_and_each_chat_has_its_own():
    with Conversations(bot_of(menu, edit)) as bot:
        alice, bob = bot.chat("Alice"), bot.chat("Bob")
        alice.says("/menu 1")
        bob.says("/menu b")
        alice.says("/menu 2")
        alice.says("/edit 3")
        assert texts(alice) == ["Menu 1", "Edited 3"]
        assert texts(bob) == ["Menu b"]


def test_a_caption_is_edited_by_edit_too():
    with Conversations(bot_of(picture, edit)) as bot:
        alice = bot.chat("Alice")
        alice.says("/picture")
        alice.says("/edit 2")
        assert texts(alice) == ["Edited 2"]
        assert bot.calls("editMessageCaption")


def test_a_text_that_became_a_photo_has_a_caption():
    async def media(ctx: MessageContext) -> None:
        ctx.named("menu").edit_media(InputMediaPhoto(type="photo", media=PHOTO, caption="Now"))

    with Conversations(bot_of(menu, media, edit)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu")
        alice.says("/media")  # allowed by the Bot API, editMessageMedia
        alice.says("/edit 2")
        assert texts(alice) == ["Edited 2"]


def test_an_album_is_deleted_as_a_whole():
    with Conversations(bot_of(album, delete)) as bot:
        alice = bot.chat("Alice")
        alice.says("/album")
        assert len(texts(alice)) == 2
        alice.says("/delete")
        assert texts(alice) == []


def test_it_is_pinned_unpinned_and_reacted_to():
    with Conversations(bot_of(menu, refers)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu")
        alice.says("/refers")
        (menu_sent,) = bot.calls("sendMessage")
        methods = ["pinChatMessage", "setMessageReaction", "editMessageReplyMarkup", "unpinChatMessage"]
        for method in methods:
            (call,) = bot.calls(method)
            assert (call.params["message_id"], call.error) == (menu_sent.result["message_id"], "")


def test_a_reply_quotes_it():
    with Conversations(bot_of(menu, quote)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu")
        alice.says("/quote")
        first, second = bot.calls("sendMessage")
        assert second.result["reply_to_message"]["message_id"] == first.result["message_id"]


def test_it_is_in_another_chat():
    async def announce(ctx: MessageContext) -> None:
        ctx.send(int(ctx.args), "Sale!", name="sale")

    async def ends(ctx: MessageContext) -> None:
        ctx.named("sale", chat_id=int(ctx.args)).edit("Sold out")

    with Conversations(bot_of(announce, ends)) as bot:
        alice, bob, team = bot.chat("Alice"), bot.chat("Bob"), bot.group("Team")
        alice.says(f"/announce {team.id}")
        bob.says(f"/ends {team.id}")
        assert texts(team.member("Bob")) == ["Sold out"]


# ---- what has no name


def test_a_message_that_was_never_sent_is_deleted_without_a_call():
    with Conversations(bot_of(delete)) as bot:
        bot.chat("Alice").says("/delete")
        assert bot.calls() == []


def test_an_edit_of_what_was_never_sent_is_dropped():
    with Conversations(bot_of(edit)) as bot:
        bot.chat("Alice").says("/edit 1")
        assert bot.calls() == []


def test_a_reply_to_what_was_never_sent_is_sent_without_it():
    with Conversations(bot_of(quote)) as bot:
        bot.chat("Alice").says("/quote")
        (call,) = bot.calls("sendMessage")
        assert "reply_parameters" not in call.params


def test_a_refused_message_takes_the_name_from_the_older_one():
    with Conversations(bot_of(menu, broken, edit)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu 1")
        alice.says("/broken", failing=True)
        alice.says("/edit 2")
        assert texts(alice) == ["Menu 1"]


def test_a_replayed_message_has_the_name():
    async def file(ctx: MessageContext) -> None:
        ctx.reply("Now", name="menu")

    kept = BotConfig(unreachable="dead-letter")
    with Conversations(bot_of(file, edit), config=kept) as bot:
        alice = bot.chat("Alice")
        bot.scene.block(alice.id)
        alice.says("/file", failing=True)
        (letter,) = bot.dead_letters()
        bot.scene.unblock(alice.id)
        bot.happens()
        assert bot._finish(lambda: bot._store.replay(letter.number))
        bot.settles()
        alice.says("/edit 2")
        assert texts(alice) == ["Edited 2"]


def test_a_message_that_a_user_deleted_is_gone():
    with Conversations(bot_of(menu, edit, delete)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu 1")
        (shown,) = [each for each in alice.messages if each.get("from", {}).get("is_bot")]
        alice.deletes(shown["message_id"])
        alice.says("/edit 2")
        alice.says("/delete")
        assert texts(alice) == []
        assert bot.dead_letters() == []


def test_a_deleted_message_has_no_name():
    with Conversations(bot_of(menu, edit, delete)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu 1")
        alice.says("/delete")
        alice.says("/edit 2")
        alice.says("/delete")
        assert len(bot.calls("deleteMessage")) == 1
        assert not bot.calls("editMessageText")


def test_the_names_of_a_chat_are_bounded_and_the_oldest_is_dropped():
    async def many(ctx: MessageContext) -> None:
        for number in range(NAMES_MAX):
            ctx.reply(str(number), name=f"menu {number}")

    async def all_of_them(ctx: MessageContext) -> None:
        ctx.named("menu").edit("no")
        ctx.named("menu 0").edit("yes")

    with Conversations(bot_of(menu, many, all_of_them)) as bot:
        alice = bot.chat("Alice")
        alice.says("/menu 1")
        alice.says("/many")
        alice.says("/all_of_them")
        assert texts(alice)[:2] == ["Menu 1", "yes"]


# ---- groups that become supergroups: the ids of their messages are others (Telegram Bot API, migrate_to_chat_id)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_message_of_a_group_is_gone_when_it_is_a_supergroup(restarts: bool):
    with Conversations(bot_of(menu, edit, delete, quote)) as bot:
        group = bot.group("Team", kind="group")
        alice = group.member("Alice")
        alice.says("/menu 1")
        new = bot.scene.migrate(group.id)
        bot.happens()
        there = type(group)(bot, new["id"]).member("Alice")
        for _ in range(5):
            there.says("hello")
        if restarts:
            bot.restart()
        before = [each["message_id"] for each in there.messages]
        there.says("/edit 2")
        there.says("/delete")
        assert [each["message_id"] for each in there.messages][: len(before)] == before
        there.says("/quote")
        assert "reply_to_message" not in bot.calls("sendMessage")[-1].result
        assert bot.dead_letters() == []
        there.says("/menu 3")
        there.says("/edit 4")
        assert texts(there)[-1] == "Edited 4"


# ---- what is collected


def test_the_calls_stay_in_the_lane_with_the_name_apart_from_the_params():
    ctx = context({"message": message("x", chat=GROUP)})
    ctx.reply('{"name":"b"}\t', name="a\tb\n")
    ctx.named("a\tb\n").delete()
    effects = ctx.effects()
    lanes = {call.key for call in effects.calls}
    assert lanes == {f"chat:{GROUP['id']}"}
    assert [method for _, method, _ in sent(effects)] == ["~forget", "sendMessage", "deleteMessage"]
    assert sent(effects)[2][2] == {"chat_id": GROUP["id"], "message_id": None}
    heads = [call.body.partition(b"\n")[0].split(b"\t") for call in effects.calls]
    assert [json.loads(head[2]) for head in heads] == [
        ["a\tb\n", []],
        ["a\tb\n", []],
        [None, [[["message_id"], "a\tb\n"]]],
    ]


@pytest.mark.parametrize(
    ("wrong", "error", "text_"),
    [
        (lambda ctx: ctx.reply("x", name=""), WrongCall, "1 to 64 characters"),
        (lambda ctx: ctx.reply("x", name="n" * 65), WrongCall, "1 to 64 characters"),
        (lambda ctx: ctx.reply("x", name=5), WrongCall, "a message's name is a text"),
        (lambda ctx: ctx.reply("x", name="\ud800"), WrongCall, "UTF-8"),
        (lambda ctx: ctx.named(""), ValueError, "1 to 64 characters"),
        (lambda ctx: ctx.named(None), TypeError, "a message's name is a text"),
        (lambda ctx: ctx.named("x").edit(5), WrongCall, "media"),
        (lambda ctx: ctx.named("x").edit("y", parse_mod="HTML"), WrongCall, "parse_mod"),
        (lambda ctx: ctx.reply("x", quote=ctx.named("y", chat_id=999)), WrongCall, "of this chat"),
    ],
)
def test_what_no_message_can_have_is_an_error_at_once(wrong: Any, error: Any, text_: str):
    ctx = context({"message": message("x")})
    with pytest.raises(error, match=text_):
        wrong(ctx)


def test_a_pressed_button_has_them_too():
    ctx = context({"callback_query": press("a")})
    named = ctx.named("menu")
    assert isinstance(named, NamedMessage)
    named.edit("x")
    assert [method for _, method, _ in sent(ctx.effects())] == ["editMessageText"]


def test_an_id_is_no_id_of_a_message_elsewhere():
    from telegram.botapi.calls import encode_params

    with pytest.raises(TypeError, match="only when a collected call is sent"):
        encode_params({"message_id": NamedId("menu")})
