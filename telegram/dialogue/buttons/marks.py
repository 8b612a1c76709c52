"""Marks of a flow's buttons: a prefix of the callback data with the owner's conversation and the turn that sent the button.

    ~OOOTTTT~data        O: hash of the owner's conversation, T: of the turn

The update of a press does not say when its button was sent, and any member may press it or forge its data (Telegram Bot
API, CallbackQuery). The mark is removed before a handler or a filter sees the data. Data that do not fit into Telegram's 64
bytes with their mark have a key (telegram/dialogue/buttons/long.py).
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from telegram.dialogue.buttons.callback_data import CALLBACK_BYTES_MAX
from telegram.dialogue.buttons.long import is_key, kept_as

_MARK: Final = re.compile(r"~([A-Za-z0-9_-]{3})([A-Za-z0-9_-]{4})~")
TURN_LENGTH: Final = 4


class Mark(NamedTuple):
    """The button's owner (`owner_of`), and the turn that sent it (the first characters of Context.turn)."""

    owner: str
    turn: str

    def __str__(self) -> str:
        return f"~{self.owner}{self.turn}~"


def owner_of(key: str, scope: str) -> str:
    """Return a hash, of three characters, of the conversation at this key and scope."""
    return urlsafe_b64encode(blake2b(f"{key}\n{scope}".encode(), digest_size=3).digest())[:3].decode()


def mark_of(place: tuple[str, str], turn: str) -> Mark:
    """Return the mark of a turn (Context.turn) in the conversation at `place` (key, scope)."""
    return Mark(owner_of(*place), turn[:TURN_LENGTH])


def is_of(mark: Mark, places: Iterable[tuple[str, str]]) -> bool:
    """Return whether a button belongs to one of the conversations at these places (key, scope)."""
    return any(mark.owner == owner_of(*place) for place in places)


def read_mark(data: str) -> tuple[Mark | None, str]:
    """Return the mark of callback data, or None, and the author's data."""
    found = _MARK.match(data) if data.startswith("~") else None
    return (None, data) if found is None else (Mark(found[1], found[2]), data[found.end() :])


def mark_buttons(markup: Any, mark: Mark | None, long: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    """Return a `reply_markup` with marked buttons, and the author's data of all its buttons.

    Data that do not fit are replaced by their key, and put into `long` under that; without `long`, only the mark is left out.
    Any markup but an inline keyboard with callback data is returned unchanged. An existing mark is replaced.
    """
    keyboard = _inline_keyboard(markup)
    if keyboard is None:
        return markup, []
    offered: list[str] = []
    rows = [[_marked(each, mark, offered, long) for each in row] for row in keyboard]
    return ({**_fields(markup), "inline_keyboard": rows}, offered) if offered else (markup, [])


def _inline_keyboard(markup: Any) -> list[list[Any]] | None:
    rows = _fields(markup).get("inline_keyboard")
    return [list(row) for row in rows] if isinstance(rows, list | tuple) else None


def _fields(value: Any) -> Mapping[str, Any]:
    """Return the fields of a Telegram object, given as an object, a dict or JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, by_alias=True)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _marked(button: Any, mark: Mark | None, offered: list[str], long: dict[str, str] | None) -> Any:
    fields = _fields(button)
    given = fields.get("callback_data")
    if not isinstance(given, str):
        return button
    _, data = read_mark(given)
    offered.append(data)
    prefix = "" if mark is None else str(mark)
    if len(prefix) + len(data.encode()) > CALLBACK_BYTES_MAX or is_key(data):
        if long is None:
            prefix = ""
        else:
            data = kept_as(data, long)
    return {**fields, "callback_data": f"{prefix}{data}"}
