"""The in-memory image of a SQLite store's file, and how it is reloaded when the file's contents are in doubt.

    trusted ──── the writer met an I/O error, a missing file, or an internal error ────────────▶ in doubt
       ▲                                                                                          │
       │  one task of the store, never a caller's: close the writer, open the file again,         │
       └─ read all of it into a new `Loaded`, replace the old one in one step ◀───────────────────┘
                                                                                                  │
    closed, or lost (StoreError: the file is another one, is damaged, has lost updates) ◀─────────┘

While the file is in doubt nothing is written or read. A caller waits for the running attempt, and gets its
StoreUnavailable; the task tries again, with pauses of at most 30 s, until the file is there. No caller's cancellation
reaches it. Workers that wait for a lane keep waiting, and are woken when the new lanes are there. All leases are void
then, and deliveries in progress are handled again (a reply that was sent is sent again).
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

import structlog

from engine.embedded.aliases import Aliases
from engine.embedded.at_hand import Name, QueueAtHand, RecentStates
from engine.embedded.forward import ForwardClock
from engine.embedded.lane import Lane
from engine.embedded.seen import SeenIds
from engine.errors import LeaseLost, StoreError, StoreUnavailable
from engine.model import TIMER_IDS, Delivery, Envelope, Queue, Right
from engine.store import ID_MASK, Arrived, Limits, Lost
from engine.stores.sqlite.errors import at_opening, damaged, translated
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.group import Group, Row
from engine.stores.sqlite.ids import HighWater
from engine.stores.sqlite.letters import Letters
from engine.stores.sqlite.thread import JobThread, result_on
from engine.stores.sqlite.timers import Timers
from engine.stores.sqlite.writer import Writer

log = structlog.get_logger(__name__)

_FENCE_BITS: Final = 53  # counts the claims of one opening; the owner's epoch is above these bits
_READ_ANEW_PAUSE_MAX_S: Final = 30.0
_CALM_S: Final = 60.0  # after this long without a reload the next one starts without a pause


class Loaded:
    """Everything read from one opening of the file. Created on the store's thread, then `start`ed on the event loop."""

    def __init__(
        self, file: StoreFile, limits: Limits, clock: ForwardClock, now: float, due_until: float
    ) -> None:
        """Read the file; takes about a second for 500,000 pending updates.

        `now` is the loop's time, `due_until` Unix time: timers that are due by then are put into their lanes.
        """
        fence = file.owner_epoch << _FENCE_BITS
        self.queues = {queue: QueueAtHand(queue, fence=fence) for queue in Queue}
        self.seen = SeenIds()
        self.aliases = Aliases()
        self.states = RecentStates(file.states())
        self.outbox_id = file.last_id("calls")
        self.timers = Timers(self.queues[Queue.INBOX].lanes, clock, number=file.last_id("timers"))
        for data in self.queues.values():
            for place, key in file.pending(data.name):
                data.lanes.add(key, place)
            data.lanes.appended = data.lanes.pending
        self.timers.load(file, due_until)
        self.aliases.add(dict(file.aliases()))
        for segment, bits, touched in file.seen():
            self.seen.found(segment, bits, clock.wall() - touched, now)
        self.letters = Letters(file, limits, {queue: data.lanes for queue, data in self.queues.items()})
        self._parked = {queue: file.parked(data.name, clock.wall()) for queue, data in self.queues.items()}

    def start(self, writer: Writer) -> None:
        """Start on the event loop: parked lanes, timers, and the deletion of dead letters above the bounds."""
        for queue, parked in self._parked.items():
            self.queues[queue].lanes.restore(parked)
        self._parked.clear()
        self.timers.start(writer)
        self.letters.start(writer)

    def close(self) -> None:
        """Stop the timers, and wake claims that wait for a lane."""
        self.timers.close()
        for data in self.queues.values():
            data.lanes.close()
        self.letters.close()


class LoadedFile:
    """The file, its writer, and the in-memory image, which changes when the file's transaction is committed."""

    def __init__(
        self,
        file: StoreFile,
        limits: Limits,
        wall: Callable[[], float],
        thread: JobThread,
        *,
        look_every_s: float | None,
    ) -> None:
        self._file = file
        self._limits = limits
        self._wall = wall
        self._clock = ForwardClock(wall)
        self._look_every_s = look_every_s
        self.notes = file.running
        self._thread = thread
        self._loaded: Loaded | None = None
        self._queues: dict[Queue, QueueAtHand]  # from here to `_letters`: of `_loaded`
        self._seen: SeenIds
        self._aliases: Aliases
        self._states: RecentStates
        self._outbox_id: int
        self._call_ids: HighWater
        self._timers: Timers
        self._letters: Letters
        self._writer: Writer
        self._appended: Group | None = None  # the last one with an append; its caller may have been cancelled
        self._right: Right | None = None  # in force
        self._granted = Right(0)  # the last one
        self._watchers: dict[Queue, Lost] = {}
        self._arrived: Arrived | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._ended: Exception | None = None  # why the store is closed or lost
        self._closing: asyncio.Task[None] | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None]  # the recovery's current one: callers wait for it
        self._is_pausing = False
        self._read_anew_at = -_CALM_S  # on the event loop's clock
        self._read_anew_pause_s = 0.0

    async def open(self) -> None:
        """Open the file and load it; StoreError says in one line what a person has to do."""
        now, due_until = asyncio.get_running_loop().time(), self._clock()

        def load() -> Loaded:
            self._file.open()
            try:
                return Loaded(self._file, self._limits, self._clock, now, due_until)
            except (StoreError, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - whatever reading a damaged file may raise
                raise at_opening(self._file.path, error) from None

        self._take_over(await result_on(self._thread, load))
        self._granted = Right(self._file.owner_epoch << _FENCE_BITS)
        self._look_later()

    async def close(self) -> None:
        """Close the file, also if the caller is cancelled. Repeated calls wait for the same closing."""
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.create_task(self._close(), name="closing the store")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._ended = self._ended or StoreUnavailable("the store is closed")  # from now on no recovery starts
        if self._recovery is not None and self._is_pausing:
            self._recovery.cancel()  # one that is reading occupies the thread, and ends before the file is closed there
        try:
            if self._loaded is not None:
                self._loaded.close()
                await self._writer.close()
                self._loaded.close()  # for claims that began to wait meanwhile
            await result_on(self._thread, self._file.close)
        finally:
            self._thread.end()
        self._thread.join()  # not if cancelled: the file's last write may hang

    def _at_hand(self, data: QueueAtHand, lane: Lane) -> Delivery | None:
        """Return the delivery of the lane's head, if the envelope and its state are cached; else None."""
        envelope = data.envelopes.get(lane.head)
        if envelope is None:
            return None
        state = None
        if data.lanes.queue is Queue.INBOX:
            name = (lane.key, envelope.scope)
            if name not in self._states:
                return None
            state = self._states.get(name)
        return lane.delivery(envelope, state)

    async def _delivery(self, data: QueueAtHand, lane: Lane) -> Delivery:
        """Return the delivery of the lane's head, from the caches or the file; LeaseLost if the file has no such row."""
        place, key = lane.head, lane.key
        envelope = data.envelopes.get(place)
        if envelope is None:
            table = "timer" if place & TIMER_IDS else data.name
            row = await self._writer.read(f"SELECT scope, body, at FROM {table} WHERE place = ?", (place,))
            if row is None:
                self._lacks(data, lane)
            if [type(value) for value in row[:2]] != [str, bytes]:
                raise StoreError(damaged(f"what is pending in {key} is no bytes"))
            envelope = Envelope(place & ID_MASK, key, *row)
        state = None
        if data.lanes.queue is Queue.INBOX:
            name = (key, envelope.scope)
            state = self._states.get(name) if name in self._states else await self._read_state(name)
        return lane.delivery(envelope, state)

    def _lacks(self, data: QueueAtHand, lane: Lane) -> NoReturn:
        """Raise LeaseLost for a pending row that the file lacks: the lane is from before a reload, or the file is wrong."""
        if data in self._queues.values() and data.lanes.is_held(lane.lease):
            self._writer.doubt(StoreUnavailable(f"what is pending in {lane.key} is not in the store's file"))
        raise LeaseLost(lane.key)

    def _read_state(self, name: Name) -> asyncio.Future[bytes | None]:
        states = self._states

        def found(rows: list[Row]) -> bytes | None:
            state = rows[0][0] if rows else None
            if state is not None and type(state) is not bytes:
                raise StoreError(damaged(f"a state of {name[0]} is no bytes"))
            states.found(name, state)  # now, before the outcome of a later commit to this state
            return state

        return self._writer.read_rows("SELECT state FROM state WHERE key = ? AND scope = ?", name, found)

    async def _none_appending(self) -> None:
        """Wait until the last append, whose caller may have been cancelled, is committed or has failed."""
        await self._trusted()
        while self._appended is not None and not self._appended.finished:
            await self._writer.read("SELECT 1", ())
            await self._trusted()

    def _look_later(self) -> None:
        if self._look_every_s is not None:
            self._looking = asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def _look(self) -> None:
        if not self._writer.suspect:
            self._writer.look()
        self._look_later()

    # -- when the file is in doubt ----------------------------------------------------------------------------

    async def _trusted(self) -> None:
        """Wait until the file is trusted; StoreUnavailable if reloading failed or it is closed, StoreError if lost."""
        while self._writer.suspect:
            if self._ended is not None:
                raise type(self._ended)(*self._ended.args)
            if self._recovery is None:
                self._doubted(StoreUnavailable("the store's file is in doubt"))
            await asyncio.shield(self._attempt)

    def _doubted(self, reason: Exception) -> None:
        """Start the recovery (or give up, for a StoreError) after the writer has put the file in doubt."""
        if self._ended is not None:
            return
        if isinstance(reason, StoreError):
            self._lost(reason)
        elif self._recovery is None:
            self._attempt = self._new_attempt()
            self._recovery = asyncio.create_task(self._recover(reason), name="reading the store anew")

    def _lost(self, reason: StoreError) -> None:
        log.error("the store's file is lost", file=str(self._file.path), reason=str(reason))
        self._ended = reason
        self._writer.suspect = True
        if self._loaded is not None:
            self._loaded.close()  # claims that wait for a lane wake, and get the error

    async def _recover(self, reason: Exception) -> None:
        log.error(
            "the store's file is in doubt: reading it anew", file=str(self._file.path), reason=str(reason)
        )
        try:
            await self._writer.close()
            while self._ended is None:
                await self._pause_between_readings()
                if await self._read_anew():
                    break
        except Exception as error:  # else the file would stay in doubt silently
            log.exception("reading the store anew failed")
            self._lost(StoreError(f"cannot read {self._file.path} anew: {error!r}"))
        finally:
            self._recovery = None
            if not self._attempt.done():
                self._attempt.set_result(None)

    async def _read_anew(self) -> bool:
        """Return whether the recovery is finished: reloaded, lost or closed. False: try again."""
        try:
            loaded = await result_on(
                self._thread, partial(self._load_anew, asyncio.get_running_loop().time(), self._clock())
            )
        except StoreUnavailable as error:
            log.warning("the store's file cannot be read", reason=str(error))
            attempt, self._attempt = self._attempt, self._new_attempt()
            attempt.set_exception(error)
            return False
        except StoreError as error:
            self._lost(error)
        else:
            if self._ended is None:
                self._take_over(loaded)
        return True

    def _load_anew(self, now: float, due_until: float) -> Loaded:
        self._file.reopen()
        try:
            loaded = Loaded(self._file, self._limits, self._clock, now, due_until)
        except sqlite3.Error as error:
            known, _ = translated(error)
            if isinstance(known, sqlite3.Error):  # a table is missing
                raise StoreError(f"cannot read {self._file.path}: {error}") from None
            raise known from None
        if not loaded.seen.contains(self._seen):
            raise StoreError(
                f"{self._file.path} has lost updates that it had: an older copy was put in its place while the bot ran"
            )
        return loaded

    def _take_over(self, loaded: Loaded) -> None:
        """Replace the in-memory image by a new one, in one step: no await in here."""
        old = self._loaded
        self._writer = writer = Writer(self._file, self._thread, self._doubted)
        self._loaded = loaded
        self._queues = loaded.queues
        self._seen = loaded.seen
        self._aliases = loaded.aliases
        self._states = loaded.states
        self._outbox_id = loaded.outbox_id
        self._call_ids = HighWater("calls", loaded.outbox_id)
        self._timers = loaded.timers
        self._letters = loaded.letters
        self._appended = None
        loaded.start(writer)
        if old is not None:
            old.close()
            for queue, lost in self._watchers.items():
                if leases := old.queues[queue].lanes.leases(self):
                    lost(leases)

    def _new_attempt(self) -> "asyncio.Future[None]":
        attempt = asyncio.get_running_loop().create_future()
        attempt.add_done_callback(lambda done: done.cancelled() or done.exception())  # maybe no caller waits
        return attempt

    async def _pause_between_readings(self) -> None:
        """Wait before a reload: not at all after _CALM_S without one; then 1 s, 2 s, 4 s, ... up to 30 s."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._read_anew_at < _CALM_S:
            self._read_anew_pause_s = min(_READ_ANEW_PAUSE_MAX_S, max(1.0, 2 * self._read_anew_pause_s))
            self._is_pausing = True
            try:
                await asyncio.sleep(self._read_anew_pause_s)
            finally:
                self._is_pausing = False
        else:
            self._read_anew_pause_s = 0.0
        self._read_anew_at = loop.time()
