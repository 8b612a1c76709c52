"""What the bot has learned about chats while it sent: which cannot be reached, and which go on under another id.

A call to a chat that cannot be reached (the user has blocked the bot, say) is dropped and counted, until an update
comes from there. Some come back without a word to the bot, so now and then one call finds out.

In memory only and bounded: what is forgotten is learned again from the next refusal.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from telegram.botapi.calls import encode_json
from telegram.botapi.errors import Refused

log = structlog.get_logger(__name__)
V = TypeVar("V")

KEPT_MAX: Final = 100_000
"""Chats of each kind that are remembered, about 200 bytes each; beyond, the one not called for longest goes."""

ASK_AGAIN_S: Final = 3600.0
"""A chat that cannot be reached is tried this often, if there are calls for it."""

_SEEN_MAX: Final = 10_000  # far more chats than write while one call is on its way
# A group's id is above this and below 0, a supergroup's is below (Telegram Bot API, dialog identifiers).
_GROUP_MIN: Final = -(10**12)


class _Gone(NamedTuple):
    dropped: int
    ask_at: float  # on the event loop's clock


class Peers:
    """Shared by the sender, which learns from refusals, and the inbox's handler, which sees who is back."""

    def __init__(self, *, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._gone: dict[int, _Gone] = {}
        self._seen: dict[int, float] = {}  # when an update came from there, on the event loop's clock
        self._moved: dict[int, int] = {}
        self.dropped = 0
        """Calls dropped since the start."""

    @property
    def gone(self) -> int:
        """How many chats are known to be out of reach."""
        return len(self._gone)

    def drops(self, params: bytes) -> bool:
        """Return whether this call is to be dropped, and count it then."""
        chat_id = _chat_of(json.loads(params)) if self._gone else None
        if chat_id is None or chat_id not in self._gone:
            return False
        now = asyncio.get_running_loop().time()
        dropped, ask_at = self._gone[chat_id]
        if now >= ask_at:
            _keep(self._gone, chat_id, _Gone(dropped, now + ASK_AGAIN_S), self._kept_max)
            return False
        self._drop(chat_id, ask_at)
        return True

    def lost(self, error: Refused, params: bytes, started: float) -> bool:
        """Note a refusal of a call that went out at `started`; return whether to drop it: that chat was gone before."""
        fields = json.loads(self.readdressed(params))
        chat_id = _chat_of(fields)
        # With two peers in one call, Telegram does not say which of them it is.
        if not error.unreachable or chat_id is None or "from_chat_id" in fields or "user_id" in fields:
            return False
        known = chat_id in self._gone
        ask_at = asyncio.get_running_loop().time() + ASK_AGAIN_S
        if known:
            self._drop(chat_id, ask_at)
        elif self._seen.get(chat_id, -1.0) < started:  # else it has come back while the call was on its way
            _keep(self._gone, chat_id, _Gone(0, ask_at), self._kept_max)
        return known

    def reached(self, params: bytes) -> None:
        """Note a call that went through."""
        if self._gone and (chat_id := _chat_of(json.loads(params))) is not None:
            self._back(chat_id)

    def seen(self, chat_id: int) -> None:
        """Note that an update came from a chat of the bot's own."""
        _keep(self._seen, chat_id, asyncio.get_running_loop().time(), _SEEN_MAX)
        if self._gone:
            self._back(chat_id)

    def _back(self, chat_id: int) -> None:
        if (gone := self._gone.pop(chat_id, None)) is not None:
            log.info("a chat can be reached again", chat_id=chat_id, calls_dropped=gone.dropped)

    def readdressed(self, params: bytes) -> bytes:
        """Return the params, with the new ids of groups that became supergroups."""
        if not self._moved:
            return params
        fields = json.loads(params)
        moved = [place for place in _groups(fields) if place[2] in self._moved]
        for inside, name, group in moved:
            inside[name] = self._moved[group]
        return encode_json(fields) if moved else params

    def moved(self, error: Refused, params: bytes) -> bytes | None:
        """Return the params for another try, if the call was refused for a group that became a supergroup.

        Telegram names the new id only: with two groups in one call nobody knows which one it belongs to.
        """
        old = {group for _, _, group in _groups(json.loads(params))}
        if error.migrate_to_chat_id is None or len(old) != 1:
            return None
        _keep(self._moved, old.pop(), error.migrate_to_chat_id, self._kept_max)
        return self.readdressed(params)

    def _drop(self, chat_id: int, ask_at: float) -> None:
        self.dropped += 1
        _keep(self._gone, chat_id, _Gone(self._gone[chat_id].dropped + 1, ask_at), self._kept_max)


def _keep(kept: dict[int, V], chat_id: int, value: V, most: int) -> None:
    """Put `value` in as the youngest; the oldest goes if they are too many."""
    kept.pop(chat_id, None)
    kept[chat_id] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _chat_of(fields: dict[str, Any]) -> int | None:
    """The bot's own chat that a call goes to; None if it names none by its number."""
    if fields.get("business_connection_id"):
        return None  # the chat is another account's
    return _number(fields.get("chat_id"))


def _groups(fields: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Each place in the params where a group's id stands: the object, the field's name, the id."""
    reply = fields.get("reply_parameters")
    places = (fields, "chat_id"), (fields, "from_chat_id"), (reply, "chat_id")
    for inside, name in places:
        number = _number(inside.get(name)) if isinstance(inside, dict) else None
        if isinstance(inside, dict) and number is not None and _GROUP_MIN < number < 0:
            yield inside, name, number


def _number(chat_id: object) -> int | None:
    """An id, which a call may also spell as text."""
    if isinstance(chat_id, str) and chat_id.removeprefix("-").isdecimal() and len(chat_id) < 20:
        return int(chat_id)
    return chat_id if type(chat_id) is int else None
