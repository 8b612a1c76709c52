"""Menus: which commands a router shows where, and /help."""

from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel

from telegram.dialogue import (
    END,
    CallbackContext,
    End,
    Flow,
    MessageContext,
    Router,
    any_of,
    chat_type,
    command,
    data,
    help_command,
    text,
)
from telegram.dialogue.router.flows import router_problems
from telegram.dialogue.router.menus import lists_of, menu_of
from telegram.testing import Conversations
from tests.kit.docs import modules


class Task(BaseModel):
    day: str
    title: str = ""


class Step(Enum):
    SIZE = "size"


def handler(router: Router, *filters, **options) -> None:
    @router.message(*filters, **options)
    async def handle(ctx: MessageContext) -> None:
        ctx.reply(f"handled {ctx.command}")


def a_router() -> Router:
    router = Router()
    handler(router, command("start", "begin", help="Begin").payload)
    handler(router, command("start", help="Begin"))
    handler(router, command("add", help="Add a task").parse(Task))
    handler(router, command("secret"))
    inner = Router()
    handler(inner, command("settings", help="Your settings", shown="private"))
    handler(inner, command("ban", help="Ban a member", shown="admins"))
    handler(inner, command("rules", help="The rules", shown="groups"))
    router.include(inner)
    handler(router, any_of(command("now", help="At once"), text), stop=command("stop", help="Stop it"))
    flow = Flow("pizza", Step, BaseModel)
    router.include(flow)

    @flow.entry.message(command("pizza", help="Order a pizza"))
    async def begin() -> Literal[Step.SIZE]:
        return Step.SIZE

    @flow.at(Step.SIZE).callback_query(data("small"))
    async def size(ctx: CallbackContext) -> End[None]:
        return END

    @flow.anywhere.message(command("cancel", help="Leave"))
    async def leave() -> End[None]:
        return END

    return router


def names(lines) -> list[str]:
    return [line.name for line in lines]


def test_the_menu_of_a_router():
    menu = menu_of(a_router())
    assert names(menu) == [
        "start",
        "add",
        "settings",
        "ban",
        "rules",
        "now",
        "stop",
        "pizza",
        "cancel",
    ]
    assert menu[1].usage == "/add <day> [title]"


def test_the_lists_of_scopes():
    """The narrowest scope with a list counts, so a list repeats the wider ones (Telegram Bot API, BotCommandScope)."""
    lists = lists_of(menu_of(a_router()))
    for_all = ["start", "add", "now", "stop", "pizza", "cancel"]
    assert names(lists["default"]) == for_all
    assert names(lists["all_private_chats"]) == ["start", "add", "settings", "now", "stop", "pizza", "cancel"]
    assert names(lists["all_group_chats"]) == ["start", "add", "rules", "now", "stop", "pizza", "cancel"]
    assert "ban" in names(lists["all_chat_administrators"])
    assert "rules" in names(lists["all_chat_administrators"])


def test_a_scope_without_commands_of_its_own_has_no_list():
    router = Router()
    handler(router, command("start", help="Begin"))
    lists = lists_of(menu_of(router))
    assert [scope for scope, lines in lists.items() if lines] == ["default"]


def test_one_command_in_two_scopes_with_two_texts():
    router = Router()
    handler(router, command("stats", help="Your numbers", shown="private"))
    handler(router, command("stats", help="The group's numbers", shown="groups"))
    lists = lists_of(menu_of(router))
    assert [line.help for line in lists["all_private_chats"]] == ["Your numbers"]
    assert [line.help for line in lists["all_group_chats"]] == ["The group's numbers"]
    assert lists["default"] == []


def test_of_two_handlers_of_a_command_the_first_counts():
    router = Router()
    handler(router, command("Stats", help="First"))
    handler(router, command("stats", help="Second"))
    assert [(line.name, line.help) for line in menu_of(router)] == [("stats", "First")]


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("a" * 33, {"help": "x"}, "1 to 32"),
        ("add", {"help": ""}, "one line"),
        ("add", {"help": " x"}, "one line"),
        ("add", {"help": "two\nlines"}, "one line"),
        ("add", {"help": "x" * 257}, "at most 256"),
        ("add", {"help": 5}, "one line"),
        ("add", {"help": "x", "shown": "everybody"}, "shown="),
    ],
)
def test_what_telegram_would_refuse_is_an_error_where_it_is_written(name, more, says):
    """Telegram answers BOT_COMMAND_INVALID, without saying which (windkh/node-red-contrib-telegrambot#283)."""
    with pytest.raises(ValueError, match=says) as caught:
        command(name, **more)
    assert "\n" not in str(caught.value)


def test_the_limits_are_allowed():
    assert command("A" * 32, help="x" * 256).menu.name == "a" * 32
    assert command("a" * 64).menu is None  # it can be written, only no menu can show it


def test_more_than_a_hundred_commands_are_a_problem_at_the_start():
    router = Router()
    for n in range(100):
        handler(router, command(f"c{n}", help="x"))
    assert router_problems(router) == []
    handler(router, command("last", help="x", shown="private"))
    (problem,) = router_problems(router)
    assert problem == "101 commands have a help= text, and a menu has at most 100 (scope all_private_chats)"


def test_help_answers_with_what_is_shown_here():
    router = a_router()
    router.include(help_command(router))
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.says("/help")
        assert ada.text.splitlines() == [
            "/start - Begin",
            "/add <day> [title] - Add a task",
            "/now - At once",
            "/stop - Stop it",
            "/pizza - Order a pizza",
            "/cancel - Leave",
            "/help - What I can do",
            "/settings - Your settings",
        ]
        member = bot.group("Team").member("Ada")
        member.says("/help")
        assert member.text.splitlines()[-2:] == ["/rules - The rules", "/ban - Ban a member"]
        assert not member.sees("/settings")


def test_help_can_have_another_name_and_text():
    router = Router()
    router.include(help_command(router, "hilfe", help="Was ich kann"))
    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.says("/hilfe")
        assert ada.text == "/hilfe - Was ich kann"


def test_a_long_help_comes_in_parts():
    router = Router()
    for n in range(40):
        handler(router, command(f"c{n}", help="x" * 250))
    router.include(help_command(router))
    with Conversations(router) as bot:
        bot.chat("Ada").says("/help")
        parts = [call.params["text"] for call in bot.calls("sendMessage")]
        assert len(parts) == 3 and all(len(part) <= 4096 for part in parts)
        assert sum(part.count("/c") for part in parts) == 40


def test_the_example():
    with modules("menus.md") as made, Conversations(made["tasks"].router) as bot:
        ada = bot.chat("Ada")
        ada.says("/help")
        assert ada.text.splitlines() == [
            "/add <day> <title> - Add a task",
            "/help - What I can do",
            "/mine - Your tasks",
        ]
        ada.says("/add monday Buy milk")
        assert ada.sees("Buy milk on monday")


def test_a_command_in_a_combination_is_in_the_menu():
    router, here = Router(), chat_type("private")
    handler(router, here & command("one", help="One"))
    handler(router, command("two", help="Two").parse(Task) & here)
    handler(router, any_of(command("three", help="Three").payload, command("four", help="Four").payload))
    handler(router, text | (here & command("five", help="Five")))
    handler(router, ~command("none", help="None"))
    assert names(menu_of(router)) == router.commands() == ["one", "two", "three", "four", "five"]
