"""Several updates handled as one: all that a person wrote while the lane was busy."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from engine import Envelope
from telegram.botapi.types import Message
from telegram.dialogue.contexts import MessageContext

BURST_MAX: Final = 100

SPLIT_MAX: Final = 1000
"""Conversations whose failed bursts are remembered; of older ones, one more burst may fail."""


class Splits:
    """Which messages are handled one at a time: those of a burst that failed, until all of them were handled.

    Kept in memory. After a restart, the attempt number of the first message says the same of that one.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], frozenset[int]] = OrderedDict()

    def add(self, head: Envelope, ids: frozenset[int]) -> None:
        """Remember the updates of the failed burst that `head` began."""
        self._ids[head.key, head.scope] = ids
        if len(self._ids) > SPLIT_MAX:
            self._ids.popitem(last=False)

    def has(self, head: Envelope) -> bool:
        """Whether `head` belongs to a burst that failed. Any other update of the conversation ends the memory of it."""
        ids = self._ids.get((head.key, head.scope), frozenset())
        if head.id in ids:
            return True
        self._ids.pop((head.key, head.scope), None)
        return False


async def gather(
    first: MessageContext,
    peek: Callable[[int], Awaitable[Sequence[Envelope]]],
    read: Callable[[Envelope], Awaitable[MessageContext | None]],
) -> list[Message]:
    """Return the messages of the burst that begins with `first`; they stand in a row in its lane.

    `read` gives what belongs to it; the first that does not ends it.
    """
    messages = [first.message]
    for envelope in await peek(BURST_MAX - 1):
        ctx = await read(envelope)
        if ctx is None:
            break
        messages.append(ctx.message)
    return messages
