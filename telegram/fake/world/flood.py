"""Flood control: Telegram's limits for the messages of a bot. Off unless enabled with `World.limit`.

| limit                     | source                                                                              |
|---------------------------|-------------------------------------------------------------------------------------|
| 1 a second in a chat      | core.telegram.org/bots/faq, "My bot is hitting limits": short bursts may pass        |
| 20 a minute in a group    | the same page; a call names a group by a negative id or by @username                 |
| 30 a second over all      | the same page, about bulk notifications                                              |
| edits count as messages   | tdlib/td#3034: "Limits for message editing and sending are shared"                   |
| answers to queries do not | tdlib/telegram-bot-api#648: answerCallbackQuery has no limits, an edit has the chat's |

The exact numbers are not published, so they are parameters. A refused call is not executed and not counted; until
`retry_after` has passed, all messages to the chat (for the limit over all: to all chats) are refused.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from telegram.fake.protocol.answers import ApiError
from telegram.fake.protocol.params import Params, structure, text

_SILENT: Final = frozenset({"sendchataction", "sendmessagedraft", "sendrichmessagedraft"})
_COUNTED: Final = ("send", "forward", "copy", "editmessage")
_LISTS: Final = {"sendmediagroup": "media", "forwardmessages": "message_ids", "copymessages": "message_ids"}
_ROUNDING_S: Final = 1e-6  # rounding error of Unix time as a float
_CHATS_MAX: Final = 10_000  # above this number idle chats are forgotten


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """The limits; a rate of 0 is no limit. A burst is the number of messages that pass at once after a pause."""

    overall_per_s: float = 30.0
    overall_burst: int = 30
    chat_per_s: float = 1.0
    chat_burst: int = 5
    """An assumption: Telegram does not publish it."""
    group_per_min: int = 20
    """In any 60 s."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")


@dataclass(slots=True)
class _Meter:
    """The usage of one chat or of all. `full_until`: time at which the whole burst is available again."""

    full_until: float = 0.0
    blocked_until: float = 0.0
    minute: deque[float] = field(default_factory=deque)


class FloodControl:
    """Counts the messages of one bot; `now` is in seconds of the caller's clock."""

    def __init__(self, limits: FloodLimits) -> None:
        self.limits = limits
        self.refused = 0
        self._overall = _Meter()
        self._chats: dict[str, _Meter] = {}

    def check(self, method: str, params: Params, now: float) -> None:
        """Raise ApiError 429 if this call (`method` in lower case) exceeds a limit."""
        n = messages_of(method, params)
        if not n:
            return
        limits, chat_id = self.limits, _chat_of(params)
        chat = self._chats.get(chat_id)
        if chat is not None:
            wait_s = _wait_s(chat, limits.chat_per_s, limits.chat_burst, n, now)
            if _is_group(chat_id) and limits.group_per_min:
                wait_s = max(wait_s, _window_wait_s(chat.minute, limits.group_per_min, n, now))
            self._refuse(chat, wait_s, now)
        wait_s = _wait_s(self._overall, limits.overall_per_s, limits.overall_burst, n, now)
        self._refuse(self._overall, wait_s, now)

    def count(self, method: str, params: Params, now: float) -> None:
        """Count a call that was executed."""
        n = messages_of(method, params)
        if not n:
            return
        limits, chat_id = self.limits, _chat_of(params)
        chat = self._chats.setdefault(chat_id, _Meter())
        _take(chat, limits.chat_per_s, n, now)
        if _is_group(chat_id) and limits.group_per_min:
            chat.minute.extend([now] * n)
        _take(self._overall, limits.overall_per_s, n, now)
        if len(self._chats) > _CHATS_MAX:
            self._chats = {name: meter for name, meter in self._chats.items() if not _is_idle(meter, now)}

    def _refuse(self, meter: _Meter, wait_s: float, now: float) -> None:
        """Raise if the meter is blocked, or exceeded: then it is blocked for whole seconds; refused calls do not extend them."""
        if wait_s > max(meter.blocked_until - now, _ROUNDING_S):
            meter.blocked_until = now + math.ceil(wait_s - _ROUNDING_S)
        left_s = meter.blocked_until - now
        if left_s <= _ROUNDING_S:
            return
        self.refused += 1
        retry_after = math.ceil(left_s - _ROUNDING_S)
        raise ApiError(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


def messages_of(method: str, params: Params) -> int:
    """Return how many messages a call (`method` in lower case) counts for; an album counts for each of its files."""
    if not method.startswith(_COUNTED) or method in _SILENT:
        return 0
    name = _LISTS.get(method)
    if name is None:
        return 1
    try:
        items = structure(params, name)
    except ValueError:
        return 1
    return max(len(items), 1) if isinstance(items, list) else 1


def _chat_of(params: Params) -> str:
    return text(params, "chat_id") or text(params, "inline_message_id")


def _is_group(chat_id: str) -> bool:
    return chat_id.startswith(("-", "@"))


def _wait_s(meter: _Meter, per_s: float, burst: int, n: int, now: float) -> float:
    """Return seconds until `n` messages fit; more than a burst pass when the whole burst is available."""
    if not per_s:
        return 0.0
    free_from = max(meter.full_until, now) + min(n, max(burst, 1)) / per_s - max(burst, 1) / per_s
    return free_from - now


def _window_wait_s(sent: deque[float], most: int, n: int, now: float) -> float:
    while sent and sent[0] <= now - 60:
        sent.popleft()
    too_many = len(sent) + min(n, most) - most
    return sent[too_many - 1] + 60 - now if too_many > 0 else 0.0


def _take(meter: _Meter, per_s: float, n: int, now: float) -> None:
    if per_s:
        meter.full_until = max(meter.full_until, now) + n / per_s


def _is_idle(meter: _Meter, now: float) -> bool:
    newest = meter.minute[-1] if meter.minute else 0.0
    return max(meter.full_until, meter.blocked_until, newest + 60) <= now
