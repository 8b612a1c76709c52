"""The examples of docs/hooks.md."""

import sqlite3
from typing import Any

from telegram.testing import Conversations
from tests.kit.docs import modules


def test_the_clinic():
    with modules("hooks.md") as made:
        clinic: Any = made["clinic"]
        with Conversations(clinic.router) as bot:
            admin, alice = bot.chat("Admin"), bot.chat("Alice")
            assert admin.id != clinic.ADMIN
            clinic.ADMIN = admin.id
            alice.says("/book 5")
            alice.says("/book 6")
            assert alice.text == "Booked day 6, visit 2"
            rows = bot._parts.tools.use(clinic.database).execute("SELECT day FROM visits").fetchall()
            assert rows == [("5",), ("6",)]
            alice.says("/book tomorrow")
            assert alice.text == "I do not understand: which day?"
            assert bot.dead_letters() == []
            alice.says("/price x", failing=True)
            assert "KeyError" in bot.dead_letters()[0].reason  # at the first attempt
            assert admin.sees("KeyError in update")
            alice.says("hello", failing=True)
            assert "has no meaning here" in bot.dead_letters()[0].reason
            known = len(alice.messages)
            alice.says("/ban")
            alice.says("/book 7")
            assert len([each for each in alice.messages[known:] if each["from"]["is_bot"]]) == 0


def test_a_resource_is_closed_when_the_bot_stops():
    with modules("hooks.md") as made:
        clinic: Any = made["clinic"]
        with Conversations(clinic.router) as bot:
            bot.chat("Alice").says("/book 5")
            connection = bot._parts.tools.use(clinic.database)
        try:
            connection.execute("SELECT 1")
        except sqlite3.ProgrammingError as error:
            assert "closed" in str(error)
        else:
            raise AssertionError("it is open")


def test_a_function_in_a_thread():
    with modules("hooks.md") as made, Conversations(made["photos"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("/develop")
        assert alice.text == "Your photo is ready."
