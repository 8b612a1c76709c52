"""The lanes as the sandbox's page shows them: the state of the store and the workers, and recent activity.

Most lanes are empty again within milliseconds. To be visible, a lane stays on the board for LINGER_S after its last
activity, with the number of updates handled and calls sent since it appeared.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from engine import LaneView, Queue, Running, StoreUnavailable
from engine.observe import Committed
from engine.store import FullStore
from telegram.fake.protocol.answers import Json
from telegram.fake.server import FakeServer

log = structlog.get_logger(__name__)

LINGER_S: Final = 4.0
LANES_MAX: Final = 100
DEAD_MAX: Final = 50


@dataclass(slots=True)
class _Row:
    """The activity of a lane since it appeared; `waiting`: update_ids that may still be in Telegram's queue."""

    waiting: list[int] = field(default_factory=list)
    handled: int = 0
    sent: int = 0
    workers: dict[Queue, int] = field(default_factory=dict)
    idle_since: float | None = None


class LaneBoard:
    """Collects the activity of each lane; `snapshot` returns the current state. `observe` is the bot's observer."""

    def __init__(self, fake: FakeServer, store: FullStore) -> None:
        self._fake = fake
        self._store = store
        self._rows: dict[str, _Row] = {}  # by key, in the order of appearance
        self._dead: list[Json] = []
        self._dead_known: int | None = None  # None: read them again

    def arrived(self, chat_id: int, update_id: int) -> None:
        """Record that an update of this chat has entered Telegram's queue."""
        self._row(f"chat:{chat_id}").waiting.append(update_id)

    def observe(self, event: object) -> None:
        """Count what is handled and sent: the observer of the bot."""
        if isinstance(event, Committed):
            lease = event.delivery.lease
            row = self._row(lease.key)
            if lease.queue is Queue.INBOX:
                row.handled += 1 + event.effects.also
            else:
                row.sent += 1

    def dead_letters_changed(self) -> None:
        """Make the next `snapshot` read the dead letters again, even if their number is unchanged."""
        self._dead_known = None

    async def snapshot(self, running: tuple[list[Running], list[Running]]) -> Json:
        """Return the message "lanes": totals of both queues, a row per lane, the latest dead letters.

        `running` are the running handlers of the inbox and the running calls of the outbox (Bot.running).

        A row has `at_telegram`, the number of updates that the bot has not confirmed yet. Its `inbox` and `outbox` have
        `status` ("ready", "leased", "parked", or "idle" without work), `pending` (the running delivery included),
        `done`, `worker` (None unless leased), `running_s`, `attempt`, `parked_s`, `reason`.
        """
        stats = await self._store.stats()
        names = {f"chat:{chat['id']}": _name(chat) for chat in self._fake.world.chats()}
        dead = await self._dead_letters(stats.inbox.dead + stats.outbox.dead)
        lanes = {queue: {v.key: v for v in await self._store.lanes(queue, LANES_MAX)} for queue in Queue}
        # No await from here on: rows, lanes and workers are a snapshot of one moment.
        return {
            "type": "lanes",
            "inbox": stats.inbox._asdict(),
            "outbox": stats.outbox._asdict(),
            "rows": self._row_views(names, lanes, dict(zip(Queue, running, strict=True))),
            "dead": [{**letter, "name": lane_name(letter["key"], names)} for letter in dead],
        }

    def _row_views(
        self,
        names: dict[str, str],
        lanes: dict[Queue, dict[str, LaneView]],
        running: dict[Queue, list[Running]],
    ) -> list[Json]:
        now = asyncio.get_running_loop().time()
        by_lane = {
            queue: {each.delivery.lease.key: each for each in those} for queue, those in running.items()
        }
        first_waiting = self._fake.queue.next_id - self._fake.queue.pending
        for key in (*lanes[Queue.INBOX], *lanes[Queue.OUTBOX]):
            self._row(key)
        rows = []
        for key, row in list(self._rows.items()):
            views = {queue: lanes[queue].get(key) for queue in Queue}
            row.waiting = [update_id for update_id in row.waiting if update_id >= first_waiting]
            if self._is_over(row, now, busy=bool(row.waiting) or any(views.values())):
                del self._rows[key]
                continue
            halves = {
                queue.value: _half(row, queue, views[queue], by_lane[queue].get(key), now) for queue in Queue
            }
            rows.append(
                {"key": key, "name": lane_name(key, names), "at_telegram": len(row.waiting), **halves}
            )
        return rows

    def _row(self, key: str) -> _Row:
        return self._rows.setdefault(key, _Row())

    @staticmethod
    def _is_over(row: _Row, now: float, *, busy: bool) -> bool:
        """Whether the row has been idle for LINGER_S."""
        if busy or row.idle_since is None:
            row.idle_since = None if busy else now
        return row.idle_since is not None and now - row.idle_since >= LINGER_S

    async def _dead_letters(self, count: int) -> list[Json]:
        if count != self._dead_known:
            self._dead_known = count
            try:
                self._dead = [
                    {
                        "number": letter.number,
                        "queue": letter.queue.value,
                        "key": letter.envelope.key,
                        "attempts": letter.attempts,
                        "reason": letter.reason,
                    }
                    for letter in await self._store.dead_letters(DEAD_MAX)
                ]
            except StoreUnavailable as error:
                log.warning("cannot read the dead letters", reason=str(error))
        return self._dead


def _half(row: _Row, queue: Queue, view: LaneView | None, running: Running | None, now: float) -> Json:
    """Return the part of a row for one queue."""
    if running is not None:
        row.workers[queue] = running.worker
    leased = view is not None and view.status == "leased"
    return {
        "status": view.status if view else "idle",
        "pending": view.depth if view else 0,
        "done": row.handled if queue is Queue.INBOX else row.sent,
        # Between two deliveries nothing runs, but the lane is still leased by the worker.
        "worker": row.workers.get(queue) if leased else None,
        "running_s": round(now - running.since, 1) if running else 0.0,
        "attempt": view.attempts + 1 if view else 0,
        "parked_s": round(view.wait_s, 1) if view else 0.0,
        "reason": (view.held or view.reason) if view else "",
    }


def lane_name(key: str, names: Mapping[str, str]) -> str:
    """Return the display name of a lane, "" if it has none; `names`: those of the chats, by key."""
    kind, _, rest = key.partition(":")
    match kind:
        case "query":
            return "Answer to a query"
        case "post":
            return f"Post to {names.get(f'chat:{rest}', rest)}"
        case "payment":
            return f"Payments of {names.get(f'chat:{rest}', rest)}"
        case "inline_query":
            return f"Inline queries of {names.get(f'chat:{rest}', rest)}"
        case "join_request":
            return f"Requests to join {names.get('chat:' + rest.partition(':')[0], rest)}"
        case "every":
            return f"Job {rest}"
        case "inline":
            return "Inline message"
    return names.get(key, "")


def _name(chat: Json) -> str:
    return str(chat.get("title") or chat["first_name"])
