"""The handling of updates by a store whose lanes are in memory: append, claim, commit, and what ends a lease.

The lanes in memory change when the transaction of the same change is committed.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from engine.embedded.at_hand import Name, QueueAtHand
from engine.embedded.lane import Lane, same_scope
from engine.errors import LeaseLost, RightLost, StateChanged, StoreUnavailable, TransactionFailed
from engine.model import KEEP, TIMER_IDS, Call, Delivery, Effects, Envelope, Post, Queue, Right
from engine.moved import former_right
from engine.store import DIED, ID_MASK, Arrived, Lost
from engine.stores.owned.group import Group
from engine.stores.owned.operator import OwnedOperator
from engine.stores.owned.reads import Read
from engine.stores.owned.timers import Changes
from engine.transaction import Transaction

Placed = Sequence[tuple[int, Envelope]]
T = TypeVar("T")


class OwnedStore(OwnedOperator):
    """One session over a ledger that no other one writes."""

    async def right(self) -> Right:
        await self._trusted()
        if self._right is None:
            self._right = self._granted = Right(self._granted.epoch + 1)
        return self._right

    async def resign(self, right: Right) -> None:
        if right == self._right:
            self._right = None

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope] | None = None,
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        if batch is None:
            right, batch = await former_right(self, right)
        await self._none_appending()
        if right != self._right:
            raise RightLost(f"right {right.epoch} to append")
        now, wall = asyncio.get_running_loop().time(), self._wall()
        old = self._seen.old(now, self._queues[Queue.INBOX].lanes.pending_ids())
        new, segments = self._seen.plan([envelope.id for envelope in batch], old)
        leads = self._aliases.plan(aliases)
        if not new and not leads and not posts:
            return 0
        self._seen.drop(old, now)  # before the ledger: an id in memory must be there, too
        group = self._writer.group()
        updates = self._aliases.addressed([batch[index] for index in new], leads)
        placed, full = self._place(updates)
        group.durable = True
        for segment in old:
            group.forget("seen", segment)
        if leads:
            group.insert("alias", *leads.items())
        mine = self._insert(group, right, placed, leads)
        group.see(segments, wall)
        buried = [
            (envelope, self._letters.bury(group, Queue.INBOX, envelope, 0, "lane full", at=wall))
            for envelope in full
        ]
        posted = self._post(group, self._aliases.addressed(posts, leads))

        def appended() -> None:
            inbox = self._queues[Queue.INBOX]
            self._aliases.add(leads)
            self._seen.apply(segments, now)
            arrived = self._add(placed, mine)
            inbox.lanes.appended += len(full)
            for envelope, number in buried:
                self._letters.lane_full(envelope.key, number)
            self._timers.apply(posted)
            if updates and self._arrived is not None:
                self._arrived(updates if arrived is None else [*arrived, *full])

        if batch or aliases:  # posts do not wait for each other
            self._appended = group
        await self._writer.done(appended)
        return len(new)

    async def post(self, posts: Sequence[Post]) -> None:
        await self._trusted()
        posted = self._post(self._writer.group(), self._aliases.addressed(posts, {}))
        await self._writer.done(lambda: self._timers.apply(posted))

    def watch(self, queue: Queue, lost: Lost, arrived: Arrived | None = None) -> None:
        self._watchers[queue] = lost
        if queue is Queue.INBOX:
            self._arrived = arrived

    def lane(self, key: str) -> str:
        return self._aliases.lane(key)

    async def claim(self, queue: Queue) -> Delivery:
        while True:
            if self._writer.suspect:
                await self._trusted()
            data = self._queues[queue]
            lane = data.lanes.take(self)
            if lane is not None:
                try:
                    return self._at_hand(data, lane) or await self._delivery(data, lane)
                except LeaseLost:
                    data.lanes.let_go(lane)
                    continue
                except BaseException:
                    data.lanes.let_go(lane)
                    raise
            await data.lanes.wait()

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        lane, run = await self._read_behind(delivery, limit, Lane.behind)
        run = same_scope(delivery, run)
        lane.hand_out(len(run))
        return run

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return (await self._read_behind(delivery, limit, Lane.updates_behind))[1]

    async def state(self, key: str, scope: str) -> bytes | None:
        await self._trusted()
        name = (self._aliases.lane(key), scope)
        return self._states.get(name) if name in self._states else await self._read_state(name)

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        lane = await self._held(delivery.lease)
        states: dict[Name, bytes | None] = {}
        was: list[tuple[Name, bytes | None]] = []
        if effects.states or effects.state is not KEEP:
            states, was = self._new_states(delivery, effects), self._former_states(delivery, effects)
            lane = await self._compared(delivery, effects, states, was)
        data = self._queues[delivery.lease.queue]
        envelope = delivery.envelope
        if lane.head & ID_MASK == envelope.id:
            places = lane.acked_with(effects.also)
            group = self._writer.group()
            for place in places:
                group.delete(data.name, place)
            if states:
                self._set_states(group, lane, states, was)
            calls = self._send(group, effects.calls, lane.key) if effects.calls else []
            if effects.calls or effects.timers or effects.posts or states:
                group.note_size(_content(effects, states))
            most = self._limits.lane_timers_max
            timers = (
                self._timers.plan(group, lane.key, envelope.scope, effects.timers, most)
                if effects.timers
                else {}
            )
            if effects.posts:
                timers |= self._post(group, self._aliases.addressed(effects.posts, {}), lane.key)
            if lane.reason is not None:
                self._forget_parked(group, data, lane)

            def committed() -> bool:
                data.lanes.committed += 1 + effects.also
                for place in places:
                    (self._timers if place & TIMER_IDS else data).gone(place)
                for name, state in states.items():
                    self._states.put(name, state)
                if calls:
                    self._sent(calls)
                if timers:
                    self._timers.apply(timers)
                return data.lanes.ack(lane, more=more, count=1 + effects.also)

            if effects.within is not None:
                self._join(group, effects.within)
            if effects.sql:  # no await, and nothing that fails, until it is submitted
                group.sql[len(group.waiting)] = effects.sql
            if not await self._settle(group, lane, committed):
                return None
        elif lane.acked & ID_MASK != envelope.id:
            raise LeaseLost(lane.key)
        try:
            return self._at_hand(data, lane) or await self._delivery(data, lane)
        except BaseException as error:
            if data.lanes.is_held(delivery.lease):  # else a repeated call of the same commit has released it
                data.lanes.let_go(lane)
            if isinstance(error, StoreUnavailable):
                return None  # the commit is done; the next head waits for the next claim
            raise

    async def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        lane = await self._head_held(delivery)
        data = self._queues[delivery.lease.queue]
        attempts = lane.attempts + counted
        group = self._writer.group()
        until = self._wall() + delay_s
        group.insert("parked", (data.name, lane.key, attempts, until, reason, delay_s, lane.head))
        sent = self._send(group, calls, lane.key)
        group.note_size(call.body for call in calls)

        def parked() -> None:
            self._sent(sent)
            data.lanes.park(lane, delay_s, attempts=attempts, reason=reason)

        await self._settle(group, lane, parked)

    async def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        lane = await self._head_held(delivery)
        data = self._queues[delivery.lease.queue]
        place = lane.head
        group = self._writer.group()
        group.delete(data.name, place)
        attempts = lane.attempts + (not reason.startswith(DIED))
        at = self._wall()
        number = self._letters.bury(group, delivery.lease.queue, delivery.envelope, attempts, reason, at=at)
        group.note_size([delivery.envelope.body, *(call.body for call in calls)])
        sent = self._send(group, calls, lane.key)
        if lane.reason is not None:
            self._forget_parked(group, data, lane)

        def buried() -> None:
            self._letters.buried(data.lanes.queue, lane.key, number)
            (self._timers if place & TIMER_IDS else data).gone(place)
            self._sent(sent)
            data.lanes.ack(lane, more=False)

        await self._settle(group, lane, buried)

    async def release(self, delivery: Delivery) -> None:
        lane = await self._head_held(delivery)
        self._queues[delivery.lease.queue].lanes.let_go(lane)

    # -- parts of the above -----------------------------------------------------------------------------------

    def _new_states(self, delivery: Delivery, effects: Effects) -> dict[Name, bytes | None]:
        states = {(self._aliases.lane(key), scope): state for key, scope, _, state in effects.states}
        if effects.state is not KEEP:
            states[delivery.lease.key, delivery.envelope.scope] = effects.state
        return states

    def _former_states(self, delivery: Delivery, effects: Effects) -> list[tuple[Name, bytes | None]]:
        """Return what the states have to be before the commit; of the delivery's own: what was delivered."""
        was = [((self._aliases.lane(change.key), change.scope), change.was) for change in effects.states]
        if effects.state is not KEEP and delivery.lease.queue is Queue.INBOX:  # outbox: no state
            was.append(((delivery.lease.key, delivery.envelope.scope), delivery.state))
        return was

    async def _compared(
        self,
        delivery: Delivery,
        effects: Effects,
        states: Iterable[Name],
        was: Sequence[tuple[Name, bytes | None]],
    ) -> Lane:
        """Return the lane of a lease in force, while no write of these states is in progress.

        StateChanged if one of them is not what it was, unless this is a repeated commit.
        """
        names = {name for name, _ in was}  # a state may occur twice
        with self._states.watched(names) as known:
            while True:
                lane = await self._held(delivery.lease)
                if lane.head & ID_MASK != delivery.envelope.id:
                    return lane
                lane.acked_with(effects.also)
                unknown = names - known.keys()
                if any(self._writer.writes(*name) for name in states):
                    await self._writer.read(Read.NOTHING, ())
                elif unknown:
                    await asyncio.gather(*map(self._read_state, unknown))
                elif any(known[name] != before for name, before in was):
                    raise StateChanged(delivery.lease.key)
                else:
                    return lane

    # What a store whose lanes are shared by several sessions does otherwise (sessions.py).

    def _place(self, updates: Sequence[Envelope]) -> tuple[Placed, list[Envelope]]:
        """Return the updates with their places, and those whose lane is full."""
        return self._queues[Queue.INBOX].place(updates, self._limits.lane_depth_max)

    def _insert(self, group: Group, right: Right, placed: Placed, leads: Mapping[str, str]) -> Placed | None:  # noqa: ARG002
        """Add updates to the group; return those of this session's lanes, None: all of them."""
        group.insert("inbox", *[(place, *envelope[1:]) for place, envelope in placed])
        return None

    def _add(self, placed: Placed, mine: Placed | None) -> Sequence[Envelope] | None:  # noqa: ARG002
        """Put updates into their lanes; return those of this session's lanes, None: all of them."""
        inbox = self._queues[Queue.INBOX]
        for place, envelope in placed:
            inbox.add(place, envelope)
        return None

    def _set_states(
        self,
        group: Group,
        lane: Lane,  # noqa: ARG002
        states: Mapping[Name, bytes | None],
        was: Iterable[tuple[Name, bytes | None]],  # noqa: ARG002 - compared in memory
    ) -> None:
        for name, state in states.items():
            group.set_state(*name, state)

    def _post(self, group: Group, posts: Sequence[Post], of: str = "") -> Changes:  # noqa: ARG002
        """Add posts to the group, of a handler of the lane `of`."""
        return self._timers.post(group, posts, self._limits.lane_timers_max)

    def _send(self, group: Group, calls: tuple[Call, ...], of: str) -> list[Envelope]:  # noqa: ARG002
        """Add calls of a handler of the lane `of` to the group; return those that `_sent` puts into their lanes."""
        if not calls:
            return []
        at = self._wall()
        sent = []
        for call in calls:
            id_ = self._call_ids.next()
            sent.append(Envelope(id_, self._aliases.lane(call.key), "", call.body, at))
        group.insert("outbox", *sent)
        self._call_ids.reserve(group)
        return sent

    def _sent(self, calls: list[Envelope]) -> None:
        for call in calls:
            self._queues[Queue.OUTBOX].add(call.id, call)
        if calls:
            self._call_ids.reserved(calls[-1].id)

    def _join(self, group: Group, within: Transaction) -> None:  # noqa: ARG002
        """Let the transaction of a handler be that of the next caller of the group; TransactionFailed if it is over."""
        within.abandon()
        raise TransactionFailed("this store has no transactions of handlers")

    def _forget_parked(self, group: Group, data: QueueAtHand, lane: Lane) -> None:
        group.forget("parked", data.name, lane.key)

    def _settle(self, group: Group, lane: Lane, then: Callable[[], T]) -> asyncio.Future[T]:
        lane.settling = group
        return self._writer.done(then)


def _content(effects: Effects, states: Mapping[Name, bytes | None]) -> list[bytes]:
    content = [body for _, body in effects.calls]
    content += [timer.body for timer in effects.timers]
    content += [post.body for post in effects.posts]
    return content + [state for state in states.values() if state is not None]
