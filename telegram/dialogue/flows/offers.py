"""Which buttons a flow has offered: what is pressed otherwise says why and moves nothing.

The flow's record holds `offers`, the data of the buttons by the turn that sent them since the flow came into its state, and
`since`, the chat and the message of the update that led there.
"""

from collections.abc import Mapping
from typing import Any, Final

from telegram.botapi.shortcuts import part
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import CallbackContext
from telegram.dialogue.flows.plan import Plan
from telegram.dialogue.marks import TURN_LENGTH, owner_of

OFFERS_MAX: Final = 8
"""Turns of one stay in a state whose buttons are remembered."""


def offers_of(ctx: Context, had: Mapping[str, Any], *, takes: bool) -> dict[str, Any]:
    """Return what the record holds of offers after this turn; `had`: what it held before, in the same state.

    Nothing if no buttons were sent and no step `takes` any.
    """
    offers = dict(had.get("offers") or {})
    if ctx.offered:
        offers[ctx.turn[:TURN_LENGTH]] = ctx.offered
    for turn in list(offers)[:-OFFERS_MAX]:
        del offers[turn]
    if not offers and not takes:
        return {}
    since = had.get("since") if had else _since(ctx)
    return {"offers": offers} if since is None else {"offers": offers, "since": since}


def is_offered_by(flow: Plan[Any, Any, Any], ctx: Context, record: dict[str, Any] | None) -> bool:
    """Whether the flow, which goes on, takes this update: not a button that it has not offered; that is noted.

    Records of files written before this was noted take what comes without a mark, until their next state.
    """
    if not isinstance(ctx, CallbackContext) or ctx.button is None or flow.takes_any_button:
        return True
    record = record or {}
    offers: dict[str, list[str]] | None = record.get("offers")
    mark = ctx.pressed
    if mark is not None:
        is_own = mark.owner == owner_of(*ctx.memory.place(flow.scope))
        offered = is_own and ctx.button in (offers or {}).get(mark.turn, ())
    elif offers is None:
        return True
    else:
        offered = any(ctx.button in each for each in offers.values()) and _is_newer(ctx, record)
    ctx.is_refused = ctx.is_refused or not offered
    return offered


def _is_newer(ctx: CallbackContext, record: dict[str, Any]) -> bool:
    """Whether a message whose buttons have no mark may be the prompt: it is no older than what led to the state."""
    since = record.get("since")
    if since is None or ctx.message is None or ctx.chat_id != since[0]:
        return True
    return ctx.message.message_id >= int(since[1])


def _since(ctx: Context) -> list[int] | None:
    """The chat and the message that this update came with: what it causes is newer, or an edit of this very message."""
    message_id = part(ctx.source, "message_id")
    return None if ctx.chat_id is None or message_id is None else [ctx.chat_id, message_id]
