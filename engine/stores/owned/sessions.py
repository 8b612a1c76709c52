"""A store whose lanes are shared by several sessions: each owns some shares of them (shares.py), one has the right to append.

Inside a share everything is as in a store with one session: leases, timers and caches are in memory. What concerns a lane of
another session goes through mail (mail.py). Which shares a session should have follows from the list of sessions alone
(`part_of`); it gives up the others when none of their lanes is leased, and takes its own as soon as they are free.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from engine.embedded.seen import FOUND_AGE_MAX_S, KEPT_S, SeenIds
from engine.errors import RightLost, StoreError, StoreUnavailable
from engine.model import Envelope, Post, Queue, Right
from engine.sharing import Lack, Sharing
from engine.store import ALL_LANES
from engine.stores.owned.group import Group
from engine.stores.owned.image import Loaded
from engine.stores.owned.ledger import Granted, Ledger, Source
from engine.stores.owned.mail import MailingStore
from engine.stores.owned.shares import SHARES, Shares, share_of
from engine.stores.owned.store import Placed

log = structlog.get_logger(__name__)


class SharedLedger(Ledger, Protocol):
    """The ledger of several sessions."""

    @property
    def sessions(self) -> int:
        """How many there are, as of the last look."""

    @property
    def is_alone(self) -> bool:
        """Whether this session is the only one that should have shares, as of the last look."""

    @property
    def lacks(self) -> frozenset[Lack]:
        """What no session does, as of the last look."""

    @property
    def held(self) -> Mapping[str, str]:
        """The queues of which an operator holds all lanes, and why, as of the last look."""

    def tell_all(self) -> None:
        """Let all sessions look again."""

    async def part(self) -> frozenset[int]:
        """Return the shares that this session should have now."""

    shares: Shares
    """Those that the session owns; the store sets it."""

    bell: asyncio.Event
    """Set when there may be mail, or shares to take, and at each regular look."""

    async def leave(self) -> None:
        """Say that this session should have no share any more, if there are others."""

    async def take(self, wanted: Collection[int]) -> Source | None:
        """Take these shares, as far as they are free; return what is pending in them, or None: none is free."""

    async def grant(self) -> Granted | None:
        """Take the right to append; None if another session has it."""

    def is_in_time(self) -> bool:
        """Return whether no other session can have taken over what this one has; if one can, end it at once."""

    async def resign(self, epoch: int) -> None:
        """Give the right of this epoch up."""

    @property
    def poller(self) -> str:
        """The name of the process that had the right to append when this one asked for it last; empty: this one got it."""

    async def pending(self) -> int:
        """Return the number of updates in the inbox over all sessions; may lag by a second."""

    async def letters(self) -> int:
        """Return the number of dead letters over all sessions."""

    async def pause(self) -> None:
        """Wait until it may be worth while to ask for the right again; StoreUnavailable if it is closed."""


_KEPT_BY_ALL_S: Final = KEPT_S - FOUND_AGE_MAX_S
"""Who has the right later keeps an id for so long at least."""

_AFTER_TROUBLE_S: Final = 1.0
_GIVE_EVERY_S: Final = 0.05
"""Interval of looks at lanes whose handlers run and that other sessions should have."""


class SharedStore(MailingStore):
    """One session of a store that has several; it is its own `sharing`."""

    is_shared = True
    _ledger: SharedLedger

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._last_place = 0  # of the inbox, while this session has the right
        self._sharing: asyncio.Task[None] | None = None
        self._giving: asyncio.TimerHandle | None = None
        self._granting = asyncio.Lock()
        self._appended_here = SeenIds()  # by this process, under any right

    @property
    def sharing(self) -> Sharing:
        """See Store."""
        return self

    async def open(self) -> None:
        """See LoadedStore."""
        await super().open()
        await self._file_mail()
        self._sharing = asyncio.create_task(self._share(), name="sharing the lanes")

    async def _close(self) -> None:
        if self._sharing is not None:
            self._sharing.cancel()
            with suppress(asyncio.CancelledError):
                await self._sharing
        if self._giving is not None:
            self._giving.cancel()
        if self._fulfilling is not None:
            self._fulfilling.cancel()
        await super()._close()

    # -- the right to append -------------------------------------------------------------------------------------------

    async def right(self) -> Right:
        while True:
            await self._trusted()
            async with self._granting:
                if self._right is None and (granted := await self._ledger.grant()) is not None:
                    self._by_mail = True  # what the former one has appended comes before what this one will
                    await self._file_mail()
                    self._granted_to_us(granted)
                if self._right is not None and self.is_in_time():
                    return self._right
            await self._ledger.pause()

    def is_in_time(self) -> bool:
        """See Sharing."""
        return self._ledger.is_in_time()

    @property
    def appends_elsewhere(self) -> bool:
        """See Sharing."""
        return self._right is None and self._ledger.poller != ""

    @property
    def part_of_lanes(self) -> float:
        """See Sharing; if the session has none: the part of one share."""
        return max(1, len(self._shares)) / SHARES

    @property
    def lacks(self) -> frozenset[Lack]:
        """See Sharing."""
        return self._ledger.lacks

    async def resign(self, right: Right) -> None:
        if right == self._right:
            self._right = None
            await self._ledger.resign(right.epoch)

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope] | None = None,
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        try:
            return await super().append(right, batch, aliases, posts)
        except RightLost:
            if right == self._right:
                self._right = None
            raise

    async def room(self, pending_max: int) -> int:
        if self._ledger.is_alone:
            return await super().room(pending_max)
        return pending_max - await self._ledger.pending()

    async def leave(self) -> None:
        await self._trusted()
        await self._ledger.leave()

    def _granted_to_us(self, granted: Granted) -> None:
        now, wall = asyncio.get_running_loop().time(), self._wall()
        for segment, bits, touched in granted.seen:
            self._seen.found(segment, bits, wall - touched, now)
        self._last_place = granted.last_place
        self._right = Right(granted.epoch)

    # -- append --------------------------------------------------------------------------------------------------------

    def _place(self, updates: Sequence[Envelope]) -> tuple[Placed, list[Envelope]]:
        inbox = self._queues[Queue.INBOX]
        return inbox.place(updates, self._limits.lane_depth_max, self._last_place)

    def _insert(self, group: Group, right: Right, placed: Placed, leads: Mapping[str, str]) -> Placed:
        def owns(key: str) -> bool:  # directly: nothing of before can still be mail
            return not self._arrives_by_mail and self._shares.owns(key)

        group.expect_right(right.epoch)
        group.insert("inbox", *[(place, *envelope[1:]) for place, envelope in placed])
        aliases = [("alias", key, name, 0, 0.0, b"") for name, key in leads.items() if not owns(key)]
        others = [(place, envelope.key) for place, envelope in placed if not owns(envelope.key)]
        self._mail(group, aliases + [("arrived", key, "", place, 0.0, b"") for place, key in others])
        return [each for each in placed if owns(each[1].key)] if others else placed

    def _add(self, placed: Placed, mine: Placed | None) -> Sequence[Envelope] | None:
        self._last_place = max([self._last_place, *(place for place, _ in placed)])
        now = asyncio.get_running_loop().time()
        ids = self._appended_here
        ids.drop(ids.old(now, ()), now)
        ids.apply(ids.plan(envelope.id for _, envelope in placed)[1], now)
        added = [each for each in mine or () if self._shares.owns(each[1].key)]
        super()._add(added, None)
        return None if len(added) == len(placed) else [envelope for _, envelope in added]

    # -- the operator --------------------------------------------------------------------------------------------------

    async def hold(self, queue: Queue, key: str, reason: str) -> None:
        await super().hold(queue, key, reason)
        if key == ALL_LANES:
            self._ledger.tell_all()

    async def unhold(self, queue: Queue, key: str) -> bool:
        is_done = await super().unhold(queue, key)
        if key == ALL_LANES:
            self._ledger.tell_all()
        return is_done

    def _note_holds(self) -> None:
        """Hold all lanes of a queue, or no longer, as an operator has asked of some session."""
        for queue, data in self._queues.items():
            reason = self._ledger.held.get(queue.value)
            if reason is not None and ALL_LANES not in data.lanes.holds():
                data.lanes.hold(ALL_LANES, reason)
            elif reason is None and ALL_LANES in data.lanes.holds():
                data.lanes.unhold(ALL_LANES)

    def _see_again(self, group: Group, id_: int) -> Mapping[int, bytearray]:
        """Only who appends knows the ids: for others an old one may be new again after it was replayed."""
        if self._right is None:
            return {}
        group.expect_right(self._right.epoch)
        return super()._see_again(group, id_)

    # -- sharing -------------------------------------------------------------------------------------------------------

    def _has_lost(self, loaded: Loaded, source: Any, now: float) -> bool:  # noqa: ARG002
        """Return whether what this session has appended is missing, whoever has the right now, and whichever session this is."""
        found = SeenIds()
        for segment, bits in source.appended():
            found.found(segment, bits, 0.0, now)
        return not found.contains(self._appended_here, now - _KEPT_BY_ALL_S)

    def _take_over(self, loaded: Loaded) -> None:
        granted, right = loaded.granted, self._right
        super()._take_over(loaded)
        self._shares = self._ledger.shares = loaded.shares
        self._by_mail = True
        if granted is not None and right is not None and granted.epoch == right.epoch:
            self._last_place = granted.last_place  # what was seen is in the image
        else:
            self._right = None
        self._ledger.bell.set()

    async def _share(self) -> None:
        """File mail, take shares and give them up, whenever the bell rings, until cancelled."""
        bell = self._ledger.bell
        while True:
            await bell.wait()
            bell.clear()
            try:
                await self._trusted()
                await self._file_mail()
                await self._level()
                await self._letters.bound_all(self._ledger.letters, self.part_of_lanes)
            except StoreError:  # it is lost, and the bot ends
                return
            except StoreUnavailable:  # it is read anew, or closed
                await asyncio.sleep(_AFTER_TROUBLE_S)
                bell.set()
            except Exception:
                log.exception("unexpected error while sharing the lanes")
                await asyncio.sleep(_AFTER_TROUBLE_S)
                bell.set()

    async def _level(self) -> None:
        """Give up the shares that other sessions should have, and take those that this one should have, if they are free."""
        part = await self._ledger.part()
        self._note_holds()
        self._give_all_but(part)
        if wanted := part - (self._shares.owned or set()):
            await self._take(wanted)

    async def _take(self, wanted: Collection[int]) -> None:
        loaded = self._loaded
        try:
            source = await self._ledger.take(wanted)
        except StoreUnavailable as error:
            if loaded is self._loaded and not self._writer.suspect:
                self._writer.doubt(error)  # the session may own what it does not know
            raise
        if source is None:
            return
        if loaded is None or loaded is not self._loaded or loaded.is_void:
            self._writer.doubt(StoreUnavailable("shares were taken while the store was read anew"))
            return
        self._by_mail = self._arrives_by_mail = True  # before the first of their lanes is claimed
        try:
            loaded.take(source, self._wall())
        except Exception as error:
            self._writer.doubt(error if isinstance(error, StoreError) else StoreUnavailable(repr(error)))
            raise
        await self._file_mail()

    def _give_all_but(self, part: frozenset[int]) -> None:
        """Give up the other shares, each as soon as no handler runs in it."""
        if self._giving is not None:
            self._giving.cancel()
            self._giving = None
        self._give((self._shares.owned or set()) - part)
        if (self._shares.owned or set()) - part:
            self._giving = asyncio.get_running_loop().call_later(_GIVE_EVERY_S, self._give_all_but, part)

    def _give(self, shares: set[int]) -> None:
        """Give up those of these shares of which no lane is leased at this moment."""
        loaded = self._loaded
        if not shares or loaded is None or loaded.is_void or self._writer.suspect:
            return
        leased = {share_of(lease.key) for data in self._queues.values() for lease in data.lanes.leases(self)}
        chosen = shares - leased
        group = self._writer.group()
        # What is written apart may be for their lanes, and comes after the rest.
        if not chosen or group.apart:
            return
        group.give(chosen)
        loaded.give(chosen)  # what is written before this group is there for the next owner to read
        self._writer.done(lambda: None).add_done_callback(self._gave)

    def _gave(self, giving: "asyncio.Future[None]") -> None:
        if not giving.cancelled() and (error := giving.exception()) is not None and not self._writer.suspect:
            self._writer.doubt(StoreUnavailable(f"shares could not be given up: {error}"))
