"""The keyboard of a collected call: its buttons get the mark of their flow, and keys for data over 64 bytes."""

from typing import TYPE_CHECKING, Any

from telegram.dialogue.buttons.long import lane_of_presses
from telegram.dialogue.buttons.marks import mark_buttons, mark_of

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context


def note_buttons(ctx: "Context[Any]", method: str, params: dict[str, Any]) -> None:
    """Replace the `reply_markup` of a call, and note in the context what its buttons are (`offered`, `long`)."""
    long: dict[str, str] = {}
    mark = None if ctx.marks is None else mark_of(ctx.memory.place(ctx.marks), ctx.turn)
    params["reply_markup"], offered = mark_buttons(params["reply_markup"], mark, long)
    ctx.offered += offered
    if long:
        ctx.long.setdefault(lane_of_presses(method, params), {}).update(long)
