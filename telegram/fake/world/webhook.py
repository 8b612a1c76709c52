"""The webhook of one bot at Telegram: its settings, and which update is delivered when. Pure: no I/O, no tasks.

The rules are those of the official server (telegram-bot-api 10.0, `WebhookActor.cpp`; `add_update` in `Client.cpp`):

- Each update belongs to a lane by kind and chat, user or poll (`lane_of`). In a lane one update at a time is delivered, in
  order; lanes overtake each other. An update without a lane has one of its own.
- At most twice `max_connections` updates are loaded, in the order of their ids: a chat that is behind with so many holds
  up all others.
- An answer other than 2xx, or none, is a failure. The first one is followed by another delivery at once, the next by a
  pause of 2, 4, 8, ... s, up to 60 to 120 s. A header Retry-After replaces the pause, up to an hour. What would expire in
  the pause is dropped.
- Setting another webhook forgets pauses, and which updates are being delivered: they are delivered again.
"""

import heapq
import random
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .queue import Pending, UpdateQueue

MAX_PAUSE_S: Final = (60, 120)
RETRY_AFTER_MAX_S: Final = 3600

_CHAT_KINDS: Final = {
    **dict.fromkeys(("message", "edited_message", "channel_post", "edited_channel_post"), 0),
    "my_chat_member": 5,
    "chat_boost": 7,
    "removed_chat_boost": 7,
    "message_reaction": 8,
    "message_reaction_count": 9,
    **dict.fromkeys(("business_message", "edited_business_message", "deleted_business_messages"), 11),
    "guest_message": 12,
}
"""Kinds with a lane for each chat, with the server's number of the kind."""

_USER_KINDS: Final = {
    "inline_query": (1, ("from",)),
    "chosen_inline_result": (2, ("from",)),
    "callback_query": (3, ("from",)),
    "shipping_query": (4, ("from",)),
    "pre_checkout_query": (4, ("from",)),
    "chat_member": (6, ("new_chat_member", "user")),
    "chat_join_request": (6, ("from",)),
    "business_connection": (10, ("user",)),
    "purchased_paid_media": (12, ("from",)),
    "managed_bot": (13, ("user",)),
}
"""Kinds with a lane for each user: the number, and where the user is."""

_POLL_KINDS: Final = {"poll": "id", "poll_answer": "poll_id"}


def lane_of(kind: str, payload: object) -> int:
    """Return the lane of an update, the `webhook_queue_id` of the official server; 0: one of its own."""
    if not isinstance(payload, Mapping):
        return 0
    if kind in _CHAT_KINDS:
        return _lane(payload, ("chat",), _CHAT_KINDS[kind])
    if kind in _USER_KINDS:
        number, path = _USER_KINDS[kind]
        return _lane(payload, path, number)
    name = str(payload.get(_POLL_KINDS.get(kind, "")))
    return int(name) if name.isascii() and name.isdigit() else 0


def _lane(payload: Mapping[str, Any], path: tuple[str, ...], number: int) -> int:
    found: object = payload
    for name in (*path, "id"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found + (number << 33) if type(found) is int else 0


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that is set (Telegram Bot API, setWebhook)."""

    url: str
    secret_token: str = field(default="", repr=False)
    max_connections: int = 40
    certificate: bytes | None = field(default=None, repr=False)
    ip_address: str = ""
    """Given with setWebhook, instead of that of the URL's host."""


def trusting(certificate: bytes | None) -> ssl.SSLContext:
    """Return a context that trusts this certificate alone (PEM), else those of the system; ValueError if it is none."""
    if certificate is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=certificate.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ValueError(str(error)) from None


def _ignore_change() -> None:
    """The default of `on_change`."""


class Webhooks:
    """The webhook of the bot, and its last error."""

    def __init__(self, queue: UpdateQueue, now: Callable[[], float]) -> None:
        self._queue = queue
        self._now = now
        self.current: Webhook | None = None
        self.last_error: tuple[int, str] | None = None
        self.next_set_at = 0.0
        """Until this Unix time a further setWebhook is answered with 429."""

        self.on_change: Callable[[], None] = _ignore_change

    def change(self, webhook: Webhook | None) -> None:
        """Replace the webhook; deliveries that run are cut off, and begin anew."""
        self.current = webhook
        self._queue.webhook_url = webhook.url if webhook else ""
        self.last_error = None
        self.on_change()

    def failed(self, reason: str) -> None:
        """Record the last error, for getWebhookInfo."""
        self.last_error = int(self._now()), reason


@dataclass(slots=True)
class _Loaded:
    update: Pending
    lane: int
    pause_s: float = 1.0
    failures: int = 0


class Schedule:
    """Which update a webhook delivers next: `load`, then `take` until it returns None; then `ok` or `failed` for each."""

    def __init__(self, queue: UpdateQueue, max_connections: int, rng: random.Random) -> None:
        self._queue = queue
        self._loaded_max = 2 * max_connections
        self._rng = rng
        self._start = 0
        self._loaded: dict[int, _Loaded] = {}
        self._lanes: dict[int, deque[int]] = {}
        self._due: list[
            tuple[float, int]
        ] = []  # a heap of moments and lanes whose first update is not under way
        self._own_lane = 1 << 60

    @property
    def lanes(self) -> int:
        """Number of lanes with loaded updates."""
        return len(self._lanes)

    @property
    def due_at(self) -> float | None:
        """When `take` returns the next update, by the queue's clock; None: there is none."""
        return self._due[0][0] if self._due else None

    def load(self) -> None:
        """Load further updates, up to the limit."""
        room = self._loaded_max - len(self._loaded)
        if room <= 0 or self._start == self._queue.next_id:
            return
        for update in self._queue.following(self._start, room):
            self._start = update.id + 1
            if update.id in self._loaded:
                continue  # ids have restarted
            lane = update.lane
            if not lane:
                lane, self._own_lane = self._own_lane, self._own_lane + 1
            self._loaded[update.id] = _Loaded(update, lane)
            waiting = self._lanes.setdefault(lane, deque())
            if not waiting:
                heapq.heappush(self._due, (self._queue.clock(), lane))
            waiting.append(update.id)

    def take(self) -> Pending | None:
        """Return an update to deliver now; None: there is none."""
        if not self._due or self._due[0][0] > self._queue.clock():
            return None
        _, lane = heapq.heappop(self._due)
        return self._loaded[self._lanes[lane][0]].update

    def ok(self, update_id: int) -> None:
        """An update was answered with 2xx."""
        self._drop(update_id, expired=False)

    def failed(self, update_id: int, retry_after_s: int = 0) -> None:
        """An update was not delivered; `retry_after_s`: as the answer asks, 0 if it does not."""
        loaded = self._loaded[update_id]
        now = self._queue.clock()
        effective_s = float(min(max(retry_after_s, 0), RETRY_AFTER_MAX_S))
        if not effective_s and loaded.failures:
            loaded.pause_s = min(self._rng.randint(*MAX_PAUSE_S), loaded.pause_s * 2)
            effective_s = loaded.pause_s
        if now + effective_s > loaded.update.expires_at:
            self._drop(update_id, expired=True)
            return
        loaded.failures += 1
        heapq.heappush(self._due, (now + effective_s, loaded.lane))

    def _drop(self, update_id: int, *, expired: bool) -> None:
        lane = self._loaded.pop(update_id).lane
        waiting = self._lanes[lane]
        waiting.popleft()
        if waiting:
            heapq.heappush(self._due, (self._queue.clock(), lane))
        else:
            del self._lanes[lane]
        self._queue.forget(update_id, expired=expired)
