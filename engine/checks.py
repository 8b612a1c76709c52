"""Validation of what handlers return, once, before it reaches a store.

Checked values have exactly the engine's own types (no subclass of str, bytes, int, float, tuple or of the model's
types), so a store never runs a method of an author's class. TypeError or ValueError says what is wrong.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, Final, TypeVar

from engine.model import DELAY_MAX_S, KEEP, TIMERS_MAX, Call, Effects, Post, Queue, StateChange, Timer
from engine.statements import checked_sql

BYTES_MAX: Final = 1 << 28
"""Maximum size of a body or state, in bytes, and of all calls of a commit. SQLite refuses a row of 1,000,000,000 bytes or more (SQLite, "Limits")."""

_NAME_MAX: Final = 1 << 20  # characters of a key, a scope or a timer's name
_NONE: Final[tuple[Any, ...]] = ()
_ZERO: Final = 0
N = TypeVar("N", Call, Timer, Post, StateChange)


def check_delay(seconds: float) -> float:
    """Return a delay in seconds as an exact float; ValueError for anything but a number from 0 to DELAY_MAX_S."""
    given: object = seconds
    if isinstance(given, float):
        exact = float.__float__(given)
    elif isinstance(given, int):
        exact = float(min(int.__index__(given), 1 << 62))  # a larger one is out of range anyway
    else:
        exact = nan
    if not 0 <= exact <= DELAY_MAX_S:  # false for NaN, too
        raise ValueError(f"a delay is a number of seconds from 0 to {DELAY_MAX_S:.0f}, not {_kind(given)}")
    return exact


def checked_effects(effects: Effects, queue: Queue = Queue.INBOX) -> Effects:
    """Return the effects with exact types; TypeError or ValueError for a value that a store cannot keep."""
    calls, state, timers, also, states, posts, sql, within = effects
    if (
        timers is _NONE
        and states is _NONE
        and posts is _NONE
        and sql is _NONE
        and also is _ZERO
        and type(effects) is Effects
        and (state is KEEP or state is None or (type(state) is bytes and len(state) <= BYTES_MAX))
    ):
        return (
            effects
            if calls is _NONE or (known := checked_calls(calls)) is calls
            else effects._replace(calls=known)
        )
    exact = Effects(
        checked_calls(calls),
        state if state is KEEP else _optional_bytes("a state", state),
        _checked_timers(timers, queue),
        _count(also),
        _checked_states(states),
        _checked_posts(posts),
        checked_sql(sql),
        within,
    )
    bodies: list[bytes | None] = [timer.body for timer in exact.timers]
    bodies += [post.body for post in exact.posts]
    bodies += [change.state for change in exact.states]
    _check_sum("timers, posts and states", bodies)
    return exact


def checked_calls(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """Return calls with exact types: the same tuple if they have them already. TypeError or ValueError as above."""
    is_exact = type(calls) is tuple
    total = 0
    for call in calls if is_exact else _NONE:
        if type(call) is not Call or type(call[0]) is not str or type(call[1]) is not bytes:
            is_exact = False
            break
        call[0].encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        total += len(call[1])
        if total > BYTES_MAX or len(call[0]) > _NAME_MAX:
            is_exact = False
            break
    if is_exact:
        return calls
    known = tuple(_checked_call(call) for call in _sequence("calls", calls))
    _check_sum("calls", [call.body for call in known])
    return known


def _check_sum(what: str, bodies: Sequence[bytes | None]) -> None:
    """PostgreSQL closes a connection with a statement of 1 GiB (its source, `PQ_LARGE_MESSAGE_LIMIT`)."""
    if (total := sum(len(body or b"") for body in bodies)) > BYTES_MAX:
        raise ValueError(f"{what} of a commit have at most {BYTES_MAX} bytes together, not {total}")


def _checked_call(call: object) -> Call:
    key, body = _shaped(Call, "a call", call)
    return Call(_text("the key of a call", key), _bytes("the body of a call", body))


def _checked_timers(timers: object, queue: Queue) -> tuple[Timer, ...]:
    given = _sequence("timers", timers)
    if given and queue is Queue.OUTBOX:
        raise ValueError("a timer stands in a lane of the inbox: a handler of the outbox sets none")
    if len(given) > TIMERS_MAX:
        raise ValueError(f"a commit sets at most {TIMERS_MAX} timers, not {len(given)}")
    return tuple(_checked_timer(timer) for timer in given)


def _checked_timer(timer: object) -> Timer:
    name, after_s, body, scope = _shaped(Timer, "a timer", timer)
    return Timer(
        _text("the name of a timer", name),
        None if after_s is None else check_delay(after_s),
        _bytes("the body of a timer", body),
        None if scope is None else _text("the scope of a timer", scope),
    )


def _checked_posts(posts: object) -> tuple[Post, ...]:
    known = tuple(_checked_post(post) for post in _sequence("posts", posts))
    if len(known) > TIMERS_MAX:
        raise ValueError(f"a commit has at most {TIMERS_MAX} posts, not {len(known)}")
    return known


def _checked_post(post: object) -> Post:
    key, scope, body, after_s = _shaped(Post, "a post", post)
    return Post(
        _text("the key of a post", key),
        _text("the scope of a post", scope),
        _bytes("the body of a post", body),
        check_delay(after_s),
    )


def _checked_states(states: object) -> tuple[StateChange, ...]:
    changes = tuple(_checked_change(change) for change in _sequence("states", states))
    if len({change[:2] for change in changes}) < len(changes):
        raise ValueError("a state is changed once in a commit")
    return changes


def _checked_change(change: object) -> StateChange:
    key, scope, was, state = _shaped(StateChange, "a change of a state", change)
    return StateChange(
        _text("the key of a state", key),
        _text("the scope of a state", scope),
        _optional_bytes("a state", was),
        _optional_bytes("a state", state),
    )


def _count(also: object) -> int:
    if not isinstance(also, int) or (exact := int.__index__(also)) < 0:
        raise ValueError(f"also is a number of updates, not {_kind(also)}")
    return exact


def _sequence(what: str, values: object) -> tuple[object, ...]:
    # a generator is refused: it would run the author's code here, and might not end
    if isinstance(values, tuple):
        return tuple(tuple.__iter__(values))
    if isinstance(values, list):
        return tuple(list.__iter__(values))
    raise TypeError(f"{what} are a tuple, not {_kind(values)}")


def _shaped(noun: type[N], what: str, value: object) -> N:
    if not isinstance(value, tuple):
        raise TypeError(f"{what} is a {noun.__name__}, not {_kind(value)}")
    return noun(*tuple.__iter__(value))


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {_kind(value)}")
    exact = str.__str__(value)
    exact.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    if len(exact) > _NAME_MAX:
        raise ValueError(f"{what} has at most {_NAME_MAX} characters, not {len(exact)}")
    return exact


def _optional_bytes(what: str, value: object) -> bytes | None:
    return None if value is None else _bytes(what, value)


def _bytes(what: str, value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{what} is bytes, not {_kind(value)}")
    exact = value if type(value) is bytes else b"".join((memoryview(value),))
    if len(exact) > BYTES_MAX:
        raise ValueError(f"{what} has at most {BYTES_MAX} bytes, not {len(exact)}")
    return exact


def _kind(value: object) -> str:
    """Describe a value without calling the __repr__ of an author's class."""
    if type(value) in (int, float, bool):
        return f"{value!r}"[:100]
    return type(value).__name__
