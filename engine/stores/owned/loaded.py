"""The in-memory image of what a store keeps, and how it is read anew when that is in doubt.

    trusted ──── the writer met an I/O error, a missing file, or an internal error ────────────▶ in doubt
       ▲                                                                                          │
       │  one task of the store, never a caller's: close the writer, open the ledger again,       │
       └─ read all of it into a new `Loaded`, replace the old one in one step ◀───────────────────┘
                                                                                                  │
    closed, or lost (StoreError: the file is another one, is damaged, has lost updates) ◀─────────┘

While the store is in doubt nothing is written or read. A caller waits for the running attempt, and gets its
StoreUnavailable; the task tries again, with pauses, until it succeeds. No caller's cancellation
reaches it. Workers that wait for a lane keep waiting, and are woken when the new lanes are there. All leases are void
then, and deliveries in progress are handled again (a reply that was sent is sent again).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from engine.embedded.at_hand import Name, QueueAtHand, RecentStates
from engine.embedded.forward import ForwardClock
from engine.embedded.lane import Lane
from engine.errors import LeaseLost, StoreError, StoreUnavailable
from engine.model import TIMER_IDS, Delivery, Envelope, Lease, Queue, Right
from engine.sharing import ALONE, Sharing
from engine.store import ID_MASK, Arrived, Limits, Lost
from engine.stores.owned.group import Group, Row
from engine.stores.owned.image import FENCE_BITS, Loaded
from engine.stores.owned.ledger import Ledger, Source, damaged
from engine.stores.owned.reads import Read

if TYPE_CHECKING:
    from engine.embedded.aliases import Aliases
    from engine.embedded.seen import SeenIds
    from engine.stores.owned.ids import Ids
    from engine.stores.owned.letters import Letters
    from engine.stores.owned.timers import Timers
    from engine.stores.owned.writer import GroupWriter

log = structlog.get_logger(__name__)

_CALM_S: Final = 60.0  # after this long without a reload the next one starts without a pause


class LoadedStore:
    """The ledger, its writer, and the in-memory image, which changes when the transaction is committed.

    `look_every_s`: how often to check that the ledger is still there; None: only when it is written.
    """

    def __init__(
        self, ledger: Ledger, limits: Limits, wall: Callable[[], float], *, look_every_s: float | None = None
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._wall = wall
        self._clock = ForwardClock(wall)
        self._look_every_s = look_every_s
        self.notes = ledger.notes
        self._loaded: Loaded | None = None
        self._queues: dict[Queue, QueueAtHand]  # from here to `_letters`: of `_loaded`
        self._seen: SeenIds
        self._aliases: Aliases
        self._states: RecentStates
        self._call_ids: Ids
        self._timers: Timers
        self._letters: Letters
        self._writer: GroupWriter
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

    @property
    def sharing(self) -> Sharing:
        """See Store."""
        return ALONE

    async def open(self) -> None:
        """Open the ledger and load it; StoreError says in one line what a person has to do."""
        self._take_over(loaded := await self._ledger.open(self._loader))
        self._granted = Right(loaded.owner_epoch << FENCE_BITS)
        self._look_later()

    def _loader(self) -> Callable[[Source], Loaded]:
        now, due_until = asyncio.get_running_loop().time(), self._clock()
        return lambda source: Loaded(source, self._limits, self._clock, now, due_until)

    async def close(self) -> None:
        """Close the ledger, also if the caller is cancelled. Repeated calls wait for the same closing."""
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.create_task(self._close(), name="closing the store")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._ended = self._ended or StoreUnavailable("the store is closed")  # from now on no recovery starts
        if self._recovery is not None and self._is_pausing:
            self._recovery.cancel()  # one that is reading ends before the ledger is closed
        try:
            if self._loaded is not None:
                self._loaded.close()
                await self._writer.close()
                self._loaded.close()  # for claims that began to wait meanwhile
        finally:
            await self._ledger.close()

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
        """Return the delivery of the lane's head, from the caches or the ledger; LeaseLost if that has no such row."""
        place, key = lane.head, lane.key
        envelope = data.envelopes.get(place)
        if envelope is None:
            table = "timer" if place & TIMER_IDS else data.name
            row = await self._writer.read(Read.at(table), ([place],))
            if row is None:
                self._lacks(data, lane)
            if [type(value) for value in row[1:3]] != [str, bytes]:
                raise StoreError(damaged(f"what is pending in {key} is no bytes"))
            envelope = Envelope(place & ID_MASK, key, *row[1:])
        state = None
        if data.lanes.queue is Queue.INBOX:
            name = (key, envelope.scope)
            state = self._states.get(name) if name in self._states else await self._read_state(name)
        return lane.delivery(envelope, state)

    def _lacks(self, data: QueueAtHand, lane: Lane) -> NoReturn:
        """Raise LeaseLost for a pending row that is missing: the lane is from before a reload, or the ledger is wrong."""
        if data in self._queues.values() and data.lanes.is_held(lane.lease):
            self._writer.doubt(StoreUnavailable(f"what is pending in {lane.key} is not in the store"))
        raise LeaseLost(lane.key)

    async def _held(self, lease: Lease) -> Lane:
        """Return the lane of a lease in force, while no write of it is in progress."""
        if self._writer.suspect:  # checked here to save an await on the hot path
            await self._trusted()
        lane = self._queues[lease.queue].lanes.held(lease)
        # A write is in progress if a caller was cancelled and repeats its request.
        while lane.settling is not None and not lane.settling.finished:
            await self._writer.read(Read.NOTHING, ())
            lane = self._queues[lease.queue].lanes.held(lease)
        return lane

    async def _read_behind(
        self, delivery: Delivery, limit: int, which: Callable[[Lane, int], list[int]]
    ) -> tuple[Lane, list[Envelope]]:
        """Return the lane and the envelopes at the places that `which` selects, consistent at the time of return."""
        found: dict[int, Envelope] = {}
        while True:
            lane = await self._head_held(delivery)
            data = self._queues[delivery.lease.queue]
            places = which(lane, limit)
            found.update((place, data.envelopes[place]) for place in places if place in data.envelopes)
            missing = [place for place in places if place not in found]
            if not missing:  # and nothing was inserted between them while reading
                return lane, [found[place] for place in places]
            rows = await self._writer.read_rows(Read.at(data.name), (missing,), list)
            for place, *row in rows:
                found[place] = Envelope(place & ID_MASK, lane.key, *row)
            if len(rows) < len(missing):
                self._lacks(data, lane)

    async def _head_held(self, delivery: Delivery) -> Lane:
        await self._held(delivery.lease)
        return self._queues[delivery.lease.queue].lanes.head_held(delivery)

    def _read_state(self, name: Name) -> asyncio.Future[bytes | None]:
        states = self._states

        def found(rows: list[Row]) -> bytes | None:
            state = rows[0][0] if rows else None
            if state is not None and type(state) is not bytes:
                raise StoreError(damaged(f"a state of {name[0]} is no bytes"))
            states.found(name, state)  # now, before the outcome of a later commit to this state
            return state

        return self._writer.read_rows(Read.STATE, name, found)

    async def _none_appending(self) -> None:
        """Wait until the last append, whose caller may have been cancelled, is committed or has failed."""
        await self._trusted()
        while self._appended is not None and not self._appended.finished:
            await self._writer.read(Read.NOTHING, ())
            await self._trusted()

    def _look_later(self) -> None:
        if self._look_every_s is not None:
            self._looking = asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def _look(self) -> None:
        if not self._writer.suspect:
            self._writer.look()
        self._look_later()

    # -- when the store is in doubt ---------------------------------------------------------------------------

    async def _trusted(self) -> None:
        """Wait until the store is trusted; StoreUnavailable if reloading failed or it is closed, StoreError if lost."""
        while self._writer.suspect:
            if self._ended is not None:
                raise type(self._ended)(*self._ended.args)
            if self._recovery is None:
                self._doubted(StoreUnavailable("the store is in doubt"))
            await asyncio.shield(self._attempt)

    def _doubted(self, reason: Exception) -> None:
        """Start the recovery (or give up, for a StoreError) after the writer has put the store in doubt."""
        if self._ended is not None:
            return
        if isinstance(reason, StoreError):
            self._lost(reason)
        elif self._recovery is None:
            self._attempt = self._new_attempt()
            self._recovery = asyncio.create_task(self._recover(reason), name="reading the store anew")

    def _lost(self, reason: StoreError) -> None:
        log.error("the store is lost", store=self._ledger.name, reason=str(reason))
        self._ended = reason
        self._writer.suspect = True
        if self._loaded is not None:
            self._loaded.close()  # claims that wait for a lane wake, and get the error

    async def _recover(self, reason: Exception) -> None:
        log.error("the store is in doubt: reading it anew", store=self._ledger.name, reason=str(reason))
        try:
            await self._writer.close()
            while self._ended is None:
                await self._pause_between_readings()
                if await self._read_anew():
                    break
        except Exception as error:  # else the store would stay in doubt silently
            log.exception("reading the store anew failed")
            self._lost(StoreError(f"cannot read {self._ledger.name} anew: {error!r}"))
        finally:
            self._recovery = None
            if not self._attempt.done():
                self._attempt.set_result(None)

    async def _read_anew(self) -> bool:
        """Return whether the recovery is finished: reloaded, lost or closed. False: try again."""
        try:
            loaded = await self._ledger.reopen(self._loader_anew)
        except StoreUnavailable as error:
            log.warning("the store cannot be read", reason=str(error))
            attempt, self._attempt = self._attempt, self._new_attempt()
            attempt.set_exception(error)
            return False
        except StoreError as error:
            self._lost(error)
        else:
            if self._ended is None:
                self._take_over(loaded)
        return True

    def _loader_anew(self) -> Callable[[Source], Loaded]:
        return partial(self._load_anew, self._loader(), asyncio.get_running_loop().time())

    def _load_anew(self, load: Callable[[Source], Loaded], now: float, source: Source) -> Loaded:
        loaded = load(source)
        if self._has_lost(loaded, source, now):
            raise StoreError(
                f"{self._ledger.name} has lost updates that it had: an older copy was put in its place while the bot ran"
            )
        return loaded

    def _has_lost(self, loaded: Loaded, source: Source, now: float) -> bool:  # noqa: ARG002
        """Return whether an id that was seen so far is not in what was read anew. On the ledger's thread."""
        is_same = self._loaded is not None and not self._loaded.is_void
        return is_same and not loaded.seen.contains(self._seen)

    def _take_over(self, loaded: Loaded) -> None:
        """Replace the in-memory image by a new one, in one step: no await in here."""
        old = self._loaded
        self._writer = writer = self._ledger.writer(self._doubted, self._taken_over)
        self._loaded = loaded
        self._queues = loaded.queues
        self._seen = loaded.seen
        self._aliases = loaded.aliases
        self._states = loaded.states
        self._call_ids = loaded.call_ids
        self._timers = loaded.timers
        self._letters = loaded.letters
        self._appended = None
        loaded.start(writer)
        if old is not None:
            self._void(old)

    def _taken_over(self) -> None:
        """End what this session holds: another process may take over, or has."""
        self._right = None
        if self._loaded is not None:
            self._void(self._loaded)

    def _void(self, loaded: Loaded) -> None:
        """End the leases of an image that is in doubt or replaced, once."""
        if loaded.is_void:
            return
        loaded.is_void = True
        loaded.close()
        for queue, lost in self._watchers.items():
            if leases := loaded.queues[queue].lanes.leases(self):
                lost(leases)

    def _new_attempt(self) -> "asyncio.Future[None]":
        attempt = asyncio.get_running_loop().create_future()
        attempt.add_done_callback(lambda done: done.cancelled() or done.exception())  # maybe no caller waits
        return attempt

    async def _pause_between_readings(self) -> None:
        """Wait before a reload: not at all after _CALM_S without one; then 1 s, 2 s, 4 s, ... up to a maximum."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._read_anew_at < _CALM_S:
            self._read_anew_pause_s = min(self._ledger.pause_max_s, max(1.0, 2 * self._read_anew_pause_s))
            self._is_pausing = True
            try:
                await asyncio.sleep(self._read_anew_pause_s)
            finally:
                self._is_pausing = False
        else:
            self._read_anew_pause_s = 0.0
        self._read_anew_at = loop.time()
