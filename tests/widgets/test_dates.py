"""The date picker: months, ranges, languages, old keyboards.

Stories: months that are skipped (VDS13/telegram-inline-calendar#5); the same month under week days that begin on Sunday in one
language and on Monday in another, so that all days stood one column off (flymedllva/Telebot-Calendar#9).
"""

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.dialogue import CallbackContext, MessageContext, Router, command
from telegram.testing import Conversations
from telegram.widgets import NAMES, DateNames, DatePicker


def ctx_of(language: str = "en") -> Any:
    return SimpleNamespace(lang=language)


def cells(markup) -> list[list[str]]:
    return [[each.text for each in row] for row in markup.inline_keyboard]


def data(markup) -> list[str]:
    return [each.callback_data for row in markup.inline_keyboard for each in row]


class Diary:
    """A bot with a date picker, whose range a test can change."""

    def __init__(self, first: date, last: date) -> None:
        self.first, self.last = first, last
        self.picker = DatePicker("day", earliest=lambda: self.first, latest=lambda: self.last)
        self.router = Router()

        @self.router.message(command("day"))
        async def show(ctx: MessageContext) -> None:
            ctx.reply("Which day?", reply_markup=self.picker.keyboard(ctx))

        @self.picker.on(self.router)
        async def picked(ctx: CallbackContext, day: date) -> None:
            ctx.reply(f"picked: {day.isoformat()}")


def test_the_range_may_depend_on_the_context():
    """`ctx.time()` is virtual in tests, `date.today` is not."""
    router = Router()
    picker = DatePicker("day", earliest=lambda ctx: ctx.time().date(), latest=date.today)

    @router.message(command("day"))
    async def show(ctx: MessageContext) -> None:
        ctx.reply("Which day?", reply_markup=picker.keyboard(ctx))

    @picker.on(router)
    async def picked(ctx: CallbackContext, day: date) -> None:
        ctx.reply(f"picked: {day.isoformat()}")

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("/day")
        bot.passes(days=3)
        ann.presses("5")
        assert ann.toast == "This day cannot be chosen."
        ann.presses("8")
        assert ann.sees("picked: 2026-01-08")


def test_a_month():
    picker = DatePicker("day")
    assert cells(picker.keyboard(ctx_of("ru"), date(2028, 2, 10))) == [
        ["«", "Февраль 2028", "»"],
        ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"],
        [" ", "1", "2", "3", "4", "5", "6"],
        ["7", "8", "9", "10", "11", "12", "13"],
        ["14", "15", "16", "17", "18", "19", "20"],
        ["21", "22", "23", "24", "25", "26", "27"],
        ["28", "29", " ", " ", " ", " ", " "],
    ]


def test_the_week_begins_as_in_the_language():
    picker = DatePicker("day")
    assert cells(picker.keyboard(ctx_of("en"), date(2028, 2, 1)))[1:3] == [
        ["Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"],
        [" ", " ", "1", "2", "3", "4", "5"],
    ]
    for language in ("de", "en-gb"):
        assert cells(picker.keyboard(ctx_of(language), date(2028, 2, 1)))[0][1] == "February 2028"


def test_other_names():
    german = DateNames(
        ("Januar", "Februar", "März", *(f"Monat {n}" for n in range(4, 13))),
        ("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
    )
    picker = DatePicker("day", names={"de": german, **NAMES})
    assert cells(picker.keyboard(ctx_of("fr"), date(2028, 3, 1)))[0][1] == "März 2028"
    assert cells(picker.keyboard(ctx_of("ru-ru"), date(2028, 3, 1)))[0][1] == "Март 2028"
    with pytest.raises(ValueError, match="12 months"):
        DatePicker("day", names={"de": german._replace(months=("Januar",))})
    with pytest.raises(ValueError, match="first day"):
        DatePicker("day", names={"de": german._replace(first_day=7)})


def test_only_days_in_the_range():
    diary = Diary(date(2026, 12, 30), date(2027, 1, 2))
    with Conversations(diary.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/day")
        days = [each for each in ada.buttons if each.isdecimal()]
        assert ada.buttons[:3] == [" ", "December 2026", "»"] and days == ["30", "31"]
        ada.presses("»")
        days = [each for each in ada.buttons if each.isdecimal()]
        assert ada.buttons[:3] == ["«", "January 2027", " "] and days == ["1", "2"]
        ada.presses("«")
        ada.presses("December 2026")  # does nothing
        ada.presses("31")
        assert ada.sees("picked: 2026-12-31")
        assert bot.dead_letters() == []


def test_an_old_keyboard_offers_days_that_have_passed():
    diary = Diary(date(2026, 11, 1), date(2027, 1, 2))
    with Conversations(diary.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/day")
        diary.first = date(2026, 12, 5)
        ada.presses("15")
        assert ada.toast == "This day cannot be chosen." and not ada.sees("picked")
        assert ada.buttons[:3] == [" ", "December 2026", "»"]


def test_without_a_day_to_choose():
    diary = Diary(date(2026, 12, 30), date(2026, 12, 1))
    with Conversations(diary.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/day")
        assert ada.buttons[:3] == [" ", "December 2026", " "]
        assert not [each for each in ada.buttons if each.isdecimal()]


@pytest.mark.parametrize(
    "press",
    [
        "",
        "x",
        "2026-13",
        "2026-00",
        "0000-01",
        "9999-12",
        "0001-01",
        "2027-02-29",
        "2026-12-31-1",
        "\uff12026-12",
        "99999-01",
    ],
)
def test_forged_data_picks_nothing(press):
    diary = Diary(date(2026, 12, 1), date(2027, 1, 31))
    with Conversations(diary.router) as bot:
        ada = bot.chat("Ada")
        ada.says("/day")
        ada.sends_update("callback_query", message=ada.messages[-1], data=f"day:{press}")
        assert not ada.sees("picked") and bot.dead_letters() == []
        ada.sends_update("callback_query", message=ada.messages[-1], data="day:2026-12-31")
        assert ada.sees("picked: 2026-12-31")


@given(st.dates())
def test_every_month_of_the_calendar_can_be_shown_and_left(day):
    picker = DatePicker("day")
    markup = picker.keyboard(ctx_of(), day)
    assert all(len(each) <= 64 for each in data(markup))
    assert f"day:{day.isoformat()}" in data(markup)
    assert all(len(row) in {3, 7} for row in cells(markup))
    arrows = [markup.inline_keyboard[0][0].text, markup.inline_keyboard[0][2].text]
    assert arrows == [
        "«" if (day.year, day.month) > (1, 1) else " ",
        "»" if (day.year, day.month) < (9999, 12) else " ",
    ]
