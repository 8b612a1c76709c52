"""The keyboard of a collected call: its buttons get the mark of their flow, and keys for data over 64 bytes."""

from typing import TYPE_CHECKING, Any

from telegram.botapi.collecting import WrongCall
from telegram.botapi.shortcuts import part
from telegram.dialogue.buttons.callback_data import CALLBACK_BYTES_MAX
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
        check_short(f"{method}: a button of an inline result", part(result, "reply_markup"))


def check_short(what: str, markup: Any) -> None:
    """Raise WrongCall for a keyboard with a long button, where its data cannot be kept."""
    long: dict[str, str] = {}
    mark_buttons(markup, None, long)
    for data in long.values():
        size = len(data.encode())
        raise WrongCall(
            f"{what} has at most {CALLBACK_BYTES_MAX} bytes in UTF-8, this has {size}: {data!r:.60}"
        )
