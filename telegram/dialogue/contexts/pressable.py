"""The keyboard of a collected call: its buttons get the mark of their flow, and keys for data over 64 bytes."""

from typing import TYPE_CHECKING, Any

from telegram.botapi.collecting import WrongCall
from telegram.botapi.shortcuts import part
from telegram.dialogue.buttons.long import lane_of_presses, noted_as
from telegram.dialogue.buttons.marks import mark_buttons, mark_of

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context


def note_buttons(ctx: "Context[Any]", method: str, params: dict[str, Any]) -> None:
    """Replace the `reply_markup` of a call, and note in the context what its buttons are (`offered`, `long`)."""
    long: dict[str, str] = {}
    mark = None if ctx.marks is None else mark_of(ctx.memory.place(ctx.marks), ctx.turn)
    params["reply_markup"], offered = mark_buttons(params["reply_markup"], mark, long)
    ctx.offered += map(noted_as, offered)
    if long:
        ctx.long.setdefault(lane_of_presses(method, params), {}).update(long)


def check_results(method: str, params: dict[str, Any]) -> None:
    """Raise WrongCall for a long button of an inline result: where it is pressed is known only then."""
    results = params.get("results", params.get("result"))
    if results is None:
        return
    for result in results if isinstance(results, list | tuple) else (results,):
        long: dict[str, str] = {}
        mark_buttons(part(result, "reply_markup"), None, long)
        if long:
            text = next(iter(long.values()))
            raise WrongCall(
                f"{method}: a button of an inline result has at most 64 bytes in UTF-8, this has {len(text.encode())}: {text!r:.60}"
            )
