"""memory: the plainest statement of the store contract. It forgets everything with its process.

For tests and throw-away bots. `peer()` gives another session over the same data, as another process would have
over a shared store; that makes it the model for the others.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

from engine.aliases import Aliases
from engine.bursts import Bursts
from engine.dead import DeadBook, DeadLane
from engine.errors import LeaseLost, StateChanged, TooManyTimers
from engine.lanes import Lane, LaneTable, same_scope
from engine.model import (
    KEEP,
    REPLAYED,
    TIMER_IDS,
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    LaneView,
    Lease,
    Overflow,
    Queue,
    Stats,
    Timer,
)
from engine.seen import SeenIds
from engine.store import ID_MASK, WALL_LOOK_S, Limits, NoNotes

_COMPACT_AT: Final = 64
"""More entries than this that no timer has any more, and than there are timers, are thrown out of the heap."""


class _QueueData:
    """One queue: its lanes, and what stands at their places."""

    def __init__(self, queue: Queue) -> None:
        self.lanes = LaneTable(queue)
        self.envelopes: dict[int, Envelope] = {}

    def add(self, envelope: Envelope, place: int) -> None:
        self.envelopes[place] = envelope
        self.lanes.add(envelope.key, place)
        self.lanes.appended += 1


class _Data:
    """What all sessions share."""

    def __init__(self, limits: Limits, wall: Callable[[], float]) -> None:
        self.limits = limits
        self.wall = wall
        self.queues = {queue: _QueueData(queue) for queue in Queue}
        self.states: dict[tuple[str, str], bytes] = {}
        self.seen = SeenIds()
        self.aliases = Aliases()
        self.outbox_id = 0
        self.timers: dict[tuple[str, str, str], Envelope] = {}  # by key, scope and name
        self.timer_counts: Counter[str] = Counter()  # by key
        self.waiting: list[tuple[float, int, tuple[str, str, str]]] = []  # a heap: when, id and name
        self.alarm: asyncio.TimerHandle | None = None  # one, for the earliest of them
        self.alarm_at = inf
        self.due: dict[int, tuple[str, str, str]] = {}  # those that stand in their lane, by place
        self.timer_number = 0
        self.dead: dict[int, DeadLetter] = {}  # by number, oldest first
        self.book = DeadBook(limits)
        self.bursts = Bursts()
        self.dead_number = 0
        self.deadlines: dict[object, float] = {}  # session -> when its lanes may be taken over

    def set_state(self, key: str, scope: str, state: bytes | None) -> None:
        if state is None:
            self.states.pop((key, scope), None)
        else:
            self.states[key, scope] = state

    def send(self, calls: Iterable[Call]) -> None:
        at = self.wall()
        for call in calls:
            self.outbox_id += 1
            sent = Envelope(self.outbox_id, self.aliases.lane(call.key), "", call.body, at)
            self.queues[Queue.OUTBOX].add(sent, sent.id)

    def set_timer(self, key: str, scope: str, timer: Timer) -> None:
        """Set, replace or take away; what is due and not handled goes, too."""
        name = (key, scope, timer.name)
        if name in self.timers:
            old = self._pop_timer(name)
            if old.id in self.due:
                inbox = self.queues[Queue.INBOX]
                del self.due[old.id]
                del inbox.envelopes[old.id]
                inbox.lanes.remove(key, old.id)
                inbox.lanes.appended -= 1
        if timer.after_s is not None:
            self.timer_number += 1
            id_ = TIMER_IDS + self.timer_number
            self.timers[name] = new = Envelope(id_, key, scope, timer.body, self.wall() + timer.after_s)
            self.timer_counts[key] += 1
            heappush(self.waiting, (new.at, id_, name))
            self.look()
        if len(self.waiting) > 2 * len(self.timers) + _COMPACT_AT:
            self.waiting = [
                (timer.at, timer.id, name) for name, timer in self.timers.items() if timer.id not in self.due
            ]
            heapify(self.waiting)

    def check_timers(self, delivery: Delivery, timers: Iterable[Timer]) -> None:
        """Raise TooManyTimers if the lane would have more than it may after the commit of this delivery."""
        key, own_scope = delivery.lease.key, delivery.envelope.scope
        wishes = {
            (key, own_scope if timer.scope is None else timer.scope, timer.name): timer.after_s is not None
            for timer in timers  # the last of several for one name counts
        }
        gone = set(wishes)
        if delivery.envelope.id in self.due:
            gone.add(self.due[delivery.envelope.id])
        kept = self.timer_counts[key] - sum(name in self.timers for name in gone)
        new = sum(wishes.values())
        if new and kept + new > self.limits.lane_timers_max:
            raise TooManyTimers(key, self.limits.lane_timers_max)

    def _pop_timer(self, name: tuple[str, str, str]) -> Envelope:
        self.timer_counts[name[0]] -= 1
        if not self.timer_counts[name[0]]:
            del self.timer_counts[name[0]]
        return self.timers.pop(name)

    def look(self) -> None:
        """Put the timers that are due into their lanes, in their order; look again when the next one is."""
        now = self.wall()
        inbox = self.queues[Queue.INBOX]
        while self.waiting and self.waiting[0][0] <= now:
            _, id_, name = heappop(self.waiting)
            timer = self.timers.get(name)
            if timer is not None and timer.id == id_:  # else it was replaced or taken away
                self.due[id_] = name
                inbox.envelopes[id_] = timer
                inbox.lanes.add_timer(timer.key, id_)
                inbox.lanes.appended += 1
        if self.waiting and self.waiting[0][0] < self.alarm_at:
            if self.alarm is not None:
                self.alarm.cancel()
            self.alarm_at = self.waiting[0][0]
            wait_s = min(self.alarm_at - now, WALL_LOOK_S)
            self.alarm = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def _ring(self) -> None:
        self.alarm, self.alarm_at = None, inf
        self.look()

    def take(self, queue: Queue, place: int) -> Envelope:
        """Take out what stands at a place; a timer is handled with that."""
        if place & TIMER_IDS:
            self._pop_timer(self.due.pop(place))
        return self.queues[queue].envelopes.pop(place)

    def bury(self, queue: Queue, envelope: Envelope, attempts: int, reason: str) -> None:
        self.dead_number += 1
        buried = envelope._replace(at=0.0)
        self.dead[self.dead_number] = DeadLetter(
            self.dead_number, queue, buried, attempts, reason, self.wall()
        )
        self.queues[queue].lanes.dead += 1
        for lane, number in self.book.add(DeadLane(queue, envelope.key), self.dead_number):
            del self.dead[number]
            self.queues[lane.queue].lanes.dropped += 1
            self.bursts.note("dead letters dropped", lane.queue, lane.key)

    def reap_all_but(self, mine: object) -> float | None:
        """Take back the lanes of other sessions that did not renew in time; return when the next one is due."""
        now = asyncio.get_running_loop().time()
        for session, deadline in list(self.deadlines.items()):
            if session is not mine and deadline <= now:
                del self.deadlines[session]
                for data in self.queues.values():
                    data.lanes.reap(session)
        return min((at for session, at in self.deadlines.items() if session is not mine), default=None)


class MemoryStore:
    """Lanes, state and effects in dicts. `wall` gives Unix time; leases run on the event loop's clock."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        lease_ttl_s: float = 15.0,
        wall: Callable[[], float] = time.time,
        _data: _Data | None = None,
    ) -> None:
        self._data = _data or _Data(limits or Limits(), wall)
        self._ttl_s = lease_ttl_s
        self._session = object()
        self.notes = NoNotes()

    def peer(self) -> "MemoryStore":
        """Return another session over the same data."""
        return MemoryStore(lease_ttl_s=self._ttl_s, _data=self._data)

    async def append(self, batch: Sequence[Envelope]) -> int:
        data = self._data
        inbox = data.queues[Queue.INBOX]
        now = data.wall()
        data.seen.drop(data.seen.old(now, inbox.lanes.pending_ids()), now)
        new, planned = data.seen.plan([envelope.id for envelope in batch])
        data.seen.apply(planned, now)
        for envelope in data.aliases.addressed([batch[index] for index in new]):
            if inbox.lanes.depth(envelope.key) < data.limits.lane_depth_max:
                inbox.add(envelope, inbox.lanes.place_of(envelope.id))
            else:
                inbox.lanes.appended += 1
                inbox.lanes.lane_full += 1
                data.bury(Queue.INBOX, envelope, 0, "lane full")
                data.bursts.note("lane full", Queue.INBOX, envelope.key)
        return len(new)

    async def alias(self, name: str, key: str) -> None:
        if (lane := self._data.aliases.plan(name, key)) is not None:
            self._data.aliases.add(name, lane)

    def lane(self, key: str) -> str:
        return self._data.aliases.lane(key)

    async def claim(self, queue: Queue) -> Delivery:
        data = self._data
        lanes = data.queues[queue].lanes
        while True:
            others_deadline = None
            if len(data.deadlines) != 1 or self._session not in data.deadlines:
                self._stay()
                others_deadline = data.reap_all_but(self._session)
            if (lane := lanes.take(self._session)) is not None:
                return self._delivery(queue, lane)
            try:
                async with asyncio.timeout_at(others_deadline):
                    await lanes.wait()
            except TimeoutError:
                continue  # another session is due for reaping

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        data = self._data.queues[delivery.lease.queue]
        lane = data.lanes.head_held(delivery)
        run = same_scope(delivery, [data.envelopes[place] for place in lane.behind(limit)])
        lane.hand_out(len(run))
        return run

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        data = self._data.queues[delivery.lease.queue]
        return [data.envelopes[place] for place in data.lanes.head_held(delivery).updates_behind(limit)]

    async def state(self, key: str, scope: str) -> bytes | None:
        return self._data.states.get((self._data.aliases.lane(key), scope))

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        queue, key, _ = delivery.lease
        source = self._data.queues[queue]
        lane = source.lanes.held(delivery.lease)
        if lane.head & ID_MASK == delivery.envelope.id:
            places = lane.acked_with(effects.also)
            if effects.states or effects.state is not KEEP:
                await self._compare(delivery, effects)
            if effects.timers:
                self._data.check_timers(delivery, effects.timers)
            for place in places:
                self._data.take(queue, place)
            count = 1 + effects.also
            source.lanes.committed += count
            self._apply(key, delivery.envelope.scope, effects)
            if not source.lanes.ack(lane, more=more, count=count):
                return None
        elif lane.acked & ID_MASK != delivery.envelope.id:
            raise LeaseLost(key)
        return self._delivery(queue, lane)

    async def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        lanes = self._data.queues[delivery.lease.queue].lanes
        lane = lanes.head_held(delivery)
        self._data.send(calls)
        lanes.park(lane, delay_s, attempts=lane.attempts + counted, reason=reason)

    async def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        queue = delivery.lease.queue
        lanes = self._data.queues[queue].lanes
        lane = lanes.head_held(delivery)
        self._data.bury(queue, self._data.take(queue, lane.head), lane.attempts + 1, reason)
        self._data.send(calls)
        lanes.ack(lane, more=False)

    async def release(self, delivery: Delivery) -> None:
        lanes = self._data.queues[delivery.lease.queue].lanes
        lanes.let_go(lanes.head_held(delivery))

    async def renew(self, leases: Iterable[Lease]) -> list[Lease]:
        self._stay()
        return [lease for lease in leases if not self._data.queues[lease.queue].lanes.is_held(lease)]

    async def stats(self) -> Stats:
        queues = self._data.queues
        return Stats(queues[Queue.INBOX].lanes.stats(), queues[Queue.OUTBOX].lanes.stats())

    async def close(self) -> None:
        self._data.deadlines.pop(self._session, None)
        self._data.bursts.close()
        for data in self._data.queues.values():
            data.lanes.reap(self._session)

    def lanes(self, queue: Queue, limit: int = 100) -> list[LaneView]:
        return list(self._data.queues[queue].lanes.views(limit))

    def overflow(self, queue: Queue) -> Overflow:
        return self._data.queues[queue].lanes.overflow()

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        return [letter for letter, _ in zip(reversed(self._data.dead.values()), range(limit), strict=False)]

    async def replay(self, number: int) -> bool:
        letter = self._data.dead.get(number)
        return letter is not None and self._replay(letter)

    def _replay(self, letter: DeadLetter) -> bool:
        data = self._data.queues[letter.queue]
        envelope = letter.envelope
        if envelope.is_timer:
            self._data.set_timer(
                envelope.key, envelope.scope, Timer(f"{REPLAYED}{letter.number}", 0.0, envelope.body)
            )
        elif any(place in data.envelopes for place in data.lanes.places_of(envelope.id)):
            return False
        else:
            data.add(envelope, data.lanes.old_place_of(envelope.id))
            if letter.queue is Queue.INBOX:  # as long as it is pending, the same id is no other update
                seen = self._data.seen
                seen.apply(seen.plan([envelope.id])[1], self._data.wall())
        del self._data.dead[letter.number]
        self._data.book.remove(DeadLane(letter.queue, envelope.key), letter.number)
        return True

    async def _compare(self, delivery: Delivery, effects: Effects) -> None:
        queue, lane, _ = delivery.lease
        own = self._data.states.get((lane, delivery.envelope.scope))
        # Deliveries of the outbox carry no state.
        if effects.state is not KEEP and queue is Queue.INBOX and own != delivery.state:
            raise StateChanged(lane)
        for key, scope, was, _ in effects.states:
            if await self.state(key, scope) != was:
                raise StateChanged(key)

    def _apply(self, key: str, own_scope: str, effects: Effects) -> None:
        data = self._data
        for of, scope, _, state in effects.states:
            data.set_state(data.aliases.lane(of), scope, state)
        if effects.state is not KEEP:
            data.set_state(key, own_scope, effects.state)
        if effects.calls:
            data.send(effects.calls)
        for timer in effects.timers:
            data.set_timer(key, own_scope if timer.scope is None else timer.scope, timer)

    def _stay(self) -> None:
        self._data.deadlines[self._session] = asyncio.get_running_loop().time() + self._ttl_s

    def _delivery(self, queue: Queue, lane: Lane) -> Delivery:
        envelope = self._data.queues[queue].envelopes[lane.head]
        state = self._data.states.get((lane.key, envelope.scope)) if queue is Queue.INBOX else None
        return Delivery(lane.lease, envelope, lane.attempts + 1, state)
