"""Payments are answered within Telegram's 10 s, whatever the private chat does meanwhile; its state stays exact.

Telegram Bot API, answerPreCheckoutQuery: "The Bot API must receive an answer within 10 seconds after the pre-checkout query
was sent". A payment has a lane of its own (telegram/botapi/routing.py), and its conversation is the private chat's: both lanes
write one state, the commit compares, and the loser runs again.

Met by others: yagop/node-telegram-bot-api#1187 (not answered within 10 s), botman/botman#1314 (inside a conversation the
query is never answered), telegraf/telegraf#1930 (a query without a chat finds no session), python-telegram-bot#2504 and #4726.
"""

import asyncio
import json
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from engine import Effects, Envelope, Park, Queue, Reject, Work
from engine.stores.contract import append
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope
from telegram.botapi.types import KINDS
from telegram.dialogue import (
    END,
    ChatContext,
    Context,
    End,
    Flow,
    Invalid,
    MessageContext,
    Router,
    TimerContext,
    command,
    kind,
    successful_payment,
    throttle,
)
from telegram.dialogue import text as any_text
from telegram.dialogue.contexts.conduct import APOLOGY
from tests.kit.deliveries import GROUP, Beside
from tests.kit.rig import STORES, Rig, checkout, open_rig, text, typed
from tests.kit.stage import Stage
from tests.kit.virtual import run_virtual

PAID = {
    "currency": "XTR", "total_amount": 1, "invoice_payload": "p",
    "telegram_payment_charge_id": "t", "provider_payment_charge_id": "q",
}  # fmt: skip
SHIPPING = {
    "id": "ship-1", "from": {"id": 7, "is_bot": False, "first_name": "Alice"}, "invoice_payload": "p",
    "shipping_address": {
        "country_code": "DE", "state": "", "city": "B", "street_line1": "S", "street_line2": "", "post_code": "1",
    },
}  # fmt: skip


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shop(work_s: float = 30.0, check_s: float = 0.0) -> Router:
    """A text is worked on and counted; a payment is checked, counted and answered."""
    router = Router()

    @router.message(any_text)
    async def works(ctx: MessageContext) -> None:
        if ctx.text == "closed" and ctx.attempt < 9 and not ctx.data.get("paid"):
            raise Park("closed", delay_s=200)
        ctx.data["texts"] = ctx.data.get("texts", 0) + 1
        await asyncio.sleep(work_s)
        ctx.reply(f"done {ctx.text}")

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        ctx.data["paid"] = ctx.data.get("paid", 0) + 1
        await asyncio.sleep(check_s)
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)
        ctx.reply("thanks")

    @router.shipping_query()
    async def ships(ctx: ChatContext[Any]) -> None:
        ctx.call("answerShippingQuery", shipping_query_id=ctx.event.id, ok=True, shipping_options=[])

    return router


def test_a_payment_is_answered_while_the_chats_handler_works(store: str, tmp_path: Path):
    """Red before: answered at 30 s. Telegram has given the payment up after 10 s."""

    async def main() -> None:
        async with open_rig(store, tmp_path, shop()) as rig:
            await rig.comes(text("hi"))
            await asyncio.sleep(0.5)
            await rig.comes(checkout(), {"shipping_query": SHIPPING})
            await rig.settles()
            (answer,) = rig.sent("answerPreCheckoutQuery")
            (options,) = rig.sent("answerShippingQuery")
            assert max(answer.at, options.at) < 1
            assert await rig.data("chat:7") == {"texts": 1, "paid": 1}  # neither has overwritten the other
            assert await rig.data("payment:7") is None

    run_virtual(main())


def test_a_payment_is_answered_while_the_chat_is_parked(store: str, tmp_path: Path):
    async def main() -> None:
        async with open_rig(store, tmp_path, shop(work_s=0)) as rig:
            await rig.comes(text("closed"))
            await asyncio.sleep(0.5)
            await rig.comes(checkout())
            await rig.settles()
            assert rig.sent("answerPreCheckoutQuery")[0].at < 1
            assert await rig.data("chat:7") == {"texts": 1, "paid": 1}

    run_virtual(main())


def test_a_payments_messages_stand_in_the_chats_own_lane(store: str, tmp_path: Path):
    """What the chat's handler says later comes later."""

    async def main() -> None:
        async with open_rig(store, tmp_path, shop()) as rig:
            await rig.comes(text("hi"))
            await asyncio.sleep(0.5)
            await rig.comes(checkout())
            await rig.settles()
            assert [(each.lane, each.params["text"]) for each in rig.sent("sendMessage")] == [
                ("chat:7", "thanks"),
                ("chat:7", "done hi"),
            ]

    run_virtual(main())


def test_the_loser_of_the_comparison_runs_again_and_that_is_no_attempt(store: str, tmp_path: Path):
    async def main() -> None:
        async with open_rig(store, tmp_path, shop(work_s=1, check_s=0.3), attempts_max=1) as rig:
            for n in range(4):
                await rig.comes(text(f"{n}"), checkout(f"pay-{n}"))
                await asyncio.sleep(0.4)
            await rig.settles()
            assert await rig.data("chat:7") == {"texts": 4, "paid": 4}
            assert [
                each.params["text"] for each in rig.sent("sendMessage") if "done" in each.params["text"]
            ] == [f"done {n}" for n in range(4)]
            assert [each.params["pre_checkout_query_id"] for each in rig.sent("answerPreCheckoutQuery")] == [
                f"pay-{n}" for n in range(4)
            ]
            assert await rig.store.dead_letters() == []

    run_virtual(main())


def test_a_payment_gets_through_a_chat_that_writes_all_the_time(store: str, tmp_path: Path):
    """It takes longer than any text: it would lose every comparison until the flood is over."""

    async def main() -> None:
        async with open_rig(store, tmp_path, shop(work_s=0.05, check_s=0.2), attempts_max=1) as rig:
            await rig.comes(*[text(f"{n}") for n in range(400)])  # 20 s
            await asyncio.sleep(0.5)
            await rig.comes(checkout())
            await rig.settles()
            assert rig.sent("answerPreCheckoutQuery")[0].at < 3
            assert await rig.data("chat:7") == {"texts": 400, "paid": 1}
            assert await rig.store.dead_letters() == []

    run_virtual(main())


def test_payments_are_in_time_also_if_a_long_handler_loses_again_and_again(store: str, tmp_path: Path):
    """Each of them makes the text's handler run again; it is done when nobody pays any more."""

    async def main() -> None:
        async with open_rig(store, tmp_path, shop(), attempts_max=1) as rig:
            await rig.comes(text("hi"))
            asked = []
            for n in range(100):
                await asyncio.sleep(4)
                asked.append((f"{n}", 4.0 * (n + 1)))
                await rig.comes(checkout(f"{n}"))
            await rig.settles()
            answers = rig.sent("answerPreCheckoutQuery")
            assert [each.params["pre_checkout_query_id"] for each in answers] == [name for name, _ in asked]
            assert max(each.at - at for each, (_, at) in zip(answers, asked, strict=True)) < 9
            assert await rig.data("chat:7") == {"texts": 1, "paid": 100}
            assert rig.texts()[-1] == "done hi"

    run_virtual(main())


# ---- flows


class Step(Enum):
    PAY = "pay"
    WAIT = "wait"


class Order(BaseModel):
    texts: int = 0


def order(*, work_s: float = 0.0) -> Router:
    """/buy leads to PAY; a payment is answered and leads to WAIT, which asks; the payment completes it."""
    flow = Flow("order", Step, Order)

    @flow.entry.message(command("buy"))
    async def buy(ctx: MessageContext) -> Literal[Step.PAY]:
        return Step.PAY

    @flow.at(Step.PAY).message(any_text)
    async def says(ctx: MessageContext, data: Order) -> None:
        data.texts += 1
        await asyncio.sleep(work_s)
        ctx.reply(f"text {data.texts}")

    @flow.at(Step.PAY).timeout(600)
    async def late(ctx: TimerContext) -> End[None]:
        ctx.reply("late")
        return END

    @flow.at(Step.PAY).update(kind("pre_checkout_query"))
    async def pays(ctx: Context) -> Literal[Step.WAIT]:
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)
        return Step.WAIT

    flow.at(Step.WAIT).ask("One moment")

    @flow.at(Step.WAIT).message(successful_payment)
    async def paid(ctx: MessageContext, data: Order) -> End[None]:
        ctx.reply(f"paid after {data.texts}")
        return END

    @flow.at(Step.WAIT).timeout(60)
    async def never(ctx: TimerContext) -> End[None]:
        ctx.reply("no payment came")
        return END

    router = Router()
    router.include(flow)

    @router.pre_checkout_query()
    async def outside(ctx: ChatContext[Any]) -> None:
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=False, error_message="no")

    return router


def test_a_flow_goes_on_with_a_payment_and_asks_in_the_private_chat(store: str, tmp_path: Path):
    async def main() -> None:
        async with open_rig(store, tmp_path, order()) as rig:
            await rig.comes(text("/buy"))
            await rig.settles()
            await rig.comes(checkout())
            await rig.settles()
            await rig.comes(text(None, successful_payment=PAID))
            await rig.settles()
            assert [each.params["ok"] for each in rig.sent("answerPreCheckoutQuery")] == [True]
            assert [(each.lane, each.params["chat_id"]) for each in rig.sent("sendMessage")] == [
                ("chat:7", 7)
            ] * 2
            assert rig.texts() == ["One moment", "paid after 0"]
            assert await rig.data("chat:7") is None
            await asyncio.sleep(700)
            await rig.settles()
            assert len(rig.texts()) == 2  # neither time-out fires any more

    run_virtual(main())


def test_a_text_that_was_worked_on_meanwhile_is_handled_again_in_the_state_of_now(store: str, tmp_path: Path):
    """Its first run saw PAY, which is over: no other state may be written over the new one."""

    async def main() -> None:
        async with open_rig(store, tmp_path, order(work_s=30)) as rig:
            await rig.comes(text("/buy"), text("hello"))
            await asyncio.sleep(1)
            await rig.comes(checkout())
            await asyncio.sleep(1)
            await rig.comes(text(None, successful_payment=PAID))
            await rig.settles()
            assert rig.sent("answerPreCheckoutQuery")[0].at < 2
            assert rig.texts() == ["One moment", "paid after 0"]

    run_virtual(main())


def test_a_flow_in_a_group_takes_the_payment_of_its_person(store: str, tmp_path: Path):
    """It names no chat. It is answered while the group's handler works, and goes on in the group, in the group's lane."""

    async def main() -> None:
        async with open_rig(store, tmp_path, order(work_s=20)) as rig:
            await rig.comes(text("/buy", chat=GROUP))
            await rig.settles()
            await rig.comes(text("hello", chat=GROUP))
            await asyncio.sleep(1)
            await rig.comes(checkout())
            await asyncio.sleep(1)
            await rig.comes(text(None, successful_payment=PAID, chat=GROUP))
            await rig.settles()
            (answer,) = rig.sent("answerPreCheckoutQuery")
            assert (answer.params["ok"], answer.at < 2) == (True, True)
            assert [(each.lane, each.params["text"]) for each in rig.sent("sendMessage")] == [
                ("chat:-100", "One moment"),
                ("chat:-100", "paid after 0"),
            ]
            assert [
                await rig.data(*each) for each in (("chat:-100",), ("chat:7",), ("user:7", "~waits"))
            ] == [None] * 3

    run_virtual(main())


def test_the_time_out_of_a_state_that_a_payment_led_to_finds_the_flow(store: str, tmp_path: Path):
    async def main() -> None:
        async with open_rig(store, tmp_path, order()) as rig:
            await rig.comes(text("/buy"))
            await rig.settles()
            await rig.comes(checkout())
            await asyncio.sleep(61)
            await rig.settles()
            assert rig.texts() == ["One moment", "no payment came"]
            assert [each.lane for each in rig.sent("sendMessage")] == ["chat:7"] * 2
            assert await rig.data("chat:7") is None

    run_virtual(main())


def test_a_payment_that_an_older_file_has_in_the_chats_lane_goes_on(store: str, tmp_path: Path):
    """So does the flow in PAY that the file holds."""

    async def main() -> None:
        frame = {"flow": "order", "version": 1, "state": "pay", "data": {"texts": 2}, "history": []}
        old = json.dumps({"kept": 1, "~flow": {"stack": [frame], "timer": False}}).encode()
        async with open_rig(store, tmp_path, order()) as rig:
            before = json.dumps({"update_id": 90, **text("x")}).encode()
            await rig.inbox.drain(0)
            await append(rig.store, [Envelope(90, "chat:7", "7", before)])
            await rig.store.commit(await rig.store.claim(Queue.INBOX), Effects(state=old), more=False)
            body = json.dumps({"update_id": 91, **checkout()}).encode()
            await append(rig.store, [Envelope(91, "chat:7", "7", body, rig.wall())])
            given = await rig.store.claim(Queue.INBOX)
            effects = await rig.handler(Work(given, Beside(rig.store)))
            assert effects.states == ()  # its state is the delivery's own
            await rig.store.commit(given, effects, more=False)
            assert (await rig.data("chat:7"))["~flow"]["stack"][0]["state"] == "wait"
            assert (await rig.data("chat:7"))["kept"] == 1

    run_virtual(main())


@pytest.mark.parametrize("first", ["payment", "text"])
def test_a_kill_between_the_commits_of_both_lanes_loses_nothing(first: str, tmp_path: Path):
    """Whatever was committed when the process died, the rest runs at the next start, with that state."""

    async def life(*, kill: bool) -> list[str]:
        work_s, check_s = (5, 1) if first == "payment" else (1, 5)
        async with open_rig("sqlite", tmp_path, shop(work_s=work_s, check_s=check_s)) as rig:
            if kill:
                await rig.comes(text("hi"), checkout())
                await asyncio.sleep(3)  # one of them is committed
                return []
            await rig.settles()
            assert await rig.data("chat:7") == {"texts": 1, "paid": 1}
            return [each.method for each in rig.out]

    run_virtual(life(kill=True))
    methods = run_virtual(life(kill=False))
    assert ("answerPreCheckoutQuery" in methods) == (first == "text")


# ---- stopping


def test_a_payment_stops_a_handler_of_its_chat_with_such_a_stop_filter(store: str, tmp_path: Path):
    router = Router()

    @router.message(command("remind"), stop=kind("pre_checkout_query"))
    async def reminds(ctx: MessageContext) -> None:
        await asyncio.sleep(30)
        ctx.reply("pay, please")

    @router.pre_checkout_query(stop=command("cancel"))
    async def pays(ctx: ChatContext[Any]) -> None:
        await asyncio.sleep(5)
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)

    @router.message(command("cancel"))
    async def cancels(ctx: MessageContext) -> None:
        ctx.reply("cancelled")

    async def comes(rig: Rig, update: dict[str, Any]) -> None:
        ids = await rig.comes(update)
        fields = {"update_id": ids[0], **update}
        rig.handler.arrived([envelope(RawUpdate(ids[0], json.dumps(fields).encode(), fields))])

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            await comes(rig, text("/remind"))
            await asyncio.sleep(1)
            await comes(rig, checkout())
            await asyncio.sleep(1)
            await comes(rig, text("/cancel"))
            await rig.settles()
            assert rig.texts() == ["cancelled"]
            assert [each.params["ok"] for each in rig.sent("answerPreCheckoutQuery")] == [False]
            assert rig.handler._meanwhile.stoppable._runs == {}

    run_virtual(main())


# ---- stories


def test_a_payment_inside_a_menu_of_conversations_is_answered(store: str, tmp_path: Path):
    """botman/botman#1314: a menu leads to a conversation that pays; the query reached neither of them."""

    class Menu(Enum):
        MAIN = "main"
        PAYING = "paying"

    pay: Flow[Any, Any, str] = Flow("pay", Step, Order, str)
    pay.at(Step.PAY).ask("Pay, please")

    @pay.at(Step.PAY).update(kind("pre_checkout_query"))
    async def pays(ctx: Context) -> Literal[Step.WAIT]:
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)
        return Step.WAIT

    pay.at(Step.WAIT).ask("One moment")

    @pay.at(Step.WAIT).message(successful_payment)
    async def paid(ctx: MessageContext) -> End[str]:
        return End("paid")

    menu = Flow("menu", Menu, Order)

    @menu.entry.message(command("menu"))
    async def begins(ctx: MessageContext) -> Literal[Menu.PAYING]:
        return Menu.PAYING

    @menu.at(Menu.PAYING).runs(pay)
    async def has_paid(ctx: Context, data: Order, value: str) -> Literal[Menu.MAIN]:
        return Menu.MAIN

    menu.at(Menu.MAIN).ask("What else?")

    @menu.at(Menu.MAIN).message(any_text)
    async def ends(ctx: MessageContext) -> End[None]:
        return END

    router = Router()
    router.include(menu)

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            for update in (text("/menu"), checkout(), text(None, successful_payment=PAID)):
                await rig.comes(update)
                await rig.settles()
            assert rig.texts() == ["Pay, please", "One moment", "What else?"]
            assert len(rig.sent("answerPreCheckoutQuery")) == 1

    run_virtual(main())


def test_what_a_payment_remembers_is_known_when_it_completes(store: str, tmp_path: Path):
    """telegraf/telegraf#1930: the query had no session, since it names no chat."""
    router = Router()

    @router.message(command("buy"))
    async def buys(ctx: MessageContext) -> None:
        ctx.data["order"] = 5

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        ctx.data["checked"] = ctx.data["order"]
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)

    @router.message(successful_payment)
    async def paid(ctx: MessageContext) -> None:
        ctx.reply(f"order {ctx.data.pop('checked')} of {ctx.data.pop('order')}")

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            for update in (text("/buy"), checkout(), text(None, successful_payment=PAID)):
                await rig.comes(update)
                await rig.settles()
            assert rig.texts() == ["order 5 of 5"]
            assert await rig.data("chat:7") is None

    run_virtual(main())


# ---- timers of one conversation that lie in two lanes


def reserving() -> Router:
    """A payment reserves for ten minutes; /pay reminds in five; both lanes replace and take away what the other has set."""
    router = Router()

    @router.message(command("set"))
    async def sets(ctx: MessageContext) -> None:
        ctx.set_timer("expire", 300, {"by": "chat"})

    @router.message(command("cancel"))
    async def cancels(ctx: MessageContext) -> None:
        ctx.cancel_timer("expire")

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        if ctx.event.invoice_payload == "cancel":
            ctx.cancel_timer("expire")
        else:
            ctx.set_timer("expire", 600, {"by": "payment"})

    @router.inline_query()
    async def types(ctx: Context) -> None:
        ctx.set_timer("expire", 900, {"by": "inline"})

    @router.timer("expire")
    async def expire(ctx: TimerContext) -> None:
        ctx.reply(f"expired: {ctx.payload['by']}")

    return router


SET, CANCEL = text("/set"), text("/cancel")
TYPED = typed("x", "q")
PAY_SETS, PAY_CANCELS = checkout("1", "set"), checkout("2", "cancel")


@pytest.mark.parametrize(
    ("steps", "expired"),
    [
        ([PAY_SETS], ["payment"]),
        ([PAY_SETS, CANCEL], []),
        ([PAY_SETS, SET], ["chat"]),
        ([PAY_SETS, SET, CANCEL], []),
        ([PAY_SETS, SET, PAY_SETS], ["payment"]),
        ([PAY_SETS, PAY_CANCELS], []),
        ([PAY_SETS, PAY_CANCELS, SET], ["chat"]),
        ([PAY_SETS, TYPED], ["inline"]),
        ([TYPED, PAY_SETS, CANCEL], []),
        ([SET, PAY_CANCELS], []),
        ([SET, PAY_SETS], ["payment"]),
        ([SET, PAY_SETS, CANCEL], []),
        ([SET, PAY_CANCELS, SET], ["chat"]),
        ([SET, PAY_CANCELS, PAY_SETS, SET, PAY_SETS, CANCEL, SET], ["chat"]),
    ],
)
def test_a_conversation_has_one_timer_of_each_name_whichever_lane_sets_it(
    steps: list[Any], expired: list[str], store: str, tmp_path: Path
):
    async def main() -> None:
        async with open_rig(store, tmp_path, reserving()) as rig:
            for step in steps:
                await rig.comes(step)
                await rig.settles()
            await asyncio.sleep(1000)
            await rig.settles()
            assert rig.texts() == [f"expired: {by}" for by in expired]
            is_left = steps == [PAY_SETS, PAY_CANCELS]  # the chat might have one that has not fired
            assert await rig.data("chat:7") == ({"~timers": {"expire": ""}} if is_left else None)

    run_virtual(main())


def test_a_timer_that_was_never_set_leaves_little_behind(store: str, tmp_path: Path):
    router = Router()

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        ctx.cancel_timer("expire", key=ctx.event.id)

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            for n in range(100):
                await rig.comes(checkout(f"{n}"))
            await rig.settles()
            assert len((await rig.data("chat:7"))["~timers"]) == 32

    run_virtual(main())


# ---- never without an answer


class Selling(Enum):
    PAY = "pay"


class Sold(BaseModel):
    pass


def sold_out() -> Router:
    flow: Flow[Selling, Sold, None] = Flow("order", Selling, Sold)
    flow.at(Selling.PAY).ask("Please pay.")

    @flow.entry.message(command("buy"))
    async def buy(ctx: MessageContext) -> Literal[Selling.PAY]:
        return Selling.PAY

    @flow.at(Selling.PAY).update(kind("pre_checkout_query"))
    async def pays(ctx: Context[Any]) -> None:
        raise Invalid("Sold out")

    router = Router()
    router.include(flow)
    return router


def a_shop(*filters: Any, error: Exception | None = None, **options: Any) -> Router:
    router = Router()

    @router.pre_checkout_query(*filters, **options)
    async def pays(ctx: ChatContext[Any]) -> None:
        if error is not None:
            raise error
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)

    @router.update(kind("message"))
    async def others(ctx: Context[Any]) -> None:
        pass

    return router


def for_all() -> Router:
    """No handler of payments, but one that asks for any kind."""
    router = Router()

    @router.update(lambda ctx: ctx.kind == "poll")
    async def polls(ctx: Context[Any]) -> None:
        pass

    return router


@pytest.mark.parametrize(
    ("router", "why"),
    [
        # yagop/node-telegram-bot-api#1187, python-telegram-bot/python-telegram-bot#2504: whoever pays waits 10 s for nothing
        (a_shop(error=Reject("no")), APOLOGY),
        (a_shop(error=TypeError("no")), APOLOGY),
        (a_shop(error=Invalid("Closed today")), "Closed today"),
        (a_shop(throttle(1, per_s=600)), APOLOGY),
        (a_shop(throttle(1, per_s=600, tell="Slower, please")), "Slower, please"),
        (for_all(), APOLOGY),
        (sold_out(), "Sold out"),
    ],
)
async def test_a_payment_that_is_not_taken_is_refused_at_once(stage: Stage, router: Router, why: str):
    """Red before: nothing was answered, and Telegram told the user after 10 s that the bot does not answer."""
    async with stage.bot(router, allowed_updates=KINDS):
        await stage.says(7, 7, "/buy")
        for number in range(2):
            query = {**checkout(f"pay-{number}")["pre_checkout_query"]}
            stage.fake.world.push("pre_checkout_query", query)
            await stage.idle()
    last = stage.sent("answerPreCheckoutQuery")[-1]
    assert last == {"pre_checkout_query_id": "pay-1", "ok": False, "error_message": why}
    assert len(stage.sent("answerPreCheckoutQuery")) == 2


async def test_a_payment_that_a_limit_drops_is_no_answer_that_its_handler_forgot(stage: Stage):
    with capture_logs() as logs:
        async with stage.bot(a_shop(throttle(1, per_s=600)), allowed_updates=KINDS):
            for number in range(2):
                stage.fake.world.push(
                    "pre_checkout_query", {**checkout(f"pay-{number}")["pre_checkout_query"]}
                )
                await stage.idle()
    assert [answer["ok"] for answer in stage.sent("answerPreCheckoutQuery")][1:] == [False]
    assert [entry for entry in logs if "without an answer" in entry["event"]] == []


async def test_an_address_that_is_not_taken_is_refused_at_once(stage: Stage):
    async with stage.bot(for_all(), apology=""):
        stage.fake.world.push("shipping_query", SHIPPING)
        await stage.idle()
    assert stage.sent("answerShippingQuery") == [
        {"shipping_query_id": "ship-1", "ok": False, "error_message": APOLOGY}
    ]


async def test_what_the_handler_has_answered_is_not_answered_again(stage: Stage):
    """It has said yes; what it does not like then is no second answer."""
    router = Router()

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        ctx.call("answerPreCheckoutQuery", pre_checkout_query_id=ctx.event.id, ok=True)

    async with stage.bot(router):
        stage.fake.world.push("pre_checkout_query", checkout()["pre_checkout_query"])
        await stage.idle()
    assert [answer["ok"] for answer in stage.sent("answerPreCheckoutQuery")] == [True]


@pytest.mark.parametrize("name", ["pre_checkout_query", "shipping_query"])
async def test_a_handler_that_forgets_the_answer_refuses_the_payment(stage: Stage, name: str):
    """yagop/node-telegram-bot-api#763, grammyjs/grammY#552: the invoice is sent, and without an answer Pay turns for 10 s."""
    router, seen = Router(), []

    @router.update(kind("pre_checkout_query", "shipping_query"))
    async def notes(ctx: Context[Any]) -> None:
        seen.append(ctx.kind)

    with capture_logs() as logs:
        async with stage.bot(router):
            payload = SHIPPING if name == "shipping_query" else checkout()["pre_checkout_query"]
            stage.fake.world.push(name, payload)
            await stage.idle()
    method = "answerShippingQuery" if name == "shipping_query" else "answerPreCheckoutQuery"
    assert [(each["ok"], each["error_message"]) for each in stage.sent(method)] == [(False, APOLOGY)]
    assert seen == [name]
    assert [each["is_refused"] for each in logs if "without an answer" in each["event"]] == [True]


async def test_an_answer_that_was_called_at_once_is_not_contradicted(stage: Stage):
    """PaulSonOfLars/gotgbot#128 answers in the handler with the client; so can `ctx.client`."""
    router = Router()

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        await ctx.client.answer_pre_checkout_query(pre_checkout_query_id=ctx.event.id, ok=True)

    async with stage.bot(router):
        stage.fake.world.push("pre_checkout_query", checkout()["pre_checkout_query"])
        await stage.idle()
    assert [answer["ok"] for answer in stage.sent("answerPreCheckoutQuery")] == [True]


async def test_the_name_of_a_method_counts_in_any_case(stage: Stage):
    """Telegram Bot API, Making requests: "All methods in the Bot API are case-insensitive"."""
    router = Router()

    @router.pre_checkout_query()
    async def pays(ctx: ChatContext[Any]) -> None:
        ctx.call("answerprecheckoutquery", pre_checkout_query_id=ctx.event.id, ok=True)

    async with stage.bot(router):
        stage.fake.world.push("pre_checkout_query", checkout()["pre_checkout_query"])
        await stage.idle()
    assert [
        call.params["ok"] for call in stage.fake.calls if call.method.lower() == "answerprecheckoutquery"
    ] == [True]
