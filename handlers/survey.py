"""A registration: three questions with checks, back, cancel, buttons, a time-out and a summary. Begin with /survey."""

from enum import Enum
from typing import Final, Literal

from pydantic import BaseModel, Field

from telegram.dialogue import (
    BACK,
    END,
    Back,
    CallbackContext,
    CallbackData,
    ChatContext,
    End,
    Flow,
    Invalid,
    MessageContext,
    Router,
    TimerContext,
    button,
    command,
    inline,
    text,
)

TIMEOUT_S: Final = 15 * 60


class Step(Enum):
    """The questions."""

    NAME = "name"
    AGE = "age"
    TOPIC = "topic"
    SUMMARY = "summary"


class Answers(BaseModel):
    """The answers so far."""

    name: str = Field(default="", max_length=50)
    age: int = Field(default=18, ge=13, le=120)
    topic: str = ""


class Topic(CallbackData, prefix="topic"):
    """A button with a topic."""

    name: str


BACK_ROW: Final = [("« Back", "back")]

survey = Flow("survey", Step, Answers)
router = Router()
router.include(survey)


@survey.entry.message(command("survey", help="Three questions, with checks, back and a time-out"))
async def begin(ctx: MessageContext) -> Literal[Step.NAME]:
    """Start with the first question."""
    ctx.reply("Three questions. You can leave with /cancel and return with “Back”.")
    return Step.NAME


survey.at(Step.NAME).ask("What is your name?")
survey.at(Step.AGE).ask("How old are you?", reply_markup=inline(BACK_ROW))
survey.at(Step.TOPIC).ask(
    "What do you want to hear about?",
    reply_markup=inline([("Releases", Topic(name="releases")), ("Events", Topic(name="events"))], BACK_ROW),
)


@survey.at(Step.NAME).message(text)
async def name(ctx: MessageContext, answers: Answers) -> Literal[Step.AGE]:
    """Accept any text of at most 50 characters as a name."""
    answers.name = ctx.text.strip()
    return Step.AGE


@survey.at(Step.AGE).message(text)
async def age(ctx: MessageContext, answers: Answers) -> Literal[Step.TOPIC]:
    """Accept a whole number; the model checks its range."""
    if not ctx.text.strip().isdecimal():
        raise Invalid("Please write a number, like 42.")
    answers.age = int(ctx.text)
    return Step.TOPIC


@survey.at(Step.TOPIC).callback_query(Topic)
async def topic(ctx: CallbackContext, answers: Answers, chosen: Topic) -> Literal[Step.SUMMARY]:
    """Replace the question by the pressed topic."""
    answers.topic = chosen.name
    ctx.edit(f"You want to hear about {chosen.name}.")
    return Step.SUMMARY


@survey.at(Step.SUMMARY).asks
async def summary(ctx: ChatContext, answers: Answers) -> None:
    """Show all answers for confirmation."""
    ctx.reply(
        f"{answers.name}, {answers.age}, {answers.topic}. Is that right?",
        reply_markup=inline([("Yes", "confirm")], BACK_ROW),
    )


@survey.at(Step.SUMMARY).callback_query(button("confirm"))
async def confirm(ctx: CallbackContext, answers: Answers) -> End[None]:
    """Here a real bot would write into its database, with `ctx.idempotency_key`."""
    ctx.edit(f"Registered: {answers.name}, {answers.age}, {answers.topic}.")
    return END


@survey.anywhere.callback_query(button("back"))
async def back() -> Back:
    """Go back to the previous question."""
    return BACK


@survey.anywhere.message(command("cancel"))
async def cancel(ctx: MessageContext) -> End[None]:
    """Discard the answers."""
    ctx.reply("Cancelled. Nothing was kept.")
    return END


@survey.anywhere.timeout(TIMEOUT_S)
async def too_late(ctx: TimerContext) -> End[None]:
    """End the survey after a time-out."""
    ctx.reply("The survey has timed out. Begin again with /survey.")
    return END


@survey.otherwise.message()
async def otherwise() -> None:
    """Handle anything else, e.g. a sticker where a name was asked."""
    raise Invalid("Please answer the question, or leave with /cancel.")
