"""sqlite:FILE: everything in one file, owned by one process.

* Leases and scheduling live in memory (engine/lanes.py): the process owns the file, so after a crash everything
  is claimable at once. What the file says and what the lanes say changes together, when a group is committed.
* WAL. `synchronous=FULL` for a transaction with an append (Telegram is about to forget these updates), NORMAL
  for the others: a power cut can make the last commits happen again, and loses no update.
* A full disk or an I/O error confirms nothing: StoreUnavailable, until a person has mended it.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from engine.aliases import Aliases
from engine.errors import LeaseLost, StoreError, StoreUnavailable
from engine.lanes import Lane
from engine.model import (
    KEEP,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    LaneView,
    Lease,
    Queue,
    Stats,
)
from engine.seen import SeenIds
from engine.store import ID_MASK, Limits
from engine.stores.at_hand import QueueAtHand, RecentStates
from engine.stores.sqlite_file import Connect, Renew, StoreFile, connect, open_file, renew
from engine.stores.sqlite_letters import find_letter, newest_letters
from engine.stores.sqlite_writer import Group, Writer, translated

log = structlog.get_logger(__name__)
T = TypeVar("T")

_COUNTER_BITS = 28  # of fences and outbox ids, below the owner's epoch
_READ_ANEW_PAUSE_MAX_S = 30.0
_CALM_S = 60.0  # without an I/O error: the next one is a new trouble


class SqliteStore:
    """One file, one process, one session. Made by `open_sqlite`; `wall` gives Unix time."""

    def __init__(self, file: StoreFile, limits: Limits, wall: Callable[[], float]) -> None:
        self._file = file
        self._limits = limits
        self._wall = wall
        self._queues: dict[Queue, QueueAtHand] = {}
        self._seen = SeenIds()
        self._aliases = Aliases()
        self._states = RecentStates()
        self._outbox_id = 0
        self._writer: Writer
        self._appending = asyncio.Lock()  # "seen" may be said only of what is durable: one append at a time
        self._appended: Group | None = None  # the last one; its caller may have been cut off
        self._reading_anew = asyncio.Lock()
        self._read_anew_at = -_CALM_S  # on the event loop's clock
        self._read_anew_pause_s = 0.0

    async def load(self) -> None:
        """Take over what the file holds; takes about a second for 500,000 pending updates."""
        epoch = self._file.owner_epoch
        self._queues = {queue: QueueAtHand(queue, fence=epoch << _COUNTER_BITS) for queue in Queue}
        self._seen = SeenIds()
        self._aliases = Aliases()
        self._states = RecentStates()
        self._outbox_id = epoch << _COUNTER_BITS
        try:
            await asyncio.to_thread(self._load_pending)
            now = self._wall()
            for data in self._queues.values():
                data.lanes.restore(self._file.parked(data.name, now))
        except sqlite3.Error as error:
            raise translated(error)[0] from None
        self._writer = Writer(self._file.connection, epoch)

    async def append(self, batch: Sequence[Envelope]) -> int:
        async with self._appending:
            await self._none_appending()
            group = self._writer.group()
            now = self._wall()
            old_segments = self._seen.forget(now, self._queues[Queue.INBOX].lanes.pending_ids())
            new, segments = self._seen.plan([envelope.id for envelope in batch])
            for segment in old_segments:
                if segment not in segments:  # else it is in use again, and what follows replaces it
                    group.others.append(("DELETE FROM seen WHERE segment = ?", (segment,)))
            if not new:
                return 0
            updates = self._aliases.addressed([batch[index] for index in new])
            placed, full = self._queues[Queue.INBOX].place(updates, self._limits.lane_depth_max)
            group.durable = True
            group.insert("inbox", *((place, e.key, e.scope, e.body) for place, e in placed))
            group.insert("seen", *((number, bytes(bits), now) for number, bits in segments.items()))
            for envelope in full:
                self._bury(group, Queue.INBOX, envelope, 0, "lane full")

            def appended() -> None:
                inbox = self._queues[Queue.INBOX]
                self._seen.apply(segments, now)
                for place, envelope in placed:
                    inbox.add(place, envelope)
                inbox.lanes.appended += len(full)
                inbox.lanes.dead += len(full)

            self._appended = group
            await self._writer.done(appended)
            return len(new)

    async def alias(self, name: str, key: str) -> None:
        async with self._appending:
            await self._trusted()
            if (lane := self._aliases.plan(name, key)) is not None:
                self._writer.group().durable = True
                self._writer.group().insert("alias", (name, lane))
                await self._writer.done(lambda: self._aliases.add(name, lane))

    async def claim(self, queue: Queue) -> Delivery:
        while True:
            await self._trusted()
            data = self._queues[queue]
            lane = data.lanes.take(self)
            if lane is not None:
                try:
                    return await self._delivery(data, lane)
                except BaseException:
                    data.lanes.let_go(lane)
                    raise
            await data.lanes.wait()

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        lane = await self._held(delivery.lease)
        data = self._queues[delivery.lease.queue]
        place, envelope = lane.head, delivery.envelope
        if place & ID_MASK == envelope.id:
            group = self._writer.group()
            group.delete(data.name, place)
            if effects.state is None:
                group.others.append(
                    ("DELETE FROM state WHERE key = ? AND scope = ?", (lane.key, envelope.scope))
                )
            elif effects.state is not KEEP:
                group.insert("state", (lane.key, envelope.scope, effects.state))
            calls = []
            for call in effects.calls:
                self._outbox_id += 1
                calls.append(Envelope(self._outbox_id, self._aliases.lane(call.key), "", call.body))
            if calls:
                group.insert("outbox", *calls)
            self._forget_parked(group, data, lane)

            def committed() -> bool:
                data.lanes.committed += 1
                data.gone(place)
                if effects.state is not KEEP:
                    self._states.put((lane.key, envelope.scope), effects.state)
                for call in calls:
                    self._queues[Queue.OUTBOX].add(call.id, call)
                return data.lanes.ack(lane, more=more)

            if not await self._settle(group, lane, committed):
                return None
        elif lane.acked & ID_MASK != envelope.id:
            raise LeaseLost(lane.key)
        try:
            return await self._delivery(data, lane)
        except BaseException as error:
            if data.lanes.is_held(delivery.lease):  # else who asked the same beside us let it go
                data.lanes.let_go(lane)
            if isinstance(error, StoreUnavailable):
                return None  # the commit is done; the next head waits for whoever claims it
            raise

    async def park(self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str) -> None:
        lane = await self._head_held(delivery)
        data = self._queues[delivery.lease.queue]
        attempts = lane.attempts + counted
        group = self._writer.group()
        group.insert("parked", (data.name, lane.key, attempts, self._wall() + delay_s, reason, delay_s))
        await self._settle(
            group, lane, lambda: data.lanes.park(lane, delay_s, attempts=attempts, reason=reason)
        )

    async def bury(self, delivery: Delivery, reason: str) -> None:
        lane = await self._head_held(delivery)
        data = self._queues[delivery.lease.queue]
        place = lane.head
        group = self._writer.group()
        group.delete(data.name, place)
        self._bury(group, delivery.lease.queue, delivery.envelope, lane.attempts + 1, reason)
        self._forget_parked(group, data, lane)

        def buried() -> None:
            data.lanes.dead += 1
            data.gone(place)
            data.lanes.ack(lane, more=False)

        await self._settle(group, lane, buried)

    async def release(self, delivery: Delivery) -> None:
        lane = await self._head_held(delivery)
        self._queues[delivery.lease.queue].lanes.let_go(lane)

    async def renew(self, leases: Iterable[Lease]) -> list[Lease]:
        return [lease for lease in leases if not self._queues[lease.queue].lanes.is_held(lease)]

    async def stats(self) -> Stats:
        return Stats(self._queues[Queue.INBOX].lanes.stats(), self._queues[Queue.OUTBOX].lanes.stats())

    async def close(self) -> None:
        for data in self._queues.values():
            data.lanes.close()
        await self._writer.close()
        await asyncio.to_thread(self._file.close)

    def lanes(self, queue: Queue, limit: int = 100) -> list[LaneView]:
        return list(self._queues[queue].lanes.views(limit))

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        await self._trusted()
        return await newest_letters(self._writer, limit)

    async def replay(self, number: int) -> bool:
        async with self._appending:
            await self._none_appending()
            letter = await find_letter(self._writer, number)
            if letter is None:
                return False
            envelope = letter.envelope
            data = self._queues[letter.queue]
            place = data.lanes.old_place_of(envelope.id)
            group = self._writer.group()
            group.others.append(("DELETE FROM dead WHERE number = ?", (number,)))
            group.insert(data.name, (place, envelope.key, envelope.scope, envelope.body))
            await self._writer.done(lambda: data.add(place, envelope))
            return True

    # -- parts of the above -----------------------------------------------------------------------------------

    async def _delivery(self, data: QueueAtHand, lane: Lane) -> Delivery:
        """Return the lane's head with its state, from memory or from the file."""
        place, key = lane.head, lane.key
        envelope = data.envelopes.get(place)
        if envelope is None:
            row = await self._writer.read(f"SELECT scope, body FROM {data.name} WHERE place = ?", (place,))
            envelope = Envelope(place & ID_MASK, key, *row)
        state = None
        if data.lanes.queue is Queue.INBOX:
            name = (key, envelope.scope)
            if name in self._states:
                state = self._states.get(name)
            else:
                row = await self._writer.read("SELECT state FROM state WHERE key = ? AND scope = ?", name)
                state = row[0] if row else None
                self._states.put(name, state)
        return Delivery(lane.lease, envelope, lane.attempts + 1, state)

    def _bury(self, group: Group, queue: Queue, envelope: Envelope, attempts: int, reason: str) -> None:
        group.insert("dead", (queue.value, *envelope, attempts, reason, self._wall()))
        group.others.append(
            ("DELETE FROM dead WHERE number <= (SELECT max(number) FROM dead) - ?", (self._limits.dead_max,))
        )

    def _forget_parked(self, group: Group, data: QueueAtHand, lane: Lane) -> None:
        if lane.reason is not None:
            group.others.append(("DELETE FROM parked WHERE queue = ? AND key = ?", (data.name, lane.key)))

    async def _held(self, lease: Lease) -> Lane:
        """Return the lane of a lease in force, with nothing of it under way in the file."""
        await self._trusted()
        lane = self._queues[lease.queue].lanes.held(lease)
        # Something is under way when a caller was cut off and asks again.
        while lane.settling is not None and not lane.settling.finished:
            await self._writer.read("SELECT 1", ())
            lane = self._queues[lease.queue].lanes.held(lease)
        return lane

    async def _none_appending(self) -> None:
        """Wait until an append whose caller was cut off is in the file, or refused."""
        await self._trusted()
        while self._appended is not None and not self._appended.finished:
            await self._writer.read("SELECT 1", ())
            await self._trusted()

    async def _head_held(self, delivery: Delivery) -> Lane:
        await self._held(delivery.lease)
        return self._queues[delivery.lease.queue].lanes.head_held(delivery)

    def _settle(self, group: Group, lane: Lane, then: Callable[[], T]) -> asyncio.Future[T]:
        lane.settling = group
        return self._writer.done(then)

    async def _trusted(self) -> None:
        """After an I/O error: read the file anew, as after a crash. All leases are void then.

        What was under way then happens again (a reply that went out goes out once more), so a file that fails
        again and again is read less and less often; who needs it waits.
        """
        if self._writer.suspect:
            async with self._reading_anew:
                if self._writer.suspect:
                    await self._pause_between_readings()
                    log.error("reading the store's file anew after an I/O error", file=str(self._file.path))
                    await self._writer.close()
                    await asyncio.to_thread(self._file.reopen)
                    stale = list(self._queues.values())
                    await self.load()
                    for data in stale:
                        data.lanes.close()

    async def _pause_between_readings(self) -> None:
        """At once after a calm time; then 1 s, 2 s, 4 s ..."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._read_anew_at < _CALM_S:
            self._read_anew_pause_s = min(_READ_ANEW_PAUSE_MAX_S, max(1.0, 2 * self._read_anew_pause_s))
            await asyncio.sleep(self._read_anew_pause_s)
        else:
            self._read_anew_pause_s = 0.0
        self._read_anew_at = loop.time()

    def _load_pending(self) -> None:
        for data in self._queues.values():
            for place, key in self._file.pending(data.name):
                data.lanes.add(key, place)
            data.lanes.appended = data.lanes.pending
        for name, lane in self._file.aliases():
            self._aliases.add(name, lane)
        for segment, bits, touched in self._file.seen():
            self._seen.apply({segment: bytearray(bits)}, touched)


async def open_sqlite(
    path: Path,
    bot: str,
    *,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    connect: Connect = connect,
    renew: Renew = renew,
) -> SqliteStore:
    """Open or create the file of one bot; StoreError says in one line what a person has to do."""
    file = await asyncio.to_thread(open_file, path, bot, connect, renew)
    store = SqliteStore(file, limits or Limits(), wall)
    try:
        await store.load()
    except BaseException as error:
        file.close()
        if isinstance(error, StoreUnavailable):
            raise StoreError(f"cannot open {path}: {error}") from None
        raise
    return store
