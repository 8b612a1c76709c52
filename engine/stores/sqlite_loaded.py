"""What a SQLite store has in memory of its file: loaded when it is opened, and anew after an I/O error."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

import structlog

from engine.aliases import Aliases
from engine.lanes import Lane
from engine.model import TIMER_IDS, Delivery, Envelope, Queue
from engine.seen import SeenIds
from engine.store import ID_MASK, Limits
from engine.stores.at_hand import Name, QueueAtHand, RecentStates
from engine.stores.sqlite_file import StoreFile
from engine.stores.sqlite_timers import Timers
from engine.stores.sqlite_writer import Group, Row, Writer, translated

log = structlog.get_logger(__name__)

_COUNTER_BITS: Final = 28  # of fences, outbox ids and timers, below the owner's epoch
_READ_ANEW_PAUSE_MAX_S: Final = 30.0
_CALM_S: Final = 60.0  # without an I/O error: the next one is a new trouble


class LoadedFile:
    """The file, its writer, and the rest in memory. What the file says and what this says changes together."""

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
        self._timers: Timers
        self._appended: Group | None = None  # the last that took in updates; its caller may have been cut off
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
        self._timers = Timers(self._queues[Queue.INBOX].lanes, self._wall, number=epoch << _COUNTER_BITS)
        try:
            await asyncio.to_thread(self._load_pending)
            now = self._wall()
            for data in self._queues.values():
                data.lanes.restore(self._file.parked(data.name, now))
        except sqlite3.Error as error:
            raise translated(error)[0] from None
        self._writer = Writer(self._file.connection, epoch)
        self._timers.start(self._writer)

    async def close(self) -> None:
        """Let go of the file."""
        self._timers.close()
        for data in self._queues.values():
            data.lanes.close()
        await self._writer.close()
        await asyncio.to_thread(self._file.close)

    async def _delivery(self, data: QueueAtHand, lane: Lane) -> Delivery:
        """Return the lane's head with its state, from memory or from the file."""
        place, key = lane.head, lane.key
        envelope = data.envelopes.get(place)
        if envelope is None:
            table = "timer" if place & TIMER_IDS else data.name
            row = await self._writer.read(f"SELECT scope, body, at FROM {table} WHERE place = ?", (place,))
            envelope = Envelope(place & ID_MASK, key, *row)
        state = None
        if data.lanes.queue is Queue.INBOX:
            name = (key, envelope.scope)
            state = self._states.get(name) if name in self._states else await self._read_state(name)
        return Delivery(lane.lease, envelope, lane.attempts + 1, state)

    def _read_state(self, name: Name) -> asyncio.Future[bytes | None]:
        states = self._states

        def found(rows: list[Row]) -> bytes | None:
            state = rows[0][0] if rows else None
            states.put(name, state)  # here, since another lane's commit may come next
            return state

        return self._writer.read_rows("SELECT state FROM state WHERE key = ? AND scope = ?", name, found)

    async def _none_appending(self) -> None:
        """Wait until an append whose caller was cut off is in the file, or refused."""
        await self._trusted()
        while self._appended is not None and not self._appended.finished:
            await self._writer.read("SELECT 1", ())
            await self._trusted()

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
                    self._timers.close()
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
        self._timers.load(self._file)
        for name, lane in self._file.aliases():
            self._aliases.add(name, lane)
        for segment, bits, touched in self._file.seen():
            self._seen.apply({segment: bytearray(bits)}, touched)
