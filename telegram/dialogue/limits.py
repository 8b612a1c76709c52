"""What an author does not want handled: updates that are too old (`stale_s`), and too many of one sender (`throttle`).

Limits are asked once an update, when its handler is found and before it begins; filters are asked at each attempt, and
by others, so they must not count. What a limit refuses is acknowledged, counted (`Dropped`) and logged; no other
handler is asked. Not refused are:

* what a handler has begun with: a retry, what was parked or cut off by a stop, and what was replayed;
* timers;
* by a router's limits: payments, which are money (a handler's own limits count for them, too).

The moment of an update is Telegram's date of it where its kind has one (MOMENTS), else when it arrived. Both are
Telegram's time (telegram/client/clock.py), so a wrong clock of this machine makes no update old.
"""

from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from engine import Delivery, Queue
from engine.bursts import Bursts
from telegram.botapi.shortcuts import part
from telegram.dialogue.answers import tell
from telegram.dialogue.conduct import check_answer
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import MESSAGE_KINDS, CallbackContext, TimerContext

MOMENTS: Final = {
    **dict.fromkeys(MESSAGE_KINDS, "date"),
    **dict.fromkeys((kind for kind in MESSAGE_KINDS if kind.startswith("edited_")), "edit_date"),
    **dict.fromkeys(("business_connection", "chat_join_request", "chat_member", "my_chat_member"), "date"),
    **dict.fromkeys(("message_reaction", "message_reaction_count"), "date"),
}
"""The field with the date of what happened (Telegram Bot API, Message, ChatMemberUpdated, MessageReactionUpdated, ...).

A press, a query, a poll's answer has none: `message.date` of a press is that of the message with the button.
"""

_PAYMENT_QUERIES: Final = frozenset(("pre_checkout_query", "shipping_query", "purchased_paid_media"))
_PAYMENT_MESSAGES: Final = ("successful_payment", "refunded_payment")
_BEGUN_MAX: Final = 10_000


class Limit:
    """Stands among the filters of a handler or a router, and is no condition."""

    label = ""
    reason = ""
    """Under which what it refuses is counted."""

    def __call__(self, ctx: Context) -> bool:  # noqa: ARG002 - it is typed as a filter
        """Return True: it is asked when the handler is found."""
        return True


class Stale(Limit):
    """Updates older than `stale_s` seconds are not handled."""

    reason = "stale"

    def __init__(self, stale_s: float) -> None:
        if not 0 < stale_s < float("inf"):
            raise ValueError(f"stale_s is a number of seconds above 0, not {stale_s}")
        self.stale_s = stale_s


class throttle(Limit):  # noqa: N801 - read as a word: @router.message(command("draw"), throttle(5, per_s=60))
    """At most `n` updates of one sender in any `per_s` seconds; the others are dropped.

    The sender is the true one (`Context.sender_id`), in all chats together; updates without one are not counted. A
    sender who is over it is sent `tell`, at most once in `per_s`. One object in several places counts an update once. Kept
    in memory, of the `remembers` senders that were active last.
    """

    reason = "throttled"

    def __init__(self, n: int, *, per_s: float, tell: str | None = None, remembers: int = 10_000) -> None:
        if n < 1 or not 0 < per_s < float("inf") or remembers < 1:
            raise ValueError("throttle(n, per_s=..., remembers=...): numbers above 0")
        check_answer(tell or "")
        self.label = f"at most {n} in {per_s:g} s"
        self.tell = tell
        self._n = n
        self._per_s = per_s
        self._remembers = remembers
        self._senders: OrderedDict[int, _Sender] = OrderedDict()  # least recently active first

    def admits(self, sender: int, moment: float, update_id: int) -> bool:
        """Count an update of a sender; False if that would be more than `n` in `per_s`.

        Asked again about an update it gives the same answer, and counts it once. Updates of several lanes may come in any
        order of their moments; what is older than another by more than `per_s` is compared with what is still known.
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

    def is_told(self, sender: int, moment: float, update_id: int) -> bool:
        """Whether a sender who is over the limit is told so with this update."""
        found = self._senders.get(sender)
        if found is None or self.tell is None:
            return False
        told_at, told_with = found.told
        if update_id != told_with and abs(moment - told_at) < self._per_s:
            return False
        found.told = (moment, update_id)
        return True


class _Sender:
    __slots__ = ("admitted", "told")

    def __init__(self) -> None:
        self.admitted: list[tuple[float, int]] = []  # moments and updates, in order
        self.told = (float("-inf"), -1)


class Dropped:
    """Counts and logs the updates that no handler was given, by reason: "stale", "throttled", "backlog", "superseded".

    The last are inline queries behind which a newer one waited (telegram/dialogue/newest.py): one debug line each.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._bursts = Bursts()

    def note(self, reason: str, key: str) -> None:
        """Count one, and log it: one line at once, then one a minute with how many more."""
        self.counts[reason] += 1
        self._bursts.note(f"updates dropped: {reason}", Queue.INBOX, key)

    def close(self) -> None:
        """Log what no line has counted yet."""
        self._bursts.close()


class Limits:
    """Asks the limits of handlers and routers."""

    def __init__(self, dropped: Dropped) -> None:
        self._dropped = dropped
        self._begun: OrderedDict[int, None] = (
            OrderedDict()
        )  # ids; a commit that was refused runs its handler again

    def allow(
        self, ctx: Context, delivery: Delivery, own: Iterable[Limit], around: tuple[Limit, ...], now: float
    ) -> bool:
        """Whether a handler may begin with an update; if not, it is counted, logged, and told to the sender."""
        refused = self.refuses(ctx, delivery, own, around, now)
        if isinstance(refused, throttle):
            sender, moment = ctx.sender_id, moment_of(ctx, delivery.envelope.at)
            if refused.tell and sender is not None and refused.is_told(sender, moment, ctx.update_id):
                _tell(ctx, refused.tell)
        if refused is not None:
            self._dropped.note(refused.reason, ctx.key)
        return refused is None

    def refuses(
        self, ctx: Context, delivery: Delivery, own: Iterable[Limit], around: tuple[Limit, ...], now: float
    ) -> Limit | None:
        """Return the limit that refuses an update; None if its handler may begin, and then it is counted.

        `own` are the limits of the handler, `around` those of its routers, outermost first. `now` is Unix time by Telegram's
        clock. Asked again, it says the same.
        """
        if isinstance(ctx, TimerContext) or has_begun(delivery) or ctx.update_id in self._begun:
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
            if not each.admits(sender, moment, ctx.update_id):
                return each
        if limits:
            self._begun[ctx.update_id] = None
            if len(self._begun) > _BEGUN_MAX:
                self._begun.popitem(last=False)
        return None


def has_begun(delivery: Delivery) -> bool:
    """Whether a handler had it before, or nobody knows when it arrived: a replay, or a file of an older version."""
    return delivery.begun or delivery.attempt > 1 or delivery.envelope.at <= 0


def moment_of(ctx: Context, arrived: float) -> float:
    """Return when it happened: dates have whole seconds, so it is the end of that second, but not after its arrival."""
    date = date_of(ctx)
    return arrived if date is None else min(arrived, date + 1.0)


def date_of(ctx: Context) -> float | None:
    """Return Telegram's date of what happened, in Unix time; None for a kind that has none."""
    found: Any = part(ctx.event, MOMENTS.get(ctx.kind or "", ""))
    return float(found) if isinstance(found, int) and found > 0 else None


def is_payment(ctx: Context) -> bool:
    """Whether it is about money: a query of a payment, or the message that it was paid or given back."""
    return ctx.kind in _PAYMENT_QUERIES or any(
        part(ctx.event, name) is not None for name in _PAYMENT_MESSAGES
    )


def _tell(ctx: Context, text: str) -> None:
    if isinstance(ctx, CallbackContext):
        ctx.answer(text)
    else:
        tell(ctx, text)


def limits_in(filters: Iterable[Any]) -> tuple[Limit, ...]:
    """Return the limits among filters."""
    return tuple(each for each in filters if isinstance(each, Limit))


def with_stale(filters: tuple[Any, ...], stale_s: float | None) -> tuple[Any, ...]:
    """Return the filters, and the limit of that age if there is one."""
    return filters if stale_s is None else (*filters, Stale(stale_s))
