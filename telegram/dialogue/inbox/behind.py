"""The updates behind a delivery: looks into its lane, and the ack of those that are handled with it."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from engine import Envelope, Park, Work
from telegram.botapi.types import Message
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.signature import check_returned
from telegram.dialogue.contexts.updates import MessageContext
from telegram.dialogue.inbox.lending import asked
from telegram.dialogue.routes.route import Match
from telegram.dialogue.routes.taken import TAKEN, take, was_taken

LOOK_BEHIND: Final = 100
"""How many pending updates are searched for one that stops the handler, belongs to an album, or is a newer query."""


async def lend_taken(ctx: Context, work: Work) -> None:
    """Read the lane's state of updates that were taken along, once per update."""
    if not ctx.has(TAKEN):
        key = work.lease.key
        ctx.memory.lend(TAKEN, (key, TAKEN), await asked(work.state_of(key, TAKEN)))


async def is_taken(ctx: Context, work: Work) -> bool:
    """Return whether the update was handled with an earlier one, whose commit could not ack it."""
    if work.store is None or work.envelope.is_timer:
        return False
    await lend_taken(ctx, work)
    return was_taken(ctx, TAKEN)


async def take_along(ctx: Context, work: Work) -> None:
    """Add to the commit what `ctx.taken` names; other updates than messages have their turn, in which they are answered."""
    await lend_taken(ctx, work)
    await take(ctx, TAKEN, ctx.taken, partial(_directly_behind, ctx, work))


async def _directly_behind(ctx: Context, work: Work) -> Sequence[Envelope]:
    if not isinstance(ctx, MessageContext):
        return ()
    try:
        return await peek(work, len(ctx.taken))
    except Park:  # the store is unavailable: they are acked in their turn, and the handler does not run again
        return ()


async def look(work: Work) -> list[Envelope]:
    """Return the pending updates behind the head, of any scope, at most LOOK_BEHIND."""
    return await asked(work.look(LOOK_BEHIND))


async def peek(work: Work, limit: int) -> list[Envelope]:
    """Return the pending updates directly behind the head, which its commit may ack."""
    return await asked(work.peek(limit))


async def called(match: Match, *messages: list[Message]) -> None:
    """Call the handler; TypeError if it returns something."""
    if (returned := await match.run(*messages)) is not None:
        check_returned(match.handler, returned)
