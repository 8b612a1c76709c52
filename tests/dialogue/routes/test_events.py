"""Events from outside: posted by the process's own code, handled in the chat's lane, once per id."""

from collections.abc import AsyncIterator
from enum import Enum
from functools import partial
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Limits, StoreUnavailable
from engine.stores.memory import MemoryStore
from telegram.client import TgClient
from telegram.dialogue import (
    END,
    Context,
    End,
    EventContext,
    Flow,
    MessageContext,
    NotKept,
    Post,
    Retry,
    Router,
    TimerContext,
    command,
    text,
)
from telegram.dialogue.routes import events as events_module
from telegram.fake import FakeServer
from telegram.service.bot import Bot
from telegram.testing import Conversations


def bot_of(router: Router) -> Conversations:
    return Conversations(router)


def set_clock_forward(bot: Conversations, hours: float) -> None:
    """As after a suspension of the computer: virtual days would be thousands of heartbeats."""
    bot._start += hours * 3600


def paid_router(log: list[Any]) -> Router:
    router = Router()

    @router.message(command("count"))
    async def count(ctx: MessageContext) -> None:
        ctx.data["invoices"] = ctx.data.get("invoices", 0) + 1

    @router.event("paid")
    async def paid(ctx: EventContext) -> None:
        log.append((ctx.payload.get("sum"), ctx.user_id, dict(ctx.data)))
        ctx.data["paid"] = ctx.data.get("paid", 0) + 1
        ctx.reply(f"Thanks for {ctx.payload['sum']}")

    return router


def test_an_event_is_handled_with_the_chats_state_and_replies_to_the_chat():
    log: list[Any] = []
    with bot_of(paid_router(log)) as bot:
        alice = bot.chat("Alice")
        alice.says("/count")
        bot.post(alice.id, "paid", {"sum": 5}, id="inv-17")
        assert log == [(5, alice.id, {"invoices": 1})]
        assert alice.sees("Thanks for 5")


@pytest.mark.parametrize("between", ["nothing", "restart", "47 hours"])
def test_an_event_has_an_effect_once_per_id(between):
    """A PSP sends its webhook again until it gets a 200, also after a kill between the commit and the answer."""
    log: list[Any] = []
    with bot_of(paid_router(log)) as bot:
        alice = bot.chat("Alice")
        for sum_ in (5, 6):
            bot.post(alice.id, "paid", {"sum": sum_}, id="inv-17", wait=between != "nothing")
            if between == "restart":
                bot.restart()
            if between == "47 hours":
                set_clock_forward(bot, hours=47)
        bot.settles()
        assert [sum_ for sum_, *_ in log] == [5]
        bot.post(alice.id, "paid", {"sum": 7}, id="inv-18")
        assert [sum_ for sum_, *_ in log] == [5, 7]


def test_an_id_is_forgotten_after_48_hours():
    log: list[Any] = []
    with bot_of(paid_router(log)) as bot:
        alice = bot.chat("Alice")
        bot.post(alice.id, "paid", {"sum": 5}, id="a")
        set_clock_forward(bot, hours=49)
        bot.post(alice.id, "paid", {"sum": 6}, id="b")
        bot.post(alice.id, "paid", {"sum": 7}, id="a")
        assert [sum_ for sum_, *_ in log] == [5, 6, 7]


def test_of_one_chat_the_last_ids_are_kept_up_to_a_number(monkeypatch):
    monkeypatch.setattr(events_module, "SEEN_MAX", 3)
    log: list[Any] = []
    with bot_of(paid_router(log)) as bot:
        alice = bot.chat("Alice")
        for id_ in ("a", "b", "c", "a", "d", "b", "a"):  # d drops a
            bot.post(alice.id, "paid", {"sum": id_}, id=id_)
        assert [sum_ for sum_, *_ in log] == ["a", "b", "c", "d", "a"]


def test_ids_are_of_their_chat_and_name_and_without_one_each_post_counts():
    log: list[Any] = []
    router = paid_router(log)

    @router.event("refunded")
    async def refunded(ctx: EventContext) -> None:
        log.append(ctx.event_name)

    with bot_of(router) as bot:
        alice, bob = bot.chat("Alice"), bot.chat("Bob")
        bot.post(alice.id, "paid", {"sum": 1}, id=17)
        bot.post(bob.id, "paid", {"sum": 2}, id=17)
        bot.post(alice.id, "refunded", id=17)
        bot.post(alice.id, "paid", {"sum": 3})
        bot.post(alice.id, "paid", {"sum": 3})
        assert [each if isinstance(each, str) else each[0] for each in log] == [1, 2, "refunded", 3, 3]


def test_a_failing_event_is_handled_again_and_given_up_like_an_update():
    attempts: list[int] = []
    router = Router()

    @router.event("paid")
    async def paid(ctx: EventContext) -> None:
        attempts.append(ctx.attempt)
        ctx.reply("lost with the failure")
        if ctx.attempt < 3:
            raise Retry("not yet")

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        bot.post(alice.id, "paid", id="x", failing=True)
        bot.passes(minutes=5, failing=True)
        bot.post(alice.id, "paid", id="x")
        assert attempts == [1, 2, 3]
        assert len(bot.calls("sendMessage")) == 1


def test_an_event_that_was_given_up_may_be_posted_again():
    router = Router()
    seen = []

    @router.event("paid")
    async def paid(ctx: EventContext) -> None:
        seen.append(ctx.payload)
        if not ctx.payload:
            raise ValueError("no payload")

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        bot.post(alice.id, "paid", id="x", failing=True)
        bot.passes(hours=1, failing=True)
        assert len(bot.dead_letters()) == 1
        bot.post(alice.id, "paid", {"now": "right"}, id="x")
        assert seen[-1] == {"now": "right"}


def test_events_keep_their_order_and_come_after_what_arrived_before():
    order: list[str] = []
    router = Router()

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        order.append(ctx.text)
        if ctx.attempt == 1 and ctx.text == "a":
            raise Retry("parks the lane", after_s=60)

    @router.event("e")
    async def event(ctx: EventContext) -> None:
        order.append(ctx.payload["n"])

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        alice.says("a", failing=True)
        alice.says("b", wait=False)
        bot.post(alice.id, "e", {"n": "1"}, wait=False)
        alice.says("c", wait=False)
        bot.post(alice.id, "e", {"n": "2"}, wait=False)
        bot.passes(minutes=2)
        assert order == ["a", "a", "b", "1", "c", "2"]


def test_in_a_group_an_event_has_the_conversation_of_its_user_and_topic():
    log: list[Any] = []
    router = paid_router(log)
    with bot_of(router) as bot:
        team = bot.group("Team", is_forum=True)
        alice = team.member("Alice")
        alice.says("/count")  # in the general topic
        bot.post(team.id, "paid", {"sum": 1}, user_id=alice.user_id, topic=0)
        bot.post(team.id, "paid", {"sum": 2}, user_id=alice.user_id, topic=7, failing=True)
        bot.post(team.id, "paid", {"sum": 3})
        assert log == [(1, alice.user_id, {"invoices": 1}), (2, alice.user_id, {}), (3, None, {})]
        sent = bot.calls("sendMessage")
        assert [each.params.get("message_thread_id") for each in sent] == [None, 7, None]


def test_an_event_continues_a_flow_that_waits_for_it():
    class Step(Enum):
        PAY = "pay"

    class Order(BaseModel):
        what: str = ""

    order = Flow("order", Step, Order)
    router = Router()
    router.include(order)
    order.at(Step.PAY).ask("Please pay")

    @order.entry.message(command("order"))
    async def begin(ctx: MessageContext, order: Order) -> Literal[Step.PAY]:
        order.what = ctx.args
        return Step.PAY

    @order.at(Step.PAY).event("paid")
    async def paid(ctx: EventContext, order: Order) -> End[None]:
        ctx.reply(f"{order.what} is on its way")
        return END

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/order tea")
        bot.post(alice.id, "paid", id="inv-1")
        assert alice.sees("tea is on its way")
        bot.post(alice.id, "paid", id="inv-2")  # nothing waits for it: logged, and acknowledged
        assert bot.dead_letters() == []


def test_a_group_that_became_a_supergroup_gets_its_events_in_its_lane():
    seen = []
    router = Router()

    @router.event("e")
    async def event(ctx: EventContext) -> None:
        seen.append((ctx.key, ctx.data.get("n", 0)))
        ctx.data["n"] = ctx.data.get("n", 0) + 1

    with bot_of(router) as bot:
        team = bot.group("Team", kind="group")
        team.member("Alice").says("hello")
        bot.post(team.id, "e")
        new = bot.scene.migrate(team.id)
        bot.happens()
        new_id = new["id"] if isinstance(new, dict) else new
        bot.post(new_id, "e")
        bot.post(team.id, "e")
        assert seen == [(f"chat:{team.id}", 0), (f"chat:{team.id}", 1), (f"chat:{team.id}", 2)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((7, "payd"), ValueError, "no handler takes the event 'payd': did you mean 'paid'?"),
        ((7, "x"), ValueError, "no handler takes the event 'x': add @router.event('x')"),
        (("@chat", "paid"), TypeError, "chat_id is the id of a chat, an int, not '@chat'"),
        ((True, "paid"), TypeError, "chat_id is the id of a chat, an int, not True"),
        ((0, "paid"), ValueError, "chat_id is the id of a chat, not 0"),
        ((2**63, "paid"), ValueError, "chat_id is the id of a chat, a 64-bit number"),
        ((7, "paid", [1]), TypeError, "an event's payload is a dict"),
        ((7, "paid", {1: 2}), NotKept, "event 'paid': payload has the key 1 of type int"),
        ((7, "paid", {"a": {1, 2}}), NotKept, "event 'paid': payload"),
        ((7, "paid", {"a": float("nan")}), NotKept, "JSON cannot hold"),
        ((7, "paid", {"a": "x" * 70_000}), ValueError, "more than 65536"),
        ((7, "paid", {}, ""), ValueError, "an event's id has 1 to 128 characters"),
        ((7, "paid", {}, "x" * 129), ValueError, "an event's id has 1 to 128 characters, not 129"),
        ((7, "paid", {}, 1.5), TypeError, "an event's id is a text or a number"),
        ((7, "paid", {}, True), TypeError, "an event's id is a text or a number"),
        ((7, "paid", {}, "\ud800"), NotKept, "event 'paid'"),
        ((7, "paid", {}, None, -5), ValueError, "user_id is the id of a user, above 0"),
        ((-7, "paid", {}, None, "5"), TypeError, "user_id is the id of a user, an int"),
        ((-7, "paid", {}, None, None, "5"), TypeError, "topic is the message_thread_id of a topic, an int"),
    ],
)
def test_what_cannot_be_posted_is_one_line_at_the_call(arguments, error, message):
    given: list[Any] = [*arguments, *[None] * (6 - len(arguments))]
    chat_id, name, payload, id_, user_id, topic = given
    with bot_of(paid_router([])) as bot:
        with pytest.raises(error) as raised:
            bot.post(chat_id, name, payload, id=id_, user_id=user_id, topic=topic)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "error"), [("", ValueError), (5, TypeError)])
def test_a_handler_names_its_event(name, error):
    with pytest.raises(error, match="event"):
        Router().event(name)


def test_an_event_whose_handler_is_gone_is_a_dead_letter_and_can_be_replayed():
    log: list[Any] = []
    router = paid_router(log)
    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        bot._parts.handler.router, bot._parts.handler._table = Router(), None
        bot.post(alice.id, "paid", {"sum": 5}, failing=True)
        (letter,) = bot.dead_letters()
        assert letter.reason == "no handler takes the event 'paid': add @router.event('paid')"
        assert log == []
        bot._parts.handler.router, bot._parts.handler._table = router, None
        assert bot._finish(lambda: bot._store.replay(letter.number))
        bot.settles()
        assert log == [(5, alice.id, {})]
        assert bot.dead_letters() == []


def test_a_handler_of_all_updates_gets_events_too_and_any_name_may_be_posted():
    kinds = []
    router = Router()

    @router.update()
    async def anything(ctx: Context) -> None:
        kinds.append(ctx.kind)

    with bot_of(router) as bot:
        bot.post(bot.chat("Alice").id, "whatever")
        assert kinds[-1] == "event"
        assert "event" not in router.allowed_updates()


def test_an_events_timer_comes_back_to_its_conversation():
    seen = []
    router = Router()

    @router.event("paid")
    async def paid(ctx: EventContext) -> None:
        ctx.data["n"] = 1
        ctx.set_timer("later", 60, {"a": 1})

    @router.timer("later")
    async def later(ctx: TimerContext) -> None:
        seen.append((ctx.data, ctx.chat_id, ctx.user_id))

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        bot.post(alice.id, "paid")
        bot.passes(minutes=2)
        assert seen == [({"n": 1}, alice.id, alice.id)]


def test_a_chat_that_blocked_the_bot_is_not_reachable_again_by_an_event():
    log: list[Any] = []
    with bot_of(paid_router(log)) as bot:
        alice = bot.chat("Alice")
        alice.says("hello")
        bot.scene.block(alice.id)
        bot.happens()
        for sum_ in (1, 2, 3):
            bot.passes(seconds=1, failing=True)
            bot.post(alice.id, "paid", {"sum": sum_}, failing=True)
        assert len(log) == 3
        assert len(bot.calls("sendMessage")) == 1  # the others were dropped: the chat is known as unreachable


# -- of a running Bot ----------------------------------------------------------------------------------------------------


async def test_only_a_running_bot_takes_posts():
    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
        store = MemoryStore()
        bot = Bot(client, store, paid_router([]))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="between start"):
                await bot.post(7, "paid", {"sum": 1})
            if bot.me is None:
                await bot.start()
                await bot.post(7, "paid", {"sum": 1}, id="x")
                await bot.stop()
        assert (await store.stats()).inbox.appended == 1


async def test_a_store_that_cannot_take_a_post_says_so():
    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
        store = MemoryStore(limits=Limits(lane_timers_max=0))
        bot = Bot(client, store, paid_router([]))
        await bot.start()
        with pytest.raises(StoreUnavailable, match="chat:7 would have more than 0 timers"):
            await bot.post(7, "paid", {"sum": 1})
        await bot.stop()


@pytest.mark.parametrize("takes", [True, False])
def test_a_resource_with_a_parameter_gets_post(takes):
    """A web server for a provider's calls needs it (aiogram issue 529: "outside a message handler" there is no context)."""
    log: list[Any] = []
    router = paid_router(log)
    posts: list[Any] = []
    opened: list[bool] = []

    if takes:

        @router.resource
        async def outside(post: Post) -> AsyncIterator[None]:
            opened.append(True)
            posts.append(post)
            yield

    else:

        @router.resource
        async def inside() -> AsyncIterator[None]:
            opened.append(False)
            yield

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        for post in posts:
            bot._finish(partial(post, alice.id, "paid", {"sum": 1}, id="x"))
            bot.settles()
        assert len(log) == len(posts) == takes
        assert opened == [takes]


def test_an_event_of_a_group_does_not_continue_its_users_private_flow():
    class Step(Enum):
        PAY = "pay"

    class Nothing(BaseModel):
        pass

    order = Flow("order", Step, Nothing)
    router = Router()
    router.include(order)
    order.at(Step.PAY).ask("Please pay")

    @order.entry.message(command("order"))
    async def begin() -> Literal[Step.PAY]:
        return Step.PAY

    @order.at(Step.PAY).event("paid")
    async def paid(ctx: EventContext) -> End[None]:
        ctx.reply("paid")
        return END

    with bot_of(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/order")
        team = bot.group("Team")
        team.member("Alice").says("hello")
        bot.post(team.id, "paid", user_id=alice.user_id)
        assert not bot.calls("sendMessage")[1:]
        bot.post(alice.id, "paid")
        assert alice.sees("paid")
