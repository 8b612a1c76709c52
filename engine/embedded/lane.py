"""One lane in memory: its pending work, and its lease.

A lane knows its pending work only by *places*: integers that increase in the lane's order and identify the work in the
store.
"""

from array import array
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from engine.errors import NotPeeked
from engine.model import TIMER_IDS, Delivery, Envelope, Lease
from engine.store import ID_BITS, ID_FALL_MAX

if TYPE_CHECKING:
    import asyncio

_ERA_MAX: Final = (1 << 63 - ID_BITS) - 1  # a place fits a signed 64-bit integer


class ParkedLane(NamedTuple):
    """A lane parked for `delay_s`; `attempts` are the counted failures of the head, which is at `place`."""

    key: str
    place: int
    delay_s: float
    attempts: int
    reason: str


def place_after(last_place: int, id_: int) -> int:
    """Return the place of a new id: in the order of the ids, but after everything if the numbering has restarted."""
    era, last_id = divmod(last_place, 1 << ID_BITS)
    if id_ < last_id - ID_FALL_MAX:
        era = min(era + 1, _ERA_MAX)
    return (era << ID_BITS) + id_


def same_scope(delivery: Delivery, following: Iterable[Envelope]) -> list[Envelope]:
    """Return the leading envelopes of `following` that have the delivery's scope."""
    return list(takewhile(lambda envelope: envelope.scope == delivery.envelope.scope, following))


class Lane:
    """One key's pending work, and its lease."""

    __slots__ = (
        "acked",
        "attempts",
        "fence",
        "handed",
        "holder",
        "key",
        "lease",
        "pending",
        "reason",
        "settling",
        "start",
        "status",
        "timer",
    )

    def __init__(self, key: str, place: int) -> None:
        self.key = key
        self.pending = array("q", (place,))  # in the lane's order; those before `start` are acked
        self.start = 0
        self.handed = 0  # places from `start` on that the holder has seen: nothing is inserted between them
        self.status: Literal["ready", "leased", "parked"] = "ready"
        self.fence = 0  # of the lease in force, else of the last one
        self.lease: Lease  # with the same fence
        self.holder: object = None
        self.acked = (
            -1
        )  # the place acked last under this lease: distinguishes a repeated commit from a stale one
        self.attempts = 0  # counted failures of the head
        self.reason: str | None = None  # why the head was last parked; None if it was not
        self.settling: Any = None  # the store's write in progress, if the store writes asynchronously
        self.timer: asyncio.TimerHandle | None = (
            None  # not None exactly while parked, unless an operator holds it
        )

    @property
    def head(self) -> int:
        """The first pending place."""
        return self.pending[self.start]

    @property
    def depth(self) -> int:
        """Number of pending entries."""
        return len(self.pending) - self.start

    def delivery(self, envelope: Envelope, state: bytes | None) -> Delivery:
        """Return the delivery of the head, under the lane's lease."""
        return Delivery(self.lease, envelope, self.attempts + 1, state, self.reason is not None)

    def behind(self, limit: int) -> list[int]:
        """Return the places directly behind the head, at most `limit`, up to a timer."""
        places = self.pending[self.start + 1 : self.start + 1 + limit]
        return list(takewhile(lambda place: not place & TIMER_IDS, places))

    def updates_behind(self, limit: int) -> list[int]:
        """Return the places of updates among the `limit` places behind the head."""
        return [
            place for place in self.pending[self.start + 1 : self.start + 1 + limit] if not place & TIMER_IDS
        ]

    def hand_out(self, count: int) -> None:
        """Record that the holder has seen the head and `count` places behind it."""
        self.handed = max(self.handed, 1 + count)

    def acked_with(self, also: int) -> Sequence[int]:
        """Return the places that a commit acks, the head first; NotPeeked if the holder has not seen them all."""
        if not also:
            return (self.pending[self.start],)
        if also >= self.handed:
            raise NotPeeked(f"{also} more are to be acked, and {self.handed - 1} were peeked")
        return self.pending[self.start : self.start + 1 + also]
