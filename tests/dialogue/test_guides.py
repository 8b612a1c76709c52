"""The guides "from aiogram" and "from python-telegram-bot": their examples do what they say."""

import ast
import difflib
import re
from typing import Any

import pytest

from telegram.testing import Conversations
from tests.kit.docs import DOCS, examples, modules


def block(page: str, language: str, beginning: str) -> str:
    """The block of a page that begins so."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    (only,) = [each for each in found if each.startswith(beginning)]
    return str(only)


@pytest.fixture
def made() -> Any:
    with modules("from-aiogram.md") as made:
        yield made


def test_aiogram_forms(made: Any):
    with Conversations(made["ported_form"].router) as bot:
        alice = bot.chat("Alice")
        for said, answer in (
            ("/form", "Your name?"),
            ("Ann", "Your age?"),
            ("x", "Your age?"),
            ("30", "Ann, 30"),
        ):
            alice.says(said)
            assert alice.text == answer


def test_aiogram_middleware_and_errors(made: Any):
    with Conversations(made["ported_shop"].router) as bot:
        alice = bot.chat("Alice")
        for answer in ("Your tea!", "Sold out"):
            alice.says("/buy tea")
            assert alice.text == answer
        assert bot.dead_letters() == []


def test_aiogram_jobs(made: Any):
    with Conversations(made["ported_jobs"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("/remind")
        bot.post(alice.id, "paid", {"amount": 5}, id="inv-17")
        assert alice.text == "Paid 5!"
        bot.restart()
        bot.passes(minutes=61)
        assert alice.text == "Now!"


# ---- the to-do bot


def test_the_ported_bot(made: Any):
    todo = made["todo"]
    with Conversations(todo.router) as bot:
        alice, admin = bot.chat("Alice"), bot.chat("Admin")
        todo.ADMINS = {admin.id}
        alice.says("/start")
        admin.says("/start")
        assert alice.text == "Hello, Alice! /add a task, /list your tasks."
        alice.says("/cancel")
        assert alice.text == "There is nothing to cancel."
        alice.says("/add")
        alice.says("x" * 51)
        assert "At most 50 characters, please." in [each.get("text") for each in alice.messages]
        bot.restart()
        alice.says("Buy <milk>")
        alice.presses("today")
        assert alice.text == "Saved: Buy <milk>, today."
        alice.says("/add")
        alice.says("/cancel")
        assert alice.text == "Cancelled."
        alice.says("/list")
        bot.restart()
        alice.presses("⬜ Buy <milk>")
        alice.presses("✅ Buy <milk>")
        alice.presses("🗑")
        alice.says("/list")
        assert alice.text == "No tasks."


def test_the_ported_bot_reminds_after_a_restart_and_reaches_those_who_are_there(made: Any):
    todo = made["todo"]
    with Conversations(todo.router) as bot:
        alice, bob, admin = bot.chat("Alice"), bot.chat("Bob"), bot.chat("Admin")
        todo.ADMINS = {admin.id}
        for each in (alice, bob, admin):
            each.says("/start")
        alice.says("/remind soon")
        assert "/remind [minutes]" in alice.text
        alice.says("/remind 5")
        bot.restart()
        bot.passes(minutes=6)
        assert alice.text == "Look at your tasks: /list"
        bot.scene.block(alice.id)
        admin.says("/broadcast News")
        assert bob.text == "News"
        bob.says("/broadcast Spam")
        assert admin.text == "News"
        assert bot.dead_letters() == []
        assert list(bot.unreachable()) == [alice.id]


def test_the_difference_is_that_of_the_two_bots():
    original = block("from-aiogram.md", "py", '"""A to-do bot."""')
    ported = examples("from-aiogram.md")["todo"]
    ast.parse(original)  # it is not run: aiogram is no dependency
    assert 140 <= sum(bool(line.strip()) for line in original.splitlines()) <= 160
    made = difflib.unified_diff(
        original.splitlines(keepends=True),
        ported.splitlines(keepends=True),
        "aiogram/todo.py",
        "chatlane/todo.py",
    )
    assert block("from-aiogram.md", "diff", "--- ") == "".join(made)


# ---- from python-telegram-bot


@pytest.fixture
def ported() -> Any:
    with modules("from-python-telegram-bot.md") as made:
        yield made


def test_ptb_keyboards(ported: Any):
    with Conversations(ported["drinks"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("/start")
        alice.presses("Tea")
        assert alice.text == "One tea."
        alice.says("hello")
        assert alice.text == "hello"


def test_ptb_conversations(ported: Any):
    with Conversations(ported["interview"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("/form")
        alice.says("Girl")
        alice.says("old")
        assert alice.text == "Your age?"
        alice.says("/cancel")
        assert alice.text == "Bye!"


def test_ptb_jobs_and_errors(ported: Any):
    alarms = ported["alarms"]
    with Conversations(alarms.router) as bot:
        alice, developer = bot.chat("Alice"), bot.chat("Developer")
        alarms.DEVELOPER = developer.id
        for said, answer in (("/set soon", "/set"), ("/set 60", "Timer set!")):
            alice.says(said)
            assert answer in alice.text
        bot.restart()
        bot.passes(minutes=2)
        assert alice.text == "Beep! 60 seconds are over!"
        alice.says("/set 60")
        alice.says("/unset")
        bot.passes(minutes=2)
        assert [each.get("text") for each in alice.messages].count("Beep! 60 seconds are over!") == 1
        bot.passes(hours=25)
        assert developer.sees("The digest, from 1 sources")
        alice.says("/bad", failing=True)
        bot.passes(hours=1, failing=True)
        assert [each["text"] for each in developer.messages].count("the disk is gone") == 1
