"""Flows, driven through the test kit: what they ask, where they lead, what they remember."""

from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from telegram.dialogue import (
    BACK,
    END,
    Back,
    ChatContext,
    End,
    Flow,
    Invalid,
    MessageContext,
    Router,
    TimerContext,
    command,
    text,
)
from telegram.testing import Conversations


class Step(Enum):
    NAME = "name"
    AGE = "age"
    DONE = "done"


class Answers(BaseModel):
    name: str = ""
    age: int = Field(0, ge=0, le=150)


class Survey:
    """A survey with all that a flow can have; made anew for each test."""

    def __init__(self) -> None:
        self.flow = flow = Flow("survey", Step, Answers)
        self.router = Router()
        self.router.include(flow)
        self._entries_and_ways_out()
        flow.at(Step.NAME).ask("name?")
        flow.at(Step.DONE).ask("done?")

        @flow.at(Step.AGE).asks
        async def ask_age(ctx: ChatContext, data: Answers) -> None:
            ctx.reply(f"{data.name}, age?")

        @flow.at(Step.NAME).message(text)
        async def name(ctx: MessageContext, data: Answers) -> Literal[Step.AGE]:
            data.name = ctx.text
            ctx.data["names"] = [*ctx.data.get("names", []), ctx.text]
            ctx.reply("noted")
            if ctx.text == "bad":
                raise Invalid("no such name")
            return Step.AGE

        @flow.at(Step.AGE).message(text)
        async def age(ctx: MessageContext, data: Answers) -> Literal[Step.DONE]:
            data.age = int(ctx.text) if ctx.text.lstrip("-").isdigit() else -1
            ctx.reply("noted")
            return Step.DONE

        @flow.at(Step.DONE).message(command("yes"))
        async def done(ctx: MessageContext, data: Answers) -> End[None]:
            ctx.reply(f"{data.name} {data.age}")
            return END

        @self.router.message(text)
        async def outside(ctx: MessageContext) -> None:
            ctx.reply(f"outside {ctx.data.get('names')}")

    def _entries_and_ways_out(self) -> None:
        flow = self.flow

        @flow.entry.message(command("survey"))
        async def begin(ctx: MessageContext, data: Answers) -> Literal[Step.NAME] | None:
            if ctx.args == "not":
                ctx.reply("not now")
                return None
            data.name = "nobody"
            return Step.NAME

        @flow.anywhere.message(command("back"))
        async def back(ctx: MessageContext, data: Answers) -> Back:
            return BACK

        @flow.anywhere.message(command("cancel"))
        async def cancel(ctx: MessageContext, data: Answers) -> End[None]:
            ctx.reply("cancelled")
            return END

        @flow.anywhere.message(command("where"))
        async def stay(ctx: MessageContext, data: Answers) -> None:
            ctx.reply("here")

        @flow.otherwise.message()
        async def otherwise(ctx: MessageContext, data: Answers) -> None:
            ctx.reply("what?")


@pytest.fixture
def bot():
    with Conversations(Survey().router) as bot:
        yield bot


def texts(chat):
    """What the bot said since somebody wrote last."""
    said: list[str] = []
    for message in reversed(chat.messages):
        if not message["from"]["is_bot"]:
            break
        said.insert(0, message["text"])
    return said


def test_from_the_entry_to_the_end(bot):
    alice = bot.chat("Alice")
    alice.says("/survey")
    assert texts(alice) == ["name?"]
    alice.says("Ann")
    assert texts(alice) == ["noted", "Ann, age?"]
    alice.says("30")
    assert texts(alice) == ["noted", "done?"]
    alice.says("/yes")
    assert texts(alice) == ["Ann 30"]
    alice.says("x")
    assert texts(alice) == ["outside ['Ann']"]


def test_an_entry_may_lead_nowhere(bot):
    alice = bot.chat("Alice")
    alice.says("/survey not")
    assert texts(alice) == ["not now"]
    alice.says("x")
    assert alice.sees("outside")


def test_the_own_state_comes_first_then_anywhere_then_otherwise_then_the_next_handler():
    survey = Survey()

    @survey.flow.at(Step.AGE).message(command("where"))
    async def own(ctx: MessageContext) -> None:
        ctx.reply("at the age")

    with Conversations(survey.router) as bot:
        alice = bot.chat("Alice")
        seen = []
        for said in ("/survey", "/where", "Ann", "/where", "30", "/where", "hm", "/cancel", "hm"):
            alice.says(said)
            seen.append(alice.text)
        assert seen[:5] == ["name?", "here", "Ann, age?", "at the age", "done?"]
        assert seen[5:] == ["here", "what?", "cancelled", "outside ['Ann']"]


def test_back_goes_through_the_history_and_asks_again(bot):
    alice = bot.chat("Alice")
    for said in ("/survey", "Ann", "30"):
        alice.says(said)
    alice.says("/back")
    assert texts(alice) == ["Ann, age?"]
    alice.says("31")
    alice.says("/yes")
    assert texts(alice) == ["Ann 31"]


def test_invalid_asks_again_and_nothing_of_the_step_is_kept(bot):
    alice = bot.chat("Alice")
    alice.says("/survey")
    alice.says("bad")
    assert texts(alice) == ["no such name", "name?"]
    alice.says("Ann")
    alice.says("400")  # too old for the model
    assert texts(alice) == ["age: Please write a number of at most 150.", "Ann, age?"]
    alice.says("x")
    assert alice.messages[-2]["text"].startswith("age: ")
    alice.says("40")
    alice.says("/yes")
    assert texts(alice) == ["Ann 40"]
    alice.says("x")
    assert texts(alice) == ["outside ['Ann']"]  # "bad" was noted in ctx.data by the failed step


def test_a_handler_that_fails_changes_nothing():
    survey = Survey()
    troubles = [ZeroDivisionError()]

    @survey.flow.at(Step.DONE).message(command("fail"))
    async def fail(ctx: MessageContext, data: Answers) -> End[None]:
        data.name = "lost"
        if troubles:
            raise troubles.pop()
        ctx.reply("worked")
        return END

    with Conversations(survey.router) as bot:
        alice = bot.chat("Alice")
        for said in ("/survey", "Ann", "30"):
            alice.says(said)
        alice.says("/fail", failing=True)
        assert texts(alice) == []
        bot.passes(minutes=1)
        assert texts(alice) == ["worked"]


def test_people_and_chats_have_flows_of_their_own(bot):
    team = bot.group("Team")
    alice, bob = team.member("Alice"), team.member("Bob")
    alice.says("/survey")
    bob.says("x")
    assert bob.sees("outside None")
    bot.chat("Alice").says("x")
    assert bot.chat("Alice").sees("outside None")
    alice.says("Ann")
    assert alice.sees("Ann, age?")


def test_the_entry_begins_anew_if_no_state_takes_it(bot):
    alice = bot.chat("Alice")
    alice.says("/survey")
    alice.says("Ann")
    alice.says("30")
    alice.says("/survey")
    assert texts(alice) == ["name?"]  # and `otherwise` would have taken it


def test_a_restart_goes_on_where_it_was(bot):
    alice = bot.chat("Alice")
    alice.says("/survey")
    alice.says("Ann")
    bot.restart()
    alice.says("30")
    alice.says("/yes")
    assert texts(alice) == ["Ann 30"]


def test_begin_from_a_handler_and_is_in():
    survey = Survey()
    router = Router()
    flow = survey.flow

    @router.message(command("short"))
    async def short(ctx: MessageContext) -> None:
        await flow.begin(ctx, Step.AGE, Answers(name="Zoe"))

    @router.message(command("state"), flow.is_in(Step.AGE))
    async def in_age(ctx: MessageContext) -> None:
        ctx.reply("in age")

    @router.message(command("state"), flow.is_in())
    async def in_any(ctx: MessageContext) -> None:
        ctx.reply("in another")

    @router.message(command("state"))
    async def in_none(ctx: MessageContext) -> None:
        ctx.reply("in none")

    router.include(survey.router)
    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        seen = []
        for said in ("/state", "/short", "/state", "30", "/state", "/yes", "/state"):
            alice.says(said)
            seen.append(alice.text)
        assert seen == ["in none", "Zoe, age?", "in age", "done?", "in another", "Zoe 30", "in none"]


# ---- time-outs


@pytest.fixture
def late_survey():
    survey = Survey()
    flow = survey.flow

    @flow.at(Step.NAME).timeout(60)
    async def name_late(ctx: TimerContext, data: Answers) -> Literal[Step.AGE]:
        ctx.reply("too late")
        data.name = "Slow"
        return Step.AGE

    @flow.anywhere.timeout(600)
    async def late(ctx: TimerContext, data: Answers) -> End[None]:
        ctx.reply(f"good bye {data.name}")
        return END

    with Conversations(survey.router) as bot:
        yield bot


def test_a_time_out_fires_at_its_moment_and_leads_on(late_survey):
    bot, alice = late_survey, late_survey.chat("Alice")
    alice.says("/survey")
    bot.passes(seconds=59)
    assert texts(alice) == ["name?"]
    bot.passes(seconds=1)
    assert texts(alice) == ["name?", "too late", "Slow, age?"]
    bot.passes(seconds=599)
    assert alice.sees("age?")
    bot.passes(seconds=1)
    assert alice.sees("good bye Slow")
    bot.passes(days=2)
    assert alice.sees("good bye Slow")


def test_a_time_out_begins_anew_with_each_step_and_survives_a_restart(late_survey):
    bot, alice = late_survey, late_survey.chat("Alice")
    alice.says("/survey")
    bot.passes(seconds=50)
    alice.says("bad")
    bot.passes(seconds=50)
    assert alice.sees("name?")
    bot.restart()
    bot.passes(seconds=10)
    assert texts(alice)[-2:] == ["too late", "Slow, age?"]


def test_a_time_out_goes_with_the_flow(late_survey):
    bot, alice = late_survey, late_survey.chat("Alice")
    for said in ("/survey", "Ann", "30", "/yes"):
        alice.says(said)
    bot.passes(hours=1)
    assert texts(alice) == ["Ann 30"]
    assert not bot.dead_letters()


def test_what_belongs_to_a_state_wants_one_to_be_named():
    flow = Flow("flow", Step, Answers)
    with pytest.raises(ValueError, match="say in which state"):
        flow.anywhere.ask("?")
