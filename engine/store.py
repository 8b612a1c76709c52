"""The contract of a store: lanes, leases, state and effects behind atomic steps.

A lane is idle (no record), ready, leased or parked; each arrow is one call:

              append               claim (new fence)             commit, more to do
    idle ───────────▶ ready ───────────────────▶ leased ◀───────────────┐
     ▲                 ▲  ▲                       │ │ └─────────────────┘
     │                 │  └── release, taken over ┘ ├── commit or bury, none left ──▶ idle
     │                 └──── the moment came ── parked ◀── park

What every store promises (tests/stores/store_contract.py holds each to it):

* One owner: a lane is leased to one holder; every claim gets a higher fence.
* Prefix order: updates leave a lane in the order of their ids. Telegram's ids restart at random after an idle
  week; a fall by more than `ID_FALL_MAX` is such a restart, and what comes after it stands behind.
* Atomic effects: ack, states, calls and timers of a commit appear together or not at all, and survive together.
* A timer is delivered once, not before its time, in the lane in which it was set: behind what is pending when it
  comes due (or when the store is opened, if nobody ran then), before what comes later. It is there until the commit
  of its delivery, or until it is set anew or taken away, also when it has come due by then. While the store is open,
  a wall clock that is set back delays no timer (engine/embedded/forward.py).
* A stale holder changes nothing: peek, commit, park, bury and release raise LeaseLost.
* No lost wake-up: a lane with pending work is ready, leased or parked.
* `StoreUnavailable` means: nothing was confirmed, the same call may be made again.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from engine.model import (
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    LaneView,
    Lease,
    Overflow,
    Queue,
    Stats,
)

ID_BITS: Final = 53
"""An envelope's id is in [0, 2**ID_BITS); those from TIMER_IDS on are timers."""

ID_MASK: Final = (1 << ID_BITS) - 1

ID_FALL_MAX: Final = 1_000_000
"""A fall of the ids by more than this is a restart of the numbering, not a late arrival (Telegram keeps fewer)."""


WALL_LOOK_S: Final = 60.0
"""A store that waits for a timer looks at the wall clock at least this often: it may have been set forward."""


DIED: Final = "the process died while it was handled"
"""Begins the reason of an update that ran when the process died: one attempt was counted for that at the next start."""

DIED_WITH_OTHERS: Final = f"{DIED}, with others"
"""The same, if others ran that may be the cause as well."""


class Limits(NamedTuple):
    """What one store keeps at most."""

    lane_depth_max: int = 10_000
    """Pending updates of one lane; more go to the dead letters as "lane full", so one chat cannot fill the disk."""

    dead_max: int = 100_000
    """Dead letters; beyond, the lane that has the most loses its oldest."""

    dead_per_lane_max: int = 10_000
    """Dead letters of one lane; beyond, its oldest are dropped. As many as may be pending: all can be replayed."""

    lane_timers_max: int = 10_000
    """Timers of one lane, due or not; a commit that sets one and would exceed it is refused (TooManyTimers). A group in
    which each member has a time-out of his own has as many timers as members who talk to the bot at a time."""


class Notes(Protocol):
    """Which updates are being handled, noted where it outlives the process; every method returns at once.

    If the process dies, the next start counts one attempt for what was noted, and `death` tells of it.
    """

    def begin(self, worker: int, id_: int) -> None:
        """Note that a worker begins to handle the update `id_`."""

    def end(self, worker: int) -> None:
        """Note that it does not handle it any more."""

    def clear(self) -> None:
        """Forget all notes: the process ends, and none of them is to blame. May be called from any thread."""

    def death(self, id_: int) -> str | None:
        """Return DIED or DIED_WITH_OTHERS if the process died while the update `id_` was handled, before this start."""

    def is_repeated(self) -> bool:
        """Return whether an update is left that has been there at more than one death."""


class NoNotes:
    """Of a store that dies with its process."""

    def begin(self, worker: int, id_: int) -> None:
        """Note nothing."""

    def end(self, worker: int) -> None:
        """Note nothing."""

    def clear(self) -> None:
        """There is nothing to forget."""

    def is_repeated(self) -> bool:
        """Return False: nothing outlives the process."""
        return False

    def death(self, _: int) -> str | None:
        """Return None: nothing outlives the process."""
        return None


class Store(Protocol):
    """What the engine needs. One object is one session: its leases live and die together."""

    @property
    def notes(self) -> Notes:
        """Where the inbox's handlers are noted."""

    async def append(self, batch: Sequence[Envelope]) -> int:
        """Make the batch durable in the inbox; ids seen in the last 24 h are ignored. Return how many were new."""

    async def alias(self, name: str, key: str) -> None:
        """Lead what comes for the lane `name` from now on, updates and calls, into the lane `key`.

        Durable when it returns. What `name` has already stays there. Ignored if `name` has led to a lane before,
        or others lead to it.
        """

    def lane(self, key: str) -> str:
        """Return the key of the lane into which what comes for `key` is led: itself, for nearly all."""

    async def claim(self, queue: Queue) -> Delivery:
        """Lease the lane that has been ready longest, waiting for one if need be. Cancelling leaves no lease."""

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        """Return the updates directly behind the head, at most `limit`, up to a timer or another scope.

        For as long as the lease is held, nothing comes between them any more.
        """

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        """Return the updates among the `limit` places behind the head, of any scope: to look at, not to ack."""

    async def state(self, key: str, scope: str) -> bytes | None:
        """Return a conversation state as it is now; `Effects.states` changes it."""

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        """Ack the head and apply its effects in one step; with `more`, keep the lane and return its next head.

        A repeated commit changes nothing and does not take back a lane that was let go. StateChanged if one of
        `effects.states` is not what it was, or the state to be replaced by `effects.state` is not what was delivered
        (a commit of another lane has changed it meanwhile); NotPeeked for more in `effects.also` than was peeked;
        TooManyTimers if `effects.timers` set one and the lane would have more than `Limits.lane_timers_max`: then
        nothing is changed, and the lease is in force.
        """

    async def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        """Put the head back and leave the lane alone for `delay_s`; `counted` makes it one more attempt.

        `calls` go to the outbox in the same step.
        """

    async def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        """Move the head to the dead letters and let the lane go; `calls` go to the outbox in the same step."""

    async def release(self, delivery: Delivery) -> None:
        """Hand the lane back untouched."""

    async def renew(self, leases: Iterable[Lease]) -> list[Lease]:
        """Keep this session's leases alive; return those of `leases` that are lost."""

    async def stats(self) -> Stats:
        """Return the numbers of both queues, at once whatever their size."""

    async def close(self) -> None:
        """Let go of files and connections."""


class Operator(Protocol):
    """What a person needs, beside the line of work."""

    def lanes(self, queue: Queue, limit: int = 100) -> list[LaneView]:
        """Return lanes that have work, at most `limit`."""

    def overflow(self, queue: Queue) -> Overflow:
        """Return how much went beyond the bounds of this queue since the store was opened."""

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters, newest first."""

    async def replay(self, number: int) -> bool:
        """Put a dead letter back in its lane, by its old id (so: first); a timer is due at once.

        False if there is none of that number, or an update of the same id is pending again.
        """

    def clock_moved(self) -> None:
        """Look for due timers now: the wall clock was set forward. Without this it is noticed within WALL_LOOK_S."""


class FullStore(Store, Operator, Protocol):
    """What `open_store` returns: the line of work, and what a person needs."""
