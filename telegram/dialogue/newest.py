"""Inline queries: only the newest that waits is worth an answer.

Each letter that somebody types is an inline query of its own, and Telegram shows the results of the newest one only
(Telegram Bot API, InlineQuery). One that has waited while its user typed on is acknowledged without a handler; one that a
handler has begun with is finished. The order of those that are handled stays.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from engine import Delivery, Envelope
from telegram.dialogue.context import Context

log = structlog.get_logger(__name__)

KIND: Final = "inline_query"


SUPERSEDED: Final = "superseded"
"""The reason under which those that are left out are counted (`Bot.dropped`)."""


class Newest:
    """Decides which inline queries are left out, and counts them in `counts`."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    async def is_wanted(
        self,
        ctx: Context,
        delivery: Delivery,
        look: Callable[[], Awaitable[Sequence[Envelope]]],
        read: Callable[[Envelope], Context | None],
    ) -> bool:
        """Whether an inline query is to be handled: its user has sent no newer one."""
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
