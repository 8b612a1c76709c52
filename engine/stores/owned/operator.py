"""Counts of a store whose lanes are in memory, and the operator's methods: lanes, dead letters, and their replay."""

import asyncio
from collections.abc import Mapping
from itertools import islice
from math import inf
from typing import Any, Final

from engine.embedded.at_hand import QueueAtHand
from engine.embedded.auditing import PROBLEMS_MAX, problems_of
from engine.embedded.ranking import ranked
from engine.model import (
    REPLAYED,
    TIMER_IDS,
    Audited,
    DeadLetter,
    Groups,
    LaneView,
    Oldest,
    Overflow,
    Queue,
    QueueStats,
    Sql,
    Stats,
    Timer,
)
from engine.store import ALL_LANES, Database, LaneOrder
from engine.stores.owned.group import Group, Row
from engine.stores.owned.letters import find_letter, newest_letters
from engine.stores.owned.loaded import LoadedStore
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import HOLD
from engine.transaction import Transaction

_AUDITED_AT_ONCE: Final = 500


class OwnedOperator(LoadedStore):
    """The counts, and the `Operator` part of the store, apart from the handling of updates."""

    async def room(self, pending_max: int) -> int:
        return pending_max - self._queues[Queue.INBOX].lanes.pending

    def mine(self, queue: Queue) -> QueueStats:
        return self._queues[queue].lanes.stats()

    async def leave(self) -> None:
        """There is no other session."""

    async def settled(self, queue: Queue) -> None:
        while True:
            data = self._queues[queue]
            await data.lanes.settled()
            if data is self._queues[queue]:  # else all was read anew meanwhile
                return

    async def stats(self) -> Stats:
        return Stats(self._queues[Queue.INBOX].lanes.stats(), self._queues[Queue.OUTBOX].lanes.stats())

    async def lanes(self, queue: Queue, limit: int = 100, by: LaneOrder | None = None) -> list[LaneView]:
        data = self._queues[queue]
        if by is None:
            return list(data.lanes.views(limit))
        await self._trusted()
        found = await ranked(data.lanes.all(), by, limit)
        heads = {lane.head: lane for lane in found if lane.depth}
        ats = {place: data.envelopes[place].at for place in heads if place in data.envelopes}
        for table, of in ((data.name, 0), ("timer", TIMER_IDS)):
            if places := [place for place in heads if place not in ats and place & TIMER_IDS == of]:
                rows = await self._writer.read_rows(Read.at(table), (places,), list)
                ats |= {row[0]: row[3] for row in rows}
        # A lane whose head was committed meanwhile has another one, or none.
        views = [
            data.lanes.view(lane, ats[place]) for place, lane in heads.items() if place in ats and lane.depth
        ]
        return sorted(views, key=lambda view: view.at)[:limit] if by == "age" else views

    async def lane_view(self, queue: Queue, key: str) -> LaneView | None:
        return self._queues[queue].lanes.view_of(self._aliases.lane(key))

    async def holds(self, queue: Queue) -> dict[str, str]:
        return self._queues[queue].lanes.holds()

    async def hold(self, queue: Queue, key: str, reason: str) -> None:
        await self._trusted()
        key = self._aliases.lane(key)
        if self._is_far(key):
            await self._ask_owner("hold", key, 0, queue.value, reason.encode())
            return
        self._writer.group().insert("parked", (queue.value, f"{HOLD}{key}", 0, self._wall(), reason, 0.0, -1))

        def held() -> None:
            if not self._is_far(key):  # its share was given up meanwhile
                self._queues[queue].lanes.hold(key, reason)

        await self._writer.done(held)

    async def unhold(self, queue: Queue, key: str) -> bool:
        await self._trusted()
        key = self._aliases.lane(key)
        if self._is_far(key):
            return await self._ask_owner("unhold", key, 0, queue.value)
        lanes = self._queues[queue].lanes
        lane = None if key == ALL_LANES else lanes.lane_parked(key)
        if key not in lanes.holds() and lane is None:
            return False
        group = self._writer.group()
        group.forget("parked", queue.value, f"{HOLD}{key}")
        if lane is not None and lane.reason is not None:
            # Ready at once also after a new start; the failures stay counted.
            group.insert(
                "parked", (queue.value, key, lane.attempts, self._wall(), lane.reason, 0.0, lane.head)
            )
        await self._writer.done(lambda: self._queues[queue].lanes.unhold(key))
        return True

    async def overflow(self, queue: Queue) -> Overflow:
        return self._queues[queue].lanes.overflow()

    def groups(self) -> Groups:
        return self._writer.groups

    async def oldest(self) -> Oldest:
        await self._trusted()
        inbox, outbox, timer = await asyncio.gather(
            self._writer.read(Read.INBOX_OLDEST, ()),
            self._writer.read(Read.OUTBOX_OLDEST, ()),
            self._writer.read(Read.NEXT_DUE, (-inf, 0, -inf)),
        )
        due = self._timers.due
        return Oldest(inbox and inbox[0], outbox and outbox[0], timer[0] if timer and due else None, due)

    async def dead_letters(self, limit: int = 100, below: int | None = None) -> list[DeadLetter]:
        await self._trusted()
        return await newest_letters(self._writer, limit, below)

    async def dead_letter(self, number: int) -> DeadLetter | None:
        await self._trusted()
        return await find_letter(self._writer, number)

    async def dead_count(self) -> int:
        return self._letters.count

    async def discard(self, number: int) -> bool:
        letter, _ = await self._letter_alone(number)
        if letter is None:
            self._letters.forget(number)
            return False
        if self._is_far(letter.envelope.key):
            return await self._ask_owner("discard", letter.envelope.key, number)
        self._appended = group = self._writer.group()
        group.drop_letter(letter.number)
        await self._writer.done(lambda: self._letters.removed(letter))
        return True

    async def audit(self, entries_max: int = 50_000) -> Audited:
        await self._trusted()
        found, lanes, entries = [], 0, 0
        for data in self._queues.values():
            found += await problems_of(data.lanes)
            lanes += len(data.lanes.all())
            places = list(islice(data.lanes.places(), entries_max - entries))
            for of in (0, TIMER_IDS):
                table = "timer" if of else data.name
                mine = [place for place in places if place & TIMER_IDS == of]
                for start in range(0, len(mine), _AUDITED_AT_ONCE):
                    missing = await self._missing(data, table, mine[start : start + _AUDITED_AT_ONCE])
                    found += [f"{data.name}: at place {place} nothing is in the store" for place in missing]
            entries += len(places)
        return Audited(found[:PROBLEMS_MAX], lanes, entries)

    def _missing(self, data: QueueAtHand, table: str, places: list[int]) -> asyncio.Future[list[int]]:
        """Return the places that are pending, and of which the store has no row."""

        def compared(rows: list[Row]) -> list[int]:
            # Nothing has been committed between the reading and here, so the lanes are as the store is.
            if missing := set(places) - {row[0] for row in rows}:
                missing.intersection_update(data.lanes.places())
            return sorted(missing)

        return self._writer.read_rows(Read.there(table), (places,), compared)

    @property
    def database(self) -> Database:
        """See Store."""
        return self

    def transaction(self) -> Transaction | None:
        return None

    async def query(self, asked: Sql) -> list[Any]:
        return await self._ledger.query(asked)

    async def create_tables(self, script: str) -> None:
        await self._trusted()
        await self._ledger.create_tables(script)

    def clock_moved(self) -> None:
        self._timers.clock_moved()

    async def replay(self, number: int) -> bool:
        letter, is_pending = await self._letter_alone(number)
        if letter is None or is_pending:
            return False
        envelope = letter.envelope
        if self._is_far(envelope.key):
            return await self._ask_owner("replay", envelope.key, number)
        data = self._queues[letter.queue]
        self._appended = group = self._writer.group()
        group.drop_letter(number)
        if envelope.is_timer:
            timer = Timer(f"{REPLAYED}{number}", 0.0, envelope.body)
            changes = self._timers.plan(group, envelope.key, envelope.scope, (timer,))

            def timer_set() -> None:
                self._letters.removed(letter)
                self._timers.apply(changes)

            await self._writer.done(timer_set)
        else:
            place = data.lanes.old_place_of(envelope.id)
            group.insert(data.name, (place, *envelope[1:]))
            # While it is pending, an update with the same id is a repetition.
            segments = self._see_again(group, envelope.id) if letter.queue is Queue.INBOX else {}

            def replayed() -> None:
                self._letters.removed(letter)
                self._seen.apply(segments, asyncio.get_running_loop().time())
                if not self._is_far(envelope.key):  # its share was given up meanwhile
                    data.add(place, envelope)

            await self._writer.done(replayed)
        return True

    # What a store whose lanes are shared by several sessions does otherwise (sessions.py).

    def _is_far(self, key: str) -> bool:  # noqa: ARG002
        """Return whether the lane belongs to another session."""
        return False

    async def _ask_owner(
        self, what: str, key: str, number: int = 0, scope: str = "", body: bytes = b""
    ) -> bool:
        """Let the session that owns the lane do it."""
        raise NotImplementedError

    async def _letter_alone(self, number: int) -> tuple[DeadLetter | None, bool]:
        """Return the letter, and whether its id is pending, while nothing is appended, replayed or discarded."""
        while True:
            await self._none_appending()
            before = self._appended
            letter = await find_letter(self._writer, number)
            is_pending = letter is not None and await self._is_pending(letter)
            if self._appended is before:  # else another call may have replayed it meanwhile
                return letter, is_pending

    def _see_again(self, group: Group, id_: int) -> Mapping[int, bytearray]:
        """Add to the group that the update was seen; return the segments of ids that change."""
        _, segments = self._seen.plan([id_])
        group.see(segments, self._wall())
        return segments

    async def _is_pending(self, letter: DeadLetter) -> bool:
        """Return whether an update or call of its id is pending; looked up by place, whatever the depth."""
        if letter.envelope.is_timer:
            return False
        data = self._queues[letter.queue]
        places = data.lanes.places_of(letter.envelope.id)
        return await self._writer.read(Read.at(data.name), (places,)) is not None
