"""What the sender has learned about chats: which are unreachable, and which groups have another id now.

Calls to an unreachable chat (e.g. the user has blocked the bot) are dropped and counted, until an update comes from it; the
log has one line for each such chat. A chat may become reachable without an update, so one call every ASK_AGAIN_S is sent;
calls to a @username are all sent, since updates have the chat's id.

In memory only and bounded: what is lost is learned again from the next refusal.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeVar

import structlog

from telegram.botapi.calls import encode_json
from telegram.botapi.errors import Refused
from telegram.botapi.routing import POSTS

log = structlog.get_logger(__name__)
K = TypeVar("K", int, int | str)
V = TypeVar("V")

Lost = Literal["first", "again", "back"]
"""What a refusal says of a chat: it has become unreachable, is it still, or an update came from it during the call."""

KEPT_MAX: Final = 100_000
"""Maximum number of chats of each kind, about 200 bytes each; above it, the least recently used is dropped."""

ASK_AGAIN_S: Final = 3600.0
"""Interval at which a call to an unreachable chat is sent, if there are any."""

_LANES_OF_CHATS: Final = frozenset(("chat:", POSTS))
_SEEN_MAX: Final = 10_000  # far more chats than send updates during one call
# A group's id is above this and below 0, a supergroup's is below (Telegram Bot API, dialog identifiers).
_GROUP_MIN: Final = -(10**12)


# Texts about a private chat; telegram-bot-api, Client.cpp, check_chat_access and fail_query_with_error (USER_IS_BLOCKED,
# INPUT_USER_DEACTIVATED); the last one is of Telegram's servers (TelegramBotAPI/errors#2).
_OF_PERSONS: Final = (
    "bot was blocked by the user",
    "user is deactivated",
    "bot can't initiate conversation with",
)
_NEVER_STARTED: Final = ("bot can't initiate conversation with",)
_OF_GROUPS: Final = (
    "bot was kicked from the group chat",
    "bot is not a member of the group chat",
    "the group chat was deleted",
)


class Unreachable(NamedTuple):
    """A chat that cannot be reached."""

    reason: str
    """Telegram's text."""

    calls_dropped: int


class _Gone(NamedTuple):
    reason: str
    dropped: int
    ask_at: float  # on the event loop's clock


class Peers:
    """Shared by the sender, which reports refusals, and the inbox's handler, which reports chats that send updates."""

    def __init__(self, *, kept_max: int = KEPT_MAX, drops: bool = True) -> None:
        """`drops=False`: no call is dropped, each one is sent and has its own outcome."""
        self._kept_max = kept_max
        self._drops = drops
        self._gone: dict[int | str, _Gone] = {}
        self._seen: dict[int, float] = {}  # when the last update came, on the event loop's clock
        self._moved: dict[int, int] = {}
        self.dropped = 0
        """Calls dropped since the start."""

    @property
    def gone(self) -> int:
        """Number of chats known to be unreachable."""
        return len(self._gone)

    def unreachable(self) -> dict[int | str, Unreachable]:
        """Return the chats known to be unreachable, by id or @username in lower case."""
        return {chat_id: Unreachable(gone.reason, gone.dropped) for chat_id, gone in self._gone.items()}

    def drops(self, lane: str, params: bytes) -> bool:
        """Return whether to drop this call of an outbox lane; a dropped one is counted."""
        chat_id = self._gone_chat(lane, params) if self._gone else None
        if chat_id is None or isinstance(chat_id, str):
            return False
        now = asyncio.get_running_loop().time()
        gone = self._gone[chat_id]
        if now >= gone.ask_at:
            _keep(self._gone, chat_id, gone._replace(ask_at=now + ASK_AGAIN_S), self._kept_max)
            return False
        self._drop(chat_id, gone)
        return True

    def lost(self, error: Refused, params: bytes, started: float, *, reported: bool = False) -> Lost | None:
        """Record a refusal of a call sent at `started`; None if it does not say that a chat is unreachable.

        None also for the first call to a user who has never started the bot, which is a mistake of the author's.
        The call is counted as dropped, except the first one to a chat if it is `reported` to a handler.
        """
        if not error.unreachable or not self._drops:
            return None
        fields = json.loads(self.readdressed(params))
        chat_id = _chat_of(fields)
        if chat_id is None or not _is_about(error, chat_id, fields):
            return None
        ask_at = asyncio.get_running_loop().time() + ASK_AGAIN_S
        if (known := self._gone.get(chat_id)) is not None:
            self._drop(chat_id, known._replace(ask_at=ask_at))
            return "again"
        if isinstance(chat_id, int) and self._seen.get(chat_id, -1.0) >= started:
            return "back"
        gone = _Gone(error.description, 0, ask_at)
        _keep(self._gone, chat_id, gone, self._kept_max)
        log.info(
            "a chat cannot be reached: calls to it are dropped", chat_id=chat_id, reason=error.description
        )
        if error.says(_NEVER_STARTED):
            return None
        if not reported:
            self._drop(chat_id, gone)
        return "first"

    def reached(self, lane: str, params: bytes) -> None:
        """Record that a call of an outbox lane succeeded: its chat is reachable."""
        if self._gone and (chat_id := self._gone_chat(lane, params)) is not None:
            self._back(chat_id)

    def seen(self, chat_id: int) -> None:
        """Record that an update came from one of the bot's own chats: it is reachable."""
        _keep(self._seen, chat_id, asyncio.get_running_loop().time(), _SEEN_MAX)
        if self._gone:
            self._back(chat_id)

    def _back(self, chat_id: int | str) -> None:
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

    def _gone_chat(self, lane: str, params: bytes) -> int | str | None:
        """Return the unreachable chat that a call goes to; None if it goes to another one.

        The params are parsed only if the lane's name is that of an unreachable chat.
        """
        kind, _, chat = lane.partition(":")
        if f"{kind}:" not in _LANES_OF_CHATS or (named := _number_or_name(chat)) is None:
            return None
        if (self._moved.get(named, named) if isinstance(named, int) else named) not in self._gone:
            return None
        chat_id = _chat_of(json.loads(params))
        return chat_id if chat_id in self._gone else None

    def _drop(self, chat_id: int | str, gone: _Gone) -> None:
        self.dropped += 1
        _keep(self._gone, chat_id, gone._replace(dropped=gone.dropped + 1), self._kept_max)


def _keep(kept: dict[K, V], chat_id: K, value: V, most: int) -> None:
    """Store `value` as the newest entry; above `most` entries the oldest is dropped."""
    kept.pop(chat_id, None)
    kept[chat_id] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _chat_of(fields: dict[str, Any]) -> int | str | None:
    """Return the id or the @username of the bot's own chat that a call goes to; None if it has none."""
    if fields.get("business_connection_id"):
        return None  # a chat of another account
    return _number_or_name(fields.get("chat_id"))


def _is_about(error: Refused, chat_id: int | str, fields: dict[str, Any]) -> bool:
    """Return whether a refusal means this chat, and not another peer of the call: its text says the kind of the chat.

    Of the chats that are only read (from_chat_id, the chat of a reply) Telegram refuses none but supergroups and channels
    with such a text (telegram-bot-api, Client.cpp, check_chat_access: AccessRights::Read). A @username is that of a
    supergroup or channel (Telegram Bot API, chat_id).
    """
    reply = fields.get("reply_parameters")
    read = [fields.get("from_chat_id"), reply.get("chat_id") if isinstance(reply, dict) else None]
    others = {found for each in read if (found := _number_or_name(each)) is not None} - {chat_id}
    if not others and "user_id" not in fields:
        return True
    is_person = isinstance(chat_id, int) and chat_id > 0
    if error.says(_OF_PERSONS):
        return is_person and "user_id" not in fields
    if error.says(_OF_GROUPS):
        return isinstance(chat_id, int) and _GROUP_MIN < chat_id < 0
    return not is_person and not any(isinstance(each, str) or each <= _GROUP_MIN for each in others)


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


def _number_or_name(chat_id: object) -> int | str | None:
    """Return an id, or a @username in lower case; None for anything else."""
    if isinstance(chat_id, str) and chat_id.startswith("@"):
        return chat_id.lower()
    return _number(chat_id)
