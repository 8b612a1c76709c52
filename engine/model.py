"""The nouns of the engine: immutable values that travel between store, worker and handler."""

from enum import Enum
from typing import Final, NamedTuple

TIMER_IDS: Final = 2**52
"""The bit that tells the ids of timers from those of updates and calls, which are below it."""

REPLAYED: Final = "~replayed:"
"""Begins the name of a timer that came out of the dead letters; handlers' names do not begin with "~"."""

TIMERS_MAX: Final = 32
"""Timers that one commit may set or take away."""

DELAY_MAX_S: Final = 366 * 86_400.0
"""The longest delay of a retry, a park or a timer, in seconds."""


class Queue(Enum):
    """The two queues of one engine: updates to handle, and calls to send."""

    INBOX = "inbox"
    OUTBOX = "outbox"

    __hash__ = object.__hash__  # Enum's own is written in Python, and costs more than the look-up


class Envelope(NamedTuple):
    """An update or an outgoing call as the engine sees it.

    `id` orders the lane `key`; `scope` names the conversation state inside the key; `body` stays bytes. `at` is the
    Unix time when an update arrived, a call was committed or a timer was due; 0.0 if nobody knows.
    """

    id: int
    key: str
    scope: str
    body: bytes
    at: float = 0.0

    @property
    def is_timer(self) -> bool:
        """Whether this is a timer that came due, and no update."""
        return self.id >= TIMER_IDS


class Call(NamedTuple):
    """One outgoing request, bound for the lane `key` of the outbox."""

    key: str
    body: bytes


class Timer(NamedTuple):
    """A moment at which `body` is to come back as a delivery of the same lane; None takes the timer away.

    It belongs to the lane and to `scope` (None: that of the delivery), and is the only one of its name there.
    """

    name: str
    after_s: float | None
    body: bytes = b""
    scope: str | None = None


class StateChange(NamedTuple):
    """A conversation state of any lane and scope that is to become `state` if it still is what it `was`.

    None stands for no state.
    """

    key: str
    scope: str
    was: bytes | None
    state: bytes | None


class _Keep(Enum):
    KEEP = "keep"


KEEP: Final = _Keep.KEEP
"""As `Effects.state`: leave the conversation state as it is."""


class Effects(NamedTuple):
    """What a handler wants committed in the same step as the ack of its update.

    `state` is the new conversation state of the delivery's scope; None deletes it, KEEP leaves it alone. States of
    other lanes and scopes are for `states`. All of them are compared: what another lane has changed since it was read
    (for `state`: since the delivery) is StateChanged. `also` acks as many updates behind the head, which
    were peeked under this lease.
    """

    calls: tuple[Call, ...] = ()
    state: "bytes | _Keep | None" = KEEP
    timers: tuple[Timer, ...] = ()
    also: int = 0
    states: tuple[StateChange, ...] = ()


class Lease(NamedTuple):
    """The sole right to one lane, until it is let go or taken over.

    Only `fence` decides whether the holder may still commit; no clock takes part in that.
    """

    queue: Queue
    key: str
    fence: int


class Delivery(NamedTuple):
    """The head of a leased lane, handed to a handler with its state; `attempt` counts from 1.

    `begun`: a handler had it before, counted as an attempt or not (it failed, asked to be parked, or a stop cut it off).
    """

    lease: Lease
    envelope: Envelope
    attempt: int
    state: bytes | None
    begun: bool = False


class DeadLetter(NamedTuple):
    """A head that was given up, kept with its reason; `at` is Unix time, `number` names it for replay."""

    number: int
    queue: Queue
    envelope: Envelope
    attempts: int
    reason: str
    at: float


class LaneView(NamedTuple):
    """One lane as a person sees it; `status` is "ready", "leased" or "parked", `wait_s` how long parked."""

    queue: Queue
    key: str
    status: str
    depth: int
    attempts: int
    wait_s: float
    reason: str


class QueueStats(NamedTuple):
    """One queue in numbers. Always: appended == committed + pending + dead (counted since the store was opened)."""

    appended: int
    committed: int
    dead: int
    pending: int
    ready: int
    leased: int
    parked: int


class Overflow(NamedTuple):
    """What went beyond a bound in one queue since the store was opened.

    `lane_full`: updates that became dead letters since their lane had no room. `dropped`: dead letters that are gone.
    """

    lane_full: int
    dropped: int


class Stats(NamedTuple):
    """Both queues in numbers: `pending` counts envelopes, `ready`, `leased` and `parked` count lanes."""

    inbox: QueueStats
    outbox: QueueStats

    def of(self, queue: Queue) -> QueueStats:
        """Return the numbers of one queue."""
        return self.inbox if queue is Queue.INBOX else self.outbox
