"""Timers that handlers and flows set by name, through the test kit."""

import json
from datetime import timedelta
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine.errors import Reject
from engine.model import TIMER_IDS, Delivery, Effects, Envelope, Lease, Queue
from telegram.botapi.calls import encode_json
from telegram.dialogue import (
    CHAT,
    END,
    TOPIC,
    USER,
    CallbackContext,
    Context,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    Tools,
    command,
    content,
    data_prefix,
    inline,
)
from telegram.dialogue.state.conversation import Scope
from telegram.dialogue.state.timers import read_timer
from telegram.testing import Conversations
from tests.kit.deliveries import Direct, context, message


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


def captcha(scope: Scope = CHAT) -> Router:
    """Who joins has a minute to press the button; an admin may let everybody in."""
    router = Router()

    @router.message(content("new_chat_members"))
    async def joins(ctx: MessageContext) -> None:
        ctx.data["brought"] = ctx.data.get("brought", 0) + 1
        for user in ctx.message.new_chat_members or []:
            ctx.set_timer("out", 60, {"who": user.id}, key=user.id, scope=scope)
            ctx.reply("Human?", reply_markup=inline([("Yes", f"human:{user.id}")]))

    @router.callback_query(data_prefix("human:"))
    async def human(ctx: CallbackContext) -> None:
        who = int((ctx.button or "").removeprefix("human:"))
        if who == ctx.user_id:
            ctx.cancel_timer("out", key=who, scope=scope)

    @router.timer("out")
    async def out(ctx: TimerContext) -> None:
        ctx.reply(f"{ctx.payload['who']} is out; {ctx.user_id} brought {ctx.data['brought']}")

    return router


@pytest.mark.parametrize(("topic", "scope"), [(None, CHAT), (3, CHAT), (3, TOPIC)])
def test_a_member_who_was_added_by_another_removes_the_chats_timer(topic: int | None, scope: Scope):
    """Bots like J-Rios/TLG_JoinCaptchaBot and 1inch/shieldy: Ann adds Bob and Eve, Bob presses his button, and stays."""
    with Conversations(captcha(scope)) as bot:
        team = bot.group("Team", is_forum=topic is not None)
        ann, bob, eve = team.member("Ann"), team.member("Bob"), team.member("Eve")
        place: dict[str, Any] = (
            {} if topic is None else {"message_thread_id": topic, "is_topic_message": True}
        )
        for each, name in ((bob, "Bob"), (eve, "Eve")):
            joined = {"id": each.user_id, "is_bot": False, "first_name": name}
            ann.sends(new_chat_members=[joined], **place)
        bob.presses(f"human:{bob.user_id}")
        bot.restart()
        bot.passes(minutes=2)
        said = [message["text"] for message in ann.messages if message.get("text", "Human?") != "Human?"]
        assert said == [f"{eve.user_id} is out; {ann.user_id} brought 2"]
        assert ann.messages[-1].get("message_thread_id") == topic
        assert bot.dead_letters() == []


def test_a_timer_of_the_chat_is_one_and_each_members_own_is_beside_it():
    router = Router()

    @router.message(command("set"))
    async def sets(ctx: MessageContext) -> None:
        ctx.set_timer("end", 60, {"by": "chat"}, scope=CHAT)
        ctx.set_timer("end", 60, {"by": "own"})

    @router.timer("end")
    async def end(ctx: TimerContext) -> None:
        ctx.reply(f"{ctx.payload['by']} {ctx.user_id}")

    with Conversations(router) as bot:
        team = bot.group("Team")
        ann, bob = team.member("Ann"), team.member("Bob")
        ann.says("/set")
        bob.says("/set")
        bot.passes(minutes=2)
        said = [message["text"] for message in ann.messages if message["text"] != "/set"]
        assert sorted(said) == sorted([f"own {ann.user_id}", f"own {bob.user_id}", f"chat {bob.user_id}"])


@pytest.mark.parametrize(
    "given", [{"scope": USER}, {"scope": CHAT, "chat_id": 5}, {"scope": TOPIC, "chat_id": 5}]
)
def test_a_timer_of_all_chats_or_of_another_one_is_not_the_chats(given: dict[str, Any]):
    ctx = context({"message": message("/set")})
    with pytest.raises(ValueError, match="belongs to the chat or the topic"):
        ctx.set_timer("tea", 1, **given)


@pytest.mark.parametrize(
    "delay", [-1, -0.001, 1e12, float("nan"), float("inf"), "5", None, timedelta(days=-1)]
)
def test_a_wrong_delay_is_named_where_it_is_set(delay: Any):
    """python-telegram-bot#1034 and the like compute it: "tomorrow at nine" that is past."""
    ctx = context({"message": message("/set")})
    with pytest.raises(
        ValueError, match="timer 'tea': a delay is a number of seconds from 0 to 31622400, not "
    ):
        ctx.set_timer("tea", delay)


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


def setting(name: str, *, in_flow: bool = False, catch_all: bool = False) -> Router:
    """Each message sets the timer `name`; "tea" has a handler, or one in a flow that nothing begins."""
    router = Router()

    @router.message()
    async def set_one(ctx: MessageContext) -> None:
        ctx.set_timer(name, 1)

    async def fires(ctx: TimerContext) -> None:
        ctx.reply(f"{ctx.timer} fired")

    flow = Flow("flow", Step, Data)
    (flow.at(Step.WAIT) if in_flow else router).timer("tea")(fires)
    router.include(flow)

    async def takes_all(ctx: Context) -> None:
        ctx.send(ctx.chat_id or 0, f"{ctx.kind} fired")

    if catch_all:
        router.update()(takes_all)
    return router


def test_a_timer_that_no_handler_takes_is_an_error_where_it_is_set():
    for name, said in (("tee", "did you mean 'tea'"), ("coffee", "add @router.timer")):
        with Conversations(setting(name)) as bot:
            with pytest.raises(TypeError, match=f"no handler takes the timer '{name}': {said}"):
                bot.chat("Alice").says("x")
            assert len(bot.dead_letters()) == 1


def test_a_handler_of_all_updates_takes_timers_of_any_name():
    with Conversations(setting("tee", catch_all=True)) as bot:
        bot.chat("Alice").says("x")
        bot.passes(seconds=1)
        assert bot.chat("Alice").sees("timer fired")


def test_a_timer_whose_flow_has_left_the_state_is_no_failure():
    with Conversations(setting("tea", in_flow=True)) as bot:
        bot.chat("Alice").says("x")
        bot.passes(seconds=1)
        assert not bot.dead_letters()


async def fire(router: Router, name: str, **fields: Any) -> Any:
    """What becomes of a timer that an earlier program has set."""
    fired = {"name": name, "chat_id": 7, "user_id": 7, "place": {}, "payload": {}, **fields}
    due = Envelope(TIMER_IDS + 1, "chat:7", "7", encode_json(fired))
    return await Direct(router)(Delivery(Lease(Queue.INBOX, "chat:7", 1), due, 1, None))


async def test_one_that_an_earlier_program_set_and_no_handler_takes_is_a_dead_letter():
    with pytest.raises(Reject, match="no handler takes the timer 'tee': did you mean 'tea'"):
        await fire(setting("x"), "tee")
    assert (await fire(setting("x"), "tea")).calls


async def test_one_that_the_filters_around_its_handler_refuse_is_a_dead_letter():
    router, inner = Router(), Router(lambda ctx: ctx.kind != "timer")
    router.include(inner)

    @inner.timer("tea")
    async def never() -> None: ...

    with pytest.raises(Reject, match="no handler takes the timer 'tea'"):
        await fire(router, "tea")


@pytest.mark.parametrize("name", ["~timeout", "~anything"])
async def test_a_time_out_that_no_flow_waits_for_is_no_failure(name):
    assert await fire(setting("tea"), name) == Effects()


# ---- a name with a key, and another chat


def keyed() -> Router:
    router = Router()

    @router.message(command("remind"))
    async def remind(ctx: MessageContext) -> None:
        key, after = ctx.args.split()
        ctx.set_timer("remind", float(after), {"what": key}, key=key)

    @router.message(command("forget"))
    async def forget(ctx: MessageContext) -> None:
        ctx.cancel_timer("remind", key=ctx.args or None)

    @router.timer("remind")
    async def reminds(ctx: TimerContext) -> None:
        ctx.reply(f"{ctx.timer} {ctx.timer_key} {ctx.payload['what']}")

    return router


def test_a_name_with_a_key_is_a_timer_of_its_own():
    """Two reminders in one chat: python-telegram-bot/python-telegram-bot#645 (jobs of one name) and #1959 (a second one)."""
    with Conversations(keyed()) as bot:
        alice = bot.chat("Alice")
        for said in ("/remind milk 10", "/remind tea 20", "/remind bread 30", "/remind milk 40"):
            alice.says(said)
        alice.says("/forget bread")
        alice.says("/forget")  # the one without a key was never set
        bot.restart()
        seen = []
        for _ in range(4):
            bot.passes(seconds=10)
            seen.append(alice.text)
        assert seen == ["", "remind tea tea", "remind tea tea", "remind milk milk"]
        assert len(bot.calls()) == 2


def test_keys_and_names_are_not_mixed_up():
    ctx = context({"message": message()})
    ctx.set_timer("a", 1, key="b")
    ctx.set_timer("a", 1, key=1)
    ctx.set_timer("a", 2, key="1")  # the same as 1
    ctx.set_timer("a", 1)
    ctx.set_timer("ab", 1)
    ctx.set_timer("a", 1, chat_id=5)
    ctx.set_timer("a", 1, chat_id=7)  # here
    timers = ctx.effects().timers
    assert len({timer.name for timer in timers}) == len(timers) == 5
    assert [json.loads(timer.body)["name"] for timer in timers] == ["a", "a", "a", "ab", "a"]


def elsewhere(router: Router, chat_id: int) -> None:
    @router.message(command("post"))
    async def post(ctx: MessageContext) -> None:
        ctx.data["here"] = "set"
        ctx.set_timer("post", 60, {"text": ctx.args}, chat_id=chat_id)

    @router.message(command("stop"))
    async def stop(ctx: MessageContext) -> None:
        ctx.cancel_timer("post", chat_id=chat_id)

    @router.timer("post")
    async def posts(ctx: TimerContext) -> None:
        ctx.data["posts"] = ctx.data.get("posts", 0) + 1
        ctx.reply(f"{ctx.payload['text']} {ctx.data}")

    @router.message(command("data"))
    async def shows(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.data))


@pytest.mark.parametrize("kind", ["group", "private"])
def test_a_timer_for_another_chat_speaks_there_with_what_is_remembered_there(kind):
    router = Router()
    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        there = bot.group("Team").member("Alice") if kind == "group" else bot.chat("Bob")
        elsewhere(router, there.id)
        for said in ("/post one", "/stop", "/post two"):
            alice.says(said)
        bot.passes(seconds=60)
        assert there.text == "two {'posts': 1}"
        (call,) = [each for each in bot.calls("sendMessage") if "two" in each.params["text"]]
        assert call.params["chat_id"] == there.id
        there.says("/data")
        assert there.text == "{'posts': 1}"
        alice.says("/data")
        assert alice.text == "{'here': 'set'}"
        there.says("/post three")  # for its own chat: nothing is elsewhere
        bot.passes(seconds=60)
        assert there.text == "three {'posts': 2, 'here': 'set'}"


def test_its_replies_are_in_the_lane_of_that_chat():
    ctx = context({"message": message()})
    ctx.set_timer("post", 1, chat_id=-100)
    (timer,) = ctx.effects().timers
    due = Envelope(TIMER_IDS + 1, "chat:7", "7", timer.body)
    fired = TimerContext(
        read_timer(timer.body), Delivery(Lease(Queue.INBOX, "chat:7", 1), due, 1, None), Tools()
    )
    fired.reply("x")
    fired.send(7, "y")
    assert [call.key for call in fired.effects().calls] == ["chat:-100", "chat:7"]


@pytest.mark.parametrize("home", [[], ["chat:7"], 5, "chat:7"])
def test_a_home_that_cannot_be_read_is_rejected(home):
    fired = {"name": "x", "chat_id": 7, "user_id": 7, "place": {}, "payload": {}, "home": home}
    with pytest.raises(Reject, match="not readable"):
        read_timer(encode_json(fired))


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
