"""Limits of handlers and routers: updates that are too old (`stale_s`), and too many of one sender (`throttle`).

A limit is checked once per update, after its handler was found and before it starts; filters are evaluated at each attempt,
and for other updates, so they must not count. An update that a limit refuses is acknowledged, counted (`Dropped`) and
logged; no other handler is tried. Not refused are:

* updates that a handler has begun: retried, parked, cut off by a stop, or replayed;
* timers;
* by a router's limits: payments (a handler's own limits apply to them, too).

The moment of an update is its date by Telegram if its kind has one (MOMENTS), else its arrival. Both are Telegram's time
(telegram/client/clock.py), so a wrong clock of this machine makes no update old.
"""

from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from engine import Delivery, Queue
from engine.bursts import Bursts
from telegram.botapi.late import PAYMENT_ANSWERS
from telegram.botapi.shortcuts import part
from telegram.dialogue.contexts.answers import tell
from telegram.dialogue.contexts.conduct import check_answer
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import MESSAGE_KINDS, CallbackContext

MOMENTS: Final = {
    **dict.fromkeys(MESSAGE_KINDS, "date"),
    **dict.fromkeys((kind for kind in MESSAGE_KINDS if kind.startswith("edited_")), "edit_date"),
    **dict.fromkeys(("business_connection", "chat_join_request", "chat_member", "my_chat_member"), "date"),
    **dict.fromkeys(("message_reaction", "message_reaction_count"), "date"),
}
"""The date field of each kind (Telegram Bot API, Message, ChatMemberUpdated, MessageReactionUpdated, ...).

A press, a query and a poll answer have none: `message.date` of a press is that of the message with the button.
"""

_PAYMENT_QUERIES: Final = frozenset((*PAYMENT_ANSWERS, "purchased_paid_media"))
_PAYMENT_MESSAGES: Final = ("successful_payment", "refunded_payment")
_BEGUN_MAX: Final = 10_000


class Limit:
    """Given among the filters of a handler or a router, but not a condition."""

    label = ""
    reason = ""
    """The reason under which refused updates are counted."""

    def __call__(self, ctx: Context) -> bool:  # noqa: ARG002 - it is typed as a filter
        """Return True: a limit is checked after the handler was found."""
        return True


class Stale(Limit):
    """Drops updates older than `stale_s` seconds."""

    reason = "stale"

    def __init__(self, stale_s: float) -> None:
        if not 0 < stale_s < float("inf"):
            raise ValueError(f"stale_s is a number of seconds above 0, not {stale_s}")
        self.stale_s = stale_s


class throttle(Limit):  # noqa: N801 - read as a word: @router.message(command("draw"), throttle(5, per_s=60))
    """At most `n` updates of one sender in any `per_s` seconds; the others are dropped.

    The sender is `Context.sender_id`, in all chats together; updates without one are not counted. A sender above the limit
    gets the text `tell`, at most once in `per_s`. One object used in several places counts an update once. In memory, for
    the `remembers` most recently active senders, from the start of each bot on.
    """

    reason = "throttled"

    def __init__(self, n: int, *, per_s: float, tell: str | None = None, remembers: int = 10_000) -> None:
        if n < 1 or not 0 < per_s < float("inf") or remembers < 1:
            raise ValueError("throttle(n, per_s=..., remembers=...): numbers above 0")
        check_answer(tell or "")
        self.label = f"at most {n} in {per_s:g} s"
        self.tell = tell
        self.n = n
        self.per_s = per_s
        self.remembers = remembers


class Senders:
    """What a running bot remembers of the senders for one `throttle`."""

    def __init__(self, limit: throttle) -> None:
        self._n = limit.n
        self._per_s = limit.per_s
        self._remembers = limit.remembers
        self._senders: OrderedDict[int, _Sender] = OrderedDict()  # least recently active first

    def admits(self, sender: int, moment: float, update_id: int) -> bool:
        """Count an update of a sender; return False if it would be more than `n` in `per_s`.

        Idempotent per update. Updates of several lanes may come in any order of their moments; records older than the newest
        by more than 2 * `per_s` are deleted.
        """
        found = self._senders.get(sender)
        if found is None:
            found = self._senders[sender] = _Sender()
            if len(self._senders) > self._remembers:
                self._senders.popitem(last=False)
        self._senders.move_to_end(sender)
        if any(update_id == known for _, known in found.admitted):
            return True
        entries = [*found.admitted]
        entry = (moment, update_id)
        insort(entries, entry)
        at = entries.index(entry)
        for first in range(max(0, at - self._n), min(at, len(entries) - 1 - self._n) + 1):
            if entries[first + self._n][0] - entries[first][0] < self._per_s:
                return False
        oldest = entries[-1][0] - 2 * self._per_s
        found.admitted = [each for each in entries if each[0] > oldest]
        return True

    def should_tell(self, sender: int, moment: float, update_id: int) -> bool:
        """Return whether to notify a sender above the limit in reply to this update, and record it."""
        found = self._senders.get(sender)
        if found is None:
            return False
        notified_at, notified_with = found.notified
        if update_id != notified_with and abs(moment - notified_at) < self._per_s:
            return False
        found.notified = (moment, update_id)
        return True


class _Sender:
    __slots__ = ("admitted", "notified")

    def __init__(self) -> None:
        self.admitted: list[tuple[float, int]] = []  # (moment, update_id), sorted
        self.notified = (float("-inf"), -1)  # (moment, update_id) of the last `tell`


class Dropped:
    """Counts and logs updates that were dropped before a handler, by reason: "stale", "throttled", "backlog", "superseded", "busy".

    "busy" are those of the policy "drop" (telegram/dialogue/routes/policies.py). "superseded" are inline queries for which a newer one was pending (newest.py), which logs one debug line each.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._bursts = Bursts()

    def note(self, reason: str, key: str) -> None:
        """Count one, and log it: one line at once per lane, then one a minute with the number of further ones."""
        self.counts[reason] += 1
        self._bursts.note(f"updates dropped: {reason}", Queue.INBOX, key)

    def close(self) -> None:
        """Log the events that no line has counted yet."""
        self._bursts.close()


class Limits:
    """Applies the limits of handlers and routers."""

    def __init__(self, dropped: Dropped) -> None:
        self._dropped = dropped
        self._senders: dict[throttle, Senders] = {}
        self._begun: OrderedDict[int, None] = (
            OrderedDict()
        )  # ids: a handler whose commit was refused runs again

    def allow(
        self, ctx: Context, delivery: Delivery, own: Iterable[Limit], around: tuple[Limit, ...], now: float
    ) -> bool:
        """Return whether a handler may start with an update; if not, count and log it, and notify the sender."""
        refused = self.refuses(ctx, delivery, own, around, now)
        if isinstance(refused, throttle):
            sender, moment = ctx.sender_id, moment_of(ctx, delivery.envelope.at)
            if (
                refused.tell
                and sender is not None
                and self._of(refused).should_tell(sender, moment, ctx.update_id)
            ):
                _tell(ctx, refused.tell)
        if refused is not None:
            self._dropped.note(refused.reason, ctx.key)
        return refused is None

    def refuses(
        self, ctx: Context, delivery: Delivery, own: Iterable[Limit], around: tuple[Limit, ...], now: float
    ) -> Limit | None:
        """Return the limit that refuses an update; None if its handler may start, and then it is counted. Idempotent.

        `own` are the limits of the handler, `around` those of its routers, outermost first. `now` is Unix time by Telegram's
        clock.
        """
        if delivery.envelope.is_timer or has_begun(delivery) or ctx.update_id in self._begun:
            return None
        limits = dict.fromkeys((*own, *(() if is_payment(ctx) else reversed(around))))  # each once
        moment = moment_of(ctx, delivery.envelope.at)
        stale = next((each for each in limits if isinstance(each, Stale)), None)  # the innermost counts
        if stale is not None and now - moment > stale.stale_s:
            return stale
        sender = ctx.sender_id
        for each in limits:
            if sender is None or not isinstance(each, throttle):
                continue
            if not self._of(each).admits(sender, moment, ctx.update_id):
                return each
        if limits:
            self._begun[ctx.update_id] = None
            if len(self._begun) > _BEGUN_MAX:
                self._begun.popitem(last=False)
        return None

    def _of(self, limit: throttle) -> Senders:
        """Return the counts of this bot: a router may be that of several bots, as in tests."""
        found = self._senders.get(limit)
        if found is None:
            found = self._senders[limit] = Senders(limit)
        return found


def has_begun(delivery: Delivery) -> bool:
    """Return whether a handler had it before, or its arrival is unknown (a replay, or a file of an older version)."""
    return delivery.begun or delivery.attempt > 1 or delivery.envelope.at <= 0


def moment_of(ctx: Context, arrived: float) -> float:
    """Return the moment of an update, Unix time: the end of the second of its date, but not after its arrival."""
    date = date_of(ctx)
    return arrived if date is None else min(arrived, date + 1.0)


def date_of(ctx: Context) -> float | None:
    """Return Telegram's date of an update, Unix time; None for a kind without one."""
    found: Any = part(ctx.event, MOMENTS.get(ctx.kind or "", ""))
    return float(found) if isinstance(found, int) and found > 0 else None


def is_payment(ctx: Context) -> bool:
    """Return whether it is about a payment: a query, or the message of a payment or a refund."""
    return ctx.kind in _PAYMENT_QUERIES or any(
        part(ctx.event, name) is not None for name in _PAYMENT_MESSAGES
    )


def _tell(ctx: Context, text: str) -> None:
    if isinstance(ctx, CallbackContext):
        ctx.answer(ctx.said(text))
    else:
        tell(ctx, text)


def limits_in(filters: Iterable[Any]) -> tuple[Limit, ...]:
    """Return the limits among filters."""
    return tuple(each for each in filters if isinstance(each, Limit))


def with_stale(filters: tuple[Any, ...], stale_s: float | None) -> tuple[Any, ...]:
    """Return the filters, with a limit of that age if `stale_s` is not None."""
    return filters if stale_s is None else (*filters, Stale(stale_s))
