"""The nouns of the engine: immutable values that travel between store, worker and handler."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

TIMER_IDS: Final = 2**52
"""The bit that tells the ids of timers from those of updates and calls, which are below it."""

REPLAYED: Final = "~replayed:"
"""Begins the name of a timer that came out of the dead letters; handlers' names do not begin with "~"."""

TIMERS_MAX: Final = 32
"""Timers that one commit may set or take away."""

DELAY_MAX_S: Final = 366 * 86_400.0
"""The longest wish; what is not a number from 0 to here is a slip, told where it is made and kept from the store."""


def check_delay(seconds: float) -> float:
    """Return the delay; ValueError if it is none."""
    # not for a Decimal, which cannot be added to a time; the comparison is false for NaN, too
    if not isinstance(seconds, int | float) or not 0 <= seconds <= DELAY_MAX_S:
        raise ValueError(f"a delay is a number of seconds from 0 to {DELAY_MAX_S:.0f}, not {seconds}")
    return seconds


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


def check_calls(calls: Iterable[Call]) -> None:
    """Raise TypeError or ValueError for calls that no store can keep."""
    for key, body in calls:
        key.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        _check_bytes("the body of a call", body)


def _check_bytes(what: str, value: object) -> None:
    if not isinstance(value, bytes):
        raise TypeError(f"{what} is bytes, not {type(value).__name__}")


class Timer(NamedTuple):
    """A moment at which `body` is to come back as a delivery of the same lane; None takes the timer away.

    It belongs to the lane and to `scope` (None: that of the delivery), and is the only one of its name there.
    """

    name: str
    after_s: float | None
    body: bytes = b""
    scope: str | None = None

    def check(self) -> None:
        """Raise TypeError or ValueError for what no store can keep."""
        self.name.encode()
        if self.scope is not None:
            self.scope.encode()
        if self.after_s is not None:
            check_delay(self.after_s)
        _check_bytes("the body of a timer", self.body)


class StateChange(NamedTuple):
    """A conversation state of any lane and scope that is to become `state` if it still is what it `was`.

    None stands for no state.
    """

    key: str
    scope: str
    was: bytes | None
    state: bytes | None

    def check(self) -> None:
        """Raise TypeError or ValueError for what no store can keep."""
        self.key.encode()
        self.scope.encode()
        for state in (self.was, self.state):
            if state is not None:
                _check_bytes("a state", state)


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

    def check(self, queue: Queue = Queue.INBOX) -> None:
        """Raise TypeError or ValueError for what no store can keep: one handler's slip must not reach the others."""
        if not (self.state is KEEP or self.state is None):
            _check_bytes("a state", self.state)
        if self.calls:
            check_calls(self.calls)
        if self.timers or self.also or self.states:
            self._check_rare(queue)

    def _check_rare(self, queue: Queue) -> None:
        if self.timers and queue is Queue.OUTBOX:
            raise ValueError(
                "a timer stands in a lane of the inbox: who sends a call holds none, and sets none"
            )
        if len(self.timers) > TIMERS_MAX:
            raise ValueError(f"a commit sets at most {TIMERS_MAX} timers, not {len(self.timers)}")
        for timer in self.timers:
            timer.check()
        if not isinstance(self.also, int) or self.also < 0:
            raise ValueError(f"also is a number of updates, not {self.also!r}")
        for change in self.states:
            change.check()
        if len({change[:2] for change in self.states}) < len(self.states):
            raise ValueError("a state is changed once in a commit")


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
