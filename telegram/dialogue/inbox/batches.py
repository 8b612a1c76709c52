"""Messages that were handed over together and whose handler failed: they are handled again one at a time."""

from collections import OrderedDict
from typing import Final

import structlog

from engine import Envelope, Park, Reject, Retry

log = structlog.get_logger(__name__)

BURST_MAX: Final = 100
"""Maximum number of messages that are handed over together."""

SPLIT_MAX: Final = 1000
"""Maximum number of conversations with a failed burst on record; in older ones a burst may be tried once more."""


class Splits:
    """The messages to handle one at a time: those of a failed burst, until all of them were handled.

    In memory. After a restart the first message is recognized by its attempt number.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], frozenset[int]] = OrderedDict()

    def add(self, head: Envelope, ids: frozenset[int]) -> None:
        """Record the ids of the failed burst that begins with `head`."""
        self._ids[head.key, head.scope] = ids
        if len(self._ids) > SPLIT_MAX:
            self._ids.popitem(last=False)

    def has(self, head: Envelope) -> bool:
        """Return whether `head` belongs to a failed burst; if not, the record of its conversation is deleted."""
        ids = self._ids.get((head.key, head.scope), frozenset())
        if head.id in ids:
            return True
        self._ids.pop((head.key, head.scope), None)
        return False


def split(head: Envelope, error: Exception) -> Park:
    """Return the Park for a failed burst: any message may be the cause, so no attempt is counted for the first."""
    reason = f"a burst failed, its messages are handled one at a time: {type(error).__name__}: {error}"
    if not isinstance(error, Retry | Reject):
        log.warning(
            "a burst failed, its messages are handled one at a time", key=head.key, id=head.id, exc_info=error
        )
    return Park(reason, delay_s=(error.after_s if isinstance(error, Retry) else None) or 0.0)
