"""Inline queries: only the newest that waits is worth an answer.

Each letter that somebody types is an inline query of its own, and Telegram shows the results of the newest one only
(Telegram Bot API, InlineQuery). One that has waited while its user typed on is acknowledged without a handler; one that a
handler has begun with is finished. The order of those that are handled stays.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from engine import Delivery, Envelope
from telegram.dialogue.context import Context

log = structlog.get_logger(__name__)

KIND: Final = "inline_query"


class Newest:
    """Decides which inline queries are left out. `left_out` counts them."""

    def __init__(self) -> None:
        self.left_out = 0

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
                self.left_out += 1
                log.debug(
                    "an inline query is left out: a newer one waits",
                    key=ctx.key,
                    id=ctx.update_id,
                    newer=newer.update_id,
                    left_out=self.left_out,
                )
                return False
        return True
