"""A long job in many steps that writes a file: /report begins it, /stop ends it.

Each step is the delivery of a timer, committed together with the progress. So a graceful stop waits for one step only, a
`kill -9` costs at most one step, and the next start continues from there. Between two steps the lane is free: other
messages of the chat are answered at once.
"""

import asyncio
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

from telegram.botapi.files import InputFile
from telegram.dialogue import CHAT, END, ChatContext, End, Flow, MessageContext, Router, TimerContext, command

STEPS: Final = 10
STEP_S: Final = 0.7
FOLDER: Final = Path("out/reports")


class Stage(Enum):
    """A report is being written."""

    WRITING = "writing"


class Work(BaseModel):
    """The progress: completed steps, and committed bytes of the file."""

    name: str = ""
    message_id: int = 0
    steps: int = 0
    size: int = 0


report = Flow("report", Stage, Work, scope=CHAT)  # beside what a person does there, a survey say
router = Router()
router.include(report)


@report.entry.message(command("report", help="A job that makes a file"))
async def begin(ctx: MessageContext, work: Work) -> Literal[Stage.WRITING]:
    """Send the message at once: its id is needed later, to show the progress in it."""
    said = await ctx.client.send_message(chat_id=ctx.chat_id, text="Loading … 0 %")
    work.message_id = said.message_id
    work.name = f"report-{ctx.chat_id}-{ctx.update_id}.txt"
    return Stage.WRITING


@report.at(Stage.WRITING).asks
async def go_on(ctx: ChatContext) -> None:
    """Schedule the next step at once, after messages that arrived meanwhile."""
    ctx.set_timer("step", 0)


@report.at(Stage.WRITING).timer("step")
async def step(ctx: TimerContext, work: Work) -> Literal[Stage.WRITING] | End[None]:
    """Do one part of the work. It may run twice, if the process dies during it: so it first truncates uncommitted output."""
    part = f"part {work.steps + 1}: " + "x" * 1000 + "\n"
    work.size = await asyncio.to_thread(_write, FOLDER / work.name, work.size, part)
    await asyncio.sleep(STEP_S)  # a real job would take its time here
    work.steps += 1
    ctx.call(
        "editMessageText",
        chat_id=ctx.chat_id,
        message_id=work.message_id,
        text=f"Loading … {100 * work.steps // STEPS} %",
    )
    if work.steps < STEPS:
        return Stage.WRITING
    ctx.call(
        "sendDocument", chat_id=ctx.chat_id, document=InputFile(FOLDER / work.name), caption="Here it is."
    )
    return END


@report.at(Stage.WRITING).message(command("report"))
async def one_at_a_time(ctx: MessageContext) -> None:
    """Refuse another report, which would replace the first."""
    ctx.reply("One report at a time. End it with /stop.")


@report.anywhere.message(command("stop"))
async def stop(ctx: MessageContext) -> End[None]:
    """Stop between two steps."""
    ctx.reply("Stopped.")
    return END


def _write(path: Path, certain: int, part: str) -> int:
    """Write `part` after the first `certain` bytes; return the size of the file now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.truncate(certain)
        file.write(part.encode())
        return file.tell()
