"""Rate limiter: decides when a message may be sent, so that Telegram does not refuse it (429).

| limit                              | source                                                                     |
|------------------------------------|----------------------------------------------------------------------------|
| about 30 a second over all chats   | core.telegram.org/bots/faq, "My bot is hitting limits": bulk notifications |
| about 1 a second in a chat         | the same page; short bursts may pass                                       |
| 20 a minute in a group             | the same page                                                              |
| edits count as messages            | tdlib/td#3034: "Limits for message editing and sending are shared"         |
| answers to queries do not count    | tdlib/telegram-bot-api#648                                                 |

The exact limits are not published and only a 429 is certain, so the rate adapts: if several chats are refused within
_MOMENT_S, all sending pauses and the rate is lowered; it rises again slowly. Posts (what a handler sends to other chats
than its own) leave part of the rate to replies, which go first. A process that has a part of the bot's chats takes the same part
of the rate. Times are the event loop's.
"""

import json
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from telegram.botapi.routing import POSTS

log = structlog.get_logger(__name__)

_COUNTED: Final = ("send", "forward", "copy", "editMessage")
_SILENT: Final = frozenset({"sendChatAction", "sendMessageDraft", "sendRichMessageDraft"})
_LISTS: Final = {"sendMediaGroup": "media", "forwardMessages": "message_ids", "copyMessages": "message_ids"}

_ROUNDING_S: Final = 1e-6  # rounding error of the clock
_BURST_S: Final = 2.0 / 3
"""The burst after a pause, in seconds' worth of messages."""
_FOR_REPLIES: Final = 0.5
"""The share of the burst that posts leave to replies."""
_CHAT_PER_S: Final = 1.0
_CHAT_BURST: Final = 3
_GROUP_MOST: Final = 20
_GROUP_WINDOW_S: Final = 60.5  # a bit more than a minute: calls take different times to arrive
_METERS_MAX: Final = 10_000
_SLOTS_MAX: Final = 100_000

_SEVERAL: Final = 3
_MOMENT_S: Final = 3.0
_SLOWER: Final = 0.8
_FASTER: Final = 1.1
_RISES_EVERY_S: Final = 30.0
_STEPS_MAX: Final = 100  # enough from _PER_S_MIN to any rate
_PER_S_MIN: Final = 1.0


class _Meter:
    """The usage of one chat. `full_until`: loop time at which the whole burst is available again."""

    __slots__ = ("blocked_until", "full_until", "minute")

    def __init__(self, now: float) -> None:
        self.full_until = now
        self.blocked_until = 0.0
        self.minute: deque[float] = deque()

    def wait_s(self, messages: int, now: float, *, is_group: bool) -> float:
        burst_s = (_CHAT_BURST - min(messages, _CHAT_BURST)) / _CHAT_PER_S
        wait_s = max(self.blocked_until - now, self.full_until - burst_s - now)
        if is_group:
            while self.minute and self.minute[0] <= now - _GROUP_WINDOW_S:
                self.minute.popleft()
            over = len(self.minute) + min(messages, _GROUP_MOST) - _GROUP_MOST
            if over > 0:
                wait_s = max(wait_s, self.minute[over - 1] + _GROUP_WINDOW_S - now)
        return wait_s

    def take(self, messages: int, now: float, *, is_group: bool) -> None:
        self.full_until = max(self.full_until, now) + messages / _CHAT_PER_S
        if is_group:
            self.minute.extend([now] * messages)

    def is_idle(self, now: float) -> bool:
        last = self.minute[-1] + _GROUP_WINDOW_S if self.minute else 0.0
        return max(self.full_until, self.blocked_until, last) <= now


class Pace:
    """Spaces messages; `per_s` is the maximum rate over all chats. `jitter` returns a float in [0, 1).

    `part` returns which part of all chats is sent to from here, in (0, 1].
    """

    def __init__(
        self, per_s: float, jitter: Callable[[], float], part: Callable[[], float] = lambda: 1.0
    ) -> None:
        self._per_s = self._per_s_max = per_s  # over all processes
        self._jitter = jitter
        self._part = part
        self._full_until = 0.0  # like _Meter's, for all chats together
        self._chats: dict[str, _Meter] = {}
        self._forget_at = _METERS_MAX  # number of chats at which idle ones are removed
        self._slots: dict[str, float] = {}  # lane of a waiting post -> when it may be sent
        self._next_slot = 0.0
        self._refused: dict[str, float] = {}  # chat -> when, within the last _MOMENT_S
        self._paused_until = 0.0
        self._changed_at = 0.0

    @property
    def per_s(self) -> float:
        """The rate now, of this process."""
        return self._per_s * self._part()

    def wait_s(self, lane: str, method: str, body: bytes, now: float) -> float:
        """Return how many seconds this lane's call has to wait before it asks again; 0: it is counted as sent now."""
        messages = messages_of(method, body)
        if not messages:
            return 0.0
        if self._paused_until > now:
            return self._paused_until - now + self._jitter()
        is_post, (_, _, chat) = lane.startswith(POSTS), lane.partition(":")
        is_group = chat.startswith(("-", "@"))
        meter = self._chats.get(chat) or self._meter(chat, now)
        wait_s = max(
            meter.wait_s(messages, now, is_group=is_group), self._overall_wait_s(lane, is_post, messages, now)
        )
        if wait_s > _ROUNDING_S:
            return wait_s
        self._slots.pop(lane, None)
        meter.take(messages, now, is_group=is_group)
        self._full_until = max(self._full_until, now) + messages / self.per_s
        if not is_post and self._next_slot > now:
            self._next_slot += messages / self.per_s  # it goes before the waiting posts
        self._rise(now)
        return 0.0

    def refused(self, lane: str, retry_after_s: float, now: float) -> None:
        """Record a 429: the chat waits, and after several chats within _MOMENT_S all do."""
        chat = lane.partition(":")[2]
        (self._chats.get(chat) or self._meter(chat, now)).blocked_until = now + retry_after_s
        if now < self._paused_until:
            return  # it was in flight when the pause began: no new evidence
        self._refused[chat] = now
        self._refused = {chat: at for chat, at in self._refused.items() if at > now - _MOMENT_S}
        if len(self._refused) < _SEVERAL:
            return
        self._refused.clear()
        self._paused_until = max(self._paused_until, now + retry_after_s)
        self._per_s = max(min(_PER_S_MIN, self._per_s_max), self._per_s * _SLOWER)
        self._changed_at = self._paused_until
        log.warning(
            "Telegram refuses several chats: sending pauses", retry_after_s=retry_after_s, per_s=self.per_s
        )

    def _overall_wait_s(self, lane: str, is_post: bool, messages: int, now: float) -> float:
        burst = max(1.0, self.per_s * _BURST_S)
        if is_post:
            slot = self._slots.get(lane)
            if slot is None and self._next_slot > now:  # others wait already
                return self._slot(lane, messages, now)
            if slot is not None and slot - now > _ROUNDING_S:
                return slot - now
            burst = max(1.0, burst * (1.0 - _FOR_REPLIES))
        wait_s = self._full_until - now - (burst - min(messages, burst)) / self.per_s
        if wait_s > _ROUNDING_S and is_post and lane not in self._slots:
            return max(wait_s, self._slot(lane, messages, now))
        return wait_s

    def _slot(self, lane: str, messages: int, now: float) -> float:
        """Reserve a time for a post after those that wait; return the seconds until then."""
        slot = self._next_slot = max(self._next_slot, now) + messages / self.per_s
        if len(self._slots) >= _SLOTS_MAX:  # a post without a slot queues at the end again
            self._slots = {name: at for name, at in self._slots.items() if at > now}
        if len(self._slots) < _SLOTS_MAX:
            self._slots[lane] = slot
        return slot - now

    def _meter(self, chat: str, now: float) -> _Meter:
        if len(self._chats) >= self._forget_at:
            self._chats = {name: meter for name, meter in self._chats.items() if not meter.is_idle(now)}
            self._forget_at = max(_METERS_MAX, 2 * len(self._chats))
        meter = self._chats[chat] = _Meter(now)
        return meter

    def _rise(self, now: float) -> None:
        steps = int((now - self._changed_at) // _RISES_EVERY_S) if self._per_s < self._per_s_max else 0
        if steps > 0:  # several after an idle time, in which nothing was refused
            self._per_s = min(self._per_s_max, self._per_s * _FASTER ** min(steps, _STEPS_MAX))
            self._changed_at += steps * _RISES_EVERY_S


def messages_of(method: str, body: bytes) -> int:
    """Return how many messages a call counts for: 0 if it sends none, for an album the number of its items."""
    if not method.startswith(_COUNTED) or method in _SILENT:
        return 0
    name = _LISTS.get(method)
    if name is None:
        return 1
    try:
        parts = json.loads(body).get(name)
    except (ValueError, AttributeError):
        return 1
    return max(1, len(parts)) if isinstance(parts, list) else 1
