"""What one session of a store knows of the others: `Store.sharing`, which every store has."""

from enum import Enum
from typing import Final, Protocol


class Lack(Enum):
    """What no session of a store does."""

    APPENDER = "appender"
    """None has the right to append: nothing is taken in."""

    OWNER = "owner"
    """None takes lanes: nothing is handled."""


class Sharing(Protocol):
    """What one session of a store knows of the others. Nothing of it needs I/O: it is as of the last look."""

    @property
    def is_shared(self) -> bool:
        """Whether processes on other machines may take what is in the store."""

    @property
    def part_of_lanes(self) -> float:
        """Which part of all lanes this session has, in (0, 1]."""

    @property
    def appends_elsewhere(self) -> bool:
        """Whether another session has the right to append, as of the last time that this one asked."""

    @property
    def lacks(self) -> frozenset[Lack]:
        """What no session of the store does."""

    def is_in_time(self) -> bool:
        """Return whether the session was renewed lately enough; else others may have taken over, and what runs is cut now.

        For what cannot be taken back, directly before it: a process that was stopped may go on anywhere.
        """


class Alone:
    """The `Sharing` of a store that has one session only."""

    is_shared = False
    part_of_lanes = 1.0
    appends_elsewhere = False
    lacks: frozenset[Lack] = frozenset()

    def is_in_time(self) -> bool:
        """Return True: there is no other session."""
        return True


ALONE: Final[Sharing] = Alone()
