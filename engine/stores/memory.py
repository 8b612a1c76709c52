"""memory: the simplest implementation of the store contract. Everything is lost with the process.

For tests and throw-away bots. `peer()` returns another session over the same data, like another process at a shared
store: the reference for stores that several processes share. A session renews itself for as long as it is open, until
`hang` makes it stop, as a process does that is frozen, dead, or cut off from its store.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice

from engine.embedded.auditing import problems_of
from engine.embedded.dead import DeadLane
from engine.embedded.lane import Lane, same_scope
from engine.embedded.ranking import ranked
from engine.errors import LeaseLost, RightLost, SqlFailed, StateChanged
from engine.model import (
    KEEP,
    REPLAYED,
    Audited,
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    Groups,
    LaneView,
    Oldest,
    Overflow,
    Post,
    Queue,
    QueueStats,
    Right,
    Stats,
    Timer,
)
from engine.moved import former_right
from engine.sharing import ALONE
from engine.store import ID_MASK, Arrived, LaneOrder, Limits, Lost, NoNotes
from engine.stores.memory_data import Data


class MemoryStore:
    """Lanes, states and timers in dicts. `wall` returns Unix time; leases use the event loop's clock.

    What a session holds that does not renew may be taken over after `lease_ttl_s` seconds.
    """

    sharing = ALONE
    database = None

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        lease_ttl_s: float = 15.0,
        wall: Callable[[], float] = time.time,
        _data: Data | None = None,
    ) -> None:
        self._data = _data or Data(limits or Limits(), wall)
        self._ttl_s = lease_ttl_s
        self._session = object()
        self.notes = NoNotes()

    def peer(self) -> "MemoryStore":
        """Return another session over the same data."""
        return MemoryStore(lease_ttl_s=self._ttl_s, _data=self._data)

    def hang(self) -> None:
        """Stop renewing: other sessions take over what this one holds, `lease_ttl_s` after the last call of this."""
        self._data.reap_later(self._session, self._ttl_s)

    def go_on(self) -> None:
        """Renew again; what was taken over meanwhile stays lost."""
        self._data.keep(self._session)

    async def right(self) -> Right:
        return await self._data.grant(self._session)

    async def resign(self, right: Right) -> None:
        if self._may_append(right):
            self._data.resign(self._session)

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope] | None = None,
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        if batch is None:
            right, batch = await former_right(self, right)
        data = self._data
        if not self._may_append(right):
            raise RightLost(f"right {right.epoch} to append")
        leads = data.aliases.plan(aliases)
        data.check_posts(posts, leads)
        inbox = data.queues[Queue.INBOX]
        now = asyncio.get_running_loop().time()
        data.seen.drop(data.seen.old(now, inbox.lanes.pending_ids()), now)
        new, planned = data.seen.plan([envelope.id for envelope in batch])
        data.seen.apply(planned, now)
        data.aliases.add(leads)
        updates = data.aliases.addressed([batch[index] for index in new], {})
        for envelope in updates:
            if inbox.lanes.depth(envelope.key) < data.limits.lane_depth_max:
                inbox.add(envelope, inbox.lanes.place_of(envelope.id))
            else:
                inbox.lanes.appended += 1
                inbox.lanes.lane_full += 1
                data.bury(Queue.INBOX, envelope, 0, "lane full")
                data.bursts.note("lane full", Queue.INBOX, envelope.key)
        for post in posts:
            data.post(post)
        data.notify(updates)
        return len(new)

    async def post(self, posts: Sequence[Post]) -> None:
        self._data.check_posts(posts, {})
        for post in posts:
            self._data.post(post)

    async def leave(self) -> None:
        """Other sessions may claim each lane as it is."""

    def watch(self, queue: Queue, lost: Lost, arrived: Arrived | None = None) -> None:
        self._data.watchers.setdefault(self._session, {})[queue] = (lost, arrived)

    def lane(self, key: str) -> str:
        return self._data.aliases.lane(key)

    async def claim(self, queue: Queue) -> Delivery:
        lanes = self._data.queues[queue].lanes
        while (lane := lanes.take(self._session)) is None:
            await lanes.wait()
        lanes.look_settled()
        return self._delivery(queue, lane)

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
        return self._state(key, scope)

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        queue, key, _ = delivery.lease
        source = self._data.queues[queue]
        lane = source.lanes.held(delivery.lease)
        if lane.head & ID_MASK == delivery.envelope.id:
            places = lane.acked_with(effects.also)
            if effects.sql:
                raise SqlFailed("this store has no database: set STORE_URL to sqlite:FILE or postgres://...")
            if effects.states or effects.state is not KEEP:
                self._compare(delivery, effects)
            if effects.timers or effects.posts:
                self._data.check_timers(delivery, effects)
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

    async def room(self, pending_max: int) -> int:
        return pending_max - self._data.queues[Queue.INBOX].lanes.pending

    def mine(self, queue: Queue) -> QueueStats:
        return self._data.queues[queue].lanes.stats_of(self._session)

    async def settled(self, queue: Queue) -> None:
        await self._data.queues[queue].lanes.settled(self._session)

    async def stats(self) -> Stats:
        queues = self._data.queues
        return Stats(queues[Queue.INBOX].lanes.stats(), queues[Queue.OUTBOX].lanes.stats())

    async def close(self) -> None:
        self._data.watchers.pop(self._session, None)
        self._data.bursts.close()
        self._data.keep(self._session)
        self._data.reap(self._session)

    async def lanes(self, queue: Queue, limit: int = 100, by: LaneOrder | None = None) -> list[LaneView]:
        data = self._data.queues[queue]
        if by is None:
            return list(data.lanes.views(limit))
        found = await ranked(data.lanes.all(), by, limit)
        views = [data.lanes.view(lane, data.envelopes[lane.head].at) for lane in found if lane.depth]
        return sorted(views, key=lambda view: view.at)[:limit] if by == "age" else views

    async def lane_view(self, queue: Queue, key: str) -> LaneView | None:
        return self._data.queues[queue].lanes.view_of(self._data.aliases.lane(key))

    async def holds(self, queue: Queue) -> dict[str, str]:
        return self._data.queues[queue].lanes.holds()

    async def hold(self, queue: Queue, key: str, reason: str) -> None:
        self._data.queues[queue].lanes.hold(self._data.aliases.lane(key), reason)

    async def unhold(self, queue: Queue, key: str) -> bool:
        lanes, key = self._data.queues[queue].lanes, self._data.aliases.lane(key)
        if key not in lanes.holds() and lanes.lane_parked(key) is None:
            return False
        lanes.unhold(key)
        return True

    async def overflow(self, queue: Queue) -> Overflow:
        return self._data.queues[queue].lanes.overflow()

    def groups(self) -> Groups:
        return Groups(0, 0)

    async def oldest(self) -> Oldest:
        data = self._data
        inbox, outbox = (
            next((each.at for each in data.queues[queue].envelopes.values() if not each.is_timer), None)
            for queue in Queue
        )
        timer = next((data.timers[name].at for name in data.due.values()), None)
        return Oldest(inbox, outbox, timer, len(data.due))

    async def dead_letters(self, limit: int = 100, below: int | None = None) -> list[DeadLetter]:
        newest = reversed(self._data.dead.values())
        known = (letter for letter in newest if below is None or letter.number < below)
        return [letter for letter, _ in zip(known, range(limit), strict=False)]

    async def dead_letter(self, number: int) -> DeadLetter | None:
        return self._data.dead.get(number)

    async def dead_count(self) -> int:
        return len(self._data.dead)

    async def discard(self, number: int) -> bool:
        letter = self._data.dead.pop(number, None)
        if letter is not None:
            self._data.book.remove(DeadLane(letter.queue, letter.envelope.key), number)
        return letter is not None

    async def audit(self, entries_max: int = 50_000) -> Audited:
        found, lanes, entries = [], 0, 0
        for data in self._data.queues.values():
            found += await problems_of(data.lanes)
            lanes += len(data.lanes.all())
            places = islice(data.lanes.places(), entries_max - entries)
            checked = [place in data.envelopes for place in places]
            entries += len(checked)
            found += (
                [f"{data.lanes.queue.value}: {checked.count(False)} entries are missing"]
                if not all(checked)
                else []
            )
        return Audited(found, lanes, entries)

    def clock_moved(self) -> None:
        self._data.look()

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
            if letter.queue is Queue.INBOX:  # while it is pending, an update with the same id is a repetition
                seen = self._data.seen
                seen.apply(seen.plan([envelope.id])[1], asyncio.get_running_loop().time())
        del self._data.dead[letter.number]
        self._data.book.remove(DeadLane(letter.queue, envelope.key), letter.number)
        return True

    def _state(self, key: str, scope: str) -> bytes | None:
        return self._data.states.get((self._data.aliases.lane(key), scope))

    def _compare(self, delivery: Delivery, effects: Effects) -> None:
        queue, lane, _ = delivery.lease
        own = self._data.states.get((lane, delivery.envelope.scope))
        # Deliveries of the outbox carry no state.
        if effects.state is not KEEP and queue is Queue.INBOX and own != delivery.state:
            raise StateChanged(lane)
        for key, scope, was, _ in effects.states:
            if self._state(key, scope) != was:
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
        for post in effects.posts:
            data.post(post)

    def _may_append(self, right: Right) -> bool:
        return self._data.appender is self._session and self._data.right == right

    def _delivery(self, queue: Queue, lane: Lane) -> Delivery:
        envelope = self._data.queues[queue].envelopes[lane.head]
        state = self._data.states.get((lane.key, envelope.scope)) if queue is Queue.INBOX else None
        return lane.delivery(envelope, state)
