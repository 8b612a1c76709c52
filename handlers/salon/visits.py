"""The customer's bookings: a list to cancel one, reminders, and payments that a provider reports."""

from handlers.salon.booking import REMIND_BEFORE
from handlers.salon.model import Booking, salon, shown
from handlers.salon.services import text_of
from telegram.dialogue import (
    CallbackContext,
    CallbackData,
    Context,
    EventContext,
    MessageContext,
    Router,
    TimerContext,
    command,
    inline,
)
from telegram.widgets import Menu


class Cancel(CallbackData, prefix="cancel"):
    """A button that cancels a booking."""

    number: int


router = Router()


def own(ctx: Context) -> dict[int, Booking]:
    """Return the chat's bookings that are to come."""
    now = ctx.time()
    return {
        number: each
        for number, each in salon(ctx).bookings.items()
        if each.chat == ctx.chat_id and each.at > now
    }


def items(ctx: Context) -> list[tuple[str, str]]:
    """Return the chat's bookings for the menu."""
    return [
        (f"{shown(each.at)} {ctx.t('paid') if each.paid else ''}".strip(), str(number))
        for number, each in own(ctx).items()
    ]


visits_menu = Menu("visit", items, per_page=5)


@router.message(command("visits", help="Your visits", shown="private"))
async def visits(ctx: MessageContext) -> None:
    """Show the bookings."""
    if own(ctx):
        ctx.reply(ctx.t("Your visits:"), reply_markup=await visits_menu.keyboard(ctx))
    else:
        ctx.reply(ctx.t("No visits. Book one with /book."))


@visits_menu.on(router)
async def visit(ctx: CallbackContext, number: str) -> None:
    """Show one booking, with a button to cancel it."""
    each = own(ctx)[int(number)]
    ctx.edit(
        f"{text_of(ctx, each.service)}\n{shown(each.at)}",
        reply_markup=inline([(ctx.t("Cancel this visit"), Cancel(number=int(number)))]),
    )


@router.callback_query(Cancel)
async def cancel(ctx: CallbackContext, pressed: Cancel) -> None:
    """Cancel a booking, with its reminders; the time is free again."""
    if pressed.number not in own(ctx):
        ctx.answer(ctx.t("This visit was cancelled before."))
        return
    gone = salon(ctx).bookings.pop(pressed.number)
    for before in REMIND_BEFORE:
        ctx.cancel_timer("remind", key=f"{pressed.number} {before}")
    ctx.edit(ctx.t("Cancelled: {time}", time=shown(gone.at)))


@router.timer("remind")
async def remind(ctx: TimerContext) -> None:
    """Remind the customer of a visit."""
    each = own(ctx).get(ctx.payload["number"])
    if each is not None:
        ctx.reply(
            ctx.t("Your visit: {service}, {time}", service=text_of(ctx, each.service), time=shown(each.at))
        )


@router.event("paid")
async def paid(ctx: EventContext) -> None:
    """Note a payment that the provider has reported: `await bot.post(chat, "paid", {"number": 17}, id="inv-17")`."""
    each = salon(ctx).bookings.get(ctx.payload["number"])
    if each is not None and each.chat == ctx.chat_id:
        each.paid = True
        ctx.reply(ctx.t("Paid, thank you: {time}", time=shown(each.at)))
