"""Inline queries: only the newest pending one of a user is answered.

Each typed letter makes a new inline query, and Telegram shows the results of the newest only (Telegram Bot API,
InlineQuery). A query is acknowledged without a handler if a newer one of its user is pending when its turn comes; a handler
that has started is not interrupted. The order of the handled ones is unchanged.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from engine import Delivery, Envelope
from telegram.dialogue.contexts.context import Context

log = structlog.get_logger(__name__)

KIND: Final = "inline_query"


SUPERSEDED: Final = "superseded"
"""The reason under which the dropped ones are counted (`Bot.dropped`)."""


class Newest:
    """Decides which inline queries to drop, and counts them in `counts`."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    async def is_wanted(
        self,
        ctx: Context,
        delivery: Delivery,
        look: Callable[[], Awaitable[Sequence[Envelope]]],
        read: Callable[[Envelope], Context | None],
    ) -> bool:
        """Return whether to handle an inline query: no newer one of its user is pending."""
        for envelope in await look():
            if envelope.scope != delivery.envelope.scope or b'"inline_query"' not in envelope.body:
                continue
            newer = read(envelope)
            if newer is not None and newer.kind == KIND:
                self._counts[SUPERSEDED] += 1
                log.debug(
                    "an inline query is left out: a newer one waits",
                    key=ctx.key,
                    id=ctx.update_id,
                    newer=newer.update_id,
                )
                return False
        return True
