"""Callback data over Telegram's 64 bytes (Telegram Bot API, InlineKeyboardButton: callback_data).

Elsewhere such a keyboard is refused as a whole, BUTTON_DATA_INVALID: yagop/node-telegram-bot-api#706, grinev/opencode-telegram-bot#178,
interlumpen/Telegram-shop#9 (Cyrillic names: 2 bytes a letter); python-telegram-bot keeps them in memory, with a persistence that
has to be notified of changes (python-telegram-bot/python-telegram-bot#3194).
"""

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from telegram.botapi.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultArticle,
    InputTextMessageContent,
)
from telegram.dialogue import (
    END,
    CallbackContext,
    CallbackData,
    End,
    Flow,
    InlineContext,
    Invalid,
    MessageContext,
    Router,
    TimerContext,
    button,
    command,
    inline,
    text,
)
from telegram.dialogue.buttons.callback_data import DATA_MAX
from telegram.dialogue.buttons.long import KEPT_BYTES_MAX, KEPT_MAX, LongData, is_key, key_of
from telegram.dialogue.buttons.marks import Mark, mark_buttons
from telegram.dialogue.contexts.conduct import OLD_BUTTON, OTHERS_BUTTON
from telegram.testing import Conversations
from tests.kit.docs import modules

LONG = "категория:" + "Дизайн и медиа " * 5
assert len(LONG.encode()) > 64


class Pick(CallbackData, prefix="pick"):
    name: str
    number: int


PICK = Pick(name="Нейросети и прочее " * 5, number=7)


def bot_of(**kinds: Any) -> Conversations:
    """A bot with a long button, and what it says of a press."""
    router = Router()

    @router.message(command("show"))
    async def show(ctx: MessageContext) -> None:
        ctx.reply("Choose", reply_markup=inline([("Long", LONG), ("Short", "short")], [("Pick", PICK)]))

    @router.message(command("to"))
    async def to(ctx: MessageContext) -> None:
        ctx.send(int(ctx.args), "Choose", reply_markup=inline([("Long", LONG)]))

    @router.message(command("many"))
    async def many(ctx: MessageContext) -> None:
        cells = [(f"b{at}", f"{at}:" + "x" * 100) for at in range(int(ctx.args))]
        for at in range(0, len(cells), 100):
            ctx.reply("x", reply_markup=inline(*([each] for each in cells[at : at + 100])))

    @router.message(command("fails"))
    async def fails(ctx: MessageContext) -> None:
        ctx.reply("x", reply_markup=inline([("Lost", "lost" * 50)]))
        raise Invalid("no")

    @router.callback_query(button(LONG))
    async def long(ctx: CallbackContext) -> None:
        ctx.answer(f"{ctx.button == LONG}, {ctx.event.data == LONG}")
        ctx.edit("Again", reply_markup=inline([("Edited", "edited " * 20)]))

    @router.callback_query(Pick)
    async def pick(ctx: CallbackContext, pick: Pick) -> None:
        ctx.answer(f"picked {pick == PICK}")

    @router.callback_query()
    async def other(ctx: CallbackContext) -> None:
        ctx.answer(f"other: {(ctx.button or '')[:20]}")

    return Conversations(router, **kinds)


def data_of(chat: Any, at: int = -1) -> list[str]:
    markup = [each for each in chat.messages if "reply_markup" in each][at]["reply_markup"]
    return [each["callback_data"] for row in markup["inline_keyboard"] for each in row]


def test_a_long_button_works_as_any_other():
    with bot_of() as bot:
        alice = bot.chat("Alice")
        alice.says("/show")
        assert all(len(each.encode()) <= 64 for each in data_of(alice))
        alice.presses("Pick")
        assert alice.toast == "picked True"
        alice.presses(PICK)
        assert alice.toast == "picked True"
        alice.presses("Short")
        assert alice.toast == "other: short"
        alice.presses(LONG)
        assert alice.toast == "True, True"


def test_an_edited_keyboard_has_them_too():
    with bot_of() as bot:
        alice = bot.chat("Alice")
        alice.says("/show")
        alice.presses("Long")
        alice.presses("Edited")
        assert alice.toast == "other: edited edited edited"[: len("other: ") + 20]


def test_it_works_after_a_restart():
    with bot_of() as bot:
        alice = bot.chat("Alice")
        alice.says("/show")
        bot.restart()
        alice.presses("Long")
        assert alice.toast == "True, True"


def test_it_belongs_to_the_chat_whoever_presses():
    with bot_of() as bot:
        team = bot.group("Team", is_forum=True)
        alice, bob = team.member("Alice"), team.member("Bob")
        alice.says("/show")
        bob.presses("Pick")
        assert bob.toast == "picked True"


def test_a_message_to_another_chat_has_them():
    with bot_of() as bot:
        alice, team = bot.chat("Alice"), bot.group("Team")
        bob = team.member("Bob")
        alice.says(f"/to {team.id}")
        bob.presses("Long")
        assert bob.toast == "True, True"


def test_handlers_of_several_chats_post_to_one_at_the_same_time():
    """The state is of another lane: it is read after the handler, and compared by the commit; a later one runs again."""
    router, runs = Router(), []

    @router.message(command("post"))
    async def post(ctx: MessageContext) -> None:
        runs.append(ctx.args)
        chat_id, name = ctx.args.split()
        await asyncio.sleep(1)
        ctx.send(int(chat_id), name, reply_markup=inline([(name, f"{name} " * 40)]))

    @router.callback_query()
    async def pressed(ctx: CallbackContext) -> None:
        ctx.answer((ctx.button or "")[:5])

    with Conversations(router) as bot:
        team = bot.group("Team")
        carl = team.member("Carl")
        chats = [bot.chat(name) for name in ("Alice", "Bob", "Dora")]
        for at, chat in enumerate(chats):
            chat.says(f"/post {team.id} name{at}", wait=False)
        bot.settles()
        for at in range(3):
            carl.presses(f"name{at}")
            assert carl.toast == f"name{at}"
        assert bot.dead_letters() == []
        assert [each["text"] for each in carl.messages if "reply_markup" in each].count("name0") == 1
        assert len(runs) >= 3


def test_a_message_to_a_channel_needs_its_id():
    router = Router()

    @router.message(text)
    async def post(ctx: MessageContext) -> None:
        ctx.send("@news", "x", reply_markup=inline([("Long", LONG)]))

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", failing=True)
        (letter,) = bot.dead_letters()
        assert (
            "sendMessage: a button with more than 64 bytes needs the id of its chat, not '@news'"
            in letter.reason
        )


def test_of_a_chat_the_newest_are_kept_and_an_older_one_is_an_old_button():
    with bot_of() as bot:
        alice = bot.chat("Alice")
        alice.says(f"/many {KEPT_MAX}")
        alice.presses("b0")
        assert alice.toast == "other: 0:xxxxxxxxxxxxxxxxxx"
        alice.says("/show")
        alice.presses("b0")
        assert alice.toast == OLD_BUTTON
        alice.presses("b2")
        assert alice.toast.startswith("other: 2:")
        assert bot.dead_letters() == []


def test_a_forged_key_is_an_old_button():
    with bot_of() as bot:
        alice = bot.chat("Alice")
        alice.says("/show")
        shown = alice.messages[-1]["message_id"]
        for forged in (key_of("x"), f"~abc1234~{key_of('x')}"):
            bot.scene.press(alice.id, alice.user_id, shown, forged)
            bot.happens()
            assert alice.toast == OLD_BUTTON
        assert bot.dead_letters() == []


def test_what_a_failed_handler_collected_is_not_kept():
    with bot_of() as bot:
        alice = bot.chat("Alice")
        alice.says("/fails")
        alice.says("/show")
        shown = alice.messages[-1]["message_id"]
        bot.scene.press(alice.id, alice.user_id, shown, key_of("lost" * 50))
        bot.happens()
        assert alice.toast == OLD_BUTTON


def test_a_timer_and_an_event_keep_them_in_their_chat():
    router = Router()

    @router.message(command("go"))
    async def go(ctx: MessageContext) -> None:
        ctx.set_timer("due", 60)

    @router.timer("due")
    async def due(ctx: TimerContext) -> None:
        ctx.reply("x", reply_markup=inline([("Long", LONG)]))

    @router.callback_query(button(LONG))
    async def long(ctx: CallbackContext) -> None:
        ctx.answer("yes")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        bot.passes(minutes=2)
        alice.presses("Long")
        assert alice.toast == "yes"


def test_a_message_sent_via_the_bot_has_them_once_it_is_edited():
    router = Router()

    @router.callback_query(button("more"))
    async def more(ctx: CallbackContext) -> None:
        ctx.edit("x", reply_markup=inline([("Long", LONG)]))

    @router.callback_query(button(LONG))
    async def long(ctx: CallbackContext) -> None:
        ctx.answer("yes")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.presses_inline("abc", "more")
        alice.presses_inline("abc", LONG)
        assert alice.toast == "yes"


def test_the_example_of_the_page():
    with modules("buttons.md") as made, Conversations(made["shop"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("/shop")
        bot.restart()
        alice.presses("Подстаканник посеребрённый")
        assert alice.toast == "Подстаканник посеребрённый"


def test_a_progress_message_cannot_have_them():
    router = Router()

    @router.message(text)
    async def work(ctx: MessageContext) -> None:
        await ctx.progress("x", reply_markup=inline([("x", LONG)]))

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", failing=True)
        (letter,) = bot.dead_letters()
        assert "a button of progress() has at most 64 bytes" in letter.reason


def test_a_result_of_an_inline_query_cannot_have_them():
    router = Router()
    seen: list[str] = []

    @router.inline_query()
    async def find(ctx: InlineContext) -> None:
        content = InputTextMessageContent(message_text="x")
        for data in ("short", LONG):
            markup = inline([("x", data)])
            result = InlineQueryResultArticle(
                id="1", title="x", input_message_content=content, reply_markup=markup
            )
            try:
                ctx.answer([result])
            except TypeError as error:
                seen.append(str(error))

    with Conversations(router) as bot:
        bot.chat("Alice").sends_update("inline_query", query="x", id="1", offset="")
    (why,) = seen
    assert "answerInlineQuery: a button of an inline result has at most 64 bytes" in why


# ---- flows


class Step(Enum):
    ONE = "one"
    TWO = "two"


class Nothing(BaseModel):
    pass


MARKED = "x" * 60  # fits, but not with a mark


def flow_bot() -> Conversations:
    flow = Flow("flow", Step, Nothing)
    flow.at(Step.ONE).ask("One", reply_markup=inline([("Long", LONG), ("Marked", MARKED)]))
    flow.at(Step.TWO).ask("Two", reply_markup=inline([("Pick", PICK)]))

    @flow.entry.message(command("go"))
    async def begin() -> Literal[Step.ONE]:
        return Step.ONE

    @flow.at(Step.ONE).callback_query(button(LONG, MARKED))
    async def one() -> Literal[Step.TWO]:
        return Step.TWO

    @flow.at(Step.TWO).callback_query(Pick)
    async def two(ctx: CallbackContext, pick: Pick) -> End[None]:
        ctx.reply(f"Done: {pick == PICK}")
        return END

    router = Router()
    router.include(flow)
    return Conversations(router)


def test_the_record_of_a_flow_has_keys_in_place_of_long_data():
    """A record is in the state of each update of the conversation."""
    with flow_bot() as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        state = bot._finish(lambda: bot._store.state(f"chat:{alice.id}", str(alice.id)))
        assert LONG[:20].encode() not in (state or b"")
        assert key_of(LONG).encode() in (state or b"")


@pytest.mark.parametrize("first", ["Long", "Marked"])
def test_a_flow_has_them_with_its_marks(first: str):
    with flow_bot() as bot:
        team = bot.group("Team")
        alice, bob = team.member("Alice"), team.member("Bob")
        alice.says("/go")
        assert all(each.startswith("~") and "=" in each for each in data_of(alice))
        bob.presses(first)
        assert bob.toast == OTHERS_BUTTON
        alice.presses(first)
        bot.restart()
        alice.presses(first)
        assert alice.toast == OLD_BUTTON
        alice.presses("Pick")
        assert alice.sees("Done: True")


# ---- parts


def test_the_limits_of_what_is_kept():
    kept = LongData(None)
    assert kept.encoded() is None
    kept.add({key_of(str(at)): str(at) for at in range(KEPT_MAX)})
    kept.add({key_of("0"): "0"})  # offered again: the newest
    kept.add({key_of("new"): "new"})
    assert (kept.get(key_of("0")), kept.get(key_of("1")), kept.get(key_of("2"))) == ("0", None, "2")
    kept.add({key_of(f"big{at}"): "x" * DATA_MAX for at in range(100)})
    assert all(kept.get(key_of(f"big{at}")) for at in range(100))  # a whole keyboard
    assert kept.get(key_of("new")) == "new"
    again = LongData(kept.encoded())
    again.add({key_of(f"more{at}"): "x" * DATA_MAX for at in range(100)})
    assert all(again.get(key_of(f"more{at}")) for at in range(100))
    assert len(again.encoded() or b"") < KEPT_BYTES_MAX * 1.1
    assert again.get(key_of("new")) is None


def test_data_of_an_authors_own_that_look_like_a_key_are_kept_too():
    own = key_of("x")
    assert is_key(own)
    long: dict[str, str] = {}
    markup, offered = mark_buttons(inline([("x", own)]), None, long)
    assert (offered, list(long.values())) == ([own], [own])
    assert markup["inline_keyboard"][0][0]["callback_data"] == key_of(own)


def test_a_mark_and_a_key_fit():
    long: dict[str, str] = {}
    markup, _ = mark_buttons(inline([("x", "ж" * 33)]), Mark("abc", "1234"), long)
    assert markup["inline_keyboard"][0][0]["callback_data"] == f"~abc1234~{key_of('ж' * 33)}"


def test_data_that_are_too_long_even_so():
    with pytest.raises(ValueError, match="1 to 1024 bytes"):
        inline([("x", "ж" * 513)])
    router = Router()

    @router.message(text)
    async def show(ctx: MessageContext) -> None:
        cell = InlineKeyboardButton(text="x", callback_data="x" * 1025)
        ctx.reply("x", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[cell]]))

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", failing=True)
        (letter,) = bot.dead_letters()
        assert "at most 1024 bytes in UTF-8, this has 1025" in letter.reason
