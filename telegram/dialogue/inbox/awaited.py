"""Async filters: awaited when the search for a handler meets one, bounded in time.

The search itself does not wait: a filter without an answer ends it (Unanswered), is awaited, and the search begins anew. The
answers belong to one context, so a filter is asked once per attempt of an update, however many handlers have it. Also where
the bot looks ahead (updates behind a burst, messages of an album): they are asked again when their turn comes. A `stop`
filter cannot be async: it is evaluated when an update arrives, while the handler that it may stop is running.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from engine import Retry
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.filters.conditions import Unanswered, label_of
from telegram.dialogue.routes.route import Match

if TYPE_CHECKING:
    from telegram.dialogue.router.table import Table

FILTER_TIMEOUT_S: Final = 5.0
"""Maximum duration of an async filter in seconds; then the attempt has failed (Retry)."""


async def search(table: "Table", ctx: Context, asks: Unanswered) -> Match | None:
    """Continue the search that `asks` has ended: return the handler of the update, None if there is none."""
    while True:
        await _answer(asks)
        try:
            return table.find(ctx)
        except Unanswered as further:
            asks = further


async def _answer(asks: Unanswered) -> None:
    limit = asyncio.timeout(FILTER_TIMEOUT_S)
    try:
        async with limit:
            answer = bool(await asks.passes(asks.ctx))
    except TimeoutError:
        if not limit.expired():
            raise
        raise Retry(f"the filter {label_of(asks.passes)} took longer than {FILTER_TIMEOUT_S:g} s") from None
    asks.ctx.answers = {**(asks.ctx.answers or {}), asks.passes: answer}
