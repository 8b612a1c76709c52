"""Decides which dead letters to delete when there are too many, from their numbers by lane.

* A lane that has more than `dead_per_lane_max` loses its own oldest.
* If all lanes together have more than `dead_max`, the lane with the most loses its oldest; among lanes with equally many,
  the one with the oldest letter. So a chat that floods costs the other chats none of theirs.

Shared by the stores whose lanes live in this process (memory, SQLite).
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from engine.model import Queue
from engine.store import Limits

_COMPACT_AT: Final = 64


class DeadLane(NamedTuple):
    """The lane to which dead letters belong."""

    queue: Queue
    key: str


class DeadBook:
    """The numbers of all dead letters by lane, in order. `letters` are those found in a file, in order of their numbers."""

    def __init__(self, limits: Limits, letters: Iterable[tuple[DeadLane, int]] = ()) -> None:
        self._limits = limits
        self._most = limits.dead_max
        self._numbers: dict[DeadLane, list[int]] = {}  # oldest first
        self._total = 0
        for lane, number in letters:
            self._numbers.setdefault(lane, []).append(number)
            self._total += 1
        self._largest: list[
            tuple[int, int, DeadLane]
        ] = []  # a heap of (-count, oldest number, lane); it also has outdated entries
        self._compact()

    def add(self, lane: DeadLane, number: int) -> list[tuple[DeadLane, int]]:
        """Add a new one, which has the highest number; return those to delete."""
        self._numbers.setdefault(lane, []).append(number)
        self._total += 1
        gone = []
        if len(self._numbers[lane]) > self._limits.dead_per_lane_max:
            gone.append(self._pop(lane))
        self._changed(lane)
        return gone + self._beyond_total()

    def __len__(self) -> int:
        """Return the number of dead letters."""
        return self._total

    def forget(self, number: int) -> None:
        """Remove one of which only the number is known: another session has deleted it."""
        lane = next((lane for lane, numbers in self._numbers.items() if number in numbers), None)
        if lane is not None:
            self.remove(lane, number)

    def remove(self, lane: DeadLane, number: int) -> None:
        """Remove one that was replayed or discarded; ignored if it was removed above a bound meanwhile."""
        if number in self._numbers.get(lane, ()):
            self._numbers[lane].remove(number)
            self._total -= 1
            self._changed(lane)

    def drop(self, owns: Callable[[str], bool]) -> None:
        """Forget the lanes that this process does not own any more."""
        for lane in [lane for lane in self._numbers if not owns(lane.key)]:
            self._total -= len(self._numbers.pop(lane))
        self._compact()

    def trim(self) -> list[tuple[DeadLane, int]]:
        """Remove and return those above the bounds: the file was written by another version or with other limits."""
        gone = []
        for lane, numbers in self._numbers.items():
            excess = len(numbers) - self._limits.dead_per_lane_max
            if excess > 0:
                gone += [(lane, number) for number in numbers[:excess]]
                del numbers[:excess]
        self._total -= len(gone)
        self._compact()
        return gone + self._beyond_total()

    def bound(self, most: int) -> list[tuple[DeadLane, int]]:
        """Keep at most so many from now on; remove and return those above the bound."""
        self._most = most
        return self._beyond_total()

    def _beyond_total(self) -> list[tuple[DeadLane, int]]:
        gone = []
        while self._total > self._most:
            count, oldest, lane = heappop(self._largest)
            numbers = self._numbers.get(lane)
            if numbers and (-count, oldest) == (len(numbers), numbers[0]):  # else the entry is outdated
                gone.append(self._pop(lane))
                self._changed(lane)
        return gone

    def _pop(self, lane: DeadLane) -> tuple[DeadLane, int]:
        self._total -= 1
        return lane, self._numbers[lane].pop(0)

    def _changed(self, lane: DeadLane) -> None:
        if numbers := self._numbers[lane]:
            heappush(self._largest, (-len(numbers), numbers[0], lane))
        else:
            del self._numbers[lane]
        if len(self._largest) > 2 * len(self._numbers) + _COMPACT_AT:
            self._compact()

    def _compact(self) -> None:
        self._largest = [
            (-len(numbers), numbers[0], lane) for lane, numbers in self._numbers.items() if numbers
        ]
        heapify(self._largest)
