"""Where a flow speaks and is found whose update has no chat of its own: payments, requests to join, polls, reactions.

Sources: Telegram Bot API, ChatJoinRequest (user_chat_id: where the bot may write to somebody who asks to join),
answerPreCheckoutQuery (10 s), PollAnswer and PreCheckoutQuery (no chat). The stories: python-telegram-bot#4726 and #2504,
teloxide/teloxide#1006 (the payment of a conversation is never answered: its query has no chat), aiogram/aiogram#1633 (who
asks to join is asked in private, and the state lies in the group).
"""

import json
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from telegram.dialogue import (
    CHAT,
    END,
    OWN,
    TOPIC,
    USER,
    CallbackContext,
    ChatContext,
    Context,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    kind,
    successful_payment,
    text,
)
from telegram.dialogue.router.table import Table
from telegram.testing import Conversations
from tests.dialogue.flows.test_parts import Elsewhere
from tests.kit.deliveries import Direct, delivery, press, sent


class S(Enum):
    PAY = "pay"
    WAIT = "wait"


class Data(BaseModel):
    said: str = ""


def flow_by(kind_: str, scope: Any = OWN, *, answer: str | None = None) -> Router:
    """/go leads to PAY; an update of the kind leads on to WAIT, which asks; a text there ends it."""
    flow = Flow("pay", S, Data, scope=scope)

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.PAY]:
        return S.PAY

    @flow.at(S.PAY).update(kind(kind_))
    async def comes(ctx: Context, data: Data) -> Literal[S.WAIT]:
        if answer is not None:
            ctx.call(answer, pre_checkout_query_id=ctx.event.id, ok=True)
        return S.WAIT

    flow.at(S.WAIT).ask("One moment")

    @flow.at(S.WAIT).message(successful_payment)
    async def paid(ctx: MessageContext) -> End[None]:
        ctx.reply("paid")
        return END

    @flow.at(S.WAIT).message(text)
    async def said(ctx: MessageContext) -> End[None]:
        ctx.reply("said")
        return END

    @flow.at(S.WAIT).timeout(60)
    async def late(ctx: TimerContext) -> End[None]:
        ctx.reply("late")
        return END

    router = Router()
    router.include(flow)
    return router


PAYMENT = {
    "currency": "XTR", "total_amount": 1, "invoice_payload": "p",
    "telegram_payment_charge_id": "t", "provider_payment_charge_id": "q",
}  # fmt: skip


@pytest.mark.parametrize("scope", [OWN, USER])
def test_a_payment_is_answered_and_completes(scope):
    with Conversations(flow_by("pre_checkout_query", scope, answer="answerPreCheckoutQuery")) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        alice.sends_update("pre_checkout_query", invoice_payload="p", total_amount=1, currency="XTR")
        assert [call.params["ok"] for call in bot.calls("answerPreCheckoutQuery")] == [True]
        assert alice.sees("One moment")
        alice.sends(successful_payment=PAYMENT)
        assert alice.sees("paid")
        assert not bot.dead_letters()


@pytest.mark.parametrize("kind_", ["pre_checkout_query", "poll_answer", "inline_query"])
def test_a_flow_of_a_person_goes_on_where_it_began(kind_):
    with Conversations(flow_by(kind_, USER)) as bot:
        team = bot.group("Team").member("Alice")
        team.says("/go")
        team.sends_update(kind_)
        (call,) = bot.calls("sendMessage")
        assert (call.params["chat_id"], call.params["text"]) == (team.id, "One moment")
        team.says("x")
        assert team.sees("said")


def test_so_it_does_in_the_topic_where_it_began():
    with Conversations(flow_by("pre_checkout_query", USER)) as bot:
        group = bot.group("Team", is_forum=True)
        team = group.member("Alice")
        bot.scene._chats[team.id].about.topics[7] = {"closed": False}
        team.says("/go", message_thread_id=7, is_topic_message=True)
        team.sends_update("pre_checkout_query")
        (call,) = bot.calls("sendMessage")
        assert (call.params["chat_id"], call.params["message_thread_id"]) == (team.id, 7)


def test_a_polls_answer_belongs_to_the_private_conversation():
    with Conversations(flow_by("poll_answer")) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        alice.sends_update("poll_answer", voter_chat=None)
        assert alice.sees("One moment")
        alice.says("x")
        assert alice.sees("said")


def test_its_time_out_finds_the_conversation_again():
    """It is a timer of the poll's lane."""
    with Conversations(flow_by("poll_answer")) as bot:
        alice = bot.chat("Alice")
        alice.says("/go")
        alice.sends_update("poll_answer", voter_chat=None)
        bot.restart()
        bot.passes(seconds=60)
        assert alice.sees("late")
        alice.says("x")
        assert alice.text == ""  # it is over


async def test_a_conversation_that_goes_on_in_a_polls_lane_since_before_goes_on_there():
    frame = {"flow": "pay", "version": 1, "state": "pay", "data": {"said": ""}, "history": []}
    state = json.dumps({"~flow": {"stack": [frame], "timer": False}}).encode()
    answer = {
        "poll_id": "9", "option_ids": [0], "option_persistent_ids": ["a"],
        "user": {"id": 7, "is_bot": False, "first_name": "A"},
    }  # fmt: skip
    behind = Elsewhere(b"{}")
    effects = await Direct(flow_by("poll_answer"), behind=behind)(
        delivery({"poll_answer": answer}, state=state)
    )
    assert behind.asked == []
    assert isinstance(effects.state, bytes)
    assert json.loads(effects.state)["~flow"]["stack"][0]["state"] == "wait"
    assert [params["chat_id"] for _, _, params in sent(effects)] == [7]


def captcha() -> Router:
    flow = Flow("captcha", S, Data)

    @flow.entry.update(kind("chat_join_request"))
    async def asked(ctx: Context, data: Data) -> Literal[S.WAIT]:
        data.said = str(ctx.chat_id)
        ctx.data["requests"] = ctx.data.get("requests", 0) + 1
        return S.WAIT

    flow.at(S.WAIT).ask("2 + 2?")

    @flow.at(S.WAIT).message(text)
    async def solved(ctx: MessageContext, data: Data) -> End[None]:
        ctx.reply(f"welcome to {data.said}")
        return END

    router = Router()
    router.include(flow)
    return router


def test_a_user_who_asks_to_join_is_asked_in_private_and_answers_there():
    with Conversations(captcha()) as bot:
        group, alice = bot.group("Team"), bot.chat("Alice")
        group.member("Alice").sends_update("chat_join_request", user_chat_id=alice.id)
        (call,) = bot.calls("sendMessage")
        assert (call.params["chat_id"], call.params["text"]) == (alice.id, "2 + 2?")
        bot.restart()
        alice.says("4")
        assert alice.sees(f"welcome to {group.id}")


def test_a_reaction_is_answered_in_its_chat():
    with Conversations(flow_by("message_reaction")) as bot:
        team = bot.group("Team").member("Alice")
        team.says("/go")
        team.sends_update("message_reaction", actor_chat=None)
        assert team.sees("One moment")


async def test_under_an_inline_message_a_flow_asks_in_private():
    flow = Flow("f", S, Data)

    @flow.at(S.PAY).callback_query()
    async def pressed(ctx: CallbackContext) -> Literal[S.WAIT]:
        return S.WAIT

    flow.at(S.WAIT).ask("One moment")
    router = Router()
    router.include(flow)
    frame = {"flow": "f", "version": 1, "state": "pay", "data": {"said": ""}, "history": []}
    state = json.dumps({"~flow": {"stack": [frame], "timer": False}}).encode()
    update = {"callback_query": {**press("x"), "message": None, "inline_message_id": "i1"}}
    effects = await Direct(router)(delivery(update, state=state))
    assert [(key, method) for key, method, _ in sent(effects)] == [
        ("chat:7", "sendMessage"),
        ("query:query-1", "answerCallbackQuery"),
    ]


@pytest.mark.parametrize("kind_", ["pre_checkout_query", "shipping_query", "poll_answer", "inline_query"])
def test_an_update_that_has_only_a_person_is_replied_to_in_private(kind_):
    router = Router()

    @router.update(kind(kind_))
    async def handler(ctx: Context) -> None:
        assert isinstance(ctx, ChatContext)
        ctx.reply("hi")

    with Conversations(router) as bot:
        bot.chat("Alice").sends_update(kind_)
        assert bot.chat("Alice").sees("hi")


def test_a_chats_flow_of_a_timer_for_another_chat_is_that_chats():
    router = Router()
    flow = Flow("f", S, Data, scope=CHAT)
    router.include(flow)

    @flow.entry.message(command("go"))
    async def go() -> Literal[S.PAY]:
        return S.PAY

    @flow.at(S.PAY).message(text)
    async def stays(ctx: MessageContext) -> None:
        ctx.reply("pay")

    @flow.at(S.PAY).timer("on")
    async def on(ctx: TimerContext) -> Literal[S.WAIT]:
        return S.WAIT

    flow.at(S.WAIT).ask("One moment")

    @flow.at(S.WAIT).message(text)
    async def ends(ctx: MessageContext) -> End[None]:
        ctx.reply("said")
        return END

    @router.message(command("later"))
    async def later(ctx: MessageContext) -> None:
        ctx.set_timer("on", 5, chat_id=int(ctx.args))

    with Conversations(router) as bot:
        team, alice = bot.group("Team").member("Bob"), bot.chat("Alice")
        team.says("/go")
        alice.says(f"/later {team.id}")
        bot.passes(seconds=5)
        assert team.sees("One moment")
        team.says("x")
        assert team.sees("said")


# ---- flows of a place that wait for what has no chat


@pytest.mark.parametrize("kind_", ["pre_checkout_query", "shipping_query", "poll_answer", "inline_query"])
@pytest.mark.parametrize("scope", [OWN, CHAT, TOPIC])
def test_a_flow_in_a_group_finds_what_it_waits_for(kind_: str, scope: Any):
    """Red before: it went to the private chat, where no flow was, and a payment stayed unanswered."""
    with Conversations(flow_by(kind_, scope)) as bot:
        team = bot.group("Team").member("Alice")
        team.says("/go")
        bot.restart()
        team.sends_update(kind_, voter_chat=None)
        (call,) = bot.calls("sendMessage")
        assert (call.params["chat_id"], call.params["text"]) == (team.id, "One moment")
        team.says("x")
        assert team.sees("said")
        assert bot.chat("Alice").text == ""
        assert (
            bot._finish(lambda: bot._store.state(f"user:{team.user_id}", "~waits")) is None
        )  # it waits no more


@pytest.mark.parametrize("scope", [OWN, CHAT, TOPIC])
def test_in_the_topic_where_it_waits(scope: Any):
    with Conversations(flow_by("pre_checkout_query", scope)) as bot:
        team = bot.group("Team", is_forum=True).member("Alice")
        bot.scene._chats[team.id].about.topics[7] = {"closed": False}
        team.says("/go", message_thread_id=7, is_topic_message=True)
        team.sends_update("pre_checkout_query")
        (call,) = bot.calls("sendMessage")
        assert (call.params["chat_id"], call.params["message_thread_id"]) == (team.id, 7)
        team.says("x", message_thread_id=7, is_topic_message=True)
        assert team.sees("said")


def test_its_data_is_that_of_the_place_and_its_time_out_finds_it():
    router = flow_by("pre_checkout_query")

    @router.message(command("data"))
    async def shows(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.data))

    with Conversations(router) as bot:
        team, alice = bot.group("Team").member("Alice"), bot.chat("Alice")
        team.says("/go")
        team.sends_update("pre_checkout_query")
        bot.passes(seconds=60)
        assert team.sees("late")
        assert alice.text == ""
        team.says("x")
        assert team.text == ""  # it is over


def test_the_private_chats_flow_comes_first_and_others_wait_on():
    with Conversations(flow_by("pre_checkout_query")) as bot:
        team, alice = bot.group("Team").member("Alice"), bot.chat("Alice")
        team.says("/go")
        alice.says("/go")
        alice.sends_update("pre_checkout_query")
        assert alice.sees("One moment")
        alice.sends_update("pre_checkout_query")
        assert team.sees("One moment")


def test_of_two_groups_the_newest_comes_first():
    with Conversations(flow_by("pre_checkout_query")) as bot:
        one, two = bot.group("One").member("Alice"), bot.group("Two").member("Alice")
        one.says("/go")
        two.says("/go")
        two.sends_update("pre_checkout_query")
        assert two.sees("One moment")
        two.sends_update("pre_checkout_query")
        assert one.sees("One moment")


def test_what_belongs_to_others_is_not_found():
    with Conversations(flow_by("pre_checkout_query")) as bot:
        group = bot.group("Team")
        group.member("Alice").says("/go")
        group.member("Bob").sends_update("pre_checkout_query")
        assert [(call.method, call.params["ok"]) for call in bot.calls()] == [
            ("answerPreCheckoutQuery", False)
        ]


def test_a_flow_that_has_gone_on_is_not_found_any_more():
    """Also if what was noted could not be taken away: by an older version, or by another person in a chat's flow."""
    with Conversations(flow_by("pre_checkout_query", CHAT)) as bot:
        group = bot.group("Team")
        alice, bob = group.member("Alice"), group.member("Bob")
        alice.says("/go")
        bob.says("/go")  # the chat's flow begins anew
        bob.sends_update("pre_checkout_query")
        assert bob.sees("One moment")
        alice.sends_update("pre_checkout_query")
        assert len(bot.calls("sendMessage")) == 1
        bob.says("x")
        assert bob.sees("said")


def test_the_places_are_bounded():
    with Conversations(flow_by("pre_checkout_query")) as bot:
        groups = [bot.group(f"G{n}").member("Alice") for n in range(12)]
        for each in groups:
            each.says("/go")
        state = bot._finish(lambda: bot._store.state(f"user:{groups[0].user_id}", "~waits"))
        assert len(json.loads(state or b"{}")["places"]) == 8


@pytest.mark.parametrize("kind_", ["pre_checkout_query", "message_reaction"])
def test_flows_that_run_in_each_other_are_looked_at_once_each(kind_: str):
    outer, inner = (Flow(name, S, Data) for name in ("outer", "inner"))

    async def comes() -> Literal[S.WAIT]:
        return S.WAIT

    inner.at(S.PAY).update(kind(kind_))(comes)
    for one, other in ((outer, inner), (inner, outer)):
        one.at(S.WAIT).runs(other)(comes)
    router = Router()
    router.include(outer)
    assert Table(router).awaited == {kind_} - {"message_reaction"}
