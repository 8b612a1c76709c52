"""What can be observed of a store, in a form in which every store's and the model's can be compared."""

from typing import Any, NamedTuple

from engine import DeadLetter, Delivery, Envelope, Queue
from engine.model import POSTED, TIMER_IDS, QueueStats


class LaneSeen(NamedTuple):
    """One lane as it can be observed."""

    status: str
    attempts: int
    wait_s: float
    reason: str
    fence: int | None
    pending: tuple[Envelope, ...]


TimerName = tuple[str, str, str]
"""Key, scope and name."""


class TimerSeen(NamedTuple):
    """A timer that is set, due or not."""

    key: str
    scope: str
    name: str
    at: float
    body: bytes

    def plain(self) -> "TimerSeen":
        """Return it without the number that the store gave a post; its body tells which it is."""
        return self._replace(name=POSTED) if self.name.startswith(POSTED) else self


class View(NamedTuple):
    """All of a store that can be observed; `ready` has the order in which lanes are to be claimed."""

    lanes: dict[tuple[Queue, str], LaneSeen]
    stats: dict[Queue, QueueStats]
    states: dict[tuple[str, str], bytes]
    dead: list[DeadLetter]
    timers: list[TimerSeen]


def plain(queue: Queue, envelope: Envelope) -> Envelope:
    """Return the envelope without the number that the store gave a call or timer; its body tells which it is."""
    if envelope.is_timer:
        return envelope._replace(id=TIMER_IDS)
    return envelope if queue is Queue.INBOX else envelope._replace(id=0)


def plain_delivery(delivery: Delivery) -> Delivery:
    return delivery._replace(envelope=plain(delivery.lease.queue, delivery.envelope))


def plain_answer(queue: Queue, answer: Any) -> Any:
    """Return what a store answered as the model would."""
    if isinstance(answer, Delivery):
        return plain_delivery(answer)
    if isinstance(answer, list):
        return [plain(queue, each) if isinstance(each, Envelope) else each for each in answer]
    return answer
