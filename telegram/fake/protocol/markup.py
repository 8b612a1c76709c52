"""Checks of a `reply_markup` (telegram-bot-api, `get_reply_markup`)."""

import re
from typing import Any, Final

from .answers import ApiError, Json, bad_request
from .params import Params, structure

CALLBACK_DATA_BYTES_MAX = 64
_OF_TELEGRAM: Final = ("tg:", "ton:", "tonsite:")
_BUTTON_KINDS = (
    *("url", "callback_data", "callback_game", "pay", "switch_inline_query"),
    *(
        "switch_inline_query_chosen_chat",
        "switch_inline_query_current_chat",
        "login_url",
        "web_app",
        "copy_text",
    ),
)
_PRIVATE_KEYS = {
    "request_contact": "phone number can be requested",
    "request_location": "location can be requested",
    "request_poll": "poll can be requested",
    "web_app": "Web App buttons can be used",
    "request_users": "users can be requested",
    "request_chat": "chats can be requested",
    "request_managed_bot": "managed bots can be requested",
}


def reply_markup(params: Params) -> Json | None:
    """Return the checked markup of a call, or None; ApiError 400 with the server's text."""
    try:
        markup = structure(params, "reply_markup")
    except ValueError:
        raise bad_request("can't parse reply keyboard markup JSON object") from None
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    for button in _buttons(markup, "keyboard"):
        if not isinstance(button, str):
            _check_text(button, "keyboard button")
    for button in _buttons(markup, "inline_keyboard"):
        _check_inline(button)
    return markup


def check_place(markup: Json | None, chat_kind: str) -> None:
    """Raise ApiError for buttons that are allowed in private chats only (tdlib/td, ReplyMarkup.cpp, get_keyboard_button)."""
    if chat_kind == "private" or not markup:
        return
    if any(
        isinstance(button, dict) and button.get("web_app") for button in _buttons(markup, "inline_keyboard")
    ):
        raise bad_request(
            "BUTTON_TYPE_INVALID"
        )  # Telegram Bot API, InlineKeyboardButton: web_app, in private chats only
    for button in _buttons(markup, "keyboard"):
        for name, what in _PRIVATE_KEYS.items():
            if isinstance(button, dict) and button.get(name):
                raise bad_request(f"{what} in private chats only")


def inline_only(markup: Json | None) -> None:
    """Raise ApiError for a markup other than an inline keyboard, as edits do (tdlib/td, ReplyMarkup.cpp)."""
    if markup and "inline_keyboard" not in markup:
        raise bad_request("inline keyboard expected")


def is_inline(markup: Json | None) -> bool:
    """Whether the markup is an inline keyboard, which is part of the message."""
    return bool(markup and markup.get("inline_keyboard"))


def _buttons(markup: Json, field: str) -> list[Any]:
    rows = markup.get(field)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise bad_request(f'field "{field}" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        owner = " of the InlineKeyboardMarkup" if field == "inline_keyboard" else ""
        raise bad_request(f'field "{field}"{owner} must be an Array of Arrays')
    return [button for row in rows for button in row]


def _check_text(button: object, what: str) -> None:
    if not isinstance(button, dict):
        name = "InlineKeyboardButton" if what.startswith("inline") else "KeyboardButton"
        raise _unparsable(what, f"{name} must be an Object")
    if "text" not in button:
        raise _unparsable(what, 'Can\'t find field "text"')


def _check_inline(button: Any) -> None:
    _check_text(button, "inline keyboard button")
    if not any(kind in button for kind in _BUTTON_KINDS):
        raise _unparsable("inline keyboard button", "Text buttons are unallowed in the inline keyboard")
    if isinstance(url := button.get("url"), str):
        _check_url(url, "inline keyboard button URL")
    if isinstance(app := button.get("web_app"), dict) and isinstance(url := app.get("url"), str):
        _check_url(url, "inline keyboard button Web App URL", only_https=True)
    data = button.get("callback_data")
    if data is None:
        return
    if not isinstance(data, str):
        raise _unparsable("inline keyboard button", 'Field "callback_data" must be of type String')
    if not 0 < len(data.encode(errors="surrogatepass")) <= CALLBACK_DATA_BYTES_MAX:
        raise bad_request("BUTTON_DATA_INVALID")


def _check_url(url: str, what: str, *, only_https: bool = False) -> None:
    """Refuse links that Telegram's apps do not open (tdlib/td, LinkManager::check_link; BEDOLAGA-DEV/remnawave-bedolaga-telegram-bot#1564).

    A host without a dot, like localhost, is refused: rubenlagus/TelegramBots#302.
    """
    if not only_https and url.lower().startswith(_OF_TELEGRAM):
        return
    begins = re.match(r"([A-Za-z][A-Za-z0-9+-]*)://", url)
    scheme, rest = ("http", url) if begins is None else (begins[1].lower(), url[begins.end() :])
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if scheme not in ("http", "https"):
        raise bad_request(f"{what} '{url}' is invalid: Unsupported URL protocol")
    if only_https and scheme != "https":
        raise bad_request(f"{what} '{url}' is invalid: Only HTTPS links are allowed")
    if "." not in host and not host.startswith("["):
        raise bad_request(f"{what} '{url}' is invalid: Wrong HTTP URL")


def _unparsable(what: str, reason: str) -> ApiError:
    return bad_request(f"can't parse {what}: {reason}")
