"""The inbox's handler: decode, route, run, effects."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from engine import Call, Delivery, Effects, Envelope, Lease, Park, Queue, Reject, Retry
from telegram.decoding import decode
from telegram.dialogue.batches import gather
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import CallbackContext, ChatContext, MessageContext, TimerContext, context_of
from telegram.dialogue.filters import Invalid
from telegram.dialogue.router import Router, Taken
from telegram.dialogue.scopes import place_of_scope
from telegram.dialogue.stopping import Stoppable, Stopped
from telegram.dialogue.table import Table
from telegram.dialogue.timers import read_timer
from telegram.dialogue.tools import Tools
from telegram.errors import Unreadable, redact
from telegram.peers import Peers
from telegram.shortcuts import current

log = structlog.get_logger(__name__)

APOLOGY: Final = "Sorry, that did not work."

EXPIRES_S: Final = {
    "inline_query": 30.0,
    "callback_query": 150.0,
    "shipping_query": 150.0,
    "pre_checkout_query": 150.0,
}
"""After so long Telegram takes no answer any more, so there is nothing to handle (Telegram Bot API, Update)."""

_LOOK_BEHIND: Final = 100
"""How many waiting updates are searched for one that stops the handler."""


_NO_LEASE: Final = Lease(Queue.INBOX, "", 0)


class Behind(Protocol):
    """What the handler asks a store beside its delivery."""

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        """Return what waits behind the delivery, of the same scope, in a row."""
        ...

    async def state(self, key: str, scope: str) -> bytes | None:
        """Return the state of another scope."""
        ...


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a bot behaves when a handler fails."""

    apology: str = APOLOGY
    """What the user is told, once, when an update was given up; nothing if it is empty."""


class InboxHandler:
    """Runs the handler that `router` finds for an update. What the handler raises is the engine's business."""

    def __init__(
        self,
        router: Router,
        *,
        tools: Tools | None = None,
        peers: Peers | None = None,
        behind: Behind | None = None,
        conduct: Conduct | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.router = router
        self.tools = tools or Tools()
        self._peers = Peers() if peers is None else peers
        self._behind = behind
        self._conduct = conduct or Conduct()
        self._wall = wall
        self._table: Table | None = None
        self._stoppable = Stoppable()
        self.arrived = self._stoppable.arrived

    async def __call__(self, delivery: Delivery) -> Effects:
        """Rejects an update that cannot be read; acknowledges one that nobody wants, or that is too old to answer."""
        ctx = self._context(delivery)
        if self._is_expired(ctx, delivery.envelope.at):
            log.debug("expired", kind=ctx.kind, id=ctx.update_id)
            return Effects()
        if self._table is None:
            self._table = Table(self.router)
        if self._table.scopes:
            await self._lend(ctx, self._table.scopes)
        current.set(ctx)  # seen by this handler alone: the engine gives each one a context of its own
        try:
            taken = self._table.find(ctx)
            if taken is not None:
                await self._run(ctx, taken, delivery)
        except Invalid as invalid:
            ctx.discard()
            _tell(ctx, invalid.text)
        except Stopped:
            ctx.discard()
        except (Retry, Park, Reject):
            raise
        except Exception as error:
            if (told := redact(str(error))) != str(error):
                raise Retry(f"{type(error).__name__}: {told}") from None
            raise
        if isinstance(ctx, CallbackContext) and not ctx.has_called("answerCallbackQuery"):
            ctx.answer()
        return ctx.effects()

    def farewell(self, delivery: Delivery, *, given_up: bool) -> tuple[Call, ...]:
        """What goes out although the handler failed: the button's answer, and in the end an apology."""
        try:
            ctx = self._context(delivery)
        except Reject:
            return ()
        apology = self._conduct.apology if given_up else ""
        if isinstance(ctx, CallbackContext) and (given_up or delivery.attempt == 1):
            ctx.answer()
        if apology and isinstance(ctx, MessageContext | CallbackContext) and ctx.user_id is not None:
            _tell(ctx, apology)
        return ctx.effects().calls

    def _context(self, delivery: Delivery) -> Context:
        envelope = delivery.envelope
        if envelope.is_timer:
            return TimerContext(read_timer(envelope.body), delivery, self.tools)
        try:
            update = decode(envelope.body)
        except Unreadable as error:
            raise Reject(error.reason) from None
        if update.lost:
            log.warning("parts of an update are not readable", id=envelope.id, lost=update.lost)
        ctx = context_of(update, delivery, self.tools)
        self._note_who_is_there(ctx)
        return ctx

    async def _run(self, ctx: Context, taken: Taken, delivery: Delivery) -> None:
        options = taken.options
        more: tuple[Any, ...] = ()
        if options.batch is not None and isinstance(ctx, MessageContext):
            messages = await gather(ctx, taken, lambda limit: self._peek(delivery, limit), self._context_of)
            ctx.also = len(messages) - 1
            more = (messages,)
        if options.stop is None:
            await taken.run(*more)
            return

        def stops(envelope: Envelope) -> bool:
            return self._stops(envelope, taken, delivery)

        if any(stops(envelope) for envelope in await self._peek(delivery, _LOOK_BEHIND)):
            raise Stopped
        await self._stoppable.run(delivery.envelope.key, taken.run(*more), stops)

    def _stops(self, envelope: Envelope, taken: Taken, delivery: Delivery) -> bool:
        """Whether an update that waits ends the handler: of the same conversation, and it passes the filter."""
        if envelope.is_timer or (envelope.scope != delivery.envelope.scope and not taken.options.anyone):
            return False
        ctx = self._context_of(envelope)
        return ctx is not None and taken.options.stop is not None and taken.options.stop(ctx)

    def _context_of(self, envelope: Envelope) -> Context | None:
        """A context to look at: of an update whose turn has not come."""
        try:
            update = decode(envelope.body)
        except Unreadable:
            return None
        return context_of(update, Delivery(_NO_LEASE, envelope, 1, None), self.tools)

    async def _peek(self, delivery: Delivery, limit: int) -> Sequence[Envelope]:
        return [] if self._behind is None else await self._behind.peek(delivery, limit)

    async def _lend(self, ctx: Context, scopes: frozenset[str]) -> None:
        for scope in scopes:
            place = place_of_scope(scope, ctx)
            if place is not None and self._behind is not None:
                was = await self._behind.state(place.key, place.scope)
                ctx.lend(scope, place.key, place.scope, was)

    def _is_expired(self, ctx: Context, arrived: float) -> bool:
        limit = EXPIRES_S.get(ctx.kind or "")
        return limit is not None and arrived > 0 and self._wall() - arrived > limit

    def _note_who_is_there(self, ctx: Context) -> None:
        """A chat from which something comes can be reached; not if what comes is that the bot was shut out."""
        if not ctx.key.startswith("chat:") or (chat_id := ctx.chat_id) is None:
            return  # the ids of other accounts' chats may equal those of the bot's own
        member = getattr(ctx.event, "new_chat_member", None) if ctx.kind == "my_chat_member" else None
        if getattr(member, "status", None) not in {"left", "kicked"}:
            self._peers.seen(chat_id)


def _tell(ctx: Context, text: str) -> None:
    """Say something to the user in whatever way the update allows."""
    if isinstance(ctx, ChatContext) and ctx.chat_id is not None and ctx.kind != "guest_message":
        ctx.reply(text)
    elif isinstance(ctx, CallbackContext):
        ctx.answer(text)
