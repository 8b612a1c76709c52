"""Runs a handler, and applies its policy to the updates that wait behind it, or arrive while it works.

The policies are in telegram/dialogue/routes/policies.py; a burst is the policy "merge" for messages that are consecutive in
the lane. One definition holds for all of them: an update counts if it is of the same conversation, and the router finds the
same handler for it in the conversation's present state, without a limit that would drop it. What arrives is known by the
store's hook, what waits by a look into the lane.

* A restart is no attempt: the delivery is put back and claimed again, with a new time-out. If the process dies in between,
  the update is handled with all that waits behind it, too.
* A handler that gets several messages and fails is handled again one message at a time (telegram/dialogue/inbox/batches.py).
* A handler that has returned is not stopped any more; until the commit nothing is taken along that came later.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from engine import Delivery, Envelope, Park, Work
from telegram.botapi.types import Message
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid
from telegram.dialogue.contexts.updates import CallbackContext, MessageContext
from telegram.dialogue.filters.conditions import Unanswered
from telegram.dialogue.filters.limits import Dropped, Limits
from telegram.dialogue.inbox.awaited import search
from telegram.dialogue.inbox.batches import BURST_MAX, Splits, split
from telegram.dialogue.inbox.behind import called, lend_taken, look, peek
from telegram.dialogue.inbox.lending import asked, lend
from telegram.dialogue.inbox.long_buttons import restored
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.policies import drop, policy_of
from telegram.dialogue.routes.route import Match
from telegram.dialogue.routes.stopping import Stoppable, Stopped
from telegram.dialogue.routes.taken import TAKEN, ids_of
from telegram.dialogue.state.scopes import OWN, place_of_scope

log = structlog.get_logger(__name__)

TOGETHER_ATTEMPTS_MAX: Final = 3
"""Up to this attempt number, waiting messages are handed over together by "merge" and "restart". An attempt is counted if the
process dies, which can be a message's fault: then each is tried alone, so that only the bad one is given up."""

DROPPED_MAX: Final = 1_000
"""Maximum number of updates that one run of a handler drops; further ones are handled in their turn."""

BUSY: Final = "busy"
"""The reason under which updates that the policy "drop" has dropped are counted (`Bot.dropped`)."""

_RESTARTED: Final = "restarted: a newer message is handled with it"
_TELL_MAX_S: Final = 5.0
_ASK_AGAIN_S: Final = 1.0

Read = Callable[..., Context | None]


class Meanwhile:
    """Runs the handlers of one bot. `read` returns a read-only context of a pending update, None if it is unreadable."""

    def __init__(self, read: Read, limits: Limits, dropped: Dropped, wall: Callable[[], float]) -> None:
        self.read = read
        self.limits = limits
        self.dropped = dropped
        self.wall = wall
        self.splits = Splits()
        self.stoppable = Stoppable()

    async def run(self, ctx: Context, match: Match, table: Table, work: Work) -> None:
        """Run the handler; Stopped if an update has stopped it, Park if it is to run again with a newer message."""
        options = match.options
        turn = _Turn(self, ctx, match, table, work)
        if options.stop is None and turn.policy in {"queue", "merge"}:
            await turn.handle()
            return
        try:
            await self.stoppable.run(work.envelope.key, turn.unless_stopped(), turn.notices)
        except (Stopped, Invalid) as outcome:
            if turn.restarts and isinstance(outcome, Stopped):
                raise Park(_RESTARTED, delay_s=0.0) from None
            await turn.drop()
            raise
        await turn.drop()


class _Turn:
    """One run of a handler."""

    def __init__(self, own: Meanwhile, ctx: Context, match: Match, table: Table, work: Work) -> None:
        self._own = own
        self._ctx = ctx
        self._match = match
        self._table = table
        self._work = work
        self.policy = policy_of(match.options.on_new)
        self.restarts = False
        self._watches = self.policy in {"stop", "restart", "drop"}
        self._is_cut = False
        self._has_told = False
        self._taken: list[MessageContext] = []
        self._dropped: dict[int, Envelope] = {}
        self._fresh: deque[Envelope] = deque()  # arrived, and not looked at yet
        self._news = asyncio.Event()

    # -- what arrives, and what waits

    def notices(self, envelope: Envelope) -> bool:
        """Return whether an update that has arrived stops the handler by its `stop=`; keep it for the policy if not."""
        if self._stops(envelope):
            self.restarts, self._is_cut = False, True
            return True
        if self._watches and envelope.key in {self._work.lease.key, self._work.envelope.key}:
            self._fresh.append(envelope)
            if self.policy == "drop" and len(self._dropped) < DROPPED_MAX:
                self._dropped[envelope.id] = envelope
            self._news.set()
        return False

    def _stops(self, envelope: Envelope) -> bool:
        """Return whether a pending update stops the handler: it is of the same conversation and passes `stop`."""
        stop = self._match.options.stop
        if stop is None or not self._may_be_of_conversation(envelope):
            return False
        other = self._own.read(envelope)
        if other is None or not self._is_of_conversation(other):
            return False
        try:
            return stop(other)
        except BaseException:  # the author's code: other updates of the batch are checked all the same
            log.exception("a stop filter failed", id=envelope.id)
            return False

    def _may_be_of_conversation(self, envelope: Envelope) -> bool:
        return self._match.options.scope != OWN or envelope.scope == self._work.envelope.scope

    def _is_of_conversation(self, other: Context) -> bool:
        scope = self._match.options.scope
        return scope == OWN or place_of_scope(scope, other) == place_of_scope(scope, self._ctx)

    async def _find(self, envelope: Envelope) -> Context | None:
        """Return the context of an update that this handler would handle now, too; None for any other."""
        delivery, state = self._work.delivery, self._work.state
        if envelope.scope != delivery.envelope.scope:
            state = await asked(self._work.state_of(self._work.lease.key, envelope.scope))
        other = self._own.read(envelope, state)
        if other is None or other.place() != self._ctx.place() or not self._is_of_conversation(other):
            return None
        if other.kind == "callback_query" and not await restored(other, self._work):
            return None
        at_its_turn = Delivery(delivery.lease, envelope, 1, state)
        await lend(other, self._table, at_its_turn, self._work)
        try:
            try:
                found = self._table.find(other)
            except Unanswered as asks:
                found = await search(self._table, other, asks)
        except Exception:  # noqa: BLE001 - raised again when its turn comes
            return None
        if found is None or found.handler is not self._match.handler:
            return None
        if self._own.limits.refuses(other, at_its_turn, found.options.limits, found.around, self._own.wall()):
            return None  # it is dropped at its turn
        return other

    async def _members(self) -> list[MessageContext]:
        """Return the waiting messages to hand over with the first. Any other update of the conversation ends the row.

        Of a burst they are consecutive in the lane, else updates of other conversations can be between them.
        """
        behind = await (
            peek(self._work, BURST_MAX - 1) if self._match.options.batch == "burst" else look(self._work)
        )
        known = await self._known()
        found: list[MessageContext] = []
        for envelope in behind:
            if envelope.id in known or not self._may_be_of_conversation(envelope):
                continue
            other = await self._find(envelope)
            if not isinstance(other, MessageContext):
                break
            found.append(other)
        return found[: BURST_MAX - 1]

    async def _known(self) -> list[int]:
        """Return the ids that an earlier commit has taken along."""
        if self._match.options.batch == "burst" or self._work.store is None:
            return []
        await lend_taken(self._ctx, self._work)
        return ids_of(self._ctx, TAKEN)

    # -- the run

    async def unless_stopped(self) -> None:
        """Run the handler, unless an update that stops it waits already."""
        if self._match.options.stop is not None and any(map(self._stops, await look(self._work))):
            raise Stopped
        await self.handle()

    async def handle(self) -> None:
        """Run the handler with what waits for it; meanwhile watch what arrives."""
        policy, options, head = self.policy, self._match.options, self._work.envelope
        if policy == "stop" and await self._is_superseded(await look(self._work)):
            raise Stopped
        if policy == "drop" and (self._work.delivery.begun or self._work.attempt > 1):  # not of a replay
            self._dropped |= {each.id: each for each in await look(self._work)}
        together_max = 1 if options.batch == "burst" else TOGETHER_ATTEMPTS_MAX
        is_alone = options.takes_along and (self._work.attempt > together_max or self._own.splits.has(head))
        if options.takes_along and not is_alone and isinstance(self._ctx, MessageContext):
            self._hand_over(self._ctx, await self._members())
        self._watches = self._watches and not is_alone
        watching = asyncio.create_task(self._watch()) if self._watches else None
        try:
            await called(self._match, *self._arguments())
        except (Invalid, Park):
            raise  # these are no failure of the messages
        except BaseException as error:
            if not self._taken or self._is_cut:
                raise
            self._own.splits.add(head, frozenset((head.id, *(each.update_id for each in self._taken))))
            if not isinstance(error, Exception):
                raise
            raise split(head, error) from error
        finally:
            if watching is not None:
                watching.cancel()

    def _hand_over(self, ctx: MessageContext, members: list[MessageContext]) -> None:
        self._taken = members
        ctx.taken = tuple(each.update_id for each in members)
        if not members:
            return
        together = [ctx.message]
        for each in members:
            if each.kind is not None and each.kind.startswith("edited_"):  # it replaces the earlier version
                together = [old for old in together if old.message_id != each.message.message_id]
            together.append(each.message)
        ctx.together = tuple(together)

    def _arguments(self) -> tuple[list[Message], ...]:
        ctx, batch = self._ctx, self._match.options.batch
        if batch is None or not isinstance(ctx, MessageContext):
            return ()
        if batch == "album":
            return ([each.message for each in getattr(ctx, "album", (ctx,))],)
        return (ctx.messages,)

    # -- what the policy does

    async def _watch(self) -> None:
        """Look at each update that arrives; end with the one that stops the handler."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                while self._fresh:
                    if await self._apply(self._fresh[0]):
                        return
                    self._fresh.popleft()
            except Park:  # the store is unavailable
                await asyncio.sleep(_ASK_AGAIN_S)
                self._news.set()
            except Exception:
                log.exception("a new update could not be looked at", key=self._ctx.key)
                self._fresh.popleft()
                self._news.set()

    async def _apply(self, envelope: Envelope) -> bool:
        """Apply the policy to an update that has arrived; return whether it has stopped the handler."""
        if not self._may_be_of_conversation(envelope) or (other := await self._find(envelope)) is None:
            return False
        if self.policy == "drop":
            await self._tell(other)
            return False
        if self.policy == "restart":
            known = {each.update_id for each in self._taken}
            if envelope.id in known or envelope.id not in {each.update_id for each in await self._members()}:
                return False
            self.restarts = True
        self._is_cut = True
        self._own.stoppable.stop(self._work.envelope.key, self.notices)
        return True

    async def _is_superseded(self, waiting: Sequence[Envelope]) -> bool:
        for envelope in waiting:
            if self._may_be_of_conversation(envelope) and await self._find(envelope) is not None:
                return True
        return False

    async def _tell(self, other: Context) -> None:
        """Tell the user at once that the update is dropped; never raises."""
        on_new = self._match.options.on_new
        text = on_new.tell if isinstance(on_new, drop) else None
        if isinstance(other, CallbackContext):
            await other.answer_now(text and other.said(text))
            return
        if text is None or self._has_told:
            return
        self._has_told = True
        here = None if other.kind == "guest_message" else other.speaks_in()
        if here is None:
            return
        try:
            async with asyncio.timeout(_TELL_MAX_S):
                await other.client.call("sendMessage", **here, text=other.said(text))
        except Exception as error:  # noqa: BLE001 - optional feedback
            log.debug("a dropped update was not reported to its user", reason=str(error))

    async def drop(self) -> None:
        """Take along the updates that arrived while the handler worked, to be acked without a handler.

        Those that cannot be looked at now, since the store is unavailable, are handled in their turn: the handler is done.
        """
        with suppress(Park):
            for envelope in self._dropped.values():
                if self._may_be_of_conversation(envelope) and await self._find(envelope) is not None:
                    self._ctx.taken += (envelope.id,)
                    self._own.dropped.note(BUSY, self._ctx.key)
