"""Buttons of a flow belong to its run and to whoever it belongs to; what is pressed otherwise says why and moves nothing.

Callback data is forgeable, and a press says nothing of when its button was sent (Telegram Bot API, CallbackQuery). The
stories: Tishka17/aiogram_dialog#168 and #173 (a button of an earlier dialog, and a second tap, end in an error),
php-telegram-bot/core#875 (everybody in the group can press what is for one person).
"""

import json
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from telegram.botapi.calls import encode_json
from telegram.botapi.types import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.dialogue import (
    CHAT,
    END,
    OWN,
    USER,
    CallbackContext,
    ChatContext,
    Context,
    End,
    Flow,
    Invalid,
    MessageContext,
    Router,
    command,
    data,
    inline,
    text,
)
from telegram.dialogue.buttons.keyboards import keyboard
from telegram.dialogue.buttons.marks import Mark, mark_buttons, owner_of, read_mark
from telegram.dialogue.contexts.conduct import OLD_BUTTON, OTHERS_BUTTON
from telegram.service.bot import BotConfig
from telegram.testing import Conversations
from tests.kit.deliveries import Direct, delivery, message, press, sent

YES_NO = [("Yes", "yes"), ("No", "no")]


class S(Enum):
    ONE = "one"
    TWO = "two"
    NAME = "name"


class Answers(BaseModel):
    given: list[str] = []


def survey(scope: Any = OWN, *, edits: bool = False, **settings: Any) -> Router:
    """Two questions with the same buttons, then a text; "admin" and "menu" are taken by steps, and offered by none."""
    flow = Flow("survey", S, Answers, scope=scope, **settings)

    def asks(state: S, question: str) -> None:
        @flow.at(state).asks
        async def ask(ctx: ChatContext) -> None:
            if edits and isinstance(ctx, CallbackContext):
                ctx.edit(question, reply_markup=inline(YES_NO))
            else:
                ctx.reply(question, reply_markup=inline(YES_NO))

    asks(S.ONE, "One?")
    asks(S.TWO, "Two?")
    flow.at(S.NAME).ask("Name?")

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.ONE]:
        return S.ONE

    @flow.at(S.ONE).callback_query(data("yes", "no"))
    async def one(ctx: CallbackContext, answers: Answers) -> Literal[S.TWO]:
        answers.given.append(f"one {ctx.button}")
        return S.TWO

    @flow.at(S.TWO).callback_query(data("yes", "no"))
    async def two(ctx: CallbackContext, answers: Answers) -> Literal[S.NAME]:
        answers.given.append(f"two {ctx.button}")
        return S.NAME

    @flow.at(S.NAME).message(text)
    async def named(ctx: MessageContext, answers: Answers) -> End[None]:
        ctx.reply(", ".join(answers.given), reply_markup=inline([("Again", "again")]))
        return END

    @flow.entry.callback_query(data("again"))
    async def again() -> Literal[S.ONE]:
        return S.ONE

    @flow.anywhere.callback_query(data("admin"))
    async def admin(ctx: CallbackContext) -> End[None]:
        ctx.reply("everything is deleted")
        return END

    router = Router()
    router.include(flow)

    @router.message(command("menu"))
    async def menu(ctx: MessageContext) -> None:
        ctx.reply("Menu", reply_markup=inline([("Admin", "admin"), ("Help", "help")]))

    @router.callback_query(data("help"))
    async def helps(ctx: CallbackContext) -> None:
        ctx.answer("no help")

    return router


def shown(chat: Any, text_: str) -> dict[str, Any]:
    """The newest message of the bot with this text, as it was sent."""
    found = [each for each in chat.messages if each.get("text") == text_ and "reply_markup" in each]
    return json.loads(json.dumps(found[-1]))  # type: ignore[no-any-return] # as it is now


def press_of(bot: Conversations, chat: Any, shown_: dict[str, Any], text_: str) -> None:
    """Press a button of a message as it was shown, whatever has become of the message."""
    buttons = [each for row in shown_["reply_markup"]["inline_keyboard"] for each in row]
    (found,) = [each["callback_data"] for each in buttons if each["text"] == text_]
    bot.scene.press(chat.id, chat.user_id, shown_["message_id"], found)
    bot.happens()


@pytest.mark.parametrize("scope", [OWN, CHAT, USER])
@pytest.mark.parametrize("edits", [False, True], ids=["new message", "edited"])
def test_a_second_tap_is_no_answer_to_the_next_question(scope, edits):
    with Conversations(survey(scope, edits=edits)) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        first = shown(alice, "One?")
        for _ in range(3):
            press_of(bot, alice, first, "Yes")
        assert alice.toast == OLD_BUTTON
        alice.presses("No")
        alice.says("Alice")
        assert alice.sees("one yes, two no")


def test_a_button_of_an_earlier_run_moves_nothing():
    with Conversations(survey()) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        first = shown(alice, "One?")
        alice.says("/go")
        press_of(bot, alice, first, "Yes")
        assert alice.toast == OLD_BUTTON
        alice.presses("No")
        alice.presses("No")
        press_of(bot, alice, first, "Yes")  # a text is asked
        assert alice.toast == OLD_BUTTON
        alice.says("Alice")
        assert alice.sees("one no, two no")
        press_of(bot, alice, first, "Yes")  # it is over
        assert alice.toast == OLD_BUTTON


@pytest.mark.parametrize(
    "config",
    [BotConfig(old_button="Too old", others_button="Not yours"), BotConfig(old_button="", others_button="")],
)
def test_the_answers_to_refused_presses_are_settings(config):
    with Conversations(survey(), config=config) as bot:
        team = bot.group("Team")
        alice, bob = team.member("Alice"), team.member("Bob")
        alice.says("/go")
        bob.presses("Yes")
        assert bob.toast == config.others_button
        first = shown(alice, "One?")
        alice.presses("Yes")
        press_of(bot, alice, first, "Yes")
        assert alice.toast == config.old_button


def test_an_answer_to_a_press_that_telegram_would_refuse_is_an_error_at_once():
    """Telegram Bot API, answerCallbackQuery: text has 0-200 characters."""
    BotConfig(old_button="x" * 200)
    with pytest.raises(ValueError, match="at most 200 characters, not 201"):
        BotConfig(old_button="x" * 201)
    with pytest.raises(ValueError, match="at most 200 characters, not 201"):
        BotConfig(others_button="x" * 201)


def test_another_users_press_is_answered_and_changes_nothing():
    with Conversations(survey()) as bot:
        team = bot.group("Team")
        alice, bob = team.member("Alice"), team.member("Bob")
        alice.says("/go")
        bob.presses("Yes")
        assert bob.toast == OTHERS_BUTTON
        bob.says("/go")  # now he has one of his own, in the same state
        press_of(bot, bob, shown(alice, "One?"), "Yes")
        assert "Two?" in [call.params["text"] for call in bot.calls("sendMessage")]  # that was his own
        hers = next(each for each in alice.messages if each.get("text") == "One?")
        press_of(bot, bob, hers, "Yes")
        assert bob.toast == OTHERS_BUTTON
        press_of(bot, alice, hers, "Yes")
        assert alice.toast == ""


def test_in_a_chats_flow_everybody_may_press():
    with Conversations(survey(CHAT)) as bot:
        team = bot.group("Team")
        alice, bob = team.member("Alice"), team.member("Bob")
        alice.says("/go")
        bob.presses("Yes")
        alice.presses("No")
        alice.says("x")
        assert alice.sees("one yes, two no")


@pytest.mark.parametrize("marked", [False, True])
def test_forged_data_that_no_prompt_has_offered_moves_nothing(marked):
    with Conversations(survey()) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        prompt = shown(alice, "One?")
        mark, _ = read_mark(prompt["reply_markup"]["inline_keyboard"][0][0]["callback_data"])
        forged = f"{mark}admin" if marked else "admin"
        bot.scene.press(alice.id, alice.user_id, prompt["message_id"], forged)
        bot.happens()
        assert alice.toast == OLD_BUTTON
        alice.presses("Yes")
        assert alice.sees("Two?")


def test_where_a_text_is_asked_no_button_is_offered():
    with Conversations(survey()) as bot:
        alice = bot.chat("Alice")
        for said in ("/menu", "/go"):
            alice.says(said)
        alice.presses("Yes")
        alice.presses("Yes")
        alice.presses("Admin")  # of a message that the flow has not sent
        assert alice.toast == OLD_BUTTON
        alice.presses("Help")  # no step of the flow takes it
        assert alice.toast == "no help"
        alice.says("x")
        assert alice.sees("one yes, two yes")


def test_a_flow_may_take_any_button():
    with Conversations(survey(takes_any_button=True)) as bot:
        alice = bot.chat("Alice")
        for said in ("/menu", "/go"):
            alice.says(said)
        alice.presses("Admin")
        assert alice.sees("everything is deleted")


def test_a_button_that_begins_the_flow_may_stand_anywhere():
    with Conversations(survey()) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        alice.presses("Yes")
        alice.presses("Yes")
        alice.says("x")
        alice.presses("Again")
        assert alice.sees("One?")


def test_a_prompt_that_is_sent_again_leaves_the_first_one_valid():
    flow = Flow("f", S, Answers)
    flow.at(S.ONE).ask("One?", reply_markup=inline(YES_NO))

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.ONE]:
        return S.ONE

    @flow.at(S.ONE).message(text)
    async def wrong(ctx: MessageContext) -> None:
        raise Invalid("press one")

    @flow.at(S.ONE).callback_query(data("yes"))
    async def one(ctx: CallbackContext) -> None:
        ctx.answer("taken")

    router = Router()
    router.include(flow)
    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        first = shown(alice, "One?")
        alice.says("what?")
        press_of(bot, alice, first, "Yes")
        assert alice.toast == "taken"
        alice.presses("Yes")
        assert alice.toast == "taken"


def checkboxes() -> Router:
    flow = Flow("f", S, Answers)

    def boxes(answers: Answers) -> InlineKeyboardMarkup:
        return inline([(f"{'x' if each in answers.given else 'o'} {each}", each) for each in "abc"])

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.ONE]:
        return S.ONE

    @flow.at(S.ONE).asks
    async def asks(ctx: ChatContext, answers: Answers) -> None:
        ctx.reply("Which?", reply_markup=boxes(answers))

    @flow.at(S.ONE).callback_query(data(*"abc"))
    async def toggles(ctx: CallbackContext, answers: Answers) -> None:
        given = str(ctx.button)
        answers.given = [*answers.given, given] if given not in answers.given else [
            each for each in answers.given if each != given
        ]  # fmt: skip
        ctx.edit("Which?", reply_markup=boxes(answers))

    @flow.at(S.ONE).message(text)
    async def ends(ctx: MessageContext, answers: Answers) -> End[None]:
        ctx.reply(" ".join(answers.given))
        return END

    router = Router()
    router.include(flow)
    return router


def test_buttons_that_a_handler_of_the_state_edits_stay_valid_for_long():
    with Conversations(checkboxes()) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        for _ in range(15):
            alice.presses("a")
        alice.presses("b")
        alice.says("done")
        assert alice.sees("a b")


def test_handlers_see_the_data_that_the_author_wrote():
    seen: list[Any] = []
    flow = Flow("f", S, Answers)
    flow.at(S.ONE).ask("One?", reply_markup=inline(YES_NO))

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.ONE]:
        return S.ONE

    @flow.at(S.ONE).callback_query(lambda ctx: ctx.button == "yes")
    async def one(ctx: CallbackContext) -> End[None]:
        seen.extend((ctx.button, ctx.event.data))
        return END

    router = Router()
    router.include(flow)
    with Conversations(router) as bot:
        bot.chat("Alice").says("/go")
        bot.chat("Alice").presses("Yes")
    assert seen == ["yes", "yes"]


# ---- files that were written before


def stored(**more: Any) -> bytes:
    frame = {"flow": "survey", "version": 1, "state": "one", "data": {"given": []}, "history": []}
    return encode_json({"~flow": {"stack": [frame], "timer": False, **more}})


async def handled(update: dict[str, Any], state: bytes | None) -> Any:
    return await Direct(survey())(delivery(update, state=state))


async def test_an_old_conversation_goes_on_with_the_buttons_that_it_has_sent():
    effects = await handled({"callback_query": press("yes")}, stored())
    assert sent(effects)[0][2]["text"] == "Two?"
    record = json.loads(effects.state)["~flow"]
    (turn,) = record["offers"]
    assert record["offers"][turn] == ["yes", "no"]
    # From here on it is of today: what was sent before does not count.
    effects = await handled(
        {"callback_query": press("yes", message=message("x", message_id=10))}, effects.state
    )
    assert [params.get("text") for _, _, params in sent(effects)] == [OLD_BUTTON]


@pytest.mark.parametrize(("message_id", "is_taken"), [(10, False), (11, True), (12, True)])
async def test_data_without_a_mark_counts_if_it_is_offered_and_its_message_is_no_older(message_id, is_taken):
    """Data that has no room for a mark in 64 bytes."""
    state = stored(offers={"abcd": ["yes", "no"]}, since=[7, 11])
    pressed = press("yes", message=message("x", message_id=message_id))
    effects = await handled({"callback_query": pressed}, state)
    assert bool(effects.states or isinstance(effects.state, bytes)) is is_taken


# ---- marks


MARK = Mark("abc", "1234")


@pytest.mark.parametrize(
    "markup",
    [
        inline([("Yes", "yes"), ("No", "no")]),
        {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}, {"text": "No", "callback_data": "no"}]]},
        '{"inline_keyboard":[[{"text":"Yes","callback_data":"yes"},{"text":"No","callback_data":"no"}]]}',
        {"inline_keyboard": (({"text": "Yes", "callback_data": "~xyz9876~yes"}, InlineKeyboardButton(
            text="No", callback_data="no")),)},
    ],
)  # fmt: skip
def test_each_way_to_write_a_keyboard_is_marked(markup):
    marked, offered = mark_buttons(markup, MARK)
    assert offered == ["yes", "no"]
    cells = [each for row in marked["inline_keyboard"] for each in row]
    assert [each["callback_data"] for each in cells] == ["~abc1234~yes", "~abc1234~no"]
    assert [read_mark(each["callback_data"]) for each in cells] == [(MARK, "yes"), (MARK, "no")]


@pytest.mark.parametrize(
    "markup",
    [
        keyboard(["Yes"]),
        {"force_reply": True},
        {"inline_keyboard": [[{"text": "Site", "url": "https://example.org"}]]},
        {"inline_keyboard": 5},
        "no json",
        "[]",
        None,
        5,
    ],
)
def test_what_has_no_data_comes_back_as_it_is(markup):
    assert mark_buttons(markup, MARK) == (markup, [])


def test_data_that_has_no_room_goes_without_a_mark():
    for length, is_marked in ((55, True), (56, False), (64, False)):
        marked, offered = mark_buttons(inline([("x", "\u00fc" * (length // 2) + "a" * (length % 2))]), MARK)
        assert (marked["inline_keyboard"][0][0]["callback_data"].startswith("~")) is is_marked
        assert len(offered[0].encode()) == length


@pytest.mark.parametrize("given", ["", "~", "~abc~x", "~abc12345~x", "yes", "~abc123\u00fc~x", "x~abc1234~"])
def test_what_is_no_mark_is_the_authors(given):
    assert read_mark(given) == (None, given)


def test_owners_differ():
    assert len({owner_of(f"chat:{n}", str(n)) for n in range(100)}) > 95
    assert owner_of("chat:1", "2") != owner_of("chat:12", "")


async def test_a_press_under_a_message_of_no_flow_is_answered_with_nothing():
    effects = await handled({"callback_query": press("unknown")}, None)
    assert [(method, params.get("text")) for _, method, params in sent(effects)] == [
        ("answerCallbackQuery", None)
    ]


def test_a_context_is_the_same_for_everybody_else() -> None:
    seen: list[Any] = []
    router = Router()

    @router.message()
    async def offers(ctx: Context) -> None:
        ctx.call("sendMessage", chat_id=ctx.chat_id, text="x", reply_markup=inline(YES_NO))

    @router.callback_query()
    async def takes(ctx: CallbackContext) -> None:
        seen.append((ctx.button, ctx.pressed))

    with Conversations(router) as bot:
        bot.chat("Alice").says("x")
        bot.chat("Alice").presses("Yes")
    assert seen == [("yes", None)]


def test_the_log_names_the_setting_for_a_button_that_the_flow_has_not_sent_itself():
    """Whoever needs the prompt's message_id sends it with `ctx.client`, and each press was refused for no visible reason."""
    flow: Flow[S, Answers, None] = Flow("menu", S, Answers)

    @flow.entry.message(command("menu"))
    async def begin() -> Literal[S.ONE]:
        return S.ONE

    @flow.at(S.ONE).asks
    async def asks(ctx: ChatContext[Any]) -> None:
        await ctx.client.send_message(
            chat_id=ctx.chat_id or 0, text="Sure?", reply_markup=inline([("Yes", "yes")])
        )

    @flow.at(S.ONE).callback_query(data("yes"))
    async def yes(ctx: CallbackContext) -> End[None]:
        return END

    router = Router()
    router.include(flow)
    with capture_logs() as logs, Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("/menu")
        ann.presses("Yes")
        assert ann.toast == OLD_BUTTON
    assert [line for line in logs if "takes_any_button" in line["event"]]
