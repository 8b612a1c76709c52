"""Buttons that belong to one turn of a flow: a mark in their callback data tells whose they are, and which turn sent them.

    ~OOOTTTT~data        O: of the owner's conversation, T: of the turn

An update that a press causes says nothing of when its button was sent, and anybody may press it or forge its data
(Telegram Bot API, CallbackQuery). The mark is taken off before a handler or a filter sees the data. Data that has no room
for it in Telegram's 64 bytes goes without.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from telegram.dialogue.callback_data import CALLBACK_BYTES_MAX

_MARK: Final = re.compile(r"~([A-Za-z0-9_-]{3})([A-Za-z0-9_-]{4})~")
TURN_LENGTH: Final = 4


class Mark(NamedTuple):
    """Whose button it is (`owner_of`), and in which turn it was sent (the first characters of Context.turn)."""

    owner: str
    turn: str

    def __str__(self) -> str:
        return f"~{self.owner}{self.turn}~"


def owner_of(key: str, scope: str) -> str:
    """Name the conversation that lies at key and scope in three characters."""
    return urlsafe_b64encode(blake2b(f"{key}\n{scope}".encode(), digest_size=3).digest())[:3].decode()


def mark_of(place: tuple[str, str], turn: str) -> Mark:
    """The mark of a turn (Context.turn) in the conversation that lies at `place`."""
    return Mark(owner_of(*place), turn[:TURN_LENGTH])


def is_of(mark: Mark, places: Iterable[tuple[str, str]]) -> bool:
    """Whether a button belongs to one of the conversations that lie at these places."""
    return any(mark.owner == owner_of(*place) for place in places)


def read_mark(data: str) -> tuple[Mark | None, str]:
    """Return the mark of callback data, if it has one, and the author's data."""
    found = _MARK.match(data) if data.startswith("~") else None
    return (None, data) if found is None else (Mark(found[1], found[2]), data[found.end() :])


def mark_buttons(markup: Any, mark: Mark | None) -> tuple[Any, list[str]]:
    """Return a `reply_markup` with marked buttons, and the author's data of all its buttons.

    What is no inline keyboard with such buttons comes back as it is. A mark that is there already is replaced.
    """
    keyboard = _inline_keyboard(markup)
    if keyboard is None:
        return markup, []
    offered: list[str] = []
    rows = [[_marked(each, mark, offered) for each in row] for row in keyboard]
    return ({**_fields(markup), "inline_keyboard": rows}, offered) if offered else (markup, [])


def _inline_keyboard(markup: Any) -> list[list[Any]] | None:
    rows = _fields(markup).get("inline_keyboard")
    return [list(row) for row in rows] if isinstance(rows, list | tuple) else None


def _fields(value: Any) -> Mapping[str, Any]:
    """The fields of a Telegram object, given as one, as a dict or as JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, by_alias=True)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _marked(button: Any, mark: Mark | None, offered: list[str]) -> Any:
    fields = _fields(button)
    given = fields.get("callback_data")
    if not isinstance(given, str):
        return button
    _, data = read_mark(given)
    offered.append(data)
    marked = data if mark is None else f"{mark}{data}"
    return {**fields, "callback_data": marked if len(marked.encode()) <= CALLBACK_BYTES_MAX else data}
