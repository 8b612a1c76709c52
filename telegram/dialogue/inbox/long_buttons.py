"""Keeps and restores callback data over 64 bytes (telegram/dialogue/buttons/long.py), around the handler of an update."""

from engine import Effects, Work
from telegram.dialogue.buttons.long import BUTTONS, LongData, is_key
from telegram.dialogue.contexts.conduct import Conduct
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import CallbackContext
from telegram.dialogue.inbox.lending import asked


async def is_lost(ctx: Context, work: Work, conduct: Conduct) -> bool:
    """Restore the data of a pressed button; True if they are not kept any more, and the press was answered with that."""
    if await restored(ctx, work):
        return False
    ctx.answer(ctx.said(conduct.old_button))  # type: ignore[attr-defined] # a CallbackContext
    return True


async def restored(ctx: Context, work: Work) -> bool:
    """Restore the data of a pressed button; False if they are not kept any more."""
    if not isinstance(ctx, CallbackContext) or (key := ctx.button) is None or not is_key(key):
        return True
    data = LongData(await asked(work.state_of(ctx.key, BUTTONS))).get(key)
    if data is not None:
        ctx.event = ctx.event.model_copy(update={"data": data})
    return data is not None


async def effects_of(ctx: Context, work: Work) -> Effects:
    """Return the effects of a context, with the data of the long buttons that it has collected."""
    for lane, data in ctx.long.items():
        was = await asked(work.state_of(lane, BUTTONS))
        kept = LongData(was)
        kept.add(data)
        ctx.memory.lend(name := f"{BUTTONS}:{lane}", (lane, BUTTONS), was, lambda _, kept=kept: kept)  # type: ignore[misc]
        ctx.memory.of(name)  # into the changes
    return ctx.effects()
