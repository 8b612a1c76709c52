"""An order: typed buttons, and a sub-flow that asks for the address. Begin with /order."""

from enum import Enum
from typing import Final, Literal

from pydantic import BaseModel, Field

from telegram.dialogue import (
    END,
    CallbackContext,
    CallbackData,
    ChatContext,
    End,
    Flow,
    Invalid,
    MessageContext,
    Router,
    button,
    command,
    inline,
    text,
)

MENU: Final = {"tea": 3, "coffee": 4, "cake": 5}
"""Prices."""

ITEMS_MAX: Final = 20


class Item(CallbackData, prefix="item"):
    """A button that adds an item to the basket."""

    name: str


class Choice(CallbackData, prefix="order"):
    """What to do with the complete order."""

    pay: bool


class Ask(Enum):
    """The questions for an address."""

    STREET = "street"
    CITY = "city"


class Address(BaseModel):
    """Where to deliver."""

    street: str = Field(default="", max_length=100)
    city: str = Field(default="", max_length=100)


class Shop(Enum):
    """The states of an order."""

    BASKET = "basket"
    ADDRESS = "address"
    CONFIRM = "confirm"


class Order(BaseModel):
    """The order's data."""

    items: list[str] = []
    address: Address = Address()

    @property
    def price(self) -> int:
        """The total price."""
        return sum(MENU[item] for item in self.items)


address_flow = Flow("address", Ask, Address, Address)
address_flow.at(Ask.STREET).ask("Street and number?")
address_flow.at(Ask.CITY).ask("City?")


@address_flow.at(Ask.STREET).message(text)
async def street(ctx: MessageContext, address: Address) -> Literal[Ask.CITY]:
    """Accept any text."""
    address.street = ctx.text
    return Ask.CITY


@address_flow.at(Ask.CITY).message(text)
async def city(ctx: MessageContext, address: Address) -> End[Address]:
    """Accept any text; the address is then complete, and is the sub-flow's result."""
    address.city = ctx.text
    return End(address)


order_flow = Flow("order", Shop, Order)
router = Router()
router.include(order_flow)


@order_flow.entry.message(command("order", help="A basket and an address"))
async def begin() -> Literal[Shop.BASKET]:
    """Show the menu."""
    return Shop.BASKET


@order_flow.at(Shop.BASKET).asks
async def menu(ctx: ChatContext) -> None:
    """Show one button per item, with its price."""
    things = [(f"{name} {price} €", Item(name=name)) for name, price in MENU.items()]
    ctx.reply("What would you like?", reply_markup=inline(things, [("Done", "done")]))


@order_flow.at(Shop.BASKET).callback_query(Item)
async def add(ctx: CallbackContext, order: Order, item: Item) -> None:
    """Add the item: each press counts once, however fast the user presses."""
    if item.name not in MENU:
        raise Invalid("We do not have that any more.")
    if len(order.items) == ITEMS_MAX:
        raise Invalid(f"An order has at most {ITEMS_MAX} things.")
    order.items.append(item.name)
    ctx.answer(f"{len(order.items)} in the basket, {order.price} €")


@order_flow.at(Shop.BASKET).callback_query(button("done"))
async def done(ctx: CallbackContext, order: Order) -> Literal[Shop.ADDRESS]:
    """An empty basket is not sent. (A `Choice` would let this button, pressed again later, confirm the order.)"""
    if not order.items:
        raise Invalid("The basket is empty.")
    return Shop.ADDRESS


@order_flow.at(Shop.ADDRESS).runs(address_flow)
async def got_address(ctx: ChatContext, order: Order, address: Address) -> Literal[Shop.CONFIRM]:
    """Take the result of the address flow."""
    order.address = address
    return Shop.CONFIRM


@order_flow.at(Shop.CONFIRM).asks
async def summary(ctx: ChatContext, order: Order) -> None:
    """Show what will be delivered, and where."""
    ctx.reply(
        f"{', '.join(order.items)}: {order.price} €\nto {order.address.street}, {order.address.city}",
        reply_markup=inline([("Order", Choice(pay=True)), ("Cancel", Choice(pay=False))]),
    )


@order_flow.at(Shop.CONFIRM).callback_query(Choice)
async def confirm(ctx: CallbackContext, order: Order, choice: Choice) -> End[None]:
    """End the order."""
    ctx.edit(f"Ordered for {order.price} €. Thank you!" if choice.pay else "Cancelled.")
    return END


@order_flow.anywhere.message(command("cancel"))
async def cancel(ctx: MessageContext) -> End[None]:
    """Cancel the order, also while the address flow runs."""
    ctx.reply("The order is cancelled.")
    return END
