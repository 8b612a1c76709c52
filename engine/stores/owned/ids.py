"""Ids of calls and timers: each is used once in the life of a store.

They continue from a high-water mark in the store, which is raised one block at a time, in the transaction that
uses the first id of the block. So the mark is there whenever such an id is; a power cut loses both or none. A start
skips the rest of a block: at one start and 100,000 ids a second, 2**52 ids last more than 1,000 years; at 100 ids a
second, a million.
"""

from typing import Final

from engine.stores.owned.group import Group

BLOCK: Final = 1 << 12


class HighWater:
    """The highest reserved id of one kind ("calls" or "timers")."""

    def __init__(self, kind: str, last: int) -> None:
        self._kind = kind
        self._reserved = last

    def reserve(self, group: Group, last: int) -> None:
        """Add a reservation to the group if it uses ids, up to `last`, that are not reserved yet."""
        if last > self._reserved:
            group.raise_mark(self._kind, _end_of_block(last))

    def reserved(self, last: int) -> None:
        """Record that a group with ids up to `last` is committed."""
        if last > self._reserved:
            self._reserved = _end_of_block(last)


def _end_of_block(id_: int) -> int:
    return id_ | (BLOCK - 1)
