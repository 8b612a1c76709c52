"""What one update makes of a flow where flows run in flows, ask again, go back, end and come too late."""

import json
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine.errors import Reject
from engine.model import TIMER_IDS, Delivery, Effects, Envelope, Lease, Queue
from telegram.botapi.calls import encode_json
from telegram.dialogue import (
    BACK,
    CHAT,
    END,
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
from telegram.dialogue.flows.turn import HISTORY_MAX
from telegram.testing import Conversations
from tests.dialogue.flows.test_parts import Elsewhere, kept, says, scoped
from tests.kit.deliveries import GROUP, Direct, delivery, message, press, sent
from tests.kit.updates import KINDS

INLINE_PRESS = {**press("x"), "message": None, "inline_message_id": "i1"}


class S(Enum):
    A = "a"
    B = "b"


class Data(BaseModel):
    n: int = 0
    asked: int = 0


def flow(name: str = "outer", **settings: Any) -> Flow[S, Data, Any]:
    return Flow(name, S, Data, **settings)


def begun(made: Flow[S, Data, Any], state: S = S.A) -> Router:
    """A router with a flow that /go begins in `state`."""

    async def begin(ctx: MessageContext) -> S:
        return state

    made.entry.message(command("go"))(begin)
    router = Router()
    router.include(made)
    return router


def stored(*frames: tuple[str, str, dict[str, Any]], version: int = 1) -> bytes:
    """The state with these flows going on, the outermost first: name, state, data."""
    stack = [
        {"flow": name, "version": version, "state": state, "data": data, "history": []}
        for name, state, data in frames
    ]
    return encode_json({"~flow": {"stack": stack, "timer": False}})


async def handled(router: Router, update: dict[str, Any], state: bytes | None, **settings: Any) -> Effects:
    return await Direct(router, **settings)(delivery(update, state=state))


def stack(effects: Effects) -> list[Any]:
    return [(frame["flow"], frame["state"]) for frame in json.loads(kept(effects))["~flow"]["stack"]]


# ---- asking, and asking again


def test_a_prompt_sees_the_data_as_its_model_makes_it():
    made = flow()

    @made.at(S.A).message(text)
    async def number(ctx: MessageContext, data: Data) -> Literal[S.B]:
        data.n = ctx.text  # type: ignore[assignment] # the point of the test
        return S.B

    @made.at(S.B).asks
    async def asks(ctx: ChatContext, data: Data) -> None:
        ctx.reply(f"{data.n + 1}?")

    with Conversations(begun(made)) as bot:
        assert says(bot.chat("Alice"), "/go", "3") == ["4?"]


def test_what_a_prompt_notes_is_kept_each_time_it_asks():
    made = flow()

    @made.at(S.A).asks
    async def asks(ctx: ChatContext, data: Data) -> None:
        data.asked += 1
        ctx.reply(f"asked {data.asked}")

    @made.at(S.A).message(text)
    async def never(ctx: MessageContext, data: Data) -> None:
        data.asked = 100
        raise Invalid("no")

    with Conversations(begun(made)) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go", "x") == ["no", "asked 2"]
        assert says(alice, "x") == ["no", "asked 3"]


def test_a_prompt_that_spoils_the_data_does_not_get_it_stored():
    made = flow()

    @made.at(S.A).asks
    async def asks(ctx: ChatContext, data: Data) -> None:
        data.n = "many"  # type: ignore[assignment] # the point of the test

    @made.at(S.A).message(text)
    async def taken(ctx: MessageContext) -> None:
        raise AssertionError

    with Conversations(begun(made)) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go")[0].startswith("n: Please write a whole number.")
        assert says(alice, "x") == []


@pytest.mark.parametrize(
    ("update", "texts"),
    [
        ({"callback_query": INLINE_PRESS}, ["no"]),
        ({"guest_message": message(guest_query_id="g1", chat=GROUP)}, []),
        ({"poll_answer": KINDS["poll_answer"]}, []),
    ],
)
async def test_the_reason_of_invalid_is_sent_if_any_message_is_possible(update, texts):
    made = flow()

    @made.at(S.A).update()
    async def never(ctx: Context) -> None:
        raise Invalid("no")

    effects = await handled(begun(made), update, stored(("outer", "a", {})))
    assert [params.get("text") for _, _, params in sent(effects)] == texts


def test_a_step_takes_the_kinds_of_update_that_it_names():
    made = flow()

    @made.at(S.A).message()
    async def only_messages(ctx: MessageContext) -> None:
        ctx.reply("taken")

    router = begun(made)

    @router.edited_message()
    async def edited(ctx: MessageContext) -> None:
        ctx.reply("edited")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go", "x") == ["taken"]
        alice.sends_update("edited_message", message_id=1, date=1, text="y")
        assert alice.text == "edited"


def test_an_entry_that_ends_ends_what_goes_on():
    made = flow()

    @made.entry.message(command("stop"))
    async def stop(ctx: MessageContext) -> End[None]:
        ctx.reply("stopped")
        return END

    @made.at(S.A).message(text)
    async def taken(ctx: MessageContext) -> None:
        ctx.reply("taken")

    with Conversations(begun(made)) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go", "x") == ["taken"]
        assert says(alice, "/stop") == ["stopped"]
        assert says(alice, "x") == []


# ---- the way back


def there_and_back() -> Router:
    made = flow()
    made.at(S.A).ask("a?")
    made.at(S.B).ask("b?")

    @made.anywhere.message(command("back"))
    async def back(ctx: MessageContext) -> Back:
        return BACK

    @made.anywhere.message(command("a"))
    async def to_a(ctx: MessageContext) -> Literal[S.A]:
        return S.A

    @made.anywhere.message(command("b"))
    async def to_b(ctx: MessageContext) -> Literal[S.B]:
        return S.B

    return begun(made)


def test_each_back_leads_to_another_state_and_the_first_one_asks_again():
    with Conversations(there_and_back()) as bot:
        alice = bot.chat("Alice")
        assert says(alice, "/go", "/b", "/b", "/a", "/back") == ["b?"]
        assert says(alice, "/back") == ["a?"]
        assert says(alice, "/back") == ["a?"]


def test_the_way_back_is_as_long_as_its_bound():
    with Conversations(there_and_back()) as bot:
        alice = bot.chat("Alice")
        for said in ("/go", *("/b", "/a") * (HISTORY_MAX // 2), "/b"):
            alice.says(said)
        seen = []
        for _ in range(HISTORY_MAX + 2):
            alice.says("/back")
            seen.append(alice.text)
        assert seen == ["a?", "b?"] * (HISTORY_MAX // 2) + ["b?", "b?"]


# ---- flows in flows


def three_deep(scope: Any = "") -> Router:
    """outer runs middle, which begins by running inner; the first two have a time-out."""
    outer, middle, inner = (flow(name, scope=scope) for name in ("outer", "middle", "inner"))

    @outer.at(S.A).runs(middle)
    async def after_middle(ctx: ChatContext, data: Data, value: Any) -> Literal[S.B] | None:
        return None if value == "nowhere" else S.B

    @middle.at(S.A).runs(inner)
    async def after_inner(ctx: ChatContext, data: Data, value: Any) -> End[Any]:
        return End(value)

    inner.at(S.A).ask("inner?")

    @inner.at(S.A).message(text)
    async def answered(ctx: MessageContext) -> End[Any]:
        return End(ctx.text)

    for each, after_s in ((outer, 100), (middle, 60)):

        @each.anywhere.timeout(after_s)
        async def late(ctx: TimerContext, data: Data) -> End[None]:
            ctx.reply("late")
            return END

    return begun(outer)


def test_a_sub_flow_that_begins_with_a_sub_flow_asks_what_the_innermost_asks():
    with Conversations(three_deep()) as bot:
        assert says(bot.chat("Alice"), "/go") == ["inner?"]


@pytest.mark.parametrize(("said", "why"), [("nowhere", "must lead somewhere"), ("x", None)])
async def test_what_takes_the_value_of_a_sub_flow_leads_somewhere(said, why):
    state = stored(("outer", "a", {}), ("middle", "a", {}), ("inner", "a", {}))
    if why:
        with pytest.raises(TypeError, match=why):
            await handled(three_deep(), {"message": message(said)}, state)
    else:
        assert stack(await handled(three_deep(), {"message": message(said)}, state)) == [("outer", "b")]


def levels() -> Router:
    """Two flows, one in the other; both take /who and have a time-out of their own."""
    outer, inner = flow("outer"), flow("inner")

    @outer.at(S.A).runs(inner)
    async def after(ctx: ChatContext, data: Data, value: Any) -> Literal[S.B]:
        return S.B

    @outer.anywhere.message(command("who"))
    async def outer_who(ctx: MessageContext) -> None:
        ctx.reply("outer")

    @inner.anywhere.message(command("who"))
    async def inner_who(ctx: MessageContext) -> None:
        ctx.reply("inner")

    @outer.anywhere.timeout(100)
    async def outer_late(ctx: TimerContext) -> End[None]:
        ctx.reply("outer is late")
        return END

    @inner.at(S.A).timeout(60)
    async def inner_late(ctx: TimerContext) -> Literal[S.B]:
        ctx.reply("inner is late")
        return S.B

    return begun(outer)


def test_from_inside_out():
    with Conversations(levels()) as bot:
        assert says(bot.chat("Alice"), "/go", "/who") == ["inner"]


def test_the_time_out_is_of_the_innermost_state_that_has_one():
    with Conversations(levels()) as bot:
        alice = bot.chat("Alice")
        says(alice, "/go")
        bot.passes(seconds=60)
        assert alice.text == "inner is late"
        bot.passes(seconds=99)
        assert alice.text == "inner is late"
        bot.passes(seconds=1)
        assert alice.text == "outer is late"
        bot.passes(days=1)
        assert len(bot.calls()) == 2


async def test_no_time_out_is_taken_away_that_was_never_set():
    made = flow()

    @made.at(S.A).message(text)
    async def on(ctx: MessageContext) -> Literal[S.B]:
        return S.B

    effects = await handled(begun(made), {"message": message("x")}, stored(("outer", "a", {})))
    assert stack(effects) == [("outer", "b")]
    assert effects.timers == ()


# ---- data that does not fit


@pytest.mark.parametrize("error", [KeyError("n"), TypeError("n"), AttributeError("n"), ValueError("n")])
async def test_a_migration_that_fails_is_a_mismatch(error):
    def migrate(version: int, data: dict[str, Any]) -> dict[str, Any]:
        raise error

    made = flow(version=2, migrate=migrate)
    with pytest.raises(Reject, match=r"\(version 1, this one is 2\)"):
        await handled(begun(made), {"message": message("x")}, stored(("outer", "a", {})))


@pytest.mark.parametrize(
    "frames",
    [
        (("outer", "b", {}), ("middle", "a", {}), ("inner", "a", {})),  # in this state nothing runs any more
        (("outer", "a", {}), ("another", "a", {})),  # and here something else
    ],
)
async def test_a_sub_flow_that_no_longer_runs_there_is_a_mismatch_of_the_flow_above(frames):
    with pytest.raises(Reject, match=r"the flow outer cannot read its data .* runs in S\.[AB] any more"):
        await handled(three_deep(), {"message": message("x")}, stored(*frames))


# ---- whose it is


async def test_an_update_without_a_user_is_in_no_flow():
    made = flow(scope=USER)
    router = begun(made)

    @router.update(made.is_in())
    async def never(ctx: Context) -> None:
        raise AssertionError

    behind = Elsewhere(stored(("outer", "a", {})))
    assert await handled(router, {"poll": KINDS["poll"]}, None, behind=behind) == Effects()
    assert behind.asked == []


async def test_the_time_out_of_a_chats_flow_is_set_in_the_chats_scope():
    effects = await handled(three_deep(CHAT), {"message": message("/go")}, None, behind=Elsewhere(None))
    assert [(timer.name, timer.after_s, timer.scope) for timer in effects.timers] == [
        ("~timeout", 60, "~chat")
    ]


def test_two_people_in_one_chat_have_time_outs_of_their_own():
    with Conversations(scoped(USER)) as bot:
        team = bot.group("Team")
        for name in ("Alice", "Bob"):
            team.member(name).says("/go")
        bot.passes(seconds=60)
        assert [call.params["text"] for call in bot.calls("sendMessage")] == ["late 0", "late 0"]


async def test_time_outs_of_two_flows_are_set_by_one_update():
    router, flows = Router(), [flow("own"), flow("chats", scope=CHAT)]
    for each in flows:

        @each.at(S.A).timeout(60)
        async def late(ctx: TimerContext) -> End[None]:
            return END

        router.include(each)

    @router.message()
    async def begins(ctx: MessageContext) -> None:
        for each in flows:
            await each.begin(ctx, S.A)

    effects = await handled(router, {"message": message("x")}, None, behind=Elsewhere(None))
    assert [timer.scope for timer in effects.timers] == [None, "~chat"]


async def test_a_time_out_of_a_chats_flow_has_one_state_not_two():
    made = flow(scope=CHAT)

    @made.at(S.A).timeout(60)
    async def late(ctx: TimerContext) -> Literal[S.B]:
        ctx.data["late"] = True
        return S.B

    router = Router()
    router.include(made)
    state = stored(("outer", "a", {}))
    body = encode_json({"name": "~timeout", "chat_id": -100, "user_id": 7, "place": {}, "payload": {}})
    due = Envelope(TIMER_IDS + 1, "chat:-100", "~chat", body)
    given = Delivery(Lease(Queue.INBOX, "chat:-100", 1), due, 1, state)
    effects = await Direct(router, behind=Elsewhere(state))(given)
    assert effects.states == ()
    assert stack(effects) == [("outer", "b")]
    assert json.loads(kept(effects))["late"] is True
