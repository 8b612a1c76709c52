"""Records start and end of each handling in the journal (journal.py): an observer of the bot under test.

Timers are not recorded: they are not updates that a user has sent. An update that is handled without being routed (dropped by
BACKLOG, or a message of an album that was handled before) has its start directly before its end.
"""

from collections.abc import Iterator

from engine import KEEP, Delivery, Effects, Lease, Queue, Reject
from engine.observe import Handled
from telegram.botapi.decoding import decode
from telegram.dialogue.contexts.queries import context_of
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.routes.observe import Joined, Routed
from telegram.dialogue.state.conversation import Conversation
from telegram.load.bot.journal import Journal


class _Handling:
    __slots__ = ("joined", "untaken")

    def __init__(self, *, untaken: bool) -> None:
        self.joined: list[int] = []  # further updates of a burst or album
        self.untaken = untaken


class Recorder:
    """Call it with each event of a bot."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._running: dict[tuple[Lease, int], _Handling] = {}

    def __call__(self, event: object) -> None:
        """Record the event, if it is about the handling of an update."""
        match event:
            case Routed(delivery, handler) if not delivery.envelope.is_timer:
                self._running[_id(delivery)] = _Handling(untaken=handler is None)
                self._note("begin", delivery)
            case Joined(delivery, update_id):
                self._running[_id(delivery)].joined.append(update_id)
            case Handled(delivery, _, outcome) if _is_update(delivery):
                handling = self._running.pop(_id(delivery), None)
                if isinstance(outcome, Effects):
                    self._handled(delivery, outcome, handling)
                elif handling is not None:
                    self._note("fail", delivery)

    def _handled(self, delivery: Delivery, effects: Effects, handling: _Handling | None) -> None:
        if handling is None:
            self._note("begin", delivery)
        elif handling.untaken:
            self._note("untaken", delivery)
        for event in _turns(delivery, effects):
            self._note(event, delivery)
        self._note("end", delivery)
        for update_id in handling.joined if handling is not None else ():
            self._journal.note("begin", update_id, delivery.envelope.key)
            self._journal.note("end", update_id, delivery.envelope.key)

    def _note(self, event: str, delivery: Delivery) -> None:
        self._journal.note(event, delivery.envelope.id, delivery.envelope.key)


def _id(delivery: Delivery) -> tuple[Lease, int]:
    return delivery.lease, delivery.envelope.id


def _is_update(delivery: Delivery) -> bool:
    return delivery.lease.queue is Queue.INBOX and not delivery.envelope.is_timer


def _turns(delivery: Delivery, effects: Effects) -> Iterator[str]:
    """Yield "leave" or "cancel" for each conversation that ends with these effects, and "enter" for each that begins."""
    changes = [(each.was, each.state) for each in effects.states]
    if effects.state is not KEEP:
        changes.append((delivery.state, effects.state))
    for before, after in changes:
        was, now = _flow(before), _flow(after)
        if was == now:
            continue
        if was is not None:
            yield "leave" if _command(delivery) is None else "cancel"
        if now is not None:
            yield "enter"


def _flow(state: object) -> str | None:
    """Return the name of the running flow in the state of a conversation."""
    try:
        record = Conversation(state if isinstance(state, bytes) else None).flow
    except Reject:  # not the state of a conversation
        return None
    return None if record is None else record["stack"][0]["flow"]


def _command(delivery: Delivery) -> str | None:
    return context_of(decode(delivery.envelope.body), delivery, Tools()).command
