"""Payments are answered within Telegram's 10 s, whatever the private chat does meanwhile; its state stays exact.

Telegram Bot API, answerPreCheckoutQuery: "The Bot API must receive an answer within 10 seconds after the pre-checkout query
was sent". A payment has a lane of its own (telegram/routing.py), and its conversation is the private chat's: both lanes
write one state, the commit compares, and the loser runs again.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine import Park
from telegram.dialogue import (
    ChatContext,
    MessageContext,
    Router,
)
from telegram.dialogue import text as any_text
from tests.kit.rig import STORES, checkout, open_rig, text
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
