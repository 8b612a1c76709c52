"""Timers that handlers and flows set by name, through the test kit."""

from datetime import timedelta
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine.errors import Reject
from telegram.dialogue import (
    END,
    Context,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
)
from telegram.dialogue.timers import read_timer
from telegram.testing import Conversations


def reminders() -> Router:
    router = Router()

    @router.message(command("set"))
    async def set_one(ctx: MessageContext) -> None:
        ctx.set_timer("tea", timedelta(seconds=60), {"text": ctx.args})
        ctx.reply("set")

    @router.message(command("stop"))
    async def stop(ctx: MessageContext) -> None:
        ctx.cancel_timer("tea")
        ctx.reply("stopped")

    @router.timer("tea")
    async def tea(ctx: TimerContext) -> None:
        ctx.data["teas"] = ctx.data.get("teas", 0) + 1
        ctx.reply(f"{ctx.payload['text']} {ctx.data['teas']} for {ctx.user_id}")

    return router


def test_a_timer_fires_once_where_it_was_set_with_what_it_was_given():
    with Conversations(reminders()) as bot:
        team = bot.group("Team")
        alice, bob = team.member("Alice"), team.member("Bob")
        alice.says("/set green")
        bot.passes(seconds=30)
        bob.says("/set black")
        bot.restart()
        bot.passes(seconds=30)
        assert bob.text == f"green 1 for {alice.user_id}"
        bot.passes(seconds=30)
        assert bob.text == f"black 1 for {bob.user_id}"  # each has a timer of this name, and a memory
        bot.passes(days=1)
        assert len(bot.calls()) == 4


def test_a_timer_set_anew_replaces_the_old_one_and_can_be_cancelled():
    with Conversations(reminders()) as bot:
        alice = bot.chat("Alice")
        alice.says("/set one")
        bot.passes(seconds=59)
        alice.says("/set two")
        bot.passes(seconds=59)
        assert alice.text == "set"
        bot.passes(seconds=1)
        assert alice.sees("two 1")
        alice.says("/set three")
        alice.says("/stop")
        bot.passes(days=1)
        assert alice.text == "stopped"


def test_each_timer_has_its_own_handler():
    router = Router()
    flow = Flow("flow", Step, Data)
    router.include(flow)

    @flow.entry.message(command("go"))
    async def begin(ctx: MessageContext) -> Literal[Step.WAIT]:
        for after_s, name in enumerate("abcd", 1):
            ctx.set_timer(name, after_s)
        return Step.WAIT

    def replies(name: str) -> Any:
        async def handler(ctx: TimerContext) -> None:
            ctx.reply(name)

        return handler

    flow.at(Step.WAIT).timer("c")(replies("c in the flow"))
    flow.at(Step.WAIT).timer("d")(replies("d in the flow"))
    router.timer("a")(replies("a"))
    router.timer("b")(replies("b"))
    with Conversations(router) as bot:
        bot.chat("Alice").says("/go")
        bot.passes(seconds=4)
        said = [call.params["text"] for call in bot.calls("sendMessage")]
        assert said == ["a", "b", "c in the flow", "d in the flow"]


def test_a_timer_that_nobody_takes_is_acknowledged():
    router = Router()

    @router.message()
    async def set_one(ctx: MessageContext) -> None:
        ctx.set_timer("unknown", 1)

    with Conversations(router) as bot:
        bot.chat("Alice").says("x")
        bot.passes(seconds=1)
        assert not bot.dead_letters()


@pytest.mark.parametrize("name", ["", "~timeout"])
def test_names_of_the_flows_own_timers_cannot_be_set(name):
    router = Router()

    @router.message()
    async def set_one(ctx: MessageContext) -> None:
        if ctx.text == "set":
            ctx.set_timer(name, 1)
        ctx.cancel_timer(name)

    with Conversations(router) as bot:
        for said in ("set", "cancel"):
            with pytest.raises(ValueError, match="a timer's name"):
                bot.chat(said).says(said)


@pytest.mark.parametrize("name", ["", "~timeout"])
def test_names_of_the_flows_own_timers_cannot_be_waited_for(name):
    for place in (Router(), Flow("flow", Step, Data).anywhere):
        with pytest.raises(ValueError, match="a timer's name"):
            place.timer(name)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"name":"x"}', b"\xff"])
def test_a_timer_that_cannot_be_read_is_rejected(body):
    with pytest.raises(Reject, match="not readable"):
        read_timer(body)


class Step(Enum):
    WAIT = "wait"
    AFTER = "after"


class Data(BaseModel):
    count: int = 0


def test_a_flows_timer_fires_in_its_state_only():
    flow = Flow("flow", Step, Data)
    router = Router()
    router.include(flow)

    @flow.entry.message(command("go"))
    async def begin(ctx: MessageContext, data: Data) -> Literal[Step.WAIT]:
        ctx.set_timer("tick", 10)
        return Step.WAIT

    @flow.at(Step.WAIT).timer("tick")
    async def tick(ctx: TimerContext, data: Data) -> Literal[Step.AFTER] | None:
        data.count += 1
        ctx.reply(f"tick {data.count}")
        ctx.set_timer("tick", 10)
        return Step.AFTER if data.count == 2 else None

    @flow.at(Step.AFTER).update(lambda ctx: ctx.kind == "message")
    async def leave(ctx: Context) -> End[None]:
        return END

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        seen = []
        for _ in range(5):
            bot.passes(seconds=10)
            seen.append(alice.text)
        assert seen == ["tick 1", "tick 2", "tick 2", "tick 2", "tick 2"]
        assert len(bot.calls()) == 2
