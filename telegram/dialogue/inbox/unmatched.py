"""Updates without a handler."""

import structlog

from engine import Reject
from telegram.dialogue.buttons.marks import is_of
from telegram.dialogue.contexts.answers import refuse_payment
from telegram.dialogue.contexts.conduct import Conduct
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import CallbackContext, TimerContext
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.events import EventContext, not_taken
from telegram.dialogue.routes.schedules import EveryContext
from telegram.dialogue.state.timers import FLOWS_OWN, unknown_timer

log = structlog.get_logger(__name__)


def unmatched(ctx: Context, table: Table, conduct: Conduct) -> None:
    """Handle an update without a handler: answer a flow's button, refuse a payment, Reject an unknown timer.

    A timer of a flow that has left the state is normal, and only logged.
    """
    if isinstance(ctx, CallbackContext):
        if ctx.pressed is not None and not is_of(ctx.pressed, ctx.memory.places()):
            ctx.answer(ctx.said(conduct.others_button))
        elif ctx.pressed is not None or ctx.is_refused:
            ctx.answer(ctx.said(conduct.old_button))
            if ctx.pressed is None:  # sent with `ctx.client`, say
                log.info(
                    "a flow has not sent this button itself: takes_any_button?",
                    key=ctx.key,
                    id=ctx.update_id,
                )
    if refuse_payment(ctx, conduct.apology):
        log.warning("no handler takes a payment: it is refused", key=ctx.key, id=ctx.update_id, kind=ctx.kind)
    if isinstance(ctx, EventContext):
        not_taken(ctx, table.events)
    if isinstance(ctx, EveryContext):
        log.warning("the filters of its router do not let the run of a job pass", job=ctx.job)
    if not isinstance(ctx, TimerContext) or ctx.timer.startswith(FLOWS_OWN):
        return
    names = table.timers_of_flows
    if names is not None and ctx.timer not in names:
        raise Reject(str(unknown_timer(ctx.timer, table.timers or ())))
    log.info("a timer fired after its flow left the state", key=ctx.key, timer=ctx.timer)
