"""A time-out belongs to the flow, wherever the flow went on: one that was replaced in another lane changes nothing.

The stories: python-telegram-bot#1032 (the first step's time-out ends the conversation in the middle of the second),
python-telegram-bot#4707 (one person in two groups, one conversation), grammyjs/conversations#83 (an answer did not begin
the time anew).
"""

import json
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Delivery, Effects, Envelope, Lease, Queue
from engine.model import TIMER_IDS
from telegram.botapi.calls import encode_json
from telegram.dialogue import (
    END,
    USER,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    text,
)
from telegram.testing import Conversations
from tests.dialogue.flows.test_parts import Elsewhere
from tests.kit.deliveries import Direct


class S(Enum):
    ONE = "one"
    TWO = "two"
    REST = "rest"


class Data(BaseModel):
    said: str = ""


def survey() -> Router:
    """Asks twice with a time-out of 60 s for each; in REST there is none. /stop ends it."""
    flow = Flow("survey", S, Data, scope=USER)
    flow.at(S.ONE).ask("One?")
    flow.at(S.TWO).ask("Two?")

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.ONE]:
        return S.ONE

    @flow.anywhere.message(command("stop"))
    async def stop(ctx: MessageContext) -> End[None]:
        ctx.reply("stopped")
        return END

    @flow.at(S.ONE).message(text)
    async def one(ctx: MessageContext, data: Data) -> Literal[S.TWO]:
        data.said = ctx.text
        return S.TWO

    @flow.at(S.TWO).message(text)
    async def two(ctx: MessageContext) -> Literal[S.REST]:
        ctx.reply("rest")
        return S.REST

    @flow.at(S.REST).message(text)
    async def rest(ctx: MessageContext) -> None:
        ctx.reply("still here")

    @flow.at(S.ONE, S.TWO).timeout(60)
    async def late(ctx: TimerContext) -> End[None]:
        ctx.reply("too late")
        return END

    router = Router()
    router.include(flow)
    return router


@pytest.fixture
def bot() -> Iterator[Conversations]:
    with Conversations(survey()) as bot:
        yield bot


def texts(bot: Conversations) -> list[str]:
    return [call.params["text"] for call in bot.calls("sendMessage")]


def test_a_step_in_another_chat_begins_the_time_anew(bot):
    alice, team = bot.chat("Alice"), bot.group("Team").member("Alice")
    alice.says("/go")
    bot.passes(seconds=50)
    team.says("in time")
    bot.passes(seconds=59)
    assert texts(bot) == ["One?", "Two?"]
    bot.passes(seconds=1)
    assert team.sees("too late")
    bot.passes(days=1)
    assert texts(bot) == ["One?", "Two?", "too late"]


def test_a_state_without_a_time_out_is_not_ended_by_that_of_another_chat(bot):
    alice, team = bot.chat("Alice"), bot.group("Team").member("Alice")
    alice.says("/go")
    team.says("x")
    alice.says("y")  # the time-out of the second question is one of the group's lane
    bot.passes(days=1)
    alice.says("z")
    assert texts(bot) == ["One?", "Two?", "rest", "still here"]


def test_what_ended_elsewhere_leaves_no_time_out_for_the_next_run(bot):
    alice, team = bot.chat("Alice"), bot.group("Team").member("Alice")
    alice.says("/go")
    bot.passes(seconds=30)
    team.says("/stop")
    team.says("/go")
    bot.passes(seconds=59)  # in the first chat it is 89 s
    assert texts(bot) == ["One?", "stopped", "One?"]
    bot.passes(seconds=1)
    assert texts(bot)[-1] == "too late"


def test_a_time_out_survives_a_restart_and_fires_once(bot):
    alice, team = bot.chat("Alice"), bot.group("Team").member("Alice")
    alice.says("/go")
    bot.passes(seconds=50)
    team.says("x")
    bot.restart()
    bot.passes(seconds=60)
    assert texts(bot) == ["One?", "Two?", "too late"]


# ---- files that were written before time-outs named the turn that set them


def record(state: str, timer: Any) -> bytes:
    frame = {"flow": "survey", "version": 1, "state": state, "data": {"said": "x"}, "history": []}
    return encode_json({"~flow": {"stack": [frame], "timer": timer}})


async def fires(state: bytes, payload: dict[str, Any]) -> Effects:
    fired = {"name": "~timeout", "chat_id": 7, "user_id": 7, "place": {}, "payload": payload}
    due = Envelope(TIMER_IDS + 1, "chat:7", "~user:7", encode_json(fired))
    given = Delivery(Lease(Queue.INBOX, "chat:7", 1), due, 1, None)
    return await Direct(survey(), behind=Elsewhere(state))(given)


@pytest.mark.parametrize(
    ("armed", "payload", "is_due"),
    [
        (True, {}, True),  # both are old
        ("abc123", {}, False),  # the flow went on since: the old timer stands in another lane
        (True, {"armed": "abc123"}, False),
        ("abc123", {"armed": "abc123"}, True),
        ("abc123", {"armed": "abc124"}, False),
        (False, {"armed": "abc123"}, False),  # no time-out runs
    ],
)
async def test_a_time_out_fires_in_the_run_that_set_it(armed, payload, is_due):
    effects = await fires(record("two", armed), payload)
    assert bool(effects.calls) is is_due
    assert bool(effects.states) is is_due


async def test_what_a_turn_sets_names_it_in_the_timer_and_in_the_record():
    handler = Direct(survey(), behind=Elsewhere(record("one", True)))
    update = {"update_id": 5, "message": {
        "message_id": 1, "date": 1, "text": "x",
        "chat": {"id": 7, "type": "private"}, "from": {"id": 7, "is_bot": False, "first_name": "A"},
    }}  # fmt: skip
    given = Delivery(
        Lease(Queue.INBOX, "chat:7", 1), Envelope(5, "chat:7", "7", encode_json(update)), 1, None
    )
    effects = await handler(given)
    (timer,) = effects.timers
    armed = json.loads(timer.body)["payload"]["armed"]
    assert json.loads(effects.states[0].state or b"")["~flow"]["timer"] == armed
    other = given._replace(envelope=given.envelope._replace(id=6))
    assert json.loads((await handler(other)).timers[0].body)["payload"]["armed"] != armed
