"""What a store with a file keeps in memory: the lanes, and caches of envelopes and states, each bounded in bytes.

What is not cached is read from the file when its turn comes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from engine.embedded.held_lanes import HeldLanes
from engine.embedded.lane import place_after
from engine.model import Envelope, Queue

Name = tuple[str, str]
"""Key and scope of a state."""

_ENTRY_BYTES: Final = 200  # estimate for key, scope and dict entry
ENVELOPES_BYTES_MAX: Final = 32 << 20
STATES_BYTES_MAX: Final = 16 << 20


class QueueAtHand:
    """One queue: its lanes, and the cached envelopes by place. Used on the event loop only."""

    def __init__(self, queue: Queue, *, fence: int) -> None:
        self.name = queue.value
        self.lanes = HeldLanes(queue, fence=fence)
        self.envelopes: dict[int, Envelope] = {}
        self._bytes = 0

    def place(
        self, batch: Sequence[Envelope], depth_max: int, last: int | None = None
    ) -> tuple[list[tuple[int, Envelope]], list[Envelope]]:
        """Return the envelopes with their places, and those whose lane is full; changes nothing.

        `last` is the highest place that was given so far, if other processes have some of the lanes.
        """
        placed: list[tuple[int, Envelope]] = []
        full: list[Envelope] = []
        depths = {envelope.key: self.lanes.depth(envelope.key) for envelope in batch}
        last = self.lanes.last_place if last is None else last
        for envelope in batch:
            if depths[envelope.key] >= depth_max:
                full.append(envelope)
                continue
            depths[envelope.key] += 1
            place = place_after(last, envelope.id)
            last = max(last, place)
            placed.append((place, envelope))
        return placed, full

    def add(self, place: int, envelope: Envelope) -> None:
        """Add an appended envelope. A full cache takes no new ones: the oldest are handled first."""
        self.lanes.appended += 1
        self.lanes.add(envelope.key, place)
        if self._bytes < ENVELOPES_BYTES_MAX:
            self.envelopes[place] = envelope
            self._bytes += len(envelope.body) + _ENTRY_BYTES

    def drop(self, owns: Callable[[str], bool]) -> None:
        """Remove the lanes that this process does not own (any more); none of them is leased."""
        for place in self.lanes.drop(owns):
            self.gone(place)

    def gone(self, place: int) -> None:
        """Remove an envelope that was committed or buried from the cache."""
        if (envelope := self.envelopes.pop(place, None)) is not None:
            self._bytes -= len(envelope.body) + _ENTRY_BYTES


class RecentStates:
    """A least-recently-used cache of (key, scope) -> state. The value None means: there is no state.

    As long as it has all states of the file, a state that is not in it does not exist, and counts as cached.
    """

    def __init__(self, stored: int) -> None:
        """`stored` is the number of states in the file, none of which is cached yet."""
        self._bytes = 0
        self._watched: list[dict[Name, bytes | None]] = []
        self._states: dict[Name, bytes | None] = {}  # least recently used first
        self._elsewhere = stored  # states in the file that are not cached, or more

    def __contains__(self, name: Name) -> bool:
        return not self._elsewhere or name in self._states

    def get(self, name: Name) -> bytes | None:
        """Return a cached state; KeyError if it is not cached."""
        if name not in self._states and not self._elsewhere:
            return None
        state = self._states[name] = self._states.pop(name)
        return state

    def found(self, name: Name, state: bytes | None) -> None:
        """Cache a state that was read from the file."""
        if state is not None and name not in self._states:
            self._elsewhere -= 1
        self.put(name, state)

    def put(self, name: Name, state: bytes | None) -> None:
        """Cache a state; above STATES_BYTES_MAX the least recently used are dropped."""
        for watched in self._watched:
            watched[name] = state
        if name in self._states:
            self._bytes -= _ENTRY_BYTES + len(self._states.pop(name) or b"")
        self._states[name] = state
        self._bytes += _ENTRY_BYTES + len(state or b"")
        while self._bytes > STATES_BYTES_MAX:
            dropped = self._states.pop(next(iter(self._states)))
            self._bytes -= _ENTRY_BYTES + len(dropped or b"")
            self._elsewhere += dropped is not None

    def drop(self, name: Name) -> None:
        """Remove a state from the cache: another process has changed it, or may."""
        if name in self._states:
            dropped = self._states.pop(name)
            self._bytes -= _ENTRY_BYTES + len(dropped or b"")
            self._elsewhere += dropped is not None

    def names(self) -> list[Name]:
        """Return the names of the cached states."""
        return list(self._states)

    @contextmanager
    def watched(self, names: Iterable[Name]) -> Iterator[dict[Name, bytes | None]]:
        """Yield a dict of the cached ones of these states, and of all states put meanwhile; none is dropped from it."""
        known = {name: self._states.get(name) for name in names if name in self}
        self._watched.append(known)
        try:
            yield known
        finally:
            self._watched = [other for other in self._watched if other is not known]
