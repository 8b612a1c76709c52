"""What the salon knows, of all customers: one model, the bot's data. Two lanes that change it at once do not overwrite each other."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from telegram.dialogue import Context, Router, Texts

TEXTS: Final = Texts(Path(__file__).parent / "locales")
ZONE: Final = ZoneInfo("Europe/Berlin")
HOURS: Final = range(10, 18)
DAYS: Final = 60
"""So many days ahead can be booked."""


class Booking(BaseModel):
    """A visit: who comes when, for what."""

    chat: int
    name: str
    phone: str
    service: str
    at: datetime
    paid: bool = False


class Salon(BaseModel):
    """All bookings by their number, the chats of all customers, and the owner's chat."""

    bookings: dict[int, Booking] = {}
    last: int = 0
    customers: list[int] = []
    owner: int | None = None

    def book(self, booking: Booking) -> int:
        """Add a booking and return its number. ValueError if the time is taken: there is one chair."""
        if any(each.at == booking.at for each in self.bookings.values()):
            raise ValueError(f"{booking.at} is taken")
        self.last += 1
        self.bookings[self.last] = booking
        return self.last

    def free(self, day: date, now: datetime) -> list[datetime]:
        """Return the times of a day that can be booked."""
        taken = {each.at for each in self.bookings.values()}
        times = (datetime.combine(day, time(hour), ZONE).astimezone(UTC) for hour in HOURS)
        return [each for each in times if each > now and each not in taken]


salon_data = Router()
salon = salon_data.bot_data(Salon)


def today(ctx: Context) -> date:
    """Return the salon's date."""
    return ctx.time().astimezone(ZONE).date()


def last_day(ctx: Context) -> date:
    """Return the last day that can be booked."""
    return today(ctx) + timedelta(days=DAYS)


def shown(moment: datetime) -> str:
    """Return a moment as the salon's clock shows it."""
    return f"{moment.astimezone(ZONE):%d.%m.%Y %H:%M}"
