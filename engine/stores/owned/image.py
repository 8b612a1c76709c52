"""The in-memory image of what a store keeps: read once, then changed when the transaction of the same change is committed."""

from collections.abc import Collection, Sequence
from typing import Final

from engine.embedded.aliases import Aliases
from engine.embedded.at_hand import QueueAtHand, RecentStates
from engine.embedded.forward import ForwardClock
from engine.embedded.held_lanes import HeldLanes
from engine.embedded.lane import ParkedLane
from engine.embedded.seen import SeenIds
from engine.model import Queue
from engine.store import Limits
from engine.stores.owned.ledger import Source
from engine.stores.owned.letters import Letters
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import HOLD, Shares
from engine.stores.owned.timers import Timers
from engine.stores.owned.writer import GroupWriter

FENCE_BITS: Final = 53
"""Counts the claims of one opening; the owner's epoch is above these bits."""


class Loaded:
    """Everything read at one opening. Created on any thread, then `start`ed on the event loop."""

    def __init__(
        self, source: Source, limits: Limits, clock: ForwardClock, now: float, due_until: float
    ) -> None:
        """Read all; takes about a second for 500,000 pending updates.

        `now` is the loop's time, `due_until` Unix time: timers that are due by then are put into their lanes.
        """
        self.owner_epoch = source.owner_epoch
        self.shares = Shares(source.shares)
        self.granted = source.granted
        self.is_void = False
        """Its leases have ended."""

        fence = source.owner_epoch << FENCE_BITS
        self.queues = {queue: QueueAtHand(queue, fence=fence) for queue in Queue}
        self.seen = SeenIds()
        self.aliases = Aliases()
        self.states = RecentStates(source.states())
        self.call_ids = source.ids("calls")
        self.timers = Timers(self.queues[Queue.INBOX].lanes, clock, source.ids("timers"), self.shares)
        for data in self.queues.values():
            for place, key in source.pending(data.name):
                data.lanes.add(key, place)
            data.lanes.appended = data.lanes.pending
        self.timers.load(source, due_until)
        self.aliases.add(dict(source.aliases()))
        for segment, bits, touched in source.seen():
            self.seen.found(segment, bits, clock.wall() - touched, now)
        self.letters = Letters(source, limits, {queue: data.lanes for queue, data in self.queues.items()})
        self._parked = {queue: source.parked(data.name, clock.wall()) for queue, data in self.queues.items()}

    def start(self, writer: GroupWriter) -> None:
        """Start on the event loop: parked lanes, timers, and the deletion of dead letters above the bounds."""
        for queue, parked in self._parked.items():
            _restore(self.queues[queue].lanes, parked)
        self._parked.clear()
        self.timers.start(writer)
        self.letters.start(writer)

    def take(self, source: Source, wall: float) -> None:
        """Add the lanes of the shares that the session has taken; on the event loop. `wall` is Unix time."""
        if self.shares.owned is None or source.shares is None:
            raise AssertionError("a store with one session takes no shares")
        self.shares.take(source.shares)
        for data in self.queues.values():
            before = data.lanes.pending
            for place, key in source.pending(data.name):
                data.lanes.add(key, place)
            data.lanes.appended += data.lanes.pending - before
            _restore(data.lanes, source.parked(data.name, wall))
        self.timers.take(source.rows(Read.DUE, ()))
        self.letters.take(source)

    def give(self, shares: Collection[int]) -> None:
        """Remove the lanes of shares; none of them is leased."""
        if self.shares.owned is None:
            raise AssertionError("a store with one session gives no shares up")
        self.shares.give(shares)
        owns = self.shares.owns
        for data in self.queues.values():
            data.drop(owns)
        self.timers.drop()
        self.letters.drop(owns)
        for name in self.states.names():
            if not owns(name[0]):
                self.states.drop(name)

    def close(self) -> None:
        """Stop the timers, and wake claims that wait for a lane."""
        self.timers.close()
        for data in self.queues.values():
            data.lanes.close()
        self.letters.close()


def _restore(lanes: HeldLanes, parked: Sequence[ParkedLane]) -> None:
    lanes.restore(parked)
    for each in parked:
        if each.key.startswith(HOLD):
            lanes.hold(each.key.removeprefix(HOLD), each.reason)
