"""Ids of calls and timers: each is given out once in the life of a file.

They go on from a high-water mark in the file (table meta), which is raised ahead of them, a block at a time, in the
transaction that uses the first of the block. So it is in the file whenever one of them is, and what a power cut takes
away, it takes away with its ids. A start skips what is left of a block: at a start a second and 100,000 ids a second,
2**52 ids last for more than 1,000 years; at 100 ids a second for a million.
"""

from typing import Final

from engine.stores.sqlite.group import Group

BLOCK: Final = 1 << 12
_RAISE: Final = "UPDATE meta SET value = max(value, ?) WHERE name = ?"


class HighWater:
    """Up to where the ids of one kind ("calls" or "timers") are reserved in the file."""

    def __init__(self, kind: str, last: int) -> None:
        self._kind = kind
        self._reserved = last

    def reserve(self, group: Group, last: int) -> None:
        """Let the group reserve the ids up to `last`, which it uses, if need be."""
        if last > self._reserved:
            group.run(_RAISE, _end_of_block(last), self._kind)

    def reserved(self, last: int) -> None:
        """Note that a group with ids up to `last` is in the file."""
        if last > self._reserved:
            self._reserved = _end_of_block(last)


def _end_of_block(id_: int) -> int:
    return id_ | (BLOCK - 1)
