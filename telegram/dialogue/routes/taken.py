"""Updates that are handled with an earlier one of their lane (an album, `on_new`), though others can be between them.

The commit of the first one acks those directly behind it. The ids of the others are stored, in the same commit, in a state of
the lane; when their turn comes they are acked without a handler, and the state is deleted with the last of them.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from engine import Envelope
from telegram.dialogue.contexts.context import Context

TAKEN: Final = "~taken"
"""The scope of the state of updates that were taken by a policy (telegram/dialogue/routes/policies.py)."""

_HANDLED: Final = "handled"


def ids_of(ctx: Context, name: str) -> list[int]:
    """Return the ids in the state that was lent to the context under `name`."""
    found: list[int] = ctx.conversation(name).data.get(_HANDLED, [])
    return found


def was_taken(ctx: Context, name: str) -> bool:
    """Return whether the update was handled with an earlier one; its id is then removed from the state lent as `name`."""
    ids = ids_of(ctx, name)
    if ctx.update_id not in ids:
        return False
    ids.remove(ctx.update_id)
    if not ids:
        ctx.conversation(name).data.clear()
    return True


async def take(
    ctx: Context, name: str, taken: Sequence[int], peek: Callable[[], Awaitable[Sequence[Envelope]]]
) -> None:
    """Add to the commit: the ack of those directly behind the first, and the ids of the others, in the state lent as `name`."""
    ids = [*taken]
    row = 0
    for envelope in await peek():
        if envelope.id not in ids:
            break
        ids.remove(envelope.id)
        row += 1
    ctx.also = row
    if ids:
        ctx.conversation(name).data[_HANDLED] = [*ids_of(ctx, name), *ids]
