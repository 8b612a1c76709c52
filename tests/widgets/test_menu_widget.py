"""Menus: pages, what they notice, and how they work in a router, in a flow, and in inline mode."""

from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel

from telegram.dialogue import END, CallbackContext, ChatContext, End, Flow, MessageContext, Router, command
from telegram.testing import Conversations
from telegram.widgets import Menu

TEA = [("Tea", "tea"), ("Coffee", "coffee")]
MANY = [(f"Item {n}", str(n)) for n in range(1, 12)]


class Shop:
    """A bot with a menu whose items a test can change."""

    def __init__(self, items, **options) -> None:
        self.items = items
        self.menu = Menu("shop", lambda ctx: self.items, **options)
        self.router = Router()

        @self.router.message(command("shop"))
        async def show(ctx: MessageContext) -> None:
            ctx.reply("What?", reply_markup=await self.menu.keyboard(ctx))

        @self.menu.on(self.router)
        async def chosen(ctx: CallbackContext, value: str) -> None:
            ctx.reply(f"chosen: {value}")


@pytest.fixture
def shop():
    return Shop(MANY, per_page=4)


def test_pages(shop):
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        assert ada.buttons == ["Item 1", "Item 2", "Item 3", "Item 4", " ", "1 / 3", "»"]
        ada.presses("»")
        assert ada.buttons == ["Item 5", "Item 6", "Item 7", "Item 8", "«", "2 / 3", "»"]
        ada.presses("»")
        assert ada.buttons == ["Item 9", "Item 10", "Item 11", "«", "3 / 3", " "]
        ada.presses("3 / 3")
        ada.presses("«")
        ada.presses("Item 6")
        assert ada.sees("chosen: 6")
        assert bot.dead_letters() == []


def test_one_page_has_no_arrows():
    shop = Shop(TEA)
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        assert ada.buttons == ["Tea", "Coffee"]


def test_an_item_that_is_gone_is_not_chosen(shop):
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        shop.items = MANY[2:]
        ada.presses("Item 1")
        assert ada.toast == "This menu has changed."
        assert ada.buttons[:2] == ["Item 3", "Item 4"]
        assert not ada.sees("chosen")
        ada.presses("Item 3")
        assert ada.sees("chosen: 3")


def test_an_item_with_another_text_is_another_item():
    """What the user read is what is done: "Remove tea (2)" is not "Remove tea (1)"."""
    shop = Shop([("Pay 10", "pay")], outdated="The price has changed.")
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        shop.items = [("Pay 20", "pay")]
        ada.presses("Pay 10")
        assert ada.toast == "The price has changed." and ada.buttons == ["Pay 20"]
        ada.presses("Pay 20")
        assert ada.sees("chosen: pay")


def test_an_item_on_another_page_now_is_still_the_item(shop):
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        shop.items = [*MANY[5:], *MANY[:5]]
        ada.presses("Item 1")
        assert ada.sees("chosen: 1")


def test_a_page_that_is_gone_is_the_last_one(shop):
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        ada.presses("»")
        ada.presses("»")
        shop.items = TEA
        ada.presses("«")
        assert ada.buttons == ["Tea", "Coffee"]
        shop.items = []
        ada.presses("Tea")
        assert ada.toast == "This menu has changed." and ada.buttons == []


@pytest.mark.parametrize(
    "data", ["shop:", "shop:x", "shop:-1", "shop:99999", "shop:" + "9" * 50, "shop:²", "shop:0:tea"]
)
def test_forged_data_chooses_nothing(data):
    shop = Shop(TEA)
    with Conversations(shop.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/shop")
        ada.sends_update("callback_query", message=ada.messages[-1], data=data)
        assert not ada.sees("chosen") and bot.dead_letters() == []
        button = ada.messages[-1]["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        ada.sends_update("callback_query", message=ada.messages[-1], data=button)
        assert ada.sees("chosen: tea")


def test_content_may_be_async_and_of_the_context():
    async def content(ctx) -> list[tuple[str, str]]:
        return [(f"For {ctx.user.first_name}", "me")]

    menu = Menu("mine", content)
    router = Router()

    @router.message(command("mine"))
    async def show(ctx: MessageContext) -> None:
        ctx.reply("Yours:", reply_markup=await menu.keyboard(ctx))

    @menu.on(router)
    async def chosen(ctx: CallbackContext, value: str) -> None:
        ctx.edit(f"chosen: {value}")

    with Conversations(router) as bot:
        group = bot.group("Team")
        ada, bob = group.member("Ada"), group.member("Bob")
        ada.says("/mine")
        bob.presses("For Ada")
        assert bob.toast == "This menu has changed." and bob.buttons == ["For Bob"]
        bob.presses("For Bob")
        assert bob.sees("chosen: me")


class Step(Enum):
    WHAT = "what"


class Order(BaseModel):
    what: str = ""


def test_in_a_flow():
    """The buttons of a turned page are the flow's own, too, and nobody else's."""
    menu = Menu("what", lambda ctx: MANY, per_page=4)
    flow = Flow("order", Step, Order)
    router = Router()
    router.include(flow)

    @flow.entry.message(command("order"))
    async def begin() -> Literal[Step.WHAT]:
        return Step.WHAT

    @flow.at(Step.WHAT).asks
    async def ask(ctx: ChatContext) -> None:
        ctx.reply("What?", reply_markup=await menu.keyboard(ctx))

    @menu.on(flow.at(Step.WHAT))
    async def chosen(ctx: CallbackContext, order: Order, value: str) -> End[None]:
        order.what = value
        ctx.reply(f"ordered: {order.what}")
        return END

    with Conversations(router) as bot:
        group = bot.group("Team")
        ada, bob = group.member("Ada"), group.member("Bob")
        ada.says("/order")
        ada.presses("»")
        ada.presses("»")
        assert ada.buttons[0] == "Item 9"
        bob.presses("Item 9")
        assert bob.toast == "This button is for somebody else."
        ada.presses("Item 9")
        assert ada.sees("ordered: 9")
        ada.presses("Item 10")
        assert ada.toast == "This button belongs to an earlier question."
        assert bot.dead_letters() == []


@pytest.mark.parametrize(
    ("items", "says"),
    [([("a", "x"), ("b", "x")], "same value"), ([("a", "x" * 60)], "too long")],
)
async def test_items_that_no_button_can_hold(items, says):
    with pytest.raises(ValueError, match=says):
        Menu("shop", lambda ctx: items).page_of(items)


@pytest.mark.parametrize(
    "options", [{"name": "Shop"}, {"name": "a:b"}, {"name": "a" * 17}, {"per_page": 0}, {"columns": 9}]
)
def test_wrong_arguments(options):
    with pytest.raises(ValueError, match=r"shop|name|columns"):
        Menu(**{"name": "shop", "content": lambda ctx: [], **options})
