"""What no session of a store does, of several that share it."""

from enum import Enum


class Lack(Enum):
    """What no session of a store does."""

    APPENDER = "appender"
    """None has the right to append: nothing is taken in."""

    OWNER = "owner"
    """None takes lanes: nothing is handled."""


def lacks_of(store: object) -> frozenset[Lack]:
    """Return what no session of the store does, as of the last look; nothing, if it has one session only."""
    return getattr(store, "lacks", None) or frozenset()
