"""The data that the sessions of a memory store share: queues, timers, dead letters, ids."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

from engine.bursts import Bursts
from engine.embedded.aliases import Aliases
from engine.embedded.dead import DeadBook, DeadLane
from engine.embedded.forward import ForwardClock
from engine.embedded.held_lanes import HeldLanes
from engine.embedded.seen import SeenIds
from engine.errors import TooManyTimers
from engine.model import (
    POSTED,
    TIMER_IDS,
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    Post,
    Queue,
    Right,
    Timer,
)
from engine.outcome import split_trace
from engine.store import WALL_LOOK_S, Arrived, Limits, Lost

_COMPACT_AT: Final = 64
"""The heap is rebuilt without outdated entries when it has more than this plus twice the number of timers."""


class QueueData:
    """One queue: its lanes, and the envelopes by place."""

    def __init__(self, queue: Queue) -> None:
        self.lanes = HeldLanes(queue)
        self.envelopes: dict[int, Envelope] = {}

    def add(self, envelope: Envelope, place: int) -> None:
        """Add an envelope at a place."""
        self.envelopes[place] = envelope
        self.lanes.add(envelope.key, place)
        self.lanes.appended += 1


class Data:
    """The shared data."""

    def __init__(self, limits: Limits, wall: Callable[[], float]) -> None:
        self.limits = limits
        self.wall = wall
        self.timer_clock = ForwardClock(wall)
        self.queues = {queue: QueueData(queue) for queue in Queue}
        self.states: dict[tuple[str, str], bytes] = {}
        self.seen = SeenIds()
        self.aliases = Aliases()
        self.outbox_id = 0
        self.timers: dict[tuple[str, str, str], Envelope] = {}  # by key, scope and name
        self.timer_counts: Counter[str] = Counter()  # by key
        self.waiting: list[tuple[float, int, tuple[str, str, str]]] = []  # a heap: when, id and name
        self.alarm: asyncio.TimerHandle | None = None  # one, for the earliest of them
        self.alarm_at = inf
        self.due: dict[int, tuple[str, str, str]] = {}  # those that are due and in their lane, by place
        self.timer_number = 0
        self.dead: dict[int, DeadLetter] = {}  # by number, oldest first
        self.book = DeadBook(limits)
        self.bursts = Bursts()
        self.dead_number = 0
        # Of sessions that do not renew: when they are reaped.
        self._deadlines: dict[object, asyncio.TimerHandle] = {}
        self.watchers: dict[object, dict[Queue, tuple[Lost, Arrived | None]]] = {}  # by session
        self.appender: object = None  # the session that has the right to append
        self.right = Right(0)  # the last one granted
        self._resigned: list[asyncio.Future[None]] = []  # of sessions that wait for the right

    def set_state(self, key: str, scope: str, state: bytes | None) -> None:
        """Store a state; None deletes it."""
        if state is None:
            self.states.pop((key, scope), None)
        else:
            self.states[key, scope] = state

    def send(self, calls: Iterable[Call]) -> None:
        """Add calls to the outbox."""
        at = self.wall()
        for call in calls:
            self.outbox_id += 1
            sent = Envelope(self.outbox_id, self.aliases.lane(call.key), "", call.body, at)
            self.queues[Queue.OUTBOX].add(sent, sent.id)

    def set_timer(self, key: str, scope: str, timer: Timer) -> None:
        """Set, replace or remove a timer, also one that is due but not committed."""
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
            self.timers[name] = new = Envelope(
                id_, key, scope, timer.body, self.timer_clock() + timer.after_s
            )
            self.timer_counts[key] += 1
            heappush(self.waiting, (new.at, id_, name))
            self.look()
        if len(self.waiting) > 2 * len(self.timers) + _COMPACT_AT:
            self.waiting = [
                (timer.at, timer.id, name) for name, timer in self.timers.items() if timer.id not in self.due
            ]
            heapify(self.waiting)

    def check_timers(self, delivery: Delivery, effects: Effects) -> None:
        """Raise TooManyTimers if a lane would have more than `lane_timers_max` after the commit of this delivery."""
        key, own_scope = delivery.lease.key, delivery.envelope.scope
        asked = {
            (key, own_scope if timer.scope is None else timer.scope, timer.name): timer.after_s is not None
            for timer in effects.timers  # the last of several for one name counts
        }
        gone = set(asked)
        if delivery.envelope.id in self.due:
            gone.add(self.due[delivery.envelope.id])
        new = Counter(self.aliases.lane(post.key) for post in effects.posts)
        new[key] += sum(asked.values())
        self._check_counts(new, Counter({key: sum(name in self.timers for name in gone)}))

    def check_posts(self, posts: Iterable[Post], leads: Mapping[str, str]) -> None:
        """Raise TooManyTimers if a lane would have more than `lane_timers_max` with these; `leads`: further aliases."""
        self._check_counts(
            Counter(leads.get(post.key) or self.aliases.lane(post.key) for post in posts), Counter()
        )

    def _check_counts(self, new: Counter[str], gone: Counter[str]) -> None:
        for key, count in new.items():
            if count and self.timer_counts[key] - gone[key] + count > self.limits.lane_timers_max:
                raise TooManyTimers(key, self.limits.lane_timers_max)

    def post(self, post: Post) -> None:
        """Set a timer under a name of its own."""
        name = f"{POSTED}{self.timer_number + 1}"
        self.set_timer(self.aliases.lane(post.key), post.scope, Timer(name, post.after_s, post.body))

    def _pop_timer(self, name: tuple[str, str, str]) -> Envelope:
        self.timer_counts[name[0]] -= 1
        if not self.timer_counts[name[0]]:
            del self.timer_counts[name[0]]
        return self.timers.pop(name)

    def look(self) -> None:
        """Put due timers into their lanes, in order; schedule the next check for when the next one is due."""
        now = self.timer_clock()
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
        """Remove and return the envelope at a place; a timer is deleted with it."""
        if place & TIMER_IDS:
            self._pop_timer(self.due.pop(place))
        return self.queues[queue].envelopes.pop(place)

    def bury(self, queue: Queue, envelope: Envelope, attempts: int, reason: str) -> None:
        """Add an envelope to the dead letters."""
        self.dead_number += 1
        reason, trace = split_trace(reason)
        buried = envelope._replace(at=0.0)
        self.dead[self.dead_number] = DeadLetter(
            self.dead_number, queue, buried, attempts, reason, self.wall(), trace
        )
        self.queues[queue].lanes.dead += 1
        for lane, number in self.book.add(DeadLane(queue, envelope.key), self.dead_number):
            del self.dead[number]
            self.queues[lane.queue].lanes.dropped += 1
            self.bursts.note("dead letters dropped", lane.queue, lane.key)

    def notify(self, updates: Sequence[Envelope]) -> None:
        """Call the watchers of all sessions with new updates."""
        if updates:
            for watcher in list(self.watchers.values()):
                _, arrived = watcher.get(Queue.INBOX, (None, None))
                if arrived is not None:
                    arrived(updates)

    async def grant(self, session: object) -> Right:
        """Wait until the right to append is free, or of this session; return it."""
        while self.appender not in {None, session}:
            resigned = asyncio.get_running_loop().create_future()
            self._resigned.append(resigned)
            await resigned
        if self.appender is None:
            self.appender, self.right = session, Right(self.right.epoch + 1)
        return self.right

    def resign(self, session: object) -> None:
        """Free the right to append, if this session has it."""
        if self.appender is session:
            self.appender = None
            for resigned in self._resigned:
                if not resigned.done():
                    resigned.set_result(None)
            self._resigned.clear()

    def reap_later(self, session: object, after_s: float) -> None:
        """Let others take over what this session holds, after so many seconds and then again and again, until `keep`."""
        self.keep(session)
        self._deadlines[session] = asyncio.get_running_loop().call_later(
            after_s, self._reap_again, session, after_s
        )

    def keep(self, session: object) -> None:
        """Let the session keep what it holds."""
        if (deadline := self._deadlines.pop(session, None)) is not None:
            deadline.cancel()

    def reap(self, session: object) -> None:
        """End what the session holds: its leases, and the right to append."""
        self.resign(session)
        watchers = self.watchers.get(session, {})
        for queue, data in self.queues.items():
            leases = data.lanes.reap(session)
            if leases and queue in watchers:
                watchers[queue][0](leases)

    def _reap_again(self, session: object, after_s: float) -> None:
        self.reap_later(session, after_s)  # a claim of it that still waits may get a lane
        self.reap(session)
