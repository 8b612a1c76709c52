"""Flows in flows, data that does not fit any more, and conversations of chats, topics and people everywhere."""

import json
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from engine.errors import Reject
from engine.model import TIMER_IDS, Delivery, Effects, Envelope, Lease, Queue
from telegram.botapi.calls import encode_json
from telegram.dialogue import (
    BACK,
    CHAT,
    END,
    OWN,
    TOPIC,
    USER,
    Back,
    ChatContext,
    Context,
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
from tests.kit.deliveries import GROUP, Direct, delivery, message, sent


class Outer(Enum):
    SIZE = "size"
    ADDRESS = "address"
    DONE = "done"


class Middle(Enum):
    STREET = "street"
    CITY = "city"


class Inner(Enum):
    CODE = "code"


class Order(BaseModel):
    size: str = ""
    address: str = ""


class Address(BaseModel):
    street: str = ""


class Nothing(BaseModel):
    pass


def nested() -> Router:
    """An order asks for an address, which asks for a city; /cancel is the order's, /leave the address's."""
    order = Flow("order", Outer, Order)
    address = Flow("address", Middle, Address, str)
    city = Flow("city", Inner, Nothing, str)
    _fill_inner(address, city)

    @order.entry.message(command("order"))
    async def begin(ctx: MessageContext, data: Order) -> Literal[Outer.SIZE]:
        return Outer.SIZE

    order.at(Outer.SIZE).ask("size?")
    order.at(Outer.DONE).ask("done?")

    @order.anywhere.message(command("cancel"))
    async def cancel(ctx: MessageContext, data: Order) -> End[None]:
        ctx.reply(f"cancelled {data.size}")
        return END

    @order.at(Outer.SIZE).message(text)
    async def size(ctx: MessageContext, data: Order) -> Literal[Outer.ADDRESS]:
        data.size = ctx.text
        return Outer.ADDRESS

    @order.at(Outer.ADDRESS).runs(address)
    async def addressed(ctx: ChatContext, data: Order, value: str) -> Literal[Outer.DONE, Outer.SIZE]:
        if value == "left":
            return Outer.SIZE
        data.address = value
        ctx.reply(f"to {value}")
        return Outer.DONE

    @order.at(Outer.DONE).message(text)
    async def done(ctx: MessageContext, data: Order) -> End[None]:
        ctx.reply(f"{data.size} to {data.address}")
        return END

    router = Router()
    router.include(order)
    return router


def _fill_inner(address: Flow[Middle, Address, str], city: Flow[Inner, Nothing, str]) -> None:
    @address.anywhere.message(command("leave"))
    async def leave(ctx: MessageContext, data: Address) -> End[str]:
        return End("left")

    @address.anywhere.message(command("back"))
    async def back(ctx: MessageContext, data: Address) -> Back:
        return BACK

    address.at(Middle.STREET).ask("street?")

    @address.at(Middle.STREET).message(text, lambda ctx: ctx.command is None)
    async def street(ctx: MessageContext, data: Address) -> Literal[Middle.CITY]:
        data.street = ctx.text
        return Middle.CITY

    @address.at(Middle.CITY).runs(city)
    async def in_city(ctx: ChatContext, data: Address, value: str) -> End[str]:
        return End(f"{data.street} in {value}")

    city.at(Inner.CODE).ask("code?")

    @city.at(Inner.CODE).message(text, lambda ctx: ctx.command is None)
    async def code(ctx: MessageContext, data: Nothing) -> End[str]:
        if not ctx.text.isdigit():
            raise Invalid("digits, please")
        return End(ctx.text)


@pytest.fixture
def bot():
    with Conversations(nested()) as bot:
        yield bot


def says(chat, *texts: str) -> list[str]:
    """Say all of it; the texts that came after the last one."""
    for each in texts:
        before = len(chat.messages)
        chat.says(each)
    return [each["text"] for each in chat.messages[before + 1 :]]


def test_values_come_back_from_two_flows_deep(bot):
    alice = bot.chat("Alice")
    assert says(alice, "/order", "big") == ["street?"]
    assert says(alice, "Main St") == ["code?"]
    assert says(alice, "123") == ["to Main St in 123", "done?"]
    assert says(alice, "yes") == ["big to Main St in 123"]


def test_an_invalid_answer_asks_again_in_the_innermost(bot):
    alice = bot.chat("Alice")
    assert says(alice, "/order", "big", "Main St", "x") == ["digits, please", "code?"]
    bot.restart()
    assert says(alice, "1", "yes") == ["big to Main St in 1"]


def test_cancel_inside_two_flows_ends_what_it_belongs_to(bot):
    alice = bot.chat("Alice")
    assert says(alice, "/order", "big", "Main St", "/cancel") == ["cancelled big"]
    assert says(alice, "x") == []
    assert says(alice, "/order", "small", "A", "/leave") == [
        "size?"
    ]  # the address's handler, out of the city


def test_back_leaves_a_sub_flow_that_has_no_state_before(bot):
    alice = bot.chat("Alice")
    assert says(alice, "/order", "big", "/back") == ["size?"]
    assert says(alice, "small", "Main St", "/back") == ["street?"]


def test_a_flow_cannot_run_itself_or_one_of_another_scope():
    one, other = Flow("one", Inner, Nothing), Flow("other", Inner, Nothing, scope=CHAT)

    async def takes(ctx: ChatContext, data: Nothing, value: None) -> End[None]:
        return END

    for sub in (one, other):
        with pytest.raises(ValueError, match="another flow of the same scope"):
            one.at(Inner.CODE).runs(sub)(takes)


class Strict(BaseModel):
    size: int = Field(0, le=10)


def strict(*, entry_size: int = 0) -> Router:
    """A flow that puts what its sub-flow returns into its data, which takes up to 10."""
    outer, inner = Flow("outer", Old, Strict), Flow("inner", Inner, Nothing, int)

    @outer.entry.message(command("go"))
    async def begin(ctx: MessageContext, data: Strict) -> Literal[Old.ASKED]:
        data.size = entry_size
        return Old.ASKED

    @outer.at(Old.ASKED).runs(inner)
    async def sized(ctx: ChatContext, data: Strict, value: int) -> End[None]:
        data.size = value
        ctx.reply(f"size {value}")
        if value == 7:
            raise Invalid("not seven")
        return END

    inner.at(Inner.CODE).ask("size?")

    @inner.at(Inner.CODE).message(text)
    async def code(ctx: MessageContext, data: Nothing) -> End[int]:
        ctx.reply("noted")
        return End(int(ctx.text))

    router = Router()
    router.include(outer)
    return router


def test_a_value_of_a_sub_flow_that_does_not_fit_is_asked_for_again():
    with Conversations(strict()) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go", "11") == ["size: Please write a number of at most 10.", "size?"]
        assert says(alice, "7") == ["not seven", "size?"]
        assert says(alice, "10") == ["noted", "size 10"]


def test_an_entry_whose_data_could_not_be_read_again_does_not_begin():
    with Conversations(strict(entry_size=11)) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go") == ["size: Please write a number of at most 10."]
        assert says(alice, "3") == []


# ---- data that does not fit


class Old(Enum):
    ASKED = "asked"


class Count(BaseModel):
    count: int = 0


def counting(**settings: Any) -> Flow[Old, Count, None]:
    flow = Flow("counting", Old, Count, **settings)

    @flow.at(Old.ASKED).message(text)
    async def more(ctx: MessageContext, data: Count) -> None:
        data.count += 1
        ctx.reply(str(data.count))

    return flow


def stored(state: str = "asked", version: int = 1, **data: Any) -> bytes:
    frame = {"flow": "counting", "version": version, "state": state, "data": data, "history": []}
    return encode_json({"mine": 1, "~flow": {"stack": [frame], "timer": False}})


async def handled(flow: Flow[Any, Any, Any], state: bytes, **settings: Any) -> Any:
    router = Router()
    router.include(flow)
    return await Direct(router, **settings)(delivery({"message": message("x")}, state=state))


def said(effects: Any) -> list[str]:
    return [params["text"] for _, _, params in sent(effects)]


async def test_stored_data_is_gone_on_with():
    effects = await handled(counting(), stored(count=4))
    assert said(effects) == ["5"]
    assert json.loads(effects.state) == json.loads(stored(count=5))


@pytest.mark.parametrize("state", [stored(count="many"), stored("gone"), stored(count=None)])
async def test_what_does_not_fit_is_rejected_and_kept(state):
    with pytest.raises(Reject, match="the flow counting cannot read its data"):
        await handled(counting(), state)


async def test_the_hook_decides_what_becomes_of_it():
    flow = counting()
    seen: list[Any] = []

    @flow.mismatch
    async def mismatch(
        ctx: Context, data: dict[str, Any], error: Exception
    ) -> Literal[Old.ASKED] | End[None] | None:
        seen.append((data, type(error).__name__))
        if data["count"] == "again":
            return Old.ASKED
        return END if data["count"] == "end" else None

    flow.at(Old.ASKED).ask("anew?")
    effects = await handled(flow, stored(count="again"))
    assert said(effects) == ["anew?"]
    assert json.loads(effects.state) == json.loads(stored(count=0))
    effects = await handled(flow, stored(count="end"))
    assert json.loads(effects.state) == {"mine": 1}
    effects = await handled(flow, stored(count="keep"))
    assert not isinstance(effects.state, bytes)  # KEEP
    assert seen == [({"count": each}, "ValidationError") for each in ("again", "end", "keep")]


async def test_older_data_is_migrated():
    def migrate(version: int, data: dict[str, Any]) -> dict[str, Any]:
        return {"count": data["number"] + 100 * version}

    effects = await handled(counting(version=3, migrate=migrate), stored(number=1, version=2))
    assert said(effects) == ["202"]
    assert json.loads(effects.state)["~flow"]["stack"][0]["version"] == 3
    with pytest.raises(Reject):  # the hook itself cannot cope
        await handled(counting(version=3, migrate=migrate), stored(other=1, version=2))
    effects = await handled(counting(version=2, migrate=migrate), stored(count=1, version=2))
    assert said(effects) == ["2"]


async def test_another_version_without_a_migration_is_read_as_it_is():
    assert said(await handled(counting(version=2), stored(count=4))) == ["5"]


async def test_another_flows_state_is_not_touched():
    other = stored(count=1).replace(b"counting", b"somebody")
    effects = await handled(counting(), other)
    assert (said(effects), isinstance(effects.state, bytes)) == ([], False)


# ---- scopes


def scoped(scope: Any) -> Router:
    flow = Flow("counting", Old, Count, scope=scope)

    @flow.entry.message(command("go"))
    async def begin(ctx: MessageContext, data: Count) -> Literal[Old.ASKED]:
        return Old.ASKED

    @flow.at(Old.ASKED).message(text)
    async def more(ctx: MessageContext, data: Count) -> None:
        data.count += 1
        ctx.reply(f"count {data.count}")

    @flow.at(Old.ASKED).timeout(60)
    async def late(ctx: TimerContext, data: Count) -> End[None]:
        ctx.reply(f"late {data.count}")
        return END

    router = Router()
    router.include(flow)
    return router


@pytest.mark.parametrize(
    ("scope", "bob_here", "bob_topic", "alice_private"),
    [
        (OWN, False, False, False),
        (CHAT, True, True, False),
        (TOPIC, True, False, False),
        (USER, False, False, True),
    ],
    ids=["own", "chat", "topic", "user"],
)
def test_whose_conversation_it_is(scope, bob_here, bob_topic, alice_private):
    with Conversations(scoped(scope)) as bot:
        team = bot.group("Team", is_forum=True)
        alice, bob, private = team.member("Alice"), team.member("Bob"), bot.chat("Alice")
        topic: dict[str, Any] = {"message_thread_id": 7, "is_topic_message": True}
        bot.scene._chats[team.id].about.topics[7] = {"closed": False}
        alice.says("/go")
        alice.says("x")
        assert alice.sees("count 1")
        bob.says("x")
        assert bool(bob.sees("count 2")) is bob_here
        bob.says("x", **topic)
        assert bool(bob.sees("count 3")) is bob_topic
        private.says("x")
        assert bool(private.sees("count 2")) is alice_private


@pytest.mark.parametrize("scope", [OWN, CHAT, TOPIC, USER])
def test_a_time_out_works_in_every_scope_and_fires_once(scope):
    with Conversations(scoped(scope)) as bot:
        alice = bot.group("Team").member("Alice")
        alice.says("/go")
        bot.passes(seconds=59)
        alice.says("x")
        bot.passes(seconds=59)
        assert alice.sees("count 1")
        bot.passes(seconds=1)
        assert alice.sees("late 1")
        bot.passes(days=1)
        assert len(bot.calls()) == 2


def kept(effects: Effects) -> bytes:
    assert isinstance(effects.state, bytes)
    return effects.state


async def test_a_time_out_is_set_with_each_step_and_cancelled_when_none_is_due():
    handler = Direct(scoped(OWN))
    effects = await handler(delivery({"message": message("/go")}))
    assert [(timer.name, timer.after_s, timer.scope) for timer in effects.timers] == [("~timeout", 60, None)]
    effects = await handler(delivery({"message": message("x")}, state=kept(effects)))
    assert [timer.after_s for timer in effects.timers] == [60]

    flow = counting()

    @flow.anywhere.message(text)
    async def never(ctx: MessageContext) -> None: ...

    router = Router()
    router.include(flow)
    effects = await Direct(router)(delivery({"message": message("x")}, state=kept(effects)))
    assert [(timer.name, timer.after_s) for timer in effects.timers] == [("~timeout", None)]


@pytest.mark.parametrize("state", [None, stored(count=1)])
async def test_a_stale_time_out_is_ignored(state):
    flow = counting()

    @flow.otherwise.update()
    async def anything(ctx: Context, data: Count) -> End[None]:
        return END

    router = Router()
    router.include(flow)
    body = encode_json({"name": "~timeout", "chat_id": 7, "user_id": 7, "place": {}, "payload": {}})
    due = Envelope(TIMER_IDS + 1, "chat:7", "7", body)
    effects = await Direct(router)(Delivery(Lease(Queue.INBOX, "chat:7", 1), due, 1, state))
    assert effects == Effects()


class Elsewhere:
    """A store that holds one state."""

    def __init__(self, state: bytes | None) -> None:
        self.kept = state
        self.asked: list[tuple[str, str]] = []

    async def peek(self, delivery: Any, limit: int) -> list[Any]:
        return []

    async def look(self, delivery: Any, limit: int) -> list[Any]:
        return []

    async def state(self, key: str, scope: str) -> bytes | None:
        self.asked.append((key, scope))
        return self.kept


async def test_a_state_elsewhere_is_committed_against_what_was_read():
    behind = Elsewhere(stored(count=1))
    router = Router()
    router.include(counting(scope=CHAT))
    handler = Direct(router, behind=behind)
    effects = await handler(delivery({"message": message("x", chat=GROUP)}, state=b'{"own":1}'))
    assert behind.asked == [("chat:-100", "~chat")]
    (change,) = effects.states
    assert (change.key, change.scope, change.was) == ("chat:-100", "~chat", behind.kept)
    assert json.loads(change.state or b"")["~flow"]["stack"][0]["data"] == {"count": 2}
    assert not isinstance(effects.state, bytes)  # KEEP


@pytest.mark.parametrize("second", ["ask", "asks"])
def test_a_state_asks_one_thing(second: str):
    """The first `ask` was lost, in silence."""

    class Asked(Enum):
        NAME = "name"

    class Empty(BaseModel):
        pass

    flow: Flow[Asked, Empty, None] = Flow("twice", Asked, Empty)
    flow.at(Asked.NAME).ask("name?")

    async def asks(ctx: ChatContext[Any]) -> None: ...

    with pytest.raises(ValueError, match="has one `ask` or `asks` already"):
        if second == "ask":
            flow.at(Asked.NAME).ask("age?")
        else:
            flow.at(Asked.NAME).asks(asks)


def test_the_decorators_old_name_works_with_a_warning():
    flow = counting()

    async def handler(ctx: Context, data: dict[str, Any], error: Exception) -> None: ...

    with pytest.warns(DeprecationWarning, match=r"Flow\.mismatch"):
        flow.misfit(handler)
    assert flow.mismatch_handler is handler
