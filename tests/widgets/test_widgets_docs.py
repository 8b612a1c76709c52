"""The examples of docs/widgets.md."""

from datetime import date

from telegram.dialogue.router.flows import router_problems
from telegram.testing import Conversations
from tests.kit.docs import modules


def test_a_menu():
    with modules("widgets.md") as made, Conversations(made["book"].router) as bot:
        ada = bot.chat("Ada")
        ada.says("/book")
        ada.presses("»")
        ada.presses("Perm")
        assert ada.sees("You have chosen: perm")
        ada.says("/book")
        made["book"].SERVICES.remove("Cut")
        ada.presses("Cut")
        assert ada.toast == "This menu has changed." and ada.buttons[0] == "Colour"


def test_a_date_in_a_flow():
    with modules("widgets.md") as made, Conversations(made["visit"].router) as bot:
        assert router_problems(made["visit"].router) == []
        ada = bot.chat("Ada")
        ada.says("/visit")
        ada.presses("»")
        ada.presses("1")
        today = date.today()  # noqa: DTZ011 - as the example
        assert ada.sees(f"See you on 01.{today.month % 12 + 1:02}.")
