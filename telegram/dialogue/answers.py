"""Nobody waits for an answer that does not come: what is said for a handler that said nothing, or could not."""

from typing import Final

import structlog

from telegram.dialogue.conduct import APOLOGY
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import CallbackContext, ChatContext

log = structlog.get_logger(__name__)

PAYMENT_QUERIES: Final = {
    "pre_checkout_query": "answerPreCheckoutQuery",
    "shipping_query": "answerShippingQuery",
}
"""Queries of payments, and the method that answers each: yes, or why not (Telegram Bot API, error_message)."""


def refuse_payment(ctx: Context, why: str) -> bool:
    """Answer "no" to the query of a payment, unless it was answered, with `why` or the apology; False for any other update.

    Without an answer its user waits 10 s, and is told that the bot did not answer in time.
    """
    method = PAYMENT_QUERIES.get(ctx.kind or "")
    if method is not None and not ctx.has_called(method):
        ctx.call(method, **{f"{ctx.kind}_id": ctx.event.id, "ok": False, "error_message": why or APOLOGY})
    return method is not None


def tell(ctx: Context, text: str) -> None:
    """Say something to the user in whatever way the update allows."""
    if refuse_payment(ctx, text):
        return
    if isinstance(ctx, ChatContext) and ctx.chat_id is not None and ctx.kind != "guest_message":
        ctx.reply(text)
    elif isinstance(ctx, CallbackContext):
        ctx.answer(text)
    elif isinstance(ctx, ChatContext) and ctx.home is not None:
        ctx.reply(text)


def answer_press(ctx: Context) -> None:
    """End the waiting of a button, if that was not done."""
    if isinstance(ctx, CallbackContext) and not ctx.is_answered and not ctx.has_called("answerCallbackQuery"):
        ctx.answer()


def see_that_it_is_answered(ctx: Context, apology: str) -> None:
    """Answer a press, and refuse a payment, whose handler has returned without an answer.

    What was called at once (`ctx.now`) may have been the answer to a payment, and a second one would contradict it.
    """
    method = PAYMENT_QUERIES.get(ctx.kind or "")
    if method is None:
        answer_press(ctx)
        return
    if ctx.is_late or ctx.has_called(method):
        return
    if not ctx.was_now:
        refuse_payment(ctx, apology)
    log.warning(
        "a handler returned without an answer to a payment",
        key=ctx.key,
        id=ctx.update_id,
        kind=ctx.kind,
        is_refused=not ctx.was_now,
    )
