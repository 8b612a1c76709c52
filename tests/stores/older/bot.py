"""A bot that the code of any commit since its flows runs: what it leaves in a file must go on with today's code."""

from enum import Enum
from typing import Literal

from pydantic import BaseModel

from telegram.dialogue import (
    CHAT,
    END,
    USER,
    CallbackContext,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    data,
    inline,
    text,
)
from tests.stores.older.simple import simple


class Step(Enum):
    SIZE = "size"
    NAME = "name"


class Order(BaseModel):
    size: str = ""


def a_flow(name: str, scope: Literal["", "chat", "user"]) -> "Flow[Step, Order, None]":
    """`/NAME`, then a size by button, then a text; two hours of silence end it."""
    flow = Flow(name, Step, Order, scope=scope)
    flow.at(Step.SIZE).ask("Which size?", reply_markup=inline([("Small", "small"), ("Large", "large")]))
    flow.at(Step.NAME).ask("For whom?")

    @flow.entry.message(command(name))
    async def begin() -> Literal[Step.SIZE]:
        return Step.SIZE

    @flow.at(Step.SIZE).callback_query(data("small", "large"))
    async def size(ctx: CallbackContext, order: Order) -> Literal[Step.NAME]:
        order.size = ctx.button or ""
        return Step.NAME

    @flow.at(Step.NAME).message(text)
    async def who(ctx: MessageContext, order: Order) -> End[None]:
        ctx.reply(f"{name}: {order.size} for {ctx.text}")
        return END

    @flow.anywhere.timeout(7200)
    async def too_late(ctx: TimerContext) -> End[None]:
        ctx.reply(f"{name}: too late")
        return END

    return flow


def router(*, is_open: bool) -> Router:
    """`is_open`: what waited for it goes on; before, it fails or hangs."""
    found = simple(is_open=is_open)
    for name, scope in (("pizza", ""), ("table", CHAT), ("account", USER)):
        found.include(a_flow(name, scope))  # type: ignore[arg-type] # each is one of the three

    @found.message(command("remind"))
    async def remind(ctx: MessageContext) -> None:
        ctx.set_timer("tea", 7200, {"what": "tea"})
        ctx.reply("later")

    @found.timer("tea")
    async def tea(ctx: TimerContext) -> None:
        ctx.data["count"] = ctx.data.get("count", 0) + 10
        ctx.reply(f"{ctx.payload['what']} {ctx.data['count']}")

    return found
