"""The engine's data types: immutable values passed between store, worker and handler."""

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from engine.transaction import Transaction

TIMER_IDS: Final = 2**52
"""Ids of timers have this bit set; ids of updates and calls are below it."""

REPLAYED: Final = "~replayed:"
"""Prefix of the name of a timer that was replayed from the dead letters; handlers' names do not begin with "~"."""

POSTED: Final = "~posted:"
"""Prefix of the name of a timer that was posted (`Post`)."""

TIMERS_MAX: Final = 32
"""Maximum number of timers that one commit may set or remove."""

DELAY_MAX_S: Final = 366 * 86_400.0
"""Maximum delay of a retry, a park or a timer, in seconds."""


class Queue(Enum):
    """The two queues of a store: updates to handle, and calls to send."""

    INBOX = "inbox"
    OUTBOX = "outbox"

    __hash__ = object.__hash__  # Enum's own is written in Python, and costs more than the look-up


class Envelope(NamedTuple):
    """An update or an outgoing call as the engine sees it.

    `id` orders the lane `key`; `scope` names the conversation state inside the key; `body` is opaque. `at` is the
    Unix time when an update arrived (by the clock of its source), a call was committed or a timer was due (by the
    store's); 0.0 if unknown.
    """

    id: int
    key: str
    scope: str
    body: bytes
    at: float = 0.0

    @property
    def is_timer(self) -> bool:
        """Whether this is a due timer, not an update."""
        return self.id >= TIMER_IDS


class Call(NamedTuple):
    """One outgoing request for the lane `key` of the outbox."""

    key: str
    body: bytes


class Timer(NamedTuple):
    """Deliver `body` in the same lane after `after_s` seconds; `after_s=None` removes the timer.

    It belongs to the lane and to `scope` (None: the delivery's scope). There is one timer per name: a new one replaces it.
    """

    name: str
    after_s: float | None
    body: bytes = b""
    scope: str | None = None


class Post(NamedTuple):
    """Deliver `body` in the lane `key` after `after_s` seconds, for a source that does not hold the lane.

    A timer in everything else, without a name: nothing replaces or removes it.
    """

    key: str
    scope: str
    body: bytes
    after_s: float = 0.0


class StateChange(NamedTuple):
    """Compare-and-set of a conversation state of any lane and scope: it becomes `state` if it is still `was`.

    None means no state.
    """

    key: str
    scope: str
    was: bytes | None
    state: bytes | None


class Sql(NamedTuple):
    """A statement of the author's own SQL (engine/statements.py), with values by position or by name.

    `expect`: the number of rows that it changes; another one is a SqlMismatch. None: any.
    """

    text: str
    values: tuple[Any, ...] | dict[str, Any] = ()
    expect: int | None = None


class _Keep(Enum):
    KEEP = "keep"


KEEP: Final = _Keep.KEEP
"""Value of `Effects.state` that leaves the conversation state unchanged."""


class Effects(NamedTuple):
    """What a handler wants committed in the same step as the ack of its update.

    `state` is the new conversation state of the delivery's scope; None deletes it, KEEP leaves it unchanged. `states`
    changes states of other lanes and scopes. The store compares all of them: StateChanged if another lane has changed
    one since it was read (`state`: since it was delivered). `also` acks that many more updates directly behind the
    head; they must have been peeked under this lease. `posts` come into lanes of the inbox, in the order given. `sql` is
    run in the same transaction, in a store that has a database. `within` is a transaction of that store, whose commit is this
    one; it is rolled back if this one fails.
    """

    calls: tuple[Call, ...] = ()
    state: "bytes | _Keep | None" = KEEP
    timers: tuple[Timer, ...] = ()
    also: int = 0
    states: tuple[StateChange, ...] = ()
    posts: tuple[Post, ...] = ()
    sql: tuple[Sql, ...] = ()
    within: "Transaction | None" = None


class Lease(NamedTuple):
    """The exclusive right to one lane, until it is released or taken over.

    Only `fence` decides whether the holder may still commit, never a clock.
    """

    queue: Queue
    key: str
    fence: int


class Right(NamedTuple):
    """The exclusive right to append to the inbox, and so to poll; each grant has a new `epoch`."""

    epoch: int


class Delivery(NamedTuple):
    """The head of a leased lane, handed to a handler with its state; `attempt` counts from 1.

    `begun`: the store recorded an earlier run, whether counted as an attempt or not (it failed, asked to be parked, was
    cut off by a stop, or the process died). A run whose lease was lost or released is not recorded.
    """

    lease: Lease
    envelope: Envelope
    attempt: int
    state: bytes | None
    begun: bool = False


class DeadLetter(NamedTuple):
    """A head that was given up, kept with its reason; `at` is Unix time, `number` identifies it for replay.

    `trace` is the traceback of the last failure, if a handler raised it.
    """

    number: int
    queue: Queue
    envelope: Envelope
    attempts: int
    reason: str
    at: float
    trace: str = ""


class LaneView(NamedTuple):
    """One lane for display; `status` is "ready", "leased" or "parked", `wait_s` the seconds until a parked lane is ready.

    `at` is the head's, 0.0 if it was not looked up or is unknown. `held` is why an operator holds the lane, "" if none does:
    then it stays parked until it is released.
    """

    queue: Queue
    key: str
    status: str
    depth: int
    attempts: int
    wait_s: float
    reason: str
    at: float = 0.0
    held: str = ""


class QueueStats(NamedTuple):
    """Counts of one queue. Always: appended == committed + pending + dead (counted since the store was opened)."""

    appended: int
    committed: int
    dead: int
    pending: int
    ready: int
    leased: int
    parked: int


class Overflow(NamedTuple):
    """What exceeded a bound in one queue since the store was opened.

    `lane_full`: updates that became dead letters because their lane was full. `dropped`: dead letters that were deleted.
    """

    lane_full: int
    dropped: int


class Audited(NamedTuple):
    """What an audit has found: problems, a line for each, and how many lanes and pending entries were checked."""

    problems: list[str]
    lanes: int
    entries: int


class Groups(NamedTuple):
    """Transactions that were committed since the store was opened, or read anew, and the requests that shared them.

    Both are 0 in a store without transactions.
    """

    transactions: int
    requests: int


class Oldest(NamedTuple):
    """What waits longest, by its `Envelope.at` (Unix time); None: nothing waits.

    `inbox` is the first pending update, `outbox` the first call, `timer` the first timer that is due and not handled.
    `timers` is the number of these.
    """

    inbox: float | None
    outbox: float | None
    timer: float | None
    timers: int


class Stats(NamedTuple):
    """Counts of both queues: `pending` counts envelopes; `ready`, `leased` and `parked` count lanes."""

    inbox: QueueStats
    outbox: QueueStats

    def of(self, queue: Queue) -> QueueStats:
        """Return the counts of one queue."""
        return self.inbox if queue is Queue.INBOX else self.outbox
