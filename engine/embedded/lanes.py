"""The lanes of one queue, in memory: no I/O, no await between reading and changing.

A lane without pending work has no record, so an idle chat costs no memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from engine.embedded.lane import Lane, ParkedLane, place_after
from engine.errors import LeaseLost
from engine.model import TIMER_IDS, Delivery, Lease, Overflow, Queue, QueueStats
from engine.store import ALL_LANES, ID_BITS, ID_MASK

_COMPACT_AT: Final = 64
"""Acked places are removed in runs of at least this many, so that the cost of an ack does not depend on the depth."""


class LaneTable:
    """The ready, leased and parked lanes of one queue, and the claims that wait for a lane."""

    def __init__(self, queue: Queue, *, fence: int = 0) -> None:
        self.queue = queue
        self.appended = self.committed = self.dead = 0  # since the store was opened; updated by the store
        self.lane_full = self.dropped = 0
        self.pending = self.leased = self.parked = 0
        self._last_place = 0
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()  # exactly the lanes with status "ready", longest waiting first
        self._fence = fence
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._settling: list[asyncio.Future[None]] = []  # of `settled`
        self._closed = False
        self._holds: dict[str, str] = {}  # key -> why an operator holds the lane (held_lanes.py)
        self._is_held = False  # ALL_LANES is one of them

    @property
    def ready(self) -> int:
        """Number of lanes that wait for a worker."""
        return len(self._ready)

    @property
    def last_place(self) -> int:
        """The highest place added since the queue was last empty; 0 while nothing is pending."""
        return self._last_place if self.pending else 0

    def place_of(self, id_: int) -> int:
        """Return the place for a new id."""
        return place_after(self.last_place, id_)

    def old_place_of(self, id_: int) -> int:
        """Return the place for a replayed id: in the order of the ids, so before newer ones."""
        return (self.last_place & ~ID_MASK) + id_

    def places_of(self, id_: int) -> list[int]:
        """Return all places at which an id may be pending: one per restart of the numbering, and the first."""
        return [(era << ID_BITS) + id_ for era in range((self.last_place >> ID_BITS) + 1)]

    def depth(self, key: str) -> int:
        """Return the number of pending entries of the lane `key`."""
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
            self._make_ready(lane)
        elif place > (last := lane.pending[-1]) and not last & TIMER_IDS:
            lane.pending.append(place)
        else:
            self._add_late(lane, place)

    def add_timer(self, key: str, place: int) -> None:
        """Add a due timer after what is pending; an idle lane becomes ready."""
        self.pending += 1
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = Lane(key, place)
            self._make_ready(lane)
        else:
            lane.pending.append(place)

    def remove(self, key: str, place: int) -> None:
        """Remove a pending place behind the head."""
        lane = self._lanes[key]
        lane.pending.pop(lane.pending.index(place, lane.start + 1))
        self.pending -= 1

    def _add_late(self, lane: Lane, place: int) -> None:
        """Insert a place that is lower than a pending one, e.g. 5 into 3, 7, timer, 9 gives 3, 5, 7, timer, 9.

        It goes after the last update with a lower place, before the next update; timers do not move. Nothing goes
        before the places that a holder has seen, nor before a head with a counted failure.
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
        if not self._is_claimable():
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
        """Return the lane if its lease is in force and this delivery is its head; LeaseLost otherwise."""
        lane = self.held(delivery.lease)
        if lane.head & ID_MASK != delivery.envelope.id:
            raise LeaseLost(delivery.lease.key)
        return lane

    def ack(self, lane: Lane, *, more: bool, count: int = 1) -> bool:
        """Remove the first `count` places; return whether the lane stays leased: with `more`, and if work is left."""
        lane.acked = lane.pending[lane.start]
        lane.attempts = 0
        lane.reason = None
        lane.start += count
        lane.handed = lane.handed - count or 1
        self.pending -= count
        if lane.start == len(lane.pending):
            self.leased -= 1
            del self._lanes[lane.key]
            if self._settling:
                self.look_settled()
            return False
        if lane.start >= _COMPACT_AT and lane.start * 2 >= len(lane.pending):
            del lane.pending[: lane.start]
            lane.start = 0
        if not more or (self._holds and (self._is_held or lane.key in self._holds)):
            self.let_go(lane)
            return False
        return True

    def let_go(self, lane: Lane) -> None:
        """Release the lease: the lane becomes the last of the ready ones."""
        self.leased -= 1
        self._make_ready(lane)

    def park(self, lane: Lane, delay_s: float, *, attempts: int, reason: str) -> None:
        """Release the lease; the lane becomes ready after `delay_s`."""
        self.leased -= 1
        self.parked += 1
        lane.status, lane.holder, lane.attempts, lane.reason = "parked", None, attempts, reason
        lane.handed = 0
        if self._settling:
            self.look_settled()
        lane.timer = asyncio.get_running_loop().call_later(delay_s, self._unpark, lane)

    def restore(self, parked: Iterable[ParkedLane]) -> None:
        """Park lanes as they were found in a file; an entry with counted failures becomes the head again."""
        for key, place, delay_s, attempts, reason in parked:
            if (lane := self._lanes.get(key)) is not None and place in lane.pending:
                if attempts:
                    lane.pending.remove(place)
                    lane.pending.insert(0, place)
                self.leased += 1
                self.park(lane, delay_s, attempts=attempts, reason=reason)
        self._ready = deque(lane for lane in self._ready if lane.status == "ready")

    def drop(self, owns: Callable[[str], bool]) -> list[int]:
        """Remove the lanes that are not owned any more, none of which may be leased; return their places."""
        places: list[int] = []
        for lane in [lane for lane in self._lanes.values() if not owns(lane.key)]:
            del self._lanes[lane.key]
            self.parked -= lane.status == "parked"
            if lane.timer is not None:
                lane.timer.cancel()
            places += lane.pending[lane.start :]
        self.pending, self.appended = self.pending - len(places), self.appended - len(places)
        self._ready = deque(lane for lane in self._ready if lane.key in self._lanes)
        self._holds = {key: why for key, why in self._holds.items() if key == ALL_LANES or owns(key)}
        self.look_settled()
        return places

    def leases(self, holder: object) -> list[Lease]:
        """Return the leases of a holder that are in force."""
        return [
            lane.lease for lane in self._lanes.values() if lane.status == "leased" and lane.holder is holder
        ]

    def reap(self, holder: object) -> list[Lease]:
        """Release every lane of a dead holder, whose later requests raise LeaseLost; return its leases."""
        leases = self.leases(holder)
        for lease in leases:
            self.let_go(self._lanes[lease.key])
        return leases

    def places(self) -> Iterator[int]:
        """Yield the places of all that is pending."""
        for lane in self._lanes.values():
            yield from lane.pending[lane.start :]

    def pending_ids(self) -> Iterator[int]:
        """Yield the ids of all pending updates or calls."""
        return (place & ID_MASK for place in self.places() if not place & TIMER_IDS)

    def stats(self) -> QueueStats:
        """Return the counts of this queue."""
        return QueueStats(
            self.appended, self.committed, self.dead, self.pending, self.ready, self.leased, self.parked
        )

    def stats_of(self, holder: object) -> QueueStats:
        """Return the counts of this queue, of the leased lanes those of a holder."""
        return self.stats()._replace(leased=len(self.leases(holder)))

    async def settled(self, holder: object = None) -> None:
        """Wait until no lane is ready or leased (to `holder`, if given), or `close`."""
        while not self._closed and (
            self._is_claimable() or (self.leased if holder is None else self.leases(holder))
        ):
            looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append(looked)
            await looked

    def look_settled(self) -> None:
        """Let who waits in `settled` look again: a lane has been taken, or is no longer leased."""
        for looked in self._settling:
            if not looked.done():
                looked.set_result(None)
        self._settling.clear()

    def overflow(self) -> Overflow:
        """Return what exceeded the bounds."""
        return Overflow(self.lane_full, self.dropped)

    def _is_claimable(self) -> bool:
        return bool(self._ready) and not self._is_held

    async def wait(self) -> None:
        """Wait until a lane becomes ready, or `close`. Another claim may have taken the lane by then."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # pass the wake-up on to the next waiter
            raise

    def close(self) -> None:
        """Cancel the timers of parked lanes, and wake all waiters: in this table no lane becomes ready any more."""
        self._closed = True
        self.look_settled()
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
        lane.holder, lane.handed = None, 0
        if self._holds and lane.key in self._holds:
            lane.status = "parked"
            self.parked += 1
            self.look_settled()
            return
        lane.status = "ready"
        self._ready.append(lane)
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
