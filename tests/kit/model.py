"""The contract of engine/store.py once more, as plain values: what a store may answer, and how it stands afterwards.

Written from the promises, not from engine/lanes.py, which the stores share: a slip in there must not be a slip in
here. Methods have the names and arguments of the stores'; deliveries are `plain` ones.
"""

import copy
from bisect import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from engine import KEEP, DeadLetter, Delivery, Effects, Envelope, Lease, LeaseLost, Limits, Queue
from engine.model import QueueStats
from engine.store import ID_FALL_MAX
from tests.kit.not_yet import NOT_YET
from tests.kit.view import LaneSeen, View

DAY_S: Final = 86_400.0
FIRST: Final = (0, 0)

Rank = tuple[int, int]
"""How often the numbering restarted, and the id: the order of a lane."""


class Impossible(Exception):  # noqa: N818 - what a store that keeps its promises cannot have done
    """No store may have answered this."""


class Item(NamedTuple):
    """Something pending, or a dead letter's envelope, with where it belongs."""

    rank: Rank
    envelope: Envelope


class Lane(NamedTuple):
    """Pending work of one key; `since` orders the ready ones, those of the same moment in any order."""

    items: tuple[Item, ...]
    since: int
    status: str = "ready"
    fence: int = 0
    session: int = 0
    acked: Envelope | None = None
    attempts: int = 0
    reason: str = ""
    until: float = 0.0


class Model:
    """One store. `now` and `until` are times of the event loop, set by whoever drives it: when calls are made, and
    up to when what happens by itself has happened. Unix time runs `wall_s` ahead of it."""

    def __init__(self, limits: Limits, wall_s: float) -> None:
        self.limits = limits
        self.wall_s = wall_s
        self.now = self.until = 0.0
        self.lanes: dict[tuple[Queue, str], Lane] = {}
        self.states: dict[tuple[str, str], bytes] = {}
        self.seen: dict[int, float] = {}
        self.dead: tuple[tuple[DeadLetter, Rank], ...] = ()
        self.last = dict.fromkeys(Queue, FIRST)
        self.counts = dict.fromkeys(Queue, (0, 0, 0))
        self.fences = dict.fromkeys(Queue, 0)
        self._letters = 0
        self._calls = 0
        self._moment = 0

    def copy(self) -> "Model":
        other = copy.copy(self)
        for name in ("lanes", "states", "seen", "last", "counts", "fences"):
            setattr(other, name, getattr(self, name).copy())
        return other

    # -- the store's methods ----------------------------------------------------------------------------------

    def append(
        self,
        batch: Sequence[Envelope],
        *,
        forgotten: Iterable[int] = (),
        depths: Mapping[str, int] = MappingProxyType({}),
    ) -> int:
        """`forgotten` are ids that the store need not remember any more, and does not; `depths` of lanes are those
        of the moment of asking, which the store may go by."""
        forget, new, added = set(forgotten), 0, Counter[str]()
        for envelope in batch:
            if envelope.id in self.seen and envelope.id not in forget:
                continue
            forget.discard(envelope.id)
            self.seen[envelope.id] = self.now
            new += 1
            key = envelope.key
            lane = self.lanes.get((Queue.INBOX, key))
            if (
                max(len(lane.items) if lane else 0, depths.get(key, 0) + added[key])
                >= self.limits.lane_depth_max
            ):
                self._count(Queue.INBOX, appended=1)
                self._bury(Queue.INBOX, Item((0, envelope.id), envelope), 0, "lane full")
            else:
                added[key] += 1
                self._add(Queue.INBOX, Item(self._rank(envelope.id), envelope))
        return new

    def claim(self, session: int, lease: Lease) -> Delivery:
        """Let the store choose the lane among those that have been ready longest, and the fence."""
        queue, key, fence = lease
        if key not in self.longest_ready(queue):
            raise Impossible(f"{key} is not the lane that has been ready longest")
        if fence <= self.fences[queue]:
            raise Impossible(f"the fence {fence} is not higher than the last")
        self.fences[queue] = fence
        lane = self.lanes[queue, key]._replace(status="leased", fence=fence, session=session, acked=None)
        self.lanes[queue, key] = lane
        return self._delivery(lease)

    def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        queue, key, _ = delivery.lease
        lane = self._held(delivery.lease)
        if lane.items[0].envelope == delivery.envelope:
            scope = (key, delivery.envelope.scope)
            if effects.state is None:
                self.states.pop(scope, None)
            elif effects.state is not KEEP:
                self.states[scope] = effects.state
            self._count(queue, committed=1)
            for call in effects.calls:
                self._calls += 1
                self._add(Queue.OUTBOX, Item((0, self._calls), Envelope(0, call.key, "", call.body)))
            self._pop(queue, key, keep=more)
            return self._delivery(delivery.lease) if self.is_held(delivery.lease) else None
        if lane.acked == delivery.envelope:
            return self._delivery(delivery.lease)
        raise LeaseLost(key)

    def park(self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str) -> None:
        lane = self._head_held(delivery)
        self.lanes[delivery.lease[:2]] = lane._replace(
            status="parked", attempts=lane.attempts + counted, reason=reason, until=self.now + delay_s
        )

    def bury(self, delivery: Delivery, reason: str) -> None:
        queue, key, _ = delivery.lease
        lane = self._head_held(delivery)
        self._bury(queue, lane.items[0], lane.attempts + 1, reason)
        self._pop(queue, key, keep=False)

    def release(self, delivery: Delivery) -> None:
        self._head_held(delivery)
        self._ready(delivery.lease[:2])

    def renew(self, leases: Iterable[Lease]) -> list[Lease]:
        return [lease for lease in leases if not self.is_held(lease)]

    def replay(self, number: int) -> bool:
        for entry in self.dead:
            letter, rank = entry
            if letter.number == number:
                self.dead = tuple(other for other in self.dead if other is not entry)
                era, _ = self._last(letter.queue)  # by its number, so before what came later
                self._add(letter.queue, Item((era, rank[1]), letter.envelope))
                return True
        return False

    # -- what happens by itself -------------------------------------------------------------------------------

    def due(self) -> list[float]:
        """Return the moments that have come and for which a lane was parked."""
        return sorted(
            {
                lane.until
                for lane in self.lanes.values()
                if lane.status == "parked" and lane.until <= self.until
            }
        )

    def unpark(self) -> None:
        for moment in self.due():
            parked = {name: lane for name, lane in self.lanes.items() if lane.status == "parked"}
            self._ready(*(name for name, lane in parked.items() if lane.until == moment))

    def take_over(self, sessions: Collection[int]) -> None:
        """Void the leases of these sessions, which are gone."""
        self._ready(*self.leased_to(sessions))

    def hold(self, queue: Queue, key: str) -> None:
        """Lease the lane to somebody who was cut off and will never know; it is `let_go` in the end."""
        self.lanes[queue, key] = self.lanes[queue, key]._replace(status="leased", fence=-1, session=-1)

    def let_go(self, queue: Queue, key: str) -> None:
        lane = self.lanes.get((queue, key))
        if lane is None or lane.status != "leased":
            raise Impossible(f"{key} is not leased")
        self._ready((queue, key))

    def reopen(self) -> None:
        """All leases are void; which lane was ready first is forgotten, and counting begins anew."""
        self._ready(*(name for name, lane in self.lanes.items() if lane.status != "parked"))
        for queue in Queue:
            ranks = [item.rank for lane in self._lanes_of(queue) for item in lane.items]
            self.last[queue] = max(ranks, default=FIRST)
            self.counts[queue] = (len(ranks), 0, 0)
        for name, lane in self.lanes.items():
            keep = 1 if lane.attempts and "a tried head stays the head in the file" not in NOT_YET else 0
            self.lanes[name] = lane._replace(items=lane.items[:keep] + tuple(sorted(lane.items[keep:])))

    # -- questions --------------------------------------------------------------------------------------------

    def is_held(self, lease: Lease) -> bool:
        lane = self.lanes.get((lease.queue, lease.key))
        return lane is not None and lane.status == "leased" and lane.fence == lease.fence

    def is_current(self, delivery: Delivery) -> bool:
        """Return whether this is the head of a lane, under a lease in force."""
        return (
            self.is_held(delivery.lease)
            and self.lanes[delivery.lease[:2]].items[0].envelope == delivery.envelope
        )

    def leased_to(self, sessions: Collection[int]) -> list[tuple[Queue, str]]:
        return [
            name for name, lane in self.lanes.items() if lane.status == "leased" and lane.session in sessions
        ]

    def longest_ready(self, queue: Queue) -> list[str]:
        """Return the keys that a claim may take."""
        ready = self._ready_since(queue)
        return [key for key, since in ready.items() if since == min(ready.values())]

    def ready_in_order(self, queue: Queue, keys: Sequence[str]) -> bool:
        """Return whether these are the ready lanes, in an order in which they may be claimed."""
        since = self._ready_since(queue)
        return sorted(keys) == sorted(since) and list(keys) == sorted(keys, key=since.__getitem__)

    def depths(self) -> dict[str, int]:
        return {key: len(lane.items) for (queue, key), lane in self.lanes.items() if queue is Queue.INBOX}

    def may_forget(self, ids: Iterable[int]) -> set[int]:
        """Return which of the ids a store need not remember: not pending, and older than a day."""
        pending = {item.envelope.id for lane in self._lanes_of(Queue.INBOX) for item in lane.items}
        return {id_ for id_ in ids if self.seen.get(id_, self.now) < self.now - DAY_S and id_ not in pending}

    def view(self) -> View:
        lanes = {
            name: LaneSeen(
                lane.status,
                lane.attempts,
                lane.until - self.now if lane.status == "parked" else 0.0,
                lane.reason,
                lane.fence if lane.status == "leased" else None,
                tuple(item.envelope for item in lane.items),
            )
            for name, lane in self.lanes.items()
        }
        return View(
            lanes,
            {queue: self._stats(queue) for queue in Queue},
            self.states,
            [d for d, _ in self.dead][::-1],
        )

    # -- parts of the above -----------------------------------------------------------------------------------

    def _lanes_of(self, queue: Queue) -> list[Lane]:
        return [lane for name, lane in self.lanes.items() if name[0] is queue]

    def _stats(self, queue: Queue) -> QueueStats:
        mine = self._lanes_of(queue)
        by_status = (sum(lane.status == status for lane in mine) for status in ("ready", "leased", "parked"))
        return QueueStats(*self.counts[queue], sum(len(lane.items) for lane in mine), *by_status)

    def _ready_since(self, queue: Queue) -> dict[str, int]:
        return {
            key: lane.since
            for (of, key), lane in self.lanes.items()
            if of is queue and lane.status == "ready"
        }

    def _held(self, lease: Lease) -> Lane:
        if not self.is_held(lease):
            raise LeaseLost(lease.key)
        return self.lanes[lease.queue, lease.key]

    def _head_held(self, delivery: Delivery) -> Lane:
        if not self.is_current(delivery):
            raise LeaseLost(delivery.lease.key)
        return self.lanes[delivery.lease[:2]]

    def _delivery(self, lease: Lease) -> Delivery:
        lane = self.lanes[lease.queue, lease.key]
        head = lane.items[0].envelope
        state = self.states.get((lease.key, head.scope)) if lease.queue is Queue.INBOX else None
        return Delivery(lease, head, lane.attempts + 1, state)

    def _count(self, queue: Queue, **more: int) -> None:
        names = QueueStats._fields[:3]
        self.counts[queue] = tuple(  # type: ignore[assignment]
            count + more.get(name, 0) for name, count in zip(names, self.counts[queue], strict=True)
        )

    def _rank(self, id_: int) -> Rank:
        """An id far below the last one of late is the first of a new numbering."""
        era, last = self._last(Queue.INBOX)
        return (era + (id_ < last - ID_FALL_MAX), id_)

    def _last(self, queue: Queue) -> Rank:
        """Return the highest rank of late, which is forgotten when nothing is pending."""
        return self.last[queue] if self._lanes_of(queue) else FIRST

    def _add(self, queue: Queue, item: Item) -> None:
        """By rank, but behind a head that somebody holds, or has tried, or held when others came late."""
        self.last[queue] = max(self._last(queue), item.rank)
        self._count(queue, appended=1)
        name = (queue, item.envelope.key)
        lane = self.lanes.get(name)
        if lane is None:
            self.lanes[name] = Lane((item,), 0)
            self._ready(name)
            return
        keep = 1 if lane.status == "leased" or lane.attempts else 0
        if "what is behind a head stays in order" in NOT_YET:
            place = len(lane.items) if item > lane.items[-1] else bisect(lane.items, item, keep)
            self.lanes[name] = lane._replace(items=(*lane.items[:place], item, *lane.items[place:]))
            return
        keep = max(keep, lane.items[0] > min(lane.items))
        self.lanes[name] = lane._replace(items=lane.items[:keep] + tuple(sorted((*lane.items[keep:], item))))

    def _pop(self, queue: Queue, key: str, *, keep: bool) -> None:
        lane = self.lanes.pop((queue, key))
        if len(lane.items) > 1:
            self.lanes[queue, key] = lane._replace(
                items=lane.items[1:], acked=lane.items[0].envelope, attempts=0, reason=""
            )
            if not keep:
                self._ready((queue, key))

    def _ready(self, *names: Any) -> None:
        """Make lanes ready, behind the others, all at the same moment."""
        self._moment += 1
        for name in names:
            self.lanes[name] = self.lanes[name]._replace(status="ready", since=self._moment, acked=None)

    def _bury(self, queue: Queue, item: Item, attempts: int, reason: str) -> None:
        self._letters += 1
        self._count(queue, dead=1)
        letter = DeadLetter(self._letters, queue, item.envelope, attempts, reason, self.now + self.wall_s)
        self.dead = (*self.dead, (letter, item.rank))[-self.limits.dead_max :]
