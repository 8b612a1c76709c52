"""Answers on behalf of a handler that gave none, or failed, so that no user waits in vain."""

import structlog

from telegram.botapi.late import PAYMENT_ANSWERS
from telegram.dialogue.contexts.conduct import APOLOGY
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import CallbackContext, ChatContext

log = structlog.get_logger(__name__)


def refuse_payment(ctx: Context, why: str) -> bool:
    """Refuse a payment's query, unless it was answered, with `why` or the apology; False for any other update.

    Without an answer the user waits 10 s, and then sees that the bot did not answer in time.
    """
    method = PAYMENT_ANSWERS.get(ctx.kind or "")
    if method is not None and not ctx.has_called(method):
        text = ctx.said(why or APOLOGY)
        ctx.call(method, **{f"{ctx.kind}_id": ctx.event.id, "ok": False, "error_message": text})
    return method is not None


def tell(ctx: Context, text: str) -> None:
    """Send a text to the user in the way that the update allows: as a refusal, a message, or the answer to a press.

    In the user's language, if there is a translation. Without a parse mode, whatever the bot's default is: the text may quote the user, or pydantic.
    """
    if refuse_payment(ctx, text):
        return
    text = ctx.said(text)
    if isinstance(ctx, ChatContext) and ctx.chat_id is not None and ctx.kind != "guest_message":
        ctx.reply(text, parse_mode=None)
    elif isinstance(ctx, CallbackContext):
        ctx.answer(text)
    elif isinstance(ctx, ChatContext) and ctx.home is not None:
        ctx.reply(text, parse_mode=None)


def answer_press(ctx: Context) -> None:
    """Answer a button press without a text, unless it was answered."""
    if isinstance(ctx, CallbackContext) and not ctx.is_answered and not ctx.has_called("answerCallbackQuery"):
        ctx.answer()


def answer_if_needed(ctx: Context, apology: str) -> None:
    """Answer a press, and refuse a payment, whose handler has returned without an answer.

    A payment is not refused if the handler used `ctx.client`: that may have been the answer, which this would contradict.
    """
    method = PAYMENT_ANSWERS.get(ctx.kind or "")
    if method is None:
        answer_press(ctx)
        return
    if ctx.is_late or ctx.has_called(method):
        return
    if not ctx.used_client:
        refuse_payment(ctx, apology)
    log.warning(
        "a handler returned without an answer to a payment",
        key=ctx.key,
        id=ctx.update_id,
        kind=ctx.kind,
        is_refused=not ctx.used_client,
    )
