"""The inbox's handler: decodes an update, finds its handler, runs it, and returns the effects."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from engine import (
    Call,
    Delivery,
    Effects,
    Envelope,
    Lease,
    Observe,
    Park,
    Queue,
    Reject,
    Retry,
    SqlFailed,
    Work,
)
from engine.moved import deprecated
from telegram.botapi.decoding import decode
from telegram.botapi.errors import Unreadable, redact
from telegram.botapi.shortcuts import current
from telegram.client.peers import Peers
from telegram.dialogue.buttons.long import is_key
from telegram.dialogue.contexts.answers import answer_if_needed, answer_press, refuse_payment, tell
from telegram.dialogue.contexts.conduct import Conduct, outcome_without_trace
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid
from telegram.dialogue.contexts.queries import context_of
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.contexts.updates import CallbackContext, ChatContext, MessageContext, TimerContext
from telegram.dialogue.filters.conditions import Unanswered
from telegram.dialogue.filters.limits import Dropped, Limits
from telegram.dialogue.inbox.awaited import search
from telegram.dialogue.inbox.behind import called, is_taken, look, peek, take_along
from telegram.dialogue.inbox.lending import asked, lend, may_lend
from telegram.dialogue.inbox.long_buttons import effects_of, is_lost, restored
from telegram.dialogue.inbox.meanwhile import Meanwhile
from telegram.dialogue.inbox.newest import Newest
from telegram.dialogue.inbox.unmatched import unmatched
from telegram.dialogue.router.refusals import context_of_timer
from telegram.dialogue.router.router import Router
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.albums import ALBUM_MAX, Albums, is_album, scope_of
from telegram.dialogue.routes.events import is_void
from telegram.dialogue.routes.hooks import Around, hooks_of
from telegram.dialogue.routes.observe import Joined, Routed
from telegram.dialogue.routes.presence import note_reachable
from telegram.dialogue.routes.route import NO_RETRIES, Match
from telegram.dialogue.routes.stopping import Stopped

log = structlog.get_logger(__name__)

EXPIRES_S: Final = {
    "inline_query": 30.0,
    "callback_query": 150.0,
    "shipping_query": 150.0,
    "pre_checkout_query": 150.0,
}
"""Seconds after which Telegram accepts no answer (Telegram Bot API, Update): it is left out, the update is handled."""

_NO_LEASE: Final = Lease(Queue.INBOX, "", 0)


class InboxHandler:
    """Runs the handler that `router` finds for an update. What the handler raises is left to the engine."""

    def __init__(
        self,
        router: Router,
        *,
        tools: Tools | None = None,
        peers: Peers | None = None,
        conduct: Conduct | None = None,
        wall: Callable[[], float] = time.time,
        observe: Observe | None = None,
        behind: object = None,
        allow: object = None,
    ) -> None:
        if behind is not None or allow is not None:
            deprecated("behind=, allow=", "they are not needed: the engine gives each delivery as a Work")
        self.router = router
        self.tools = tools or Tools()
        self.tools.wall = wall
        self._peers = Peers() if peers is None else peers
        self._conduct = conduct or Conduct()
        self.tools.defaults = self._conduct.defaults
        self.tools.texts = router.texts()
        self._wall = wall
        self._observe = observe
        self._table: Table | None = None
        self.albums = Albums()
        self._around = Around()
        self.dropped = Dropped()
        """Counts of updates that were dropped before a handler, by reason."""
        self._newest = Newest(self.dropped.counts)
        self._limits = Limits(self.dropped)
        self._meanwhile = Meanwhile(self._waiting, self._limits, self.dropped, wall)
        self.arrived = self._meanwhile.stoppable.arrived

    def _prepare(self) -> Table:
        """Index the router's handlers, as at the first update. TypeError for what is wrong in it."""
        self._table = Table(self.router)
        self.tools.timers = self._table.timers
        self.tools.shared = [each.name for each in self._table.shared]
        return self._table

    async def __call__(self, work: Work) -> Effects:
        """Handle one update: Reject if it is unreadable; an update without a handler is acknowledged.

        A query that is too old to be answered is handled all the same: its button may have other effects.
        """
        ctx = self._context(delivery := work.delivery, work)
        if ctx.update.lost:
            log.warning("parts of an update are not readable", id=ctx.update_id, lost=ctx.update.lost)
        note_reachable(ctx, self._peers)
        table = self._table or self._prepare()
        current.set(ctx)  # visible to this handler only: the engine runs each in its own context
        match = None
        may_be_void = self._conduct.backlog is not None or ctx.kind == "inline_query"
        if may_be_void and not await self._is_wanted(ctx, work):
            return ctx.effects()
        if (table.has_albums or table.may_take) and await self._was_taken(ctx, table, work):
            return ctx.effects()
        if is_key(ctx.button or "") and await is_lost(ctx, work, self._conduct):
            return ctx.effects()
        try:
            if may_lend(ctx, table, delivery):
                await lend(ctx, table, delivery, work)
            if delivery.envelope.is_timer and is_void(ctx, table.jobs, self._wall()):
                return ctx.effects()
            try:
                match = table.find(ctx)
            except Unanswered as asks:
                match = await search(table, ctx, asks)
            if self._observe is not None:
                self._observe(Routed(delivery, None if match is None else match.handler))
            if match is None:
                unmatched(ctx, table, self._conduct)
            elif match.options.is_plain and not match.around:
                await called(match)
            elif self._limits.allow(ctx, delivery, match.options.limits, match.around, self._wall()):
                await self._run(ctx, match, table, work)
            else:
                refuse_payment(ctx, self._conduct.apology)
            for progress in ctx.shows:
                await progress.settle()
        except Invalid as invalid:
            ctx.discard()
            tell(ctx, invalid.text)
        except Stopped:
            _stopped(ctx)
        except (Retry, Park, Reject) as outcome:
            outcome.reason = redact(outcome.reason)
            raise
        except Exception as error:
            if (known := outcome_without_trace(ctx, error, self._conduct)) is not None:
                raise known from None
            raise
        finally:
            for progress in ctx.shows:
                await progress.end()
        if table.has_albums or ctx.taken:
            await self._close(ctx, match, work)
        answer_if_needed(ctx, self._conduct.apology)  # at each attempt: one may have died before
        return await effects_of(ctx, work) if ctx.long else ctx.effects()

    async def sql_failed(self, work: Work, error: SqlFailed) -> Effects:
        """Let an error hook decide about an update whose own SQL was refused at the commit; raises what is decided."""
        ctx = self._context(delivery := work.delivery, work)
        table = self._table or self._prepare()
        current.set(ctx)
        if may_lend(ctx, table, delivery):
            await lend(ctx, table, delivery, work)
        await restored(ctx, work)
        try:
            match = table.find(ctx)
        except Unanswered as asks:
            match = await search(table, ctx, asks)
        if match is None:
            raise error
        await self._around.sql_failed(ctx, match, work, error, self.about)
        answer_if_needed(ctx, self._conduct.apology)
        return await effects_of(ctx, work) if ctx.long else ctx.effects()

    def failed(self, delivery: Delivery, given_up: bool) -> tuple[Call, ...]:
        """Return calls for a failed update: the answer to a press, and if it is given up the apology."""
        try:
            ctx = self._context(delivery)
        except Reject:
            return ()
        is_callback = isinstance(ctx, CallbackContext)
        can_answer = is_callback and delivery.attempt == 1
        can_tell = isinstance(ctx, MessageContext) or can_answer or (is_callback and ctx.chat_id is not None)
        words = self._around.last_words(delivery, given_up=given_up)
        ctx.resume(words)
        if given_up and self.tools.shown and isinstance(ctx, ChatContext):
            ctx.forget_streams()
        if any(call.key == ctx.key or call.key.startswith("query:") for call in words):
            can_tell = False  # an error hook has answered
        if given_up and self._conduct.apology and can_tell and ctx.user is not None:
            tell(ctx, self._conduct.apology)
        if can_answer or given_up:
            answer_press(ctx)
        if given_up:
            refuse_payment(ctx, self._conduct.apology)
        return ctx.effects().calls

    farewell = failed  # its former name, for one version

    def about(self, delivery: Delivery) -> dict[str, object]:
        """Return the fields of the log line about a failed update; `kind` is that of the update, or a timer's name."""
        found = {"key": delivery.envelope.key, "id": delivery.envelope.id, "attempt": delivery.attempt}
        ctx = self._waiting(delivery.envelope)
        kind = f"timer {ctx.timer}" if isinstance(ctx, TimerContext) else ctx and ctx.kind
        return {**found, "kind": kind}

    def _context(self, delivery: Delivery, work: Work | None = None) -> Context:
        envelope = delivery.envelope
        if envelope.is_timer:
            ctx = context_of_timer(delivery, self.tools)
            ctx.work = work
            return ctx
        try:
            update = decode(envelope.body)
        except Unreadable as error:
            raise Reject(error.reason) from None
        ctx = context_of(update, delivery, self.tools)
        ctx.work = work
        if ctx.kind in EXPIRES_S:
            ctx.is_late = 0 < envelope.at < self._wall() - EXPIRES_S[ctx.kind]
        return ctx

    async def _run(self, ctx: Context, match: Match, table: Table, work: Work) -> None:
        options = match.options
        if options.timeout_s is not None:
            work.extend(options.timeout_s)
        if options.retries != NO_RETRIES or hooks_of(match):
            handle = partial(self._meanwhile.run, ctx, match, table, work)
            await self._around.run(ctx, match, work, handle, self.about)
        else:
            await self._meanwhile.run(ctx, match, table, work)

    async def _is_wanted(self, ctx: Context, work: Work) -> bool:
        """Return False for an update to drop: a message of the backlog, or an inline query if a newer one is pending."""
        backlog = self._conduct.backlog
        if backlog is not None and backlog.concerns(ctx, work.delivery):
            if work.store is not None:
                await backlog.tell(ctx, lambda key, scope: asked(work.state_of(key, scope)), self._wall())
            self.dropped.note("backlog", ctx.key)
            return False
        return ctx.kind != "inline_query" or await self._newest.is_wanted(
            ctx, work.delivery, partial(look, work), self._waiting
        )

    async def _was_taken(self, ctx: Context, table: Table, work: Work) -> bool:
        """Return whether the update was handled with an earlier one, and is only to be acked; gather an album otherwise."""
        if table.has_albums and not await self._gather(ctx, work):
            return True
        if table.may_take and await is_taken(ctx, work):
            answer_if_needed(ctx, self._conduct.apology)
            return True
        return False

    async def _gather(self, ctx: Context, work: Work) -> bool:
        """Gather the album that a message begins; False for a message that was handled with its album before."""
        if not is_album(ctx) or work.store is None:
            return True
        was = await asked(work.state_of(ctx.key, scope_of(ctx)))
        read = partial(self._waiting, state=work.delivery.state)
        return await self.albums.gather(ctx, work.delivery, was, partial(look, work), read)

    async def _close(self, ctx: Context, match: Match | None, work: Work) -> None:
        """Add the ack of the updates that were handled with this one to the commit."""
        joined: Sequence[int] = ctx.taken
        if joined:
            await take_along(ctx, work)
        if is_album(ctx) and work.store is not None:
            if match is not None and match.options.batch == "album":
                await self.albums.close(ctx, partial(peek, work, ALBUM_MAX - 1))
                joined = [each.update_id for each in ctx.album[1:]]
            else:
                self.albums.leave(ctx)
        if self._observe is not None:
            for update_id in joined[: ctx.also]:
                self._observe(Joined(work.delivery, update_id))

    def _waiting(self, envelope: Envelope, state: bytes | None = None) -> Context | None:
        """Return a read-only context of a pending update; None if it is unreadable."""
        try:
            return self._context(Delivery(_NO_LEASE, envelope, 1, state))
        except Reject:
            return None


def _stopped(ctx: Context) -> None:
    """Discard the effects of a stopped handler, and remove what it has shown."""
    ctx.discard()
    for shown in ctx.shows:
        shown.stopped()
