"""Texts in the user's language: whose language, plurals, what is missing, and Chatlane's own texts."""

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
import structlog
from pydantic import BaseModel, Field

from telegram.dialogue import (
    END,
    CallbackContext,
    End,
    Flow,
    InboxHandler,
    Invalid,
    MessageContext,
    Reject,
    Router,
    Texts,
    TimerContext,
    command,
    data,
    help_command,
    inline,
    throttle,
)
from telegram.dialogue.router.flows import router_problems
from telegram.dialogue.router.loading import find_router
from telegram.dialogue.router.menus import menu_lists
from telegram.service.bot import BotConfig
from telegram.testing import Conversations
from tests.dialogue.languages.test_catalogue import HEADER, PLURAL, folder
from tests.kit.deliveries import delivery, message
from tests.kit.docs import modules

RU = (
    HEADER
    + PLURAL
    + 'msgstr[0] "{n} задача"\nmsgstr[1] "{n} задачи"\nmsgstr[2] "{n} задач"\n'
    + r"""
msgid "Hello, {name}!"
msgstr "Привет, {name}!"

msgid "Sold out"
msgstr "Всё продано"

msgid "Which size?"
msgstr "Какой размер?"

msgid "Begin"
msgstr "Начать"

msgid "Slower, please"
msgstr "Пожалуйста, медленнее"
"""
)
DE = 'msgid "Hello, {name}!"\nmsgstr "Hallo, {name}!"\n'


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    return Texts(folder(tmp_path, ru=RU, de=DE))


@pytest.fixture
def router(texts) -> Router:
    router = Router(texts=texts)

    @router.message(command("hello"))
    async def hello(ctx: MessageContext) -> None:
        ctx.reply(ctx.t("Hello, {name}!", name=ctx.args))

    @router.message(command("tasks"))
    async def tasks(ctx: MessageContext) -> None:
        ctx.reply(ctx.t("{n} task", "{n} tasks", n=int(ctx.args)))

    @router.message(command("lang"))
    async def lang(ctx: MessageContext) -> None:
        ctx.lang = ctx.args or None
        ctx.reply(ctx.lang)

    @router.message(command("later"))
    async def later(ctx: MessageContext) -> None:
        ctx.set_timer("hello", 60)

    @router.timer("hello")
    async def greet(ctx: TimerContext) -> None:
        ctx.reply(ctx.t("Hello, {name}!", name="again"))

    @router.message(command("broken"))
    async def broken(ctx: MessageContext) -> None:
        ctx.t("Hello, {name}!")

    @router.message(command("buy"))
    async def buy(ctx: MessageContext) -> None:
        raise Invalid("Sold out")

    @router.message(command("fast"), throttle(1, per_s=60, tell="Slower, please"))
    async def fast(ctx: MessageContext) -> None:
        ctx.reply("done")

    return router


def test_the_language_of_the_app_and_the_users_choice(router):
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.says("/hello Ada")
        assert ada.text == "Hello, Ada!"
        ada.speaks("ru-RU")
        ada.says("/hello Ada")
        assert ada.text == "Привет, Ada!"
        ada.speaks("xx")
        ada.says("/hello Ada")
        assert ada.text == "Hello, Ada!"
        ada.says("/lang de")
        assert ada.text == "de"
        bot.restart()
        ada.speaks("ru")
        ada.says("/hello {Ada} {name}")
        assert ada.text == "Hallo, {Ada} {name}!"
        ada.says("/lang")
        assert ada.text == "ru"
        bob = bot.chat("Bob")
        bob.says("/hello Bob")
        assert bob.text == "Hello, Bob!"


def test_a_language_that_the_bot_does_not_have(router):
    with Conversations(router) as bot:
        bot.chat("Ada").says("/lang fr", failing=True)
        bot.passes(hours=1, failing=True)
        (letter,) = bot.dead_letters()
        assert letter.reason.endswith("the bot has no language 'fr', but de, en, ru")


@pytest.mark.parametrize(
    ("code", "said"),
    [("ru", ["1 задача", "3 задачи", "11 задач"]), ("en", ["1 task", "3 tasks", "11 tasks"])],
)
def test_plurals(router, code, said):
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.speaks(code)
        for n in (1, 3, 11):
            ada.says(f"/tasks {n}")
        assert [call.params["text"] for call in bot.calls("sendMessage")] == said


def test_a_timer_speaks_the_language_of_who_set_it(router):
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.speaks("ru")
        ada.says("/later")
        bot.passes(minutes=2)
        assert ada.text == "Привет, again!"


def test_a_missing_text_falls_back_with_one_line(router):
    with Conversations(router) as bot, structlog.testing.capture_logs() as logs:
        ada = bot.chat("Ada")
        ada.speaks("de")
        for _ in range(3):
            ada.says("/tasks 2")
        assert ada.text == "2 tasks"
    missing = [each for each in logs if each["event"] == "a text is not translated"]
    assert missing == [
        {"event": "a text is not translated", "log_level": "warning", "language": "de", "text": "{n} task"}
    ]


def test_a_missing_value_is_an_error_of_one_line(router):
    with Conversations(router) as bot:
        bot.chat("Ada").says("/broken", failing=True)
        (letter,) = bot.dead_letters()
        assert letter.reason.endswith("t('Hello, {name}!', ...) needs name=")


def test_texts_of_invalid_and_throttle_are_looked_up(router):
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.speaks("ru")
        ada.says("/buy")
        assert ada.text == "Всё продано"
        ada.says("/fast")
        ada.says("/fast")
        assert ada.text == "Пожалуйста, медленнее"


# -- our own texts ----------------------------------------------------------------------------------


class Order(BaseModel):
    n: int = Field(default=1, ge=1)
    size: Literal["small", "large"] = "small"
    word: str = Field(default="", max_length=5)
    day: date = date(2026, 1, 1)


class Step(Enum):
    SIZE = "size"


def our_texts(**options) -> Router:
    router = Router(**options)

    @router.message(command("order").parse(Order))
    async def order(ctx: MessageContext, order: Order) -> None:
        ctx.reply("fine")

    @router.message(command("fail"))
    async def fail(ctx: MessageContext) -> None:
        raise Reject("no")

    flow = Flow("pizza", Step, Order)
    router.include(flow)
    flow.at(Step.SIZE).ask("Which size?", reply_markup=inline([("Small", "small")]))

    @flow.entry.message(command("pizza"))
    async def begin() -> Literal[Step.SIZE]:
        return Step.SIZE

    @flow.at(Step.SIZE).callback_query(data("small"))
    async def size(ctx: CallbackContext) -> End[None]:
        return END

    return router


@pytest.mark.parametrize(
    ("said", "english", "russian"),
    [
        ("x", "n: Please write a whole number.", "n: Напишите, пожалуйста, целое число."),
        ("0", "n: Please write a number of at least 1.", "n: Напишите, пожалуйста, число не меньше 1."),
        (
            "1 tiny",
            "size: Please write one of these: small, large.",
            "size: Напишите, пожалуйста, одно из этого: small, large.",
        ),
        (
            "1 small longer",
            "word: This is too long. The maximum number of characters is 5.",
            "word: Слишком длинно. Наибольшее число символов: 5.",
        ),
        (
            "1 small a b",
            "day: Please write a date like 2026-12-31.",
            "day: Напишите, пожалуйста, дату в таком виде: 2026-12-31.",
        ),
    ],
)
def test_errors_of_models_in_words(texts, said, english, russian):
    with Conversations(our_texts(texts=texts)) as bot:
        ada = bot.chat("Ada")
        for code, first, second in (
            ("en", english, "Write it like this: /order [n]"),
            ("ru", russian, "Напишите так: /order [n]"),
        ):
            ada.speaks(code)
            ada.says(f"/order {said}")
            assert ada.text.splitlines()[0] == first and ada.text.splitlines()[1].startswith(second)


def test_the_apology_and_refused_buttons(texts):
    with Conversations(our_texts(texts=texts)) as bot:
        group = bot.group("Team")
        ada, bob = group.member("Ada"), group.member("Bob")
        for each in (ada, bob):
            each.speaks("ru")
        ada.says("/fail", failing=True)
        assert ada.sees("Извините, не получилось.")
        ada.says("/pizza")
        assert ada.text == "Какой размер?"
        bob.presses("Small")
        assert bob.toast == "Эта кнопка не для вас."
        ada.presses("Small")
        ada.presses("Small")
        assert ada.toast == "Эта кнопка относится к прежнему вопросу."


def test_a_setting_overrides_all_languages(texts):
    config = BotConfig(apology="Oops {x}", others_button="Hands off")
    with Conversations(our_texts(texts=texts), config=config) as bot:
        ada = bot.chat("Ada")
        ada.speaks("ru")
        ada.says("/fail", failing=True)
        assert ada.sees("Oops {x}")


def test_a_bot_without_texts_speaks_one_language():
    for options, apology in (
        ({}, "Sorry, that did not work."),
        ({"texts": Texts(default="ru")}, "Извините, не получилось."),
    ):
        with Conversations(our_texts(**options)) as bot:
            ada = bot.chat("Ada")
            ada.speaks("ru" if not options else "en")
            ada.says("/fail", failing=True)
            assert ada.sees(apology)


def test_a_state_that_is_not_readable_does_not_hinder_the_apology(texts):
    """The dead letter's reason is the state; the user gets the apology in the default language all the same."""
    handler = InboxHandler(our_texts(texts=texts))
    failed = delivery({"message": message("/fail")})._replace(state=b"{")
    assert b"Sorry, that did not work." in handler.failed(failed, given_up=True)[0].body


# -- menus, and errors at the start -----------------------------------------------------------------


def test_menus_by_language(texts):
    router = Router(texts=texts)

    @router.message(command("start", help="Begin"))
    async def start(ctx: MessageContext) -> None: ...

    router.include(help_command(router))
    lists = menu_lists(router)
    assert [line.help for line in lists["default", ""]] == ["Begin", "What I can do"]
    assert [line.help for line in lists["default", "ru"]] == ["Начать", "Что я умею"]
    assert lists["default", "de"] == []
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.speaks("ru")
        ada.says("/help")
        assert ada.text.splitlines() == ["/start - Начать", "/help - Что я умею"]


def test_a_translated_help_that_telegram_refuses_is_a_problem_at_the_start(tmp_path):
    router = Router(texts=Texts(folder(tmp_path, ru=f'msgid "Begin"\nmsgstr "{"б" * 257}"')))

    @router.message(command("start", help="Begin"))
    async def start(ctx: MessageContext) -> None: ...

    assert router_problems(router) == ["/start: help= has at most 256 characters, not 257"]


def test_texts_of_included_routers_and_two_defaults(texts, tmp_path):
    outer, inner = Router(), Router(texts=texts)
    outer.include(inner)
    assert outer.texts().languages == {"de", "en", "ru"}
    outer.include(Router(texts=Texts(default="ru")))
    with pytest.raises(ValueError, match="different default languages"):
        outer.texts()


def test_a_broken_catalogue_is_one_line_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "ru.po").write_text('msgid "a {x}"\nmsgstr "b"', encoding="utf-8")
    (tmp_path / "broken_texts.py").write_text(
        f"from telegram.dialogue import Router, Texts\nrouter = Router(texts=Texts({str(tmp_path)!r}))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"ru\.po, line 1") as caught:
        find_router("broken_texts:router")
    assert "\n" not in str(caught.value) and "broken_texts.py, line 2" in str(caught.value)


def test_the_example():
    with modules("languages.md") as made, Conversations(made["todo"].router) as bot:
        ada = bot.chat("Ada")
        ada.says("/tasks")
        assert ada.text == "1 task"
        ada.says("/language")
        ada.presses("Русский")
        assert ada.toast == "Теперь я говорю по-русски."
        ada.says("/tasks")
        assert ada.text == "2 задачи"
        assert [line.help for line in menu_lists(made["todo"].router)["default", "ru"]] == [
            "Ваши задачи",
            "Choose a language",
        ]
