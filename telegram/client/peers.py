"""What the sender has learned about chats: which are unreachable, and which groups have another id now.

Calls to an unreachable chat (e.g. the user has blocked the bot) are dropped and counted, until an update comes from it.
A chat may become reachable without an update, so one call every ASK_AGAIN_S is sent.

In memory only and bounded: what is lost is learned again from the next refusal.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from telegram.botapi.calls import encode_json
from telegram.botapi.errors import Refused
from telegram.botapi.routing import POSTS

log = structlog.get_logger(__name__)
V = TypeVar("V")

KEPT_MAX: Final = 100_000
"""Maximum number of chats of each kind, about 200 bytes each; above it, the least recently used is dropped."""

ASK_AGAIN_S: Final = 3600.0
"""Interval at which a call to an unreachable chat is sent, if there are any."""

_LANES_OF_CHATS: Final = frozenset(("chat:", POSTS))
_SEEN_MAX: Final = 10_000  # far more chats than send updates during one call
# A group's id is above this and below 0, a supergroup's is below (Telegram Bot API, dialog identifiers).
_GROUP_MIN: Final = -(10**12)


class _Gone(NamedTuple):
    dropped: int
    ask_at: float  # on the event loop's clock


class Peers:
    """Shared by the sender, which reports refusals, and the inbox's handler, which reports chats that send updates."""

    def __init__(self, *, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._gone: dict[int, _Gone] = {}
        self._seen: dict[int, float] = {}  # when the last update came, on the event loop's clock
        self._moved: dict[int, int] = {}
        self.dropped = 0
        """Calls dropped since the start."""

    @property
    def gone(self) -> int:
        """Number of chats known to be unreachable."""
        return len(self._gone)

    def drops(self, lane: str, params: bytes) -> bool:
        """Return whether to drop this call of an outbox lane; a dropped one is counted."""
        chat_id = self._gone_chat(lane, params) if self._gone else None
        if chat_id is None:
            return False
        now = asyncio.get_running_loop().time()
        dropped, ask_at = self._gone[chat_id]
        if now >= ask_at:
            _keep(self._gone, chat_id, _Gone(dropped, now + ASK_AGAIN_S), self._kept_max)
            return False
        self._drop(chat_id, ask_at)
        return True

    def lost(self, error: Refused, params: bytes, started: float) -> bool:
        """Record a refusal of a call sent at `started`; return whether to drop it: its chat was known as unreachable."""
        fields = json.loads(self.readdressed(params))
        chat_id = _chat_of(fields)
        # With two peers in one call, Telegram does not say which of them is unreachable.
        if not error.unreachable or chat_id is None or "from_chat_id" in fields or "user_id" in fields:
            return False
        known = chat_id in self._gone
        ask_at = asyncio.get_running_loop().time() + ASK_AGAIN_S
        if known:
            self._drop(chat_id, ask_at)
        elif self._seen.get(chat_id, -1.0) < started:  # else an update came from it during the call
            _keep(self._gone, chat_id, _Gone(0, ask_at), self._kept_max)
        return known

    def reached(self, lane: str, params: bytes) -> None:
        """Record that a call of an outbox lane succeeded: its chat is reachable."""
        if self._gone and (chat_id := self._gone_chat(lane, params)) is not None:
            self._back(chat_id)

    def seen(self, chat_id: int) -> None:
        """Record that an update came from one of the bot's own chats: it is reachable."""
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
        """Return corrected params if the call was refused because a group became a supergroup, else None.

        Telegram's error has the new id only: with two groups in one call it is unknown which one has moved.
        """
        old = {group for _, _, group in _groups(json.loads(params))}
        if error.migrate_to_chat_id is None or len(old) != 1:
            return None
        _keep(self._moved, old.pop(), error.migrate_to_chat_id, self._kept_max)
        return self.readdressed(params)

    def _gone_chat(self, lane: str, params: bytes) -> int | None:
        """Return the id of the unreachable chat that a call goes to; None if it goes to another one.

        The params are parsed only if the lane's name is that of an unreachable chat.
        """
        kind, _, chat = lane.partition(":")
        if f"{kind}:" not in _LANES_OF_CHATS or (chat_id := _number(chat)) is None:
            return None
        if self._moved.get(chat_id, chat_id) not in self._gone:
            return None
        chat_id = _chat_of(json.loads(params))
        return chat_id if chat_id in self._gone else None

    def _drop(self, chat_id: int, ask_at: float) -> None:
        self.dropped += 1
        _keep(self._gone, chat_id, _Gone(self._gone[chat_id].dropped + 1, ask_at), self._kept_max)


def _keep(kept: dict[int, V], chat_id: int, value: V, most: int) -> None:
    """Store `value` as the newest entry; above `most` entries the oldest is dropped."""
    kept.pop(chat_id, None)
    kept[chat_id] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _chat_of(fields: dict[str, Any]) -> int | None:
    """Return the id of the bot's own chat that a call goes to; None if it has no numeric one."""
    if fields.get("business_connection_id"):
        return None  # a chat of another account
    return _number(fields.get("chat_id"))


def _groups(fields: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Yield each group id in the params: (object, name of its field, id)."""
    reply = fields.get("reply_parameters")
    places = (fields, "chat_id"), (fields, "from_chat_id"), (reply, "chat_id")
    for inside, name in places:
        number = _number(inside.get(name)) if isinstance(inside, dict) else None
        if isinstance(inside, dict) and number is not None and _GROUP_MIN < number < 0:
            yield inside, name, number


def _number(chat_id: object) -> int | None:
    """Return an id, which a call may also give as text; None if it is not a number."""
    if isinstance(chat_id, str) and chat_id.removeprefix("-").isdecimal() and len(chat_id) < 20:
        return int(chat_id)
    return chat_id if type(chat_id) is int else None
