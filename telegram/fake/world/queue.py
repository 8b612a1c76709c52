"""The update queue of one bot at Telegram, read by getUpdates or by a webhook (webhook.py). Pure: no I/O, no tasks, an injected clock.

- Ids are consecutive; the first one is random.
- A read with a higher offset drops all updates below it at once, even if the reply is lost.
- Unconfirmed updates expire: an inline query after 30 s, a message after 24 h.
- A full queue drops new updates without an error.

The rules are those of the official server (telegram-bot-api 10.0 `Client.cpp`, td `TQueue.cpp`).
"""

import json
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from telegram.fake.protocol.answers import Json

PENDING_MAX = 100_000
PENDING_BYTES_MAX = 128 << 20
UPDATE_BYTES_MAX = 512 << 10
REPLY_BYTES_MAX = 4 << 20
TAIL_SLACK = 10  # an offset further than this past the tail is ignored
LIMIT_MAX = 100
TIMEOUT_MAX_S = 50
ID_MAX = 2**31 - 1
FIRST_ID_RANGE = (2_000_001, 2**30)

TTL_S = {
    "inline_query": 30,
    "callback_query": 150,
    "shipping_query": 150,
    "pre_checkout_query": 150,
    "chosen_inline_result": 600,
}
TTL_DEFAULT_S = 24 * 3600

OPT_IN_KINDS = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
DEFAULT_KINDS = frozenset(
    {
        *("message", "edited_message", "channel_post", "edited_channel_post"),
        *("business_connection", "business_message", "edited_business_message", "deleted_business_messages"),
        *("guest_message", "inline_query", "chosen_inline_result", "callback_query"),
        *("shipping_query", "pre_checkout_query", "purchased_paid_media", "poll", "poll_answer"),
        *("my_chat_member", "chat_join_request", "chat_boost", "removed_chat_boost"),
        *("managed_bot", "subscription", "stopped_message_generation"),
    }
)
KINDS = DEFAULT_KINDS | OPT_IN_KINDS


class Pending(NamedTuple):
    """An update that waits."""

    id: int
    expires_at: float
    raw: bytes
    lane: int = 0
    """Webhooks deliver the updates of a lane one after another (webhook.py, `lane_of`); 0: in any order."""


def _ignore_push() -> None:
    """The default of `on_push`."""


class UpdateQueue:
    """Updates that wait to be taken; `clock` returns monotonic seconds."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None
    ) -> None:
        self.clock = clock
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._pending_bytes = 0
        self._earliest_expiry = float("inf")  # no pending update expires before this
        self._next_id = (rng or random.Random()).randint(*FIRST_ID_RANGE)
        self._asked_offset: int | None = None
        self._asked_at = float("-inf")
        self._next_conflict_at = float("-inf")
        self.on_push: Callable[[], None] = _ignore_push
        self.allowed = DEFAULT_KINDS
        self.confirmed = 0
        self.expired = 0
        self.dropped = 0
        self.webhook_url = ""
        """The URL of the webhook that is set, "" for none: getUpdates then answers 409."""

    @property
    def pending(self) -> int:
        """Number of waiting updates, without confirmed and expired ones."""
        self._expire()
        return len(self._pending)

    @property
    def next_id(self) -> int:
        """The id of the next update."""
        return self._next_id

    def push(self, kind: str, rest: bytes, lane: int = 0) -> int:
        """Append `{"update_id":N,<rest>}` unchanged; return N, or 0 if the update is not queued.

        Not queued: kinds that the bot did not request, and updates above one of the size limits. Kinds unknown to this
        server are queued, like those of a newer server.
        """
        if kind not in self.allowed and kind in KINDS:
            return 0
        if self._is_full_for(rest):
            self._expire()
            if self._is_full_for(rest):
                self.dropped += 1
                return 0
        update_id = self._next_id
        self._next_id += 1
        raw = b'{"update_id":%d,%b}' % (update_id, rest)
        expires_at = self.clock() + TTL_S.get(kind, TTL_DEFAULT_S)
        self._earliest_expiry = min(self._earliest_expiry, expires_at)
        self._pending[update_id] = Pending(update_id, expires_at, raw, lane)
        self._pending_bytes += len(raw)
        self.on_push()
        return update_id

    def admit(self, offset: int, limit: int, timeout: float) -> tuple[int, float]:
        """Return limit and timeout (seconds) in their bounds, stricter for a quick repetition of the same offset.

        The time counts from the arrival of the previous request: a bot whose long poll returned empty is not slowed.
        """
        limit = min(max(limit, 1), LIMIT_MAX)
        timeout = min(max(timeout, 0), TIMEOUT_MAX_S)
        now = self.clock()
        if offset == self._asked_offset:
            age = now - self._asked_at
            if age < 3 and timeout < 3:
                timeout = 3
            if age < 0.5:
                limit = 1
        self._asked_offset = offset
        self._asked_at = now
        return limit, timeout

    def read(self, offset: int, limit: int) -> list[bytes]:
        """Drop the updates below `offset`, then return up to `limit` raw updates, at most about 4 MiB.

        A negative offset -N keeps only the last N. An offset far past the tail (TAIL_SLACK) or below the head drops
        nothing; both read from the head.
        """
        self._expire()
        if offset < 0:
            while len(self._pending) > -offset:
                self._forget_head()
        elif offset <= self._next_id + TAIL_SLACK:
            while self._pending and next(iter(self._pending)) < offset:
                self._forget_head()
        batch = []
        room = REPLY_BYTES_MAX
        for update in islice(self._pending.values(), limit):
            room -= 50 + len(update.raw)
            if room <= 0:
                break
            batch.append(update.raw)
        return batch

    def following(self, start: int, limit: int) -> list[Pending]:
        """Return up to `limit` updates from the id `start` on, or from the first one if the ids have restarted below it."""
        self._expire()
        if not self._pending:
            return []
        head = next(iter(self._pending))
        found: list[Pending] = []
        for update_id in range(head if start > self._next_id else max(start, head), self._next_id):
            if len(found) >= limit:
                break
            if (update := self._pending.get(update_id)) is not None:
                found.append(update)
        return found

    def forget(self, update_id: int, *, expired: bool = False) -> None:
        """Drop an update that a webhook has taken, or that cannot be delivered any more."""
        if (update := self._pending.pop(update_id, None)) is not None:
            self._pending_bytes -= len(update.raw)
            if expired:
                self.expired += 1
            else:
                self.confirmed += 1

    def allow(self, names: object) -> None:
        """Set `allowed_updates` (a list, or its JSON text) for updates pushed from now on.

        An empty list, or one without a known name, means the default; values other than a list of strings are ignored.
        """
        if isinstance(names, str):
            try:
                names = json.loads(names)
            except ValueError:
                return
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            self.allowed = KINDS & {name.lower() for name in names} or DEFAULT_KINDS

    def conflict_delay_s(self) -> float:
        """Return the delay of a 409 in seconds: 0 for the first, 3 for those within 3 s of it."""
        now = self.clock()
        if now < self._next_conflict_at:
            return 3.0
        self._next_conflict_at = now + 3.0
        return 0.0

    def clear(self) -> None:
        """Drop all waiting updates; they count as confirmed."""
        while self._pending:
            self._forget_head()

    def restart_ids(self, next_id: int) -> None:
        """Continue with `next_id`, as the server does after an idle week; waiting updates expire. ValueError."""
        if not 0 < next_id < ID_MAX:
            raise ValueError(f"an update_id is a positive int32, not {next_id}")
        self.expired += len(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._next_id = next_id

    def state(self) -> Json:
        """Return the state for `restore`, as JSON."""
        now = self.clock()
        pending = [
            (each.id, each.expires_at - now, each.raw.decode("latin-1")) for each in self._pending.values()
        ]
        return {"next_id": self._next_id, "pending": pending}

    def restore(self, state: Json, *, skipped: int) -> None:
        """Load a state into an empty queue; the next id is increased by `skipped`."""
        now = self.clock()
        for update_id, seconds, raw in state["pending"]:
            update = Pending(int(update_id), now + seconds, raw.encode("latin-1"))
            self._pending[update.id] = update
            self._pending_bytes += len(update.raw)
            self._earliest_expiry = min(self._earliest_expiry, update.expires_at)
        self._next_id = (int(state["next_id"]) + skipped) % (ID_MAX - skipped) or 1

    def _is_full_for(self, rest: bytes) -> bool:
        return (
            len(self._pending) >= PENDING_MAX
            or len(rest) > UPDATE_BYTES_MAX
            or self._pending_bytes + len(rest) > PENDING_BYTES_MAX
        )

    def _forget_head(self) -> None:
        self.forget(next(iter(self._pending)))

    def _expire(self) -> None:
        now = self.clock()
        if now < self._earliest_expiry:
            return
        kept = OrderedDict((id_, update) for id_, update in self._pending.items() if update.expires_at > now)
        self.expired += len(self._pending) - len(kept)
        self._pending = kept
        self._pending_bytes = sum(len(update.raw) for update in kept.values())
        self._earliest_expiry = min((update.expires_at for update in kept.values()), default=float("inf"))
