"""A booking: service, day, time, phone number, confirmation."""

from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final, Literal

from pydantic import BaseModel

from handlers.salon.model import Booking, last_day, salon, shown, today
from handlers.salon.services import menu, text_of
from telegram.botapi.types import Contact, KeyboardButton
from telegram.dialogue import (
    BACK,
    END,
    Back,
    CallbackContext,
    CallbackData,
    ChatContext,
    End,
    Flow,
    Invalid,
    MessageContext,
    Router,
    TimerContext,
    button,
    chat_type,
    command,
    contact,
    inline,
    keyboard,
    no_keyboard,
)
from telegram.widgets import DatePicker

TIMEOUT_S: Final = 30 * 60
REMIND_BEFORE: Final = (timedelta(days=1), timedelta(hours=2))


class Step(Enum):
    """What is asked."""

    SERVICE, DAY, TIME, PHONE, CONFIRM = "service", "day", "time", "phone", "confirm"


class Draft(BaseModel):
    """The answers so far."""

    service: str = ""
    day: date = date.min
    at: datetime = datetime.min.replace(tzinfo=UTC)
    phone: str = ""


class Time(CallbackData, prefix="time"):
    """A button with a time: in minutes since 1970, so that it is short."""

    minute: int

    @property
    def moment(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self.minute * 60, UTC)


booking = Flow("booking", Step, Draft)
router = Router()
router.include(booking)
picker = DatePicker("day", earliest=today, latest=last_day)


@booking.entry.message(command("book", help="Book a visit", shown="private"), chat_type("private"))
async def begin(ctx: MessageContext) -> Literal[Step.SERVICE]:
    """Remember the customer's chat, and begin."""
    customers = salon(ctx).customers
    if ctx.chat_id not in customers:
        customers.append(ctx.chat_id)
    return Step.SERVICE


@booking.at(Step.SERVICE).asks
async def ask_service(ctx: ChatContext) -> None:
    """Show the services, page by page."""
    ctx.reply(ctx.t("What can we do for you?"), reply_markup=await menu.keyboard(ctx))


@menu.on(booking.at(Step.SERVICE))
async def service(ctx: CallbackContext, draft: Draft, chosen: str) -> Literal[Step.DAY]:
    """Take the service."""
    draft.service = chosen
    ctx.edit(text_of(ctx, chosen))
    return Step.DAY


@booking.at(Step.DAY).asks
async def ask_day(ctx: ChatContext) -> None:
    """Show a calendar."""
    ctx.reply(ctx.t("Which day?"), reply_markup=picker.keyboard(ctx))


@picker.on(booking.at(Step.DAY))
async def day(ctx: CallbackContext, draft: Draft, chosen: date) -> Literal[Step.TIME]:
    """Take the day, if there is a free time."""
    if not salon(ctx).free(chosen, ctx.time()):
        raise Invalid(ctx.t("This day is fully booked."))
    draft.day = chosen
    return Step.TIME


@booking.at(Step.TIME).asks
async def ask_time(ctx: ChatContext, draft: Draft) -> None:
    """Show the free times of the day, and a way back to the calendar."""
    free = salon(ctx).free(draft.day, ctx.time())
    times = [(shown(each)[-5:], Time(minute=int(each.timestamp()) // 60)) for each in free]
    rows = [times[at : at + 4] for at in range(0, len(times), 4)]
    ctx.reply(
        ctx.t("What time on {day:%d.%m.}?", day=draft.day),
        reply_markup=inline(*rows, [(ctx.t("Another day"), "back")]),
    )


@booking.at(Step.TIME).callback_query(button("back"))
async def another_day() -> Back:
    """Go back to the calendar."""
    return BACK


@booking.at(Step.TIME).callback_query(Time)
async def at(ctx: CallbackContext, draft: Draft, chosen: Time) -> Literal[Step.PHONE]:
    """Take the time, if it is still free."""
    if chosen.moment not in salon(ctx).free(draft.day, ctx.time()):
        raise Invalid(ctx.t("This time has just been taken."))
    draft.at = chosen.moment
    return Step.PHONE


@booking.at(Step.PHONE).asks
async def ask_phone(ctx: ChatContext) -> None:
    """Show a key that sends the user's own number."""
    key = KeyboardButton(text=ctx.t("Send my number"), request_contact=True)
    ctx.reply(ctx.t("Your phone number, please."), reply_markup=keyboard([key], one_time_keyboard=True))


@booking.at(Step.PHONE).message(contact)
async def phone(ctx: MessageContext, draft: Draft, sent: Contact) -> Literal[Step.CONFIRM]:
    """Take the user's own contact; anyone else's could be sent, too."""
    if sent.user_id != ctx.user_id:
        raise Invalid(ctx.t("Please send your own number, with the key."))
    draft.phone = sent.phone_number
    ctx.reply(ctx.t("Thank you."), reply_markup=no_keyboard())
    return Step.CONFIRM


@booking.at(Step.CONFIRM).asks
async def ask_confirm(ctx: ChatContext, draft: Draft) -> None:
    """Show everything once more."""
    ctx.reply(
        ctx.t(
            "{service}\n{time}\n{phone}",
            service=text_of(ctx, draft.service),
            time=shown(draft.at),
            phone=draft.phone,
        ),
        reply_markup=inline([(ctx.t("Book"), "book"), (ctx.t("Cancel"), "cancel")]),
    )


@booking.at(Step.CONFIRM).callback_query(button("book"))
async def book(ctx: CallbackContext, draft: Draft) -> Literal[Step.TIME] | End[None]:
    """Book; if another customer took the time meanwhile, ask for another one."""
    name = ctx.user.first_name if ctx.user else ""
    visit = Booking(chat=ctx.chat_id, name=name, phone=draft.phone, service=draft.service, at=draft.at)
    try:
        number = salon(ctx).book(visit)
    except ValueError:
        ctx.answer(ctx.t("This time has just been taken."), show_alert=True)
        return Step.TIME
    ctx.edit(ctx.t("See you on {time}! To cancel: /visits", time=shown(visit.at)))
    for before in REMIND_BEFORE:
        if visit.at - before > ctx.time():
            ctx.set_timer(
                "remind", at=visit.at - before, payload={"number": number}, key=f"{number} {before}"
            )
    return END


@booking.anywhere.callback_query(button("cancel"))
async def no_booking(ctx: CallbackContext) -> End[None]:
    """End without a booking."""
    ctx.edit(ctx.t("Nothing was booked."))
    return END


@booking.anywhere.message(command("cancel", help="Leave the booking", shown="private"))
async def cancel(ctx: MessageContext) -> End[None]:
    """End without a booking, at any step."""
    ctx.reply(ctx.t("Nothing was booked."), reply_markup=no_keyboard())
    return END


@booking.anywhere.timeout(TIMEOUT_S)
async def too_late(ctx: TimerContext) -> End[None]:
    """End a booking that was left unfinished."""
    ctx.reply(ctx.t("The booking has timed out. Begin again with /book."), reply_markup=no_keyboard())
    return END
