"""The buttons that a flow has offered: any other press is answered with the reason and changes nothing.

The flow's record has `offers`, the data of the buttons sent since the flow entered its state, by turn, and `since`, the
chat and the message of the update that led to the state.
"""

from collections.abc import Mapping
from typing import Any, Final

from telegram.botapi.shortcuts import part
from telegram.dialogue.buttons.long import noted_as
from telegram.dialogue.buttons.marks import TURN_LENGTH, owner_of
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import CallbackContext
from telegram.dialogue.flows.plan import Plan

OFFERS_MAX: Final = 8
"""Maximum number of turns in one state whose buttons are recorded."""


def offers_of(ctx: Context, had: Mapping[str, Any], *, takes: bool) -> dict[str, Any]:
    """Return the offers in the record after this turn; `had`: the record before, in the same state.

    Empty if no buttons were sent and no step `takes` any.
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
    """Return False if the update is a press on a button that the running flow has not offered; record that in the context.

    With a record of an older version, which has no offers, buttons without a mark are accepted until the next state.
    """
    if not isinstance(ctx, CallbackContext) or ctx.button is None or flow.takes_any_button:
        return True
    record = record or {}
    offers: dict[str, list[str]] | None = record.get("offers")
    mark, shown = ctx.pressed, noted_as(ctx.button)
    if mark is not None:
        is_own = mark.owner == owner_of(*ctx.memory.place(flow.scope))
        offered = is_own and shown in (offers or {}).get(mark.turn, ())
    elif offers is None:
        return True
    else:
        offered = any(shown in each for each in offers.values()) and _is_newer(ctx, record)
    ctx.is_refused = ctx.is_refused or not offered
    return offered


def _is_newer(ctx: CallbackContext, record: dict[str, Any]) -> bool:
    """Return whether a message with unmarked buttons may be the prompt: it is not older than the update that led here."""
    since = record.get("since")
    if since is None or ctx.message is None or ctx.chat_id != since[0]:
        return True
    return ctx.message.message_id >= int(since[1])


def _since(ctx: Context) -> list[int] | None:
    """Return chat and message of this update: messages that it causes are newer, or edits of this message."""
    message_id = part(ctx.source, "message_id")
    return None if ctx.chat_id is None or message_id is None else [ctx.chat_id, message_id]
