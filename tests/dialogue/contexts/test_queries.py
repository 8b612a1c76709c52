"""Every kind of update has a decorator and a typed context; those with answers of their own collect the right calls.

Rules of Telegram (Telegram Bot API): answerInlineQuery (at most 50 results, next_offset of at most 64 bytes, empty if there
are no more), answerPreCheckoutQuery and answerShippingQuery (error_message "required if ok is False"), ChatJoinRequest
(query_id: answerChatJoinRequestQuery), Message (guest_query_id: answerGuestQuery), ChosenInlineResult (inline_message_id).
Met by others: python-telegram-bot/python-telegram-bot#812 and TelegramBots/Telegram.Bot#223 (the pages of inline results),
python-telegram-bot/python-telegram-bot#860 and tucnak/telebot#128 (two results with one id: nothing is shown).
"""

from typing import Any

import pytest

from telegram.botapi.types import KINDS, InlineQueryResultArticle, InputTextMessageContent, Update
from telegram.dialogue import (
    CheckoutContext,
    ChosenContext,
    Context,
    GuestContext,
    InlineContext,
    JoinRequestContext,
    MessageContext,
    Router,
    ShippingContext,
)
from telegram.dialogue.contexts.queries import CONTEXTS
from telegram.dialogue.routes.decorators import On
from tests.kit import updates
from tests.kit.deliveries import Direct, context, delivery, sent


def article(number: int) -> InlineQueryResultArticle:
    return InlineQueryResultArticle(
        id=str(number), title=f"n {number}", input_message_content=InputTextMessageContent(message_text="x")
    )


def made(kind: str, **changed: Any) -> Any:
    return context({kind: {**updates.KINDS[kind], **changed}})


def calls(ctx: Context) -> list[tuple[str, dict[str, Any]]]:
    return [(method, params) for _, method, params in sent(ctx.effects())]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_has_a_decorator_whose_context_is_the_one_at_run_time(kind):
    router = Router()
    on: Any = getattr(router, kind)
    seen: list[Any] = []

    async def handler(ctx: Any) -> None:
        seen.append(ctx)

    on()(handler)
    assert isinstance(on, On)
    assert kind in router.allowed_updates()
    await Direct(router)(delivery({kind: updates.KINDS[kind]}))
    (ctx,) = seen
    declared = on._context
    assert isinstance(ctx, getattr(declared, "__origin__", declared))
    event: Any = Update.model_fields[kind].annotation
    assert ctx.event == getattr(ctx.update, kind)
    if arguments := getattr(declared, "__args__", None):
        assert arguments[0] in event.__args__


def test_no_kind_lacks_a_decorator_and_no_other_context_is_listed():
    assert set(CONTEXTS) <= set(KINDS)
    ours = {name for name, each in vars(Router()).items() if isinstance(each, On)}
    assert ours == {*KINDS, "any_message", "update"}


@pytest.mark.parametrize(
    "kind", ["business_connection", "managed_bot", "subscription", "purchased_paid_media"]
)
def test_a_kind_with_a_user_and_no_chat_is_replied_to_in_private(kind):
    ctx = made(kind)
    ctx.reply("hello")
    assert calls(ctx) == [("sendMessage", {"chat_id": updates.ALICE["id"], "text": "hello"})]


# ---- inline queries


def test_an_inline_query_is_answered_with_what_is_given():
    ctx = made("inline_query", id="q", query="cats")
    assert isinstance(ctx, InlineContext)
    assert (ctx.query, ctx.offset) == ("cats", 0)
    ctx.answer([article(1), article(2).model_dump(exclude_none=True)], is_personal=True, next_offset="next")
    ((method, params),) = calls(ctx)
    assert method == "answerInlineQuery"
    assert [each["id"] for each in params.pop("results")] == ["1", "2"]
    assert params == {"inline_query_id": "q", "is_personal": True, "next_offset": "next"}


@pytest.mark.parametrize(
    ("count", "per_page", "pages"),
    [(0, 50, [0]), (1, 50, [1]), (50, 50, [50]), (51, 50, [50, 1]), (5, 2, [2, 2, 1]), (4, 2, [2, 2])],
)
def test_pages_follow_one_another_until_the_last(count, per_page, pages):
    everything = [article(number) for number in range(count)]
    shown: list[int] = []
    offset, sizes = "", []
    while True:
        ctx = made("inline_query", offset=offset)
        ctx.answer_page(everything, per_page=per_page, cache_time=0)
        ((_, params),) = calls(ctx)
        sizes.append(len(params["results"]))
        shown += [int(each["id"]) for each in params["results"]]
        offset = params["next_offset"]
        if not offset:
            break
    assert sizes == pages
    assert shown == list(range(count))


@pytest.mark.parametrize("offset", ["", "x", "-1", "1.5", "²", "٣", "9" * 60])
def test_an_offset_of_another_form_begins_again(offset):
    assert made("inline_query", offset=offset).offset == 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda ctx: ctx.answer([article(number) for number in range(51)]), "at most 50 results, not 51"),
        (lambda ctx: ctx.answer([article(1), article(2), article(1)]), "two results have the id '1'"),
        (lambda ctx: ctx.answer([], next_offset="я" * 33), "next_offset has at most 64 bytes"),
        (lambda ctx: ctx.answer_page([], per_page=0), "per_page is a number from 1 to 50"),
        (lambda ctx: ctx.answer_page([], per_page=51), "per_page is a number from 1 to 50"),
    ],
)
def test_what_telegram_would_refuse_is_an_error_in_the_handler(wrong, why):
    ctx = made("inline_query")
    with pytest.raises(ValueError, match=why):
        wrong(ctx)
    assert calls(ctx) == []


# ---- payments, join requests, guests, chosen results


def test_a_payment_is_approved_or_refused():
    yes, no = made("pre_checkout_query", id="p"), made("pre_checkout_query", id="p")
    assert isinstance(yes, CheckoutContext)
    yes.approve()
    no.refuse("Sold out")
    assert calls(yes) == [("answerPreCheckoutQuery", {"pre_checkout_query_id": "p", "ok": True})]
    assert calls(no) == [
        ("answerPreCheckoutQuery", {"pre_checkout_query_id": "p", "ok": False, "error_message": "Sold out"})
    ]


def test_an_address_gets_ways_of_delivery_or_a_reason():
    yes, no = made("shipping_query", id="s"), made("shipping_query", id="s")
    assert isinstance(yes, ShippingContext)
    way = {"id": "post", "title": "Post", "prices": [{"label": "Post", "amount": 100}]}
    yes.approve([way])
    no.refuse("Not there")
    assert calls(yes) == [
        ("answerShippingQuery", {"shipping_query_id": "s", "ok": True, "shipping_options": [way]})
    ]
    assert calls(no) == [
        ("answerShippingQuery", {"shipping_query_id": "s", "ok": False, "error_message": "Not there"})
    ]


@pytest.mark.parametrize("kind", ["pre_checkout_query", "shipping_query"])
def test_a_refusal_without_a_reason_is_an_error(kind):
    ctx = made(kind)
    with pytest.raises(ValueError, match="needs a text"):
        ctx.refuse(" ")
    if kind == "shipping_query":
        with pytest.raises(ValueError, match="a way of delivery"):
            ctx.approve([])
    assert calls(ctx) == []


@pytest.mark.parametrize("result", ["approve", "decline"])
def test_a_request_to_join_is_answered_in_the_way_in_which_telegram_waits_for_it(result):
    waits, not_ = made("chat_join_request", query_id="j"), made("chat_join_request", query_id=None)
    for ctx in (waits, not_):
        assert isinstance(ctx, JoinRequestContext)
        getattr(ctx, result)()
    assert calls(waits) == [
        ("answerChatJoinRequestQuery", {"chat_join_request_query_id": "j", "result": result})
    ]
    where = {"chat_id": not_.chat_id, "user_id": not_.user_id}
    assert calls(not_) == [(f"{result}ChatJoinRequest", where)]


def test_a_guest_message_has_one_answer_and_no_reply():
    ctx = made("guest_message", guest_query_id="g")
    assert isinstance(ctx, GuestContext)
    assert isinstance(ctx, MessageContext)
    with pytest.raises(ValueError, match="answerGuestQuery"):
        ctx.reply("x")
    ctx.answer(article(1))
    ((method, params),) = calls(ctx)
    assert (method, params["guest_query_id"], params["result"]["id"]) == ("answerGuestQuery", "g", "1")


def test_a_chosen_result_is_edited_if_telegram_tells_its_id():
    ctx, unknown = (
        made("chosen_inline_result", inline_message_id="i"),
        made("chosen_inline_result", inline_message_id=None),
    )
    assert isinstance(ctx, ChosenContext)
    ctx.edit("later")
    assert calls(ctx) == [("editMessageText", {"inline_message_id": "i", "text": "later"})]
    with pytest.raises(ValueError, match="an inline keyboard"):
        unknown.edit("later")
