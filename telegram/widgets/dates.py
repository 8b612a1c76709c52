"""A calendar of one month, in which a user picks a day.

name:2026-11         show that month
name:2026-11-29      the day
"""

import calendar
import re
from collections.abc import Callable, Mapping
from datetime import date
from inspect import signature
from typing import Final, NamedTuple, cast

from telegram.botapi.types import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import CallbackContext
from telegram.widgets.widget import Press, Widget

UNAVAILABLE: Final = "This day cannot be chosen."

Limit = Callable[[], date] | Callable[[Context], date]
"""The first or last day that can be chosen, asked at each press; with a parameter it gets the context: `ctx.time()`, say."""

_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


class DateNames(NamedTuple):
    """Names in one language: twelve months, seven days from Monday on, and the first day of the week (0: Monday)."""

    months: tuple[str, ...]
    days: tuple[str, ...]
    first_day: int = 0


NAMES: Final[Mapping[str, DateNames]] = {
    "en": DateNames(
        ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
         "December"),
        ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"),
        first_day=6,
    ),
    "ru": DateNames(
        ("Январь", "Февраль", "Март", "Апрель", "Май", "Июнь", "Июль", "Август", "Сентябрь", "Октябрь", "Ноябрь", "Декабрь"),
        ("Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"),
    ),
}  # fmt: skip
"""Names by language; the first day of the week is that of the Unicode CLDR (supplemental weekData: US, RU)."""


class DatePicker(Widget[date]):
    """A calendar; days before `earliest` and after `latest` cannot be chosen, at the moment of the press.

    The language is `ctx.lang`, if `names` has it, else the first of `names`.
    """

    def __init__(
        self,
        name: str,
        *,
        earliest: Limit = lambda: date.min,
        latest: Limit = lambda: date.max,
        names: Mapping[str, DateNames] = NAMES,
        unavailable: str = UNAVAILABLE,
    ) -> None:
        super().__init__(name, date)
        if not names:
            raise ValueError(f"{name}: names= has at least one language")
        for language, each in names.items():
            if len(each.months) != 12 or len(each.days) != 7 or each.first_day not in range(7):
                raise ValueError(
                    f"{name}: names[{language!r}] are 12 months, 7 days, and a first day from 0 to 6"
                )
        self._earliest = _of_context(earliest)
        self._latest = _of_context(latest)
        self._names = names
        self._unavailable = unavailable

    def keyboard(self, ctx: Context, month: date | None = None) -> InlineKeyboardMarkup:
        """Return the calendar with the month of this day; None: the first month of which a day can be chosen.

        A month outside the range is moved to its nearest end.
        """
        names = self._names.get(ctx.lang.partition("-")[0]) or next(iter(self._names.values()))
        first, last = self._earliest(ctx), self._latest(ctx)
        shown = min(max(month or first, first), max(first, last))
        year, number = shown.year, shown.month
        before = _name(year, number - 1) if (first.year, first.month) < (year, number) else None
        after = _name(year, number + 1) if (year, number) < (last.year, last.month) else None
        rows = [
            [
                self.button("«", before) if before else self.button(" "),
                self.button(f"{names.months[number - 1]} {year}"),
                self.button("»", after) if after else self.button(" "),
            ],
            [self.button(names.days[(names.first_day + n) % 7]) for n in range(7)],
        ]
        rows += [
            [self._day(date(year, number, day), first, last) if day else self.button(" ") for day in week]
            for week in calendar.Calendar(names.first_day).monthdayscalendar(year, number)
        ]
        return InlineKeyboardMarkup(inline_keyboard=rows)

    async def choose(self, ctx: CallbackContext, press: Press) -> date | None:
        """Return the day, if it can be chosen now; else show the month."""
        if not press:
            return None
        day, month = _read(press), _read(f"{press}-01")
        if day is not None and self._earliest(ctx) <= day <= self._latest(ctx):
            return day
        if month is None:
            ctx.answer(ctx.said(self._unavailable))
        ctx.edit_reply_markup(self.keyboard(ctx, day or month))
        return None

    def _day(self, day: date, first: date, last: date) -> InlineKeyboardButton:
        return self.button(str(day.day), day.isoformat()) if first <= day <= last else self.button("·")


def _of_context(limit: Limit) -> Callable[[Context], date]:
    try:
        takes_context = bool(signature(limit).parameters)
    except ValueError:  # of functions in C, like `date.today`, Python may not know it
        takes_context = False
    if takes_context:
        return cast("Callable[[Context], date]", limit)
    plain = cast("Callable[[], date]", limit)
    return lambda _: plain()


def _name(year: int, month: int) -> str:
    """Return the name of a month in callback data; `month` may be 0 or 13."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return f"{year:04}-{month:02}"


def _read(text: str) -> date | None:
    found = _DAY.fullmatch(text)
    try:
        return None if found is None else date(*map(int, found.groups()))
    except ValueError:  # the 31st of June, or the year 0
        return None
