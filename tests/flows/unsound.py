"""A flow with problems, for the command line."""

from enum import Enum
from typing import Literal

from pydantic import BaseModel

from telegram.dialogue import MessageContext, Router, command, inline, text
from telegram.dialogue.flows.flow import Flow


class Stop(Enum):
    FIRST = "first"
    LOST = "lost"


class Nothing(BaseModel):
    pass


flow = Flow("bad <flow>", Stop, Nothing)


@flow.entry.message(command("bad"))
async def begin(ctx: MessageContext, nothing: Nothing) -> Literal[Stop.FIRST]:
    return Stop.FIRST


flow.at(Stop.FIRST).ask("?", reply_markup=inline([("Go", "go")]))


@flow.at(Stop.FIRST, Stop.LOST).message(text)
async def again(ctx: MessageContext, nothing: Nothing) -> None:
    ctx.reply("again")


router = Router()
router.include(flow)
