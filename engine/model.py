"""The nouns of the engine: immutable values that travel between store, worker and handler."""

from enum import Enum
from typing import Final, NamedTuple


class Queue(Enum):
    """The two queues of one engine: updates to handle, and calls to send."""

    INBOX = "inbox"
    OUTBOX = "outbox"

    __hash__ = object.__hash__  # Enum's own is written in Python, and costs more than the look-up


class Envelope(NamedTuple):
    """An update or an outgoing call as the engine sees it.

    `id` orders the lane `key`; `scope` names the conversation state inside the key; `body` stays bytes.
    """

    id: int
    key: str
    scope: str
    body: bytes
    at: float = 0.0

    @property
    def is_timer(self) -> bool:
        """Whether this is a timer that is due, not an update."""
        return bool(self.id >> 52)


class Timer(NamedTuple):
    """A timer to set, or (after_s None) to take away."""

    name: str
    after_s: float | None
    body: bytes = b""
    scope: str | None = None


class StateChange(NamedTuple):
    """A change of another scope's state."""

    key: str
    scope: str
    was: bytes | None
    state: bytes | None


class Call(NamedTuple):
    """One outgoing request, bound for the lane `key` of the outbox."""

    key: str
    body: bytes


class _Keep(Enum):
    KEEP = "keep"


KEEP: Final = _Keep.KEEP
"""As `Effects.state`: leave the conversation state as it is."""


class Effects(NamedTuple):
    """What a handler wants committed in the same step as the ack of its update.

    `state` is the new conversation state of the delivery's scope; None deletes it, KEEP leaves it alone.
    """

    calls: tuple[Call, ...] = ()
    state: "bytes | _Keep | None" = KEEP
    timers: tuple[Timer, ...] = ()
    also: int = 0
    states: tuple[StateChange, ...] = ()

    def check(self) -> None:
        """Raise TypeError or ValueError for what no store can keep: one handler's slip must not reach the others."""
        if not (self.state is KEEP or self.state is None or isinstance(self.state, bytes)):
            raise TypeError(f"a state is bytes, not {type(self.state).__name__}")
        for key, body in self.calls:
            key.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
            if not isinstance(body, bytes):
                raise TypeError(f"the body of a call is bytes, not {type(body).__name__}")


class Lease(NamedTuple):
    """The sole right to one lane, until it is let go or taken over.

    Only `fence` decides whether the holder may still commit; no clock takes part in that.
    """

    queue: Queue
    key: str
    fence: int


class Delivery(NamedTuple):
    """The head of a leased lane, handed to a handler with its state; `attempt` counts from 1."""

    lease: Lease
    envelope: Envelope
    attempt: int
    state: bytes | None


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


class Stats(NamedTuple):
    """Both queues in numbers: `pending` counts envelopes, `ready`, `leased` and `parked` count lanes."""

    inbox: QueueStats
    outbox: QueueStats

    def of(self, queue: Queue) -> QueueStats:
        """Return the numbers of one queue."""
        return self.inbox if queue is Queue.INBOX else self.outbox
