"""Ids of calls, timers and dead letters: each is used once in the life of a store.

A store with one owner continues from a high-water mark, which is raised one block at a time, in the transaction that uses
the first id of the block. So the mark is there whenever such an id is; a power cut loses both or none. A start skips the
rest of a block: at one start and 100,000 ids a second, 2**52 ids last more than 1,000 years; at 100 ids a second, a million.

Of a store with several owners each has a span of ids for itself, reserved before they are used.
"""

from collections.abc import Callable
from typing import Final, Literal, Protocol

from engine.errors import StoreUnavailable
from engine.stores.owned.group import Group

BLOCK: Final = 1 << 12

Kind = Literal["calls", "timers", "letters"]


class Ids(Protocol):
    """The ids of one kind. They grow."""

    def next(self) -> int:
        """Return a new id; StoreUnavailable if there is none at the moment."""

    def reserve(self, group: Group) -> None:
        """Add a reservation to the group if it uses ids that are not reserved yet."""

    def reserved(self, last: int) -> None:
        """Record that a group with ids up to `last` is committed."""


class Count:
    """Ids that the store itself gives to its rows, without gaps, after `last`, the highest one that was ever used."""

    def __init__(self, last: int) -> None:
        self._last = last

    def next(self) -> int:
        """See Ids."""
        self._last += 1
        return self._last

    def reserve(self, group: Group) -> None:
        """See Ids. The rows reserve their ids."""

    def reserved(self, last: int) -> None:
        """See Ids."""


class HighWater(Count):
    """Ids above a mark in the store; `last` is the highest reserved one."""

    def __init__(self, kind: Kind, last: int) -> None:
        super().__init__(last)
        self._kind = kind
        self._reserved = last

    def reserve(self, group: Group) -> None:
        """See Ids."""
        if self._last > self._reserved:
            group.raise_mark(self._kind, _end_of_block(self._last))

    def reserved(self, last: int) -> None:
        """See Ids."""
        if last > self._reserved:
            self._reserved = _end_of_block(last)


class Span:
    """Ids from `first` to `last`, which no other session uses. `low` is called when a quarter is left, and when none is."""

    def __init__(self, first: int, last: int, low: Callable[[], object]) -> None:
        self._next = first
        self._last = last
        self._low_at = last - (last - first) // 4
        self._low = low

    def next(self) -> int:
        """See Ids."""
        if self._next > self._last:
            self._low()  # the reservation has failed
            raise StoreUnavailable("the ids that were reserved are used up")
        id_, self._next = self._next, self._next + 1
        if id_ == self._low_at:
            self._low()
        return id_

    @property
    def unused(self) -> tuple[int, int]:
        """The last id that was used, or the one before the first, and the last one."""
        return self._next - 1, self._last

    def continue_with(self, first: int, last: int) -> None:
        """Use these ids from now on, which are higher."""
        self._next, self._last = first, last
        self._low_at = last - (last - first) // 4

    def reserve(self, group: Group) -> None:
        """See Ids."""

    def reserved(self, last: int) -> None:
        """See Ids."""


def _end_of_block(id_: int) -> int:
    return id_ | (BLOCK - 1)
