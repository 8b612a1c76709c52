"""The stored form of a timer: what fires, where it was set, and the conversation to which it belongs.

A timer is stored in the lane of the update that set it, and only that lane can replace or remove it. If two lanes share a
conversation (a payment and the private chat), it still has one timer per name: a change made from another lane is recorded
in the conversation's state, by turn, and a timer that fires but is not the last one set is void.
"""

import json
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine import Reject
from engine.checks import check_delay
from telegram.botapi.nearest import nearest
from telegram.dialogue.state.conversation import DATA, OWN_SCOPE, Memory, Scope
from telegram.dialogue.state.kept import encode_kept
from telegram.dialogue.state.scopes import shared_timers

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context

FLOWS_OWN: Final = "~"
"""Prefix of the stored names that authors cannot use: those of flows, and of timers with a key or for another chat."""


class Fired(NamedTuple):
    """A due timer. `place` has the params for the topic or business connection in which it was set.

    `user_id` is the sender of the update that set it (Context.sender_id): a user or a chat. `key` is the author's key, if it
    has one. `home` is the flows' conversation if it is not the lane and scope in which the timer fires: key, scope, and
    whether `data` is there, too. `turn` is the turn that set it from another lane than the conversation's. `lang` is Telegram's
    code of the language of the user who set it, in a bot with several languages.
    """

    name: str
    chat_id: int | None
    user_id: int | None
    place: dict[str, Any]
    payload: dict[str, Any]
    key: str | None = None
    home: tuple[str, str, bool] | None = None
    turn: str | None = None
    lang: str | None = None

    def elsewhere(self, chat_id: int) -> "Fired":
        """Return the timer for another chat: its replies go there, and it uses the conversation there."""
        person = chat_id if chat_id > 0 else self.user_id
        home = (f"chat:{chat_id}", "" if person is None else str(person), True)
        return self._replace(chat_id=chat_id, place={}, home=home)

    def body(self) -> bytes:
        """Return the stored form; NotKept for a payload that JSON would change."""
        fields = {
            name: value for name, value in self._asdict().items() if value is not None or name in _ALWAYS
        }
        if self.payload:
            encode_kept(self.payload, f"timer {self.name!r}: payload")
        return encode_kept(
            {**fields, "home": list(self.home)} if self.home else fields, f"timer {self.name!r}"
        )


_AWAY_MAX: Final = 32
"""Maximum number of removals from another lane on record in one conversation; the oldest are deleted."""

_ALWAYS: Final = frozenset(("chat_id", "user_id"))


def timer_name(name: str) -> str:
    """Return the name of an author's timer; ValueError if it is empty or begins with "~", TypeError if it is not a str."""
    if not isinstance(name, str):
        raise TypeError(f"a timer has a name: @router.timer('tea'), set_timer('tea', 60), not {name!r}")
    if not name or name.startswith(FLOWS_OWN):
        raise ValueError(f"a timer's name is not empty and does not begin with '~': {name!r}")
    return name


def stored_name(name: str, key: str | int | None, chat_id: int | None) -> str:
    """Return the stored name of an author's timer, unique per name, key and other chat."""
    if key is None and chat_id is None:
        return name
    return f"{FLOWS_OWN}{json.dumps([name, None if key is None else str(key), chat_id])}"


def fired_by(ctx: "Context", name: str, payload: Mapping[str, Any] | None) -> Fired:
    """Return a timer whose replies go where the update's go, with the same conversations."""
    spoken = ctx.speaks_in() or {}
    place = {name: value for name, value in spoken.items() if name != "chat_id"}
    where = ctx.memory.where(OWN_SCOPE)
    home = None if where is None else (*where, ctx.memory.where(DATA) == where)
    code = ctx.language_code()
    return Fired(name, spoken.get("chat_id"), ctx.sender_id, place, dict(payload or {}), home=home, lang=code)


def named(
    ctx: "Context",
    name: str,
    payload: Mapping[str, Any] | None,
    key: str | int | None,
    chat_id: int | None,
    scope: Scope,
    *,
    is_set: bool,
) -> tuple[str, Fired, str | None]:
    """Return the stored name of an author's timer that is set or removed, what fires, and its scope (None: its own).

    A timer shared by a chat still uses the conversation of the user who set it.
    """
    shared = shared_timers(scope, ctx, chat_id)
    is_here = chat_id == ctx.chat_id or ctx.memory.place(DATA)[0] == f"chat:{chat_id}"
    there = None if is_here else chat_id
    stored = stored_name(name, key, there)
    fired = fired_by(ctx, name, payload)._replace(key=None if key is None else str(key))
    if shared is not None:
        fired = fired._replace(home=(*ctx.memory.place(OWN_SCOPE), True))
    elif there is not None:
        fired = fired.elsewhere(there)
    elif (timers := ctx.memory.timers()) is not None:
        fired = fired._replace(turn=_note(ctx, timers, stored, is_set=is_set))
    return stored, fired, shared


def _note(ctx: "Context", timers: dict[str, str], stored: str, *, is_set: bool) -> str | None:
    """Record in a conversation of another lane that this turn sets or removes a timer; return Fired.turn."""
    timers.pop(stored, None)
    if ctx.memory.where(DATA) is None:
        return None
    timers[stored] = ctx.turn if is_set else ""
    for name in [name for name, by in timers.items() if not by][:-_AWAY_MAX]:
        del timers[name]
    return ctx.turn


def is_void(fired: Fired, memory: Memory) -> bool:
    """Return whether a timer that fires was replaced or removed from another lane; delete its record."""
    if fired.turn is None and fired.home is not None:
        return False  # it was set for another chat, so only its own lane can replace it
    timers = memory.timers()
    if timers is None:
        return False
    stored = stored_name(fired.name, fired.key, None)
    by = timers.get(stored)
    if by == (fired.turn or ""):
        timers.pop(stored, None)
    return by is not None if fired.turn is None else by != fired.turn


def delay_of(
    name: str, after: float | timedelta | None, at: datetime | None, wall: Callable[[], float]
) -> float:
    """Return the delay of an author's timer in seconds: `after`, or the time until `at` (Unix time now: `wall()`).

    ValueError, with its name, for one that the engine would refuse, and for an `at` without a time zone; TypeError if
    both are given.
    """
    if at is not None:
        if after is not None:
            raise TypeError(f"timer {name!r}: give the seconds, or at=, not both")
        if not isinstance(at, datetime):
            raise TypeError(f"timer {name!r}: at= is a datetime, not {at!r:.60}")
        if at.utcoffset() is None:
            raise ValueError(
                f"timer {name!r}: at= has no time zone: datetime(..., tzinfo=ZoneInfo('Europe/Moscow'))"
            )
        after = max(0.0, at.timestamp() - wall())
    try:
        return check_delay(after.total_seconds() if isinstance(after, timedelta) else after)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"timer {name!r}: {error}") from None


def check_known(name: str, known: Collection[str] | None) -> None:
    """Raise TypeError for a timer without a handler; `known` None: any name is allowed."""
    if known is not None and name not in known:
        raise unknown_timer(name, known)


def unknown_timer(name: str, known: Collection[str]) -> TypeError:
    """Return the error for a timer without a handler, with the most similar name that has one."""
    advice = nearest(name, known) or f": add @router.timer({name!r})"
    return TypeError(f"no handler takes the timer {name!r}{advice}")


def read_timer(body: bytes) -> Fired:
    """Parse what `Context.set_timer` wrote; Reject for anything else."""
    try:
        fired = Fired(**json.loads(body))
        if fired.home is None:
            return fired
        key, scope, with_data = fired.home
        return fired._replace(home=(str(key), str(scope), bool(with_data)))
    except (ValueError, TypeError):
        raise Reject("the timer is not readable") from None
