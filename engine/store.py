"""The store contract: lanes, leases, states and effects, changed in atomic steps.

A lane is idle (no record), ready, leased or parked; each arrow is one call:

              append               claim (new fence)             commit, more to do
    idle ───────────▶ ready ───────────────────▶ leased ◀───────────────┐
     ▲                 ▲  ▲                       │ │ └─────────────────┘
     │                 │  └── release, take-over ──┘ ├── commit or bury, none left ──▶ idle
     │                 └────── delay over ───── parked ◀── park

What every store promises (engine/stores/contract/ is the suite that each passes):

* One owner: a lane is leased to one holder; every claim gets a higher fence.
* Prefix order: updates leave a lane in the order of their ids. Telegram restarts the numbering at a random id after an
  idle week; an id lower by more than `ID_FALL_MAX` is such a restart: it and its successors come after what is pending.
* Atomic effects: ack, states, calls and timers of a commit appear together or not at all, and survive together.
* A timer is delivered once, not early, in the lane in which it was set: after what is pending when it comes due (or when
  the store is opened, if it came due before), before what is appended later. It exists until its delivery is committed,
  or it is replaced or removed, even when already due. While the store is open, setting the wall clock back delays no
  timer (engine/embedded/forward.py).
* A stale holder changes nothing: peek, look, commit, park, bury and release raise LeaseLost, append RightLost.
* One session appends at a time: it alone knows which ids were seen, and the order of the lanes.
* No lost wake-up: a lane with pending work is ready, leased or parked.
* `StoreUnavailable` means that nothing is confirmed; the same call may be repeated.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from engine.model import (
    Audited,
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    Groups,
    LaneView,
    Lease,
    Oldest,
    Overflow,
    Post,
    Queue,
    QueueStats,
    Right,
    Sql,
    Stats,
)
from engine.sharing import Sharing
from engine.transaction import Transaction

ID_BITS: Final = 53
"""An envelope's id is in [0, 2**ID_BITS); those from TIMER_IDS on are timers."""

ID_MASK: Final = (1 << ID_BITS) - 1

ID_FALL_MAX: Final = 1_000_000
"""An id lower by more than this is a restart of the numbering, not a late arrival (Telegram keeps fewer updates)."""


ALL_LANES: Final = ""
"""The key that stands for all lanes of a queue, where an operator holds lanes."""

LaneOrder: TypeAlias = Literal["age", "depth"]
"""Which lanes come first: those with the oldest head, or with the most pending."""

WALL_LOOK_S: Final = 60.0
"""A store that waits for a timer reads the wall clock at least this often: it may have been set forward."""


DIED: Final = "the process died while it was handled"
"""Prefix of the reason of an update whose handler ran when the process died; the next start counted one attempt for it."""

DIED_WITH_OTHERS: Final = f"{DIED}, with others"
"""The same, when other handlers ran that may also be the cause."""


class Limits(NamedTuple):
    """Upper bounds of one store."""

    lane_depth_max: int = 10_000
    """Pending updates of one lane; more become dead letters (reason "lane full"), so one chat cannot fill the disk."""

    dead_max: int = 100_000
    """Dead letters in total; above it, the lane that has the most loses its oldest."""

    dead_per_lane_max: int = 10_000
    """Dead letters of one lane; above it, its oldest are dropped. Equals `lane_depth_max`, so that all can be replayed."""

    lane_timers_max: int = 10_000
    """Timers of one lane, due or not; a commit that sets one and would exceed the bound is refused (TooManyTimers). A group
    with one time-out per member has as many timers as members who talk to the bot at the same time."""


Arrived = Callable[[Sequence[Envelope]], object]
"""Called on the event loop with updates that an append has brought. It neither raises nor waits."""

Lost = Callable[[Collection[Lease]], object]
"""Called on the event loop with leases that the session has lost. It neither raises nor waits."""


class Notes(Protocol):
    """A record of the updates being handled that survives the process; no method blocks.

    If the process dies, the next start counts one attempt for each update on record, and `death` returns why.
    """

    def begin(self, worker: int, id_: int) -> None:
        """Record that a worker begins to handle the update `id_`."""

    def end(self, worker: int) -> None:
        """Remove the worker's record: its handler has ended."""

    def clear(self) -> None:
        """Remove all records: the process ends for another reason than a handler. May be called from any thread."""

    def death(self, id_: int) -> str | None:
        """Return DIED or DIED_WITH_OTHERS if the process died, before this start, while the update `id_` was handled."""

    def is_repeated(self) -> bool:
        """Return whether this start found an update that was handled at a death and had a counted attempt before that."""


class NoNotes:
    """`Notes` of a store that does not survive its process: records nothing."""

    def begin(self, worker: int, id_: int) -> None:
        """Do nothing."""

    def end(self, worker: int) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""

    def is_repeated(self) -> bool:
        """Return False."""
        return False

    def death(self, _: int) -> str | None:
        """Return None."""
        return None


class LookAhead(Protocol):
    """What a handler may ask: StoreUnavailable if the store cannot answer now, LeaseLost if the lease is lost."""

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        """Return the updates directly behind the head, at most `limit`, up to a timer or another scope.

        While the lease is held, nothing is inserted between them.
        """

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        """Return the updates among the next `limit` entries behind the head, of any scope. They cannot be acked with it."""

    async def state(self, key: str, scope: str) -> bytes | None:
        """Return the current conversation state, None if there is none; `Effects.states` changes it."""


class Database(Protocol):
    """A store that runs the author's own SQL (`Effects.sql`): SqlFailed if a statement is refused."""

    async def query(self, asked: Sql) -> list[Any]:
        """Return rows of the author's tables, as committed; each has its columns by position and by name."""

    async def create_tables(self, script: str) -> None:
        """Run CREATE statements, all or none of them. It runs at each start, so they say IF NOT EXISTS."""

    def transaction(self) -> Transaction | None:
        """Return a transaction for a handler (`Effects.within`); None: this store runs no statement before the commit."""


class Store(LookAhead, Protocol):
    """What the engine needs of a store. One object is one session: its leases and its right to append end with it.

    A session renews itself. If it cannot (the process was stopped, the connection is lost), another one may take over what
    it holds.
    """

    @property
    def notes(self) -> Notes:
        """The record of running inbox handlers."""

    @property
    def sharing(self) -> Sharing:
        """What this session knows of the others, if the store can have several."""

    @property
    def database(self) -> Database | None:
        """The store itself, if it runs the author's own SQL."""

    async def right(self) -> Right:
        """Wait until this session alone may append, and return its right; the same one for as long as it holds it.

        It ends with the session, or by `resign`. A cancelled call leaves no right that another one does not return.
        """

    async def resign(self, right: Right) -> None:
        """Give the right up; another session may get it. Ignored if it is not in force."""

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope],
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        """Make aliases, batch and posts durable in the inbox, in this order and one step. Return how many updates were new.

        Ids seen in the last 24 h or more are ignored. An update for a lane that is full is new, too: it becomes a dead
        letter. An alias (name, key): updates and calls for the lane `name` are appended to the lane `key` from now on,
        those of this batch included. What is pending in `name` stays there. Ignored if `name` is an alias already, or
        other aliases refer to it. Posts are set as timers, in the order given. Nothing was changed if it raises: RightLost,
        or TooManyTimers if the lane of a post would have more than `Limits.lane_timers_max`.
        """

    async def post(self, posts: Sequence[Post]) -> None:
        """Make posts durable, as `append` does; any session may. The order of posts to one lane is that of the calls."""

    def watch(self, queue: Queue, lost: Lost, arrived: Arrived | None = None) -> None:
        """Call `lost` with leases of this queue that end otherwise than by the holder's own requests, once that is known.

        `arrived` (inbox only): call it with the new updates of each append, once they are durable and before the append
        returns. Each envelope has the key of its lane. Updates that became dead letters (lane full) are among them. If
        several processes share the store, it is called in each that may hold the lane.

        A session has one watcher of each queue: a new one replaces it.
        """

    def lane(self, key: str) -> str:
        """Return the key of the lane that `key` is an alias of, or `key` itself if it is none."""

    async def claim(self, queue: Queue) -> Delivery:
        """Lease the lane that has been ready longest; wait until there is one. A cancelled call leaves no lease."""

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        """Ack the head and apply its effects in one step; with `more`, keep the lane and return its next head, if any.

        Repeating a commit changes nothing, and raises LeaseLost if the lane has been released. In these cases nothing
        is changed and the lease stays in force: StateChanged if one of `effects.states` is not what it `was`, or the
        state that `effects.state` replaces is not the delivered one (another lane's commit has changed it); NotPeeked
        if `effects.also` exceeds what was peeked; TooManyTimers if `effects.timers` or `effects.posts` sets one and a
        lane would have more than `Limits.lane_timers_max`; SqlFailed if a statement of `effects.sql` is refused, or the
        store has no database.
        """

    async def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        """Put the head back and make the lane unclaimable for `delay_s`; `counted` counts one attempt.

        `calls` go to the outbox in the same step.
        """

    async def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        """Move the head to the dead letters and release the lane; `calls` go to the outbox in the same step."""

    async def release(self, delivery: Delivery) -> None:
        """Release the lane with its head unchanged and no attempt counted."""

    async def room(self, pending_max: int) -> int:
        """Return how many more updates fit if `pending_max` may be pending, below 1 if none. May lag by a second."""

    def mine(self, queue: Queue) -> QueueStats:
        """Return the counts of the lanes that this session has leased or may claim, at once: without I/O."""

    async def settled(self, queue: Queue) -> None:
        """Wait until this session has no lane leased, and none to claim. Parked lanes do not count."""

    async def stats(self) -> Stats:
        """Return the counts of both queues over all sessions: appended == committed + pending + dead."""

    async def leave(self) -> None:
        """Let other sessions have what is idle, before `close`: this one claims nothing new. Nothing happens without others."""

    async def close(self) -> None:
        """Release files and connections."""


class Operator(Protocol):
    """Inspection and repair by a person, while updates are handled. StoreUnavailable if the store cannot do it now."""

    async def lanes(self, queue: Queue, limit: int = 100, by: LaneOrder | None = None) -> list[LaneView]:
        """Return lanes that have pending work, at most `limit`: any, or those that come first in the order `by`.

        With `by`, each has the `at` of its head. Lanes of timers have no place among the updates until their `at` is
        looked up: by age, at most `limit` of both are.
        """

    async def lane_view(self, queue: Queue, key: str) -> LaneView | None:
        """Return one lane; None if nothing is pending in it."""

    async def hold(self, queue: Queue, key: str, reason: str) -> None:
        """Park a lane until `unhold`, also if nothing is pending in it now; with ALL_LANES, all lanes of the queue.

        A running handler goes on, and its lane is parked at its end. Durable: a new start of the bot does not end it.
        """

    async def unhold(self, queue: Queue, key: str) -> bool:
        """End a hold; a lane that is parked, for whatever reason, is ready at once. False if there was nothing to end."""

    async def holds(self, queue: Queue) -> dict[str, str]:
        """Return the keys that are held, and why."""

    async def overflow(self, queue: Queue) -> Overflow:
        """Return how much exceeded the bounds of this queue since the store was opened."""

    def groups(self) -> Groups:
        """Return how many requests of this session have shared how many transactions, at once."""

    async def oldest(self) -> Oldest:
        """Return what waits longest, after what is being written; the cost does not depend on how much waits."""

    async def dead_letters(self, limit: int = 100, below: int | None = None) -> list[DeadLetter]:
        """Return dead letters, newest first, fewer than `limit` if they are large; with `below`, of lower numbers."""

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """Return the dead letter of that number, if there is one."""

    async def dead_count(self) -> int:
        """Return how many dead letters there are."""

    async def discard(self, number: int) -> bool:
        """Delete a dead letter; False if there is none of that number. A number is never used again."""

    async def replay(self, number: int) -> bool:
        """Put a dead letter back into its lane in the order of its id, so before newer updates; a timer is due at once.

        False if there is none of that number, or an update of the same id is pending again.
        """

    async def audit(self, entries_max: int = 50_000) -> Audited:
        """Check that the lanes keep their invariants, and that what is pending is in the store: `entries_max` of it."""

    def clock_moved(self) -> None:
        """Check for due timers now: the wall clock was set forward. Without this call it is noticed within WALL_LOOK_S."""


class FullStore(Store, Operator, Protocol):
    """What `open_store` returns: a store with the operator's methods."""
