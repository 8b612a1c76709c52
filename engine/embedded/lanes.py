"""The lanes of one queue, as plain bookkeeping: no I/O, no await between reading and changing.

Shared by the stores whose leases live in this process (memory, SQLite). A lane knows its pending work only by
*places*: integers that grow in the lane's order and name the work in whatever keeps it. A lane without pending
work has no record, so an idle chat costs nothing.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Final, Literal, NamedTuple

from engine.errors import LeaseLost, NotPeeked
from engine.model import TIMER_IDS, Delivery, Envelope, LaneView, Lease, Overflow, Queue, QueueStats
from engine.store import ID_BITS, ID_FALL_MAX, ID_MASK

_ERA_MAX: Final = (1 << 63 - ID_BITS) - 1  # a place fits a signed 64-bit integer
_COMPACT_AT: Final = 64
"""Acked places are cut off in runs of at least this many, so that an ack costs the same at any depth."""


class ParkedLane(NamedTuple):
    """A lane that is left alone for `delay_s`, after so many counted failures of what stands at `place`."""

    key: str
    place: int
    delay_s: float
    attempts: int
    reason: str


def place_after(last_place: int, id_: int) -> int:
    """Return the place of an id: by its number, but behind everything when the ids restarted."""
    era, last_id = divmod(last_place, 1 << ID_BITS)
    if id_ < last_id - ID_FALL_MAX:
        era = min(era + 1, _ERA_MAX)
    return (era << ID_BITS) + id_


def same_scope(delivery: Delivery, following: Iterable[Envelope]) -> list[Envelope]:
    """Return what of the following belongs to the delivery's scope, up to the first that does not."""
    return list(takewhile(lambda envelope: envelope.scope == delivery.envelope.scope, following))


class Lane:
    """One key's pending work, and who may touch it."""

    __slots__ = (
        "acked",
        "attempts",
        "fence",
        "handed",
        "holder",
        "key",
        "lease",
        "pending",
        "reason",
        "settling",
        "start",
        "status",
        "timer",
    )

    def __init__(self, key: str, place: int) -> None:
        self.key = key
        self.pending = array("q", (place,))  # in the lane's order; what is before `start` was acked
        self.start = 0
        self.handed = 0  # places from `start` on that the holder knows: nothing comes between them
        self.status: Literal["ready", "leased", "parked"] = "ready"
        self.fence = 0  # of the lease in force, else of the last one
        self.lease: Lease  # the same, as its holder has it
        self.holder: object = None
        self.acked = (
            -1
        )  # the place acked last under the lease in force: tells a repeated commit from a stale one
        self.attempts = 0  # counted failures of the head
        self.reason: str | None = None  # why the head was parked last, if it was
        self.settling: Any = None  # for a store whose changes take time: the one under way
        self.timer: asyncio.TimerHandle | None = None  # set exactly while parked

    @property
    def head(self) -> int:
        """The lowest pending place."""
        return self.pending[self.start]

    @property
    def depth(self) -> int:
        """How many are pending."""
        return len(self.pending) - self.start

    def delivery(self, envelope: Envelope, state: bytes | None) -> Delivery:
        """Return the head, as the lane's holder gets it."""
        return Delivery(self.lease, envelope, self.attempts + 1, state, self.reason is not None)

    def behind(self, limit: int) -> list[int]:
        """Return the places directly behind the head, at most `limit`, up to a timer."""
        places = self.pending[self.start + 1 : self.start + 1 + limit]
        return list(takewhile(lambda place: not place & TIMER_IDS, places))

    def updates_behind(self, limit: int) -> list[int]:
        """Return the places of updates among the `limit` places behind the head."""
        return [
            place for place in self.pending[self.start + 1 : self.start + 1 + limit] if not place & TIMER_IDS
        ]

    def hand_out(self, count: int) -> None:
        """Note that the holder knows the head and `count` behind it."""
        self.handed = max(self.handed, 1 + count)

    def acked_with(self, also: int) -> Sequence[int]:
        """Return the places that a commit acks, the head first; NotPeeked if the holder does not know them all."""
        if not also:
            return (self.pending[self.start],)
        if also >= self.handed:
            raise NotPeeked(f"{also} more are to be acked, and {self.handed - 1} were peeked")
        return self.pending[self.start : self.start + 1 + also]


class LaneTable:
    """Who is ready, leased and parked in one queue, and who waits for a lane."""

    def __init__(self, queue: Queue, *, fence: int = 0) -> None:
        self.queue = queue
        self.appended = self.committed = self.dead = 0  # since the store was opened; the store counts
        self.lane_full = self.dropped = 0
        self.pending = 0
        self.leased = 0
        self.parked = 0
        self._last_place = 0
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()  # exactly the lanes with status "ready", longest waiting first
        self._fence = fence
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def ready(self) -> int:
        """How many lanes wait for a worker."""
        return len(self._ready)

    @property
    def last_place(self) -> int:
        """The highest place of late; 0 when nothing is pending."""
        return self._last_place if self.pending else 0

    def place_of(self, id_: int) -> int:
        """Return the place of an id that is added next."""
        return place_after(self.last_place, id_)

    def old_place_of(self, id_: int) -> int:
        """Return the place of an id that was here before: by its number, so before what came later."""
        return (self.last_place & ~ID_MASK) + id_

    def places_of(self, id_: int) -> list[int]:
        """Return all places at which an id may be pending: one for each time the numbering has restarted."""
        return [(era << ID_BITS) + id_ for era in range((self.last_place >> ID_BITS) + 1)]

    def depth(self, key: str) -> int:
        """Return how many are pending in the lane `key`."""
        lane = self._lanes.get(key)
        return lane.depth if lane else 0

    def add(self, key: str, place: int) -> None:
        """Add pending work; an idle lane becomes ready."""
        if place > self._last_place or not self.pending:
            self._last_place = place
        self.pending += 1
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = Lane(key, place)
            self._ready.append(lane)
            self._wake()
        elif place > (last := lane.pending[-1]) and not last & TIMER_IDS:
            lane.pending.append(place)
        else:
            self._add_late(lane, place)

    def add_timer(self, key: str, place: int) -> None:
        """Add a timer that came due, behind what is pending; an idle lane becomes ready."""
        self.pending += 1
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = Lane(key, place)
            self._ready.append(lane)
            self._wake()
        else:
            lane.pending.append(place)

    def remove(self, key: str, place: int) -> None:
        """Take out something pending that stands behind the head."""
        lane = self._lanes[key]
        lane.pending.pop(lane.pending.index(place, lane.start + 1))
        self.pending -= 1

    def _add_late(self, lane: Lane, place: int) -> None:
        """Before the updates with higher places behind the last one with a lower place; timers stay where they are.

        What somebody holds, and a head that was tried, keep their place.
        """
        at = index = len(lane.pending)
        first = lane.start + (lane.handed or lane.attempts > 0)
        while index > first:
            index -= 1
            other = lane.pending[index]
            if other & TIMER_IDS:
                continue
            if other < place:
                break
            at = index
        lane.pending.insert(at, place)

    def take(self, holder: object) -> Lane | None:
        """Lease the lane that has been ready longest to `holder`, under a new fence."""
        if not self._ready:
            return None
        lane = self._ready.popleft()
        self._fence += 1
        self.leased += 1
        lane.status, lane.fence, lane.holder, lane.acked = "leased", self._fence, holder, -1
        lane.handed = 1
        lane.lease = Lease(self.queue, lane.key, self._fence)
        return lane

    def is_held(self, lease: Lease) -> bool:
        """Return whether the lease is in force."""
        lane = self._lanes.get(lease.key)
        return lane is not None and lane.fence == lease.fence and lane.status == "leased"

    def held(self, lease: Lease) -> Lane:
        """Return the lane of a lease that is in force; LeaseLost otherwise."""
        if not self.is_held(lease):
            raise LeaseLost(lease.key)
        return self._lanes[lease.key]

    def head_held(self, delivery: Delivery) -> Lane:
        """Return the lane whose head this delivery is, under a lease in force; LeaseLost otherwise."""
        lane = self.held(delivery.lease)
        if lane.head & ID_MASK != delivery.envelope.id:
            raise LeaseLost(delivery.lease.key)
        return lane

    def ack(self, lane: Lane, *, more: bool, count: int = 1) -> bool:
        """Pop the head and what is acked with it; return whether the lane stays leased.

        That needs `more` and something to do.
        """
        lane.acked = lane.pending[lane.start]
        lane.attempts = 0
        lane.reason = None
        lane.start += count
        lane.handed = lane.handed - count or 1
        self.pending -= count
        if lane.start == len(lane.pending):
            self.leased -= 1
            del self._lanes[lane.key]
            return False
        if lane.start >= _COMPACT_AT and lane.start * 2 >= len(lane.pending):
            del lane.pending[: lane.start]
            lane.start = 0
        if not more:
            self.let_go(lane)
        return more

    def let_go(self, lane: Lane) -> None:
        """Give the lease back: the lane is ready, behind the others."""
        self.leased -= 1
        self._make_ready(lane)

    def park(self, lane: Lane, delay_s: float, *, attempts: int, reason: str) -> None:
        """Give the lease back, and leave the lane alone for `delay_s`."""
        self.leased -= 1
        self.parked += 1
        lane.status, lane.holder, lane.attempts, lane.reason = "parked", None, attempts, reason
        lane.handed = 0
        lane.timer = asyncio.get_running_loop().call_later(delay_s, self._unpark, lane)

    def restore(self, parked: Iterable[ParkedLane]) -> None:
        """Park lanes as they were found in a file; a head that was tried is the head again."""
        for key, place, delay_s, attempts, reason in parked:
            if (lane := self._lanes.get(key)) is not None and place in lane.pending:
                if attempts:
                    lane.pending.remove(place)
                    lane.pending.insert(0, place)
                self.leased += 1
                self.park(lane, delay_s, attempts=attempts, reason=reason)
        self._ready = deque(lane for lane in self._ready if lane.status == "ready")

    def reap(self, holder: object) -> None:
        """Take every lane of a holder that is gone back; its fences are void from now on."""
        for lane in self._lanes.values():
            if lane.status == "leased" and lane.holder is holder:
                self.let_go(lane)

    def pending_ids(self) -> Iterator[int]:
        """Yield the id of every update or call that is pending."""
        for lane in self._lanes.values():
            for place in lane.pending[lane.start :]:
                if not place & TIMER_IDS:
                    yield place & ID_MASK

    def stats(self) -> QueueStats:
        """Return the queue in numbers."""
        return QueueStats(
            self.appended, self.committed, self.dead, self.pending, self.ready, self.leased, self.parked
        )

    def overflow(self) -> Overflow:
        """Return what went beyond the bounds."""
        return Overflow(self.lane_full, self.dropped)

    def views(self, limit: int) -> Iterator[LaneView]:
        """Yield up to `limit` lanes that have work."""
        now = asyncio.get_running_loop().time()
        for _, lane in zip(range(limit), self._lanes.values(), strict=False):
            wait_s = max(0.0, lane.timer.when() - now) if lane.timer else 0.0
            yield LaneView(
                self.queue, lane.key, lane.status, lane.depth, lane.attempts, wait_s, lane.reason or ""
            )

    async def wait(self) -> None:
        """Return when a lane has become ready since the call (another may have taken it by then)."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # it was our turn, and we cannot take it
            raise

    def close(self) -> None:
        """Stop the timers, and wake whoever waits: it will not be here that a lane becomes ready."""
        for lane in self._lanes.values():
            if lane.timer:
                lane.timer.cancel()
        while self._waiters:
            self._wake()

    def _unpark(self, lane: Lane) -> None:
        lane.timer = None
        self.parked -= 1
        self._make_ready(lane)

    def _make_ready(self, lane: Lane) -> None:
        lane.status, lane.holder, lane.handed = "ready", None, 0
        self._ready.append(lane)
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
