"""The nouns of the engine: immutable values that travel between store, worker and handler."""

from enum import Enum
from typing import Final, NamedTuple


class Queue(Enum):
    """The two queues of one engine: updates to handle, and calls to send."""

    INBOX = "inbox"
    OUTBOX = "outbox"


class Envelope(NamedTuple):
    """An update or an outgoing call as the engine sees it.

    `id` orders the lane `key`; `scope` names the conversation state inside the key; `body` stays bytes.
    """

    id: int
    key: str
    scope: str
    body: bytes


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
    state: "bytes | None | _Keep" = KEEP


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
