"""Short forms of keyboards, for `reply_markup`.

reply_markup=inline([("Yes", "yes"), ("No", "no")], [("Read more", "https://example.org")])
reply_markup=keyboard(["Red", "Green"], ["Cancel"])
"""

from collections.abc import Sequence
from typing import Any, Final

from telegram.botapi.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
)
from telegram.dialogue.buttons.callback_data import DATA_MAX, CallbackData

_LINKS: Final = ("https://", "http://", "tg://")

Button = tuple[str, str | CallbackData] | InlineKeyboardButton
"""(text, callback data as str or typed), (text, link), or a complete button."""


def inline(*rows: Sequence[Button]) -> InlineKeyboardMarkup:
    """Return an inline keyboard, row by row; ValueError for callback data that are empty, or over 1024 bytes.

    Data over Telegram's 64 bytes are kept by the bot (telegram/dialogue/buttons/long.py), for collected calls: `ctx.reply`, ...
    """
    return InlineKeyboardMarkup(inline_keyboard=[[_button(each) for each in row] for row in rows])


def keyboard(*rows: Sequence[str | KeyboardButton], **params: Any) -> ReplyKeyboardMarkup:
    """Return a reply keyboard, row by row; `params` as in ReplyKeyboardMarkup, e.g. one_time_keyboard=True."""
    if wrong := next((row for row in rows if isinstance(row, str)), None):
        raise TypeError(f"keyboard() wants rows: keyboard([{wrong!r}, ...], ...)")
    buttons = [[KeyboardButton(text=each) if isinstance(each, str) else each for each in row] for row in rows]
    return ReplyKeyboardMarkup(keyboard=buttons, **{"resize_keyboard": True, **params})


def no_keyboard() -> ReplyKeyboardRemove:
    """Return the markup that removes a reply keyboard (ReplyKeyboardRemove)."""
    return ReplyKeyboardRemove(remove_keyboard=True)


def _button(given: Button) -> InlineKeyboardButton:
    if isinstance(given, InlineKeyboardButton):
        return given
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"inline() wants rows of (text, data): inline([('Yes', 'yes')], ...), not {given!r}")
    text, carried = given
    if not isinstance(text, str) or not isinstance(carried, str | CallbackData):
        raise TypeError(f"a button has a text, and data that is a text or a CallbackData: {given!r}")
    target = carried.pack() if isinstance(carried, CallbackData) else carried
    if target.startswith(_LINKS):
        return InlineKeyboardButton(text=text, url=target)
    if not 0 < len(target.encode()) <= DATA_MAX:
        raise ValueError(f"a button's data has 1 to {DATA_MAX} bytes in UTF-8: {target!r:.100}")
    return InlineKeyboardButton(text=text, callback_data=target)
