"""The identity of a trace: it is computed from the bot and the update, so that processes agree on it without telling each other.

A call knows its update by a flag of its stored form (telegram/botapi/named.py). One without it, and a timer, has a trace of its own.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from engine import Delivery, Queue
from telegram.botapi.named import update_of


class Identity(NamedTuple):
    """The ids of a trace and of its first span."""

    trace_id: int
    span_id: int


def identity(bot_id: str, queue: Queue, number: int) -> Identity:
    """Return the identity of the trace of an update or timer (INBOX), or of a call that comes from none (OUTBOX)."""
    digest = hashlib.blake2b(
        b"chatlane %b %b %d" % (bot_id.encode(), queue.value.encode(), number), digest_size=24
    ).digest()
    return Identity(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1)


def source_of(delivery: Delivery) -> tuple[Queue, int]:
    """Return what the trace of a delivery begins with: the queue and the id there."""
    envelope = delivery.envelope
    if delivery.lease.queue is Queue.OUTBOX and (update_id := update_of(envelope.body)) is not None:
        return Queue.INBOX, update_id
    return delivery.lease.queue, envelope.id


def trace_id_of(bot_id: str) -> Callable[[Delivery], str]:
    """Return a function for the id of a delivery's trace, as 32 hexadecimal digits."""

    def trace_id(delivery: Delivery) -> str:
        return f"{identity(bot_id, *source_of(delivery)).trace_id:032x}"

    return trace_id
