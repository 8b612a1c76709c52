"""The contract of engine/store.py once more, as plain values: what a store may answer, and how it stands afterwards.

Written from the promises, not from engine/embedded/lanes.py, which the stores share: a slip in there must not be a slip in
here. Methods have the names and arguments of the stores'; deliveries are `plain` ones.
"""

import copy
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from engine import (
    KEEP,
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    Lease,
    LeaseLost,
    Limits,
    NotPeeked,
    Post,
    Queue,
    StateChanged,
    Timer,
    TooManyTimers,
)
from engine.model import POSTED, REPLAYED, TIMER_IDS, QueueStats
from engine.store import ID_FALL_MAX
from tests.kit.view import LaneSeen, TimerName, TimerSeen, View

DAY_S: Final = 86_400.0


Rank = tuple[float, int]
"""How often the numbering restarted, and the id: the order of a lane. Of timers: when they are due, and a number."""

FIRST: Final[Rank] = (0, 0)


class Impossible(Exception):  # noqa: N818 - what a store that keeps its promises cannot have done
    """No store may have answered this."""


class Item(NamedTuple):
    """Something pending, or a dead letter's envelope, with where it belongs."""

    rank: Rank
    envelope: Envelope
    timer: TimerName | None = None


class Lane(NamedTuple):
    """Pending work of one key; `since` orders the ready ones, those of the same moment in any order."""

    items: tuple[Item, ...]
    since: int
    status: str = "ready"
    fence: int = 0
    session: int = 0
    acked: Envelope | None = None
    handed: int = 0  # how many from the head on the holder knows
    attempts: int = 0
    reason: str | None = None
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
        self.last: dict[Queue, Rank] = dict.fromkeys(Queue, FIRST)
        self.counts = dict.fromkeys(Queue, (0, 0, 0))
        self.fences = dict.fromkeys(Queue, 0)
        self.timers: dict[TimerName, Item] = {}  # set, due or not
        self._letters = 0
        self._timers_set = 0
        self._calls = 0
        self._moment = 0

    def copy(self) -> "Model":
        other = copy.copy(self)
        for name in ("lanes", "states", "seen", "last", "counts", "fences", "timers"):
            setattr(other, name, getattr(self, name).copy())
        return other

    # -- the store's methods ----------------------------------------------------------------------------------

    def append(
        self,
        batch: Sequence[Envelope],
        _aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
        *,
        forgotten: Iterable[int] = (),
        depths: Mapping[str, int] = MappingProxyType({}),
    ) -> int:
        """`forgotten` are ids that the store need not remember any more, and does not; `depths` of lanes are those
        of the moment of asking, which the store may go by."""
        self._check_counts(Counter(post.key for post in posts), self._timers_of())
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
        for post in posts:
            self._post(post)
        return new

    def claim(self, session: int, lease: Lease) -> Delivery:
        """Let the store choose the lane among those that have been ready longest, and the fence."""
        queue, key, fence = lease
        if key not in self.longest_ready(queue):
            raise Impossible(f"{key} is not the lane that has been ready longest")
        if fence <= self.fences[queue]:
            raise Impossible(f"the fence {fence} is not higher than the last")
        self.fences[queue] = fence
        lane = self.lanes[queue, key]._replace(
            status="leased", fence=fence, session=session, acked=None, handed=1
        )
        self.lanes[queue, key] = lane
        return self._delivery(lease)

    def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        lane = self._head_held(delivery)
        run: list[Envelope] = []
        for item in lane.items[1 : 1 + limit]:
            if item.timer or item.envelope.scope != delivery.envelope.scope:
                break
            run.append(item.envelope)
        self.lanes[delivery.lease[:2]] = lane._replace(handed=max(lane.handed, 1 + len(run)))
        return run

    def state(self, key: str, scope: str) -> bytes | None:
        return self.states.get((key, scope))

    def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        queue, key, _ = delivery.lease
        lane = self._held(delivery.lease)
        if lane.items[0].envelope == delivery.envelope:
            if effects.also >= lane.handed:
                raise NotPeeked
            if any(self.state(change.key, change.scope) != change.was for change in effects.states):
                raise StateChanged
            name = (key, delivery.envelope.scope)
            if effects.state is not KEEP and queue is Queue.INBOX and self.states.get(name) != delivery.state:
                raise StateChanged
            self._check_timers(delivery, effects)
            for change in effects.states:
                self._set_state((change.key, change.scope), change.state)
            if effects.state is not KEEP:
                self._set_state((key, delivery.envelope.scope), effects.state)
            self._count(queue, committed=1 + effects.also)
            self._send(effects.calls)
            self._handled(lane.items[0])
            for timer in effects.timers:
                self._set_timer(key, delivery.envelope.scope, timer)
            for post in effects.posts:
                self._post(post)
            self._pop(queue, key, keep=more, count=1 + effects.also)
            return self._delivery(delivery.lease) if self.is_held(delivery.lease) else None
        if lane.acked == delivery.envelope:
            return self._delivery(delivery.lease)
        raise LeaseLost(key)

    def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        self._head_held(delivery)
        self._send(calls)
        lane = self._head_held(delivery)
        self.lanes[delivery.lease[:2]] = lane._replace(
            status="parked",
            attempts=lane.attempts + counted,
            reason=reason,
            until=self.now + delay_s,
            handed=0,
        )

    def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        queue, key, _ = delivery.lease
        lane = self._head_held(delivery)
        self._bury(queue, lane.items[0], lane.attempts + 1, reason)
        self._handled(lane.items[0])
        self._send(calls)
        self._pop(queue, key, keep=False)

    def release(self, delivery: Delivery) -> None:
        self._head_held(delivery)
        self._ready(delivery.lease[:2])

    def replay(self, number: int) -> bool:
        for entry in self.dead:
            letter, rank = entry
            if letter.number == number:
                envelope = letter.envelope
                pending = {item.envelope.id for lane in self._lanes_of(Queue.INBOX) for item in lane.items}
                if letter.queue is Queue.INBOX and envelope.id in pending and not envelope.is_timer:
                    return False
                self.dead = tuple(other for other in self.dead if other is not entry)
                if envelope.is_timer:
                    timer = Timer(f"{REPLAYED}{number}", 0.0, envelope.body)
                    self._set_timer(envelope.key, envelope.scope, timer)
                    return True
                if letter.queue is Queue.INBOX:
                    self.seen[envelope.id] = self.now
                era, _ = self._last(letter.queue)  # by its number, so before what came later
                self._add(letter.queue, Item((era, rank[1]), letter.envelope))
                return True
        return False

    # -- what happens by itself -------------------------------------------------------------------------------

    def due(self) -> list[float]:
        """Return the moments that have come, and for which a lane was parked or a timer set."""
        parked = {lane.until for lane in self.lanes.values() if lane.status == "parked"}
        waiting = {item.rank[0] - self.wall_s for item in self._not_in_lanes()}
        return sorted(moment for moment in parked | waiting if moment <= self.until)

    def happen(self) -> None:
        """Let come what is due."""
        for moment in self.due():
            parked = [name for name, lane in self.lanes.items() if lane.status == "parked"]
            names = [name for name in parked if self.lanes[name].until == moment]
            for item in self._not_in_lanes():
                if item.rank[0] - self.wall_s == moment:
                    self._add_timer(item)
            self._ready(*names)

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
            items = [item for lane in self._lanes_of(queue) for item in lane.items]
            self.last[queue] = max((item.rank for item in items if not item.timer), default=FIRST)
            self.counts[queue] = (len(items), 0, 0)
        for name, lane in self.lanes.items():
            keep = 1 if lane.attempts else 0  # a tried head stays the head
            rest = sorted(lane.items[keep:], key=lambda item: (item.timer is not None, item.rank))
            self.lanes[name] = lane._replace(items=(*lane.items[:keep], *rest))

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
                lane.reason or "",
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
            sorted(
                TimerSeen(*name, item.rank[0], item.envelope.body).plain()
                for name, item in self.timers.items()
            ),
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
        return Delivery(lease, head, lane.attempts + 1, state, lane.reason is not None)

    def _count(self, queue: Queue, **more: int) -> None:
        names = QueueStats._fields[:3]
        self.counts[queue] = tuple(  # type: ignore[assignment]
            count + more.get(name, 0) for name, count in zip(names, self.counts[queue], strict=True)
        )

    def _rank(self, id_: int) -> Rank:
        """An id far below the last one of late is the first of a new numbering."""
        era, last = self._last(Queue.INBOX)  # timers have no part in it
        return (era + (id_ < last - ID_FALL_MAX), id_)

    def _last(self, queue: Queue) -> Rank:
        """Return the highest rank of late, which is forgotten when nothing is pending."""
        return self.last[queue] if self._lanes_of(queue) else FIRST

    def _add(self, queue: Queue, item: Item) -> None:
        """Behind the last one with a lower rank and the timers there, but not before what somebody holds or has tried."""
        self.last[queue] = max(self._last(queue), item.rank)
        self._count(queue, appended=1)
        name = (queue, item.envelope.key)
        if (lane := self.lanes.get(name)) is None:
            self.lanes[name] = Lane((item,), 0)
            self._ready(name)
            return
        items = lane.items
        fixed = lane.handed or min(1, lane.attempts)
        updates = [place for place, other in enumerate(items) if place >= fixed and not other.timer]
        lower = max((place for place in updates if items[place].rank < item.rank), default=-1)
        place = min((place for place in updates if place > lower), default=len(items))
        self.lanes[name] = lane._replace(items=(*items[:place], item, *items[place:]))

    def _not_in_lanes(self) -> list[Item]:
        there = {item.timer for lane in self._lanes_of(Queue.INBOX) for item in lane.items}
        return sorted(item for name, item in self.timers.items() if name not in there)

    def _set_timer(self, key: str, own_scope: str, timer: Timer) -> None:
        scope = own_scope if timer.scope is None else timer.scope
        name = (key, scope, timer.name)
        lane = self.lanes.get((Queue.INBOX, key))
        if self.timers.pop(name, None) and lane and any(item.timer == name for item in lane.items[1:]):
            rest = tuple(item for item in lane.items[1:] if item.timer != name)
            self.lanes[Queue.INBOX, key] = lane._replace(items=(lane.items[0], *rest))
            self._count(Queue.INBOX, appended=-1)
        if timer.after_s is not None:
            self._timers_set += 1
            at = self.now + self.wall_s + timer.after_s
            envelope = Envelope(TIMER_IDS, key, scope, timer.body, at)
            self.timers[name] = Item((at, self._timers_set), envelope, name)
            if not timer.after_s:
                self._add_timer(self.timers[name])

    def _post(self, post: Post) -> None:
        name = f"{POSTED}{self._timers_set + 1}"  # of its own: nothing replaces it
        self._set_timer(post.key, post.scope, Timer(name, post.after_s, post.body))

    def _timers_of(self) -> Counter[str]:
        return Counter(key for key, _, _ in self.timers)

    def _check_timers(self, delivery: Delivery, effects: Effects) -> None:
        key, head = delivery.lease.key, self._held(delivery.lease).items[0]
        asked = {
            (key, delivery.envelope.scope if timer.scope is None else timer.scope, timer.name): timer
            for timer in effects.timers
        }
        there = self._timers_of()
        there[key] -= sum(name in asked or name == head.timer for name in self.timers)
        new = Counter(post.key for post in effects.posts)
        new[key] += sum(timer.after_s is not None for timer in asked.values())
        self._check_counts(new, there)

    def _check_counts(self, new: Counter[str], there: Counter[str]) -> None:
        for key, count in new.items():
            if count and there[key] + count > self.limits.lane_timers_max:
                raise TooManyTimers(key, self.limits.lane_timers_max)

    def _add_timer(self, item: Item) -> None:
        name = (Queue.INBOX, item.envelope.key)
        self._count(Queue.INBOX, appended=1)
        if lane := self.lanes.get(name):
            self.lanes[name] = lane._replace(items=(*lane.items, item))
        else:
            self.lanes[name] = Lane((item,), 0)
            self._ready(name)

    def _handled(self, item: Item) -> None:
        """A head leaves; until then its timer has been there."""
        if item.timer:
            del self.timers[item.timer]
            lane = self.lanes[Queue.INBOX, item.envelope.key]
            head = item._replace(timer=("", "", ""))  # it is the head still, and nobody's timer
            self.lanes[Queue.INBOX, item.envelope.key] = lane._replace(items=(head, *lane.items[1:]))

    def _send(self, calls: Iterable[Call]) -> None:
        for call in calls:
            self._calls += 1
            sent = Envelope(0, call.key, "", call.body, self.now + self.wall_s)
            self._add(Queue.OUTBOX, Item((0, self._calls), sent))

    def _set_state(self, name: tuple[str, str], state: bytes | None) -> None:
        if state is None:
            self.states.pop(name, None)
        else:
            self.states[name] = state

    def _pop(self, queue: Queue, key: str, *, keep: bool, count: int = 1) -> None:
        lane = self.lanes.pop((queue, key))
        if len(lane.items) > count:
            self.lanes[queue, key] = lane._replace(
                items=lane.items[count:],
                acked=lane.items[0].envelope,
                attempts=0,
                reason=None,
                handed=max(1, lane.handed - count),
            )
            if not keep:
                self._ready((queue, key))

    def _ready(self, *names: Any) -> None:
        """Make lanes ready, behind the others, all at the same moment."""
        self._moment += 1
        for name in names:
            self.lanes[name] = self.lanes[name]._replace(
                status="ready", since=self._moment, acked=None, handed=0
            )

    def _bury(self, queue: Queue, item: Item, attempts: int, reason: str) -> None:
        self._letters += 1
        self._count(queue, dead=1)
        buried = item.envelope._replace(at=0.0)
        letter = DeadLetter(self._letters, queue, buried, attempts, reason, self.now + self.wall_s)
        self.dead = (*self.dead, (letter, item.rank))
        if len(of_lane := self._letters_of(queue, item.envelope.key)) > self.limits.dead_per_lane_max:
            self._drop(of_lane[0])
        if len(self.dead) > self.limits.dead_max:
            lanes = [self._letters_of(d.queue, d.envelope.key) for d, _ in self.dead]
            self._drop(max(lanes, key=lambda letters: (len(letters), -letters[0].number))[0])

    def _letters_of(self, queue: Queue, key: str) -> list[DeadLetter]:
        return [d for d, _ in self.dead if d.queue is queue and d.envelope.key == key]

    def _drop(self, letter: DeadLetter) -> None:
        self.dead = tuple(entry for entry in self.dead if entry[0] is not letter)
