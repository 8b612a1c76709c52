"""What can be observed of a store, in a form in which every store's and the model's can be compared."""

from typing import NamedTuple

from engine import DeadLetter, Delivery, Envelope, Queue
from engine.model import QueueStats


class LaneSeen(NamedTuple):
    """One lane as it can be observed."""

    status: str
    attempts: int
    wait_s: float
    reason: str
    fence: int | None
    pending: tuple[Envelope, ...]


class View(NamedTuple):
    """All of a store that can be observed; `ready` has the order in which lanes are to be claimed."""

    lanes: dict[tuple[Queue, str], LaneSeen]
    stats: dict[Queue, QueueStats]
    states: dict[tuple[str, str], bytes]
    dead: list[DeadLetter]


def plain(queue: Queue, envelope: Envelope) -> Envelope:
    """Return the envelope without the number that the store gave a call; its body tells which it is."""
    return envelope if queue is Queue.INBOX else envelope._replace(id=0)


def plain_delivery(delivery: Delivery) -> Delivery:
    return delivery._replace(envelope=plain(delivery.lease.queue, delivery.envelope))
