"""What handlers hand to the engine is checked where it enters, and leaves the check as exact types."""

import math
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import pytest

from engine import Call, Delivery, Effects, Park, Post, Queue, Reject, Retry, StateChange, Timer, checks
from engine.checks import check_delay, checked_calls, checked_effects
from engine.outcome import outcome_of, storable
from tests.kit.house import NOTHING, House, dead, in_house, update


@pytest.mark.parametrize(
    ("slip", "error"),
    [
        (Effects((Call("\ud800", b""),)), ValueError),
        (Effects((Call("chat:1", "text"),)), TypeError),  # type: ignore[arg-type]
        (Effects(timers=(Timer("\ud800", 1.0),)), ValueError),
        (Effects(timers=(Timer("t", 1.0, scope="\ud800"),)), ValueError),
        (Effects(timers=(Timer("t", -1.0),)), ValueError),
        (Effects(timers=(Timer("t", float("nan")),)), ValueError),
        (Effects(timers=(Timer("t", Decimal(1)),)), ValueError),  # type: ignore[arg-type]
        (Effects(timers=(Timer("t", 1.0, "text"),)), TypeError),  # type: ignore[arg-type]
        (Effects(timers=(Timer("t", 1.0),) * 33), ValueError),
        (Effects(posts=(Post("a", "", b""),) * 33), ValueError),
        (Effects(posts=(Post("a", "", b"", -1.0),)), ValueError),
        (Effects(posts=(Post("\ud800", "", b""),)), ValueError),
        (Effects(posts=(Post("a", "", "text"),)), TypeError),  # type: ignore[arg-type]
        (Effects(also=-1), ValueError),
        (Effects(also=1.5), ValueError),  # type: ignore[arg-type]
        (Effects(states=(StateChange("\ud800", "", None, None),)), ValueError),
        (Effects(states=(StateChange("a", "\ud800", None, None),)), ValueError),
        (Effects(states=(StateChange("a", "", "text", None),)), TypeError),  # type: ignore[arg-type]
        (Effects(states=(StateChange("a", "", None, "text"),)), TypeError),  # type: ignore[arg-type]
        (Effects(states=(StateChange("a", "", None, b"1"), StateChange("a", "", None, b"2"))), ValueError),
    ],
)
def test_effects_that_no_store_can_keep_are_a_slip_of_their_handler(slip, error):
    with pytest.raises(error):
        checked_effects(slip)


def test_who_sends_a_call_sets_no_timers():
    effects = Effects(timers=(Timer("t", 1.0),))
    checked_effects(effects, Queue.INBOX)
    with pytest.raises(ValueError, match="inbox"):
        checked_effects(effects, Queue.OUTBOX)


def test_effects_that_a_store_can_keep_are_none():
    timers = (Timer("t", 0.0), Timer("u", None), Timer("v", 366 * 86_400.0, b"x", "7"))
    states = (StateChange("a", "", None, b"1"), StateChange("a", "b", b"1", None))
    effects = Effects((Call("chat:1", b""),), b"", timers * 10, 3, states)
    assert checked_effects(effects) == effects


class Text(str):
    """A str that lies about itself."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        raise RuntimeError("not to be asked")

    def __str__(self) -> str:
        raise RuntimeError("not to be asked")


class Name(StrEnum):
    CHAT = "chat:1"


class Number(IntEnum):
    ONE = 1


class Bytes(bytes):
    def __bytes__(self) -> bytes:
        raise RuntimeError("not to be asked")

    def __len__(self) -> int:
        return 0


class Float(float):
    __slots__ = ()

    def __float__(self) -> float:
        raise RuntimeError("not to be asked")

    def __le__(self, other: object) -> bool:
        return True


class MyEffects(Effects):
    __slots__ = ()


class MyCall(Call):
    __slots__ = ()

    @property
    def body(self) -> bytes:
        raise RuntimeError("not to be asked")


LOOKALIKES: list[tuple[Any, Effects]] = [
    (Effects((("chat:1", b"a"),)), Effects((Call("chat:1", b"a"),))),  # type: ignore[arg-type]
    (Effects([Call("chat:1", b"a")]), Effects((Call("chat:1", b"a"),))),  # type: ignore[arg-type]
    (Effects((MyCall("chat:1", b"a"),)), Effects((Call("chat:1", b"a"),))),
    (Effects((Call(Text("chat:1"), Bytes(b"a")),)), Effects((Call("chat:1", b"a"),))),
    (Effects((Call(Name.CHAT, b"a"),)), Effects((Call("chat:1", b"a"),))),
    (Effects(state=Bytes(b"a")), Effects(state=b"a")),
    (Effects(also=True), Effects(also=1)),
    (Effects(also=Number.ONE), Effects(also=1)),
    (Effects(timers=[("t", Float(1.0))]), Effects(timers=(Timer("t", 1.0),))),  # type: ignore[arg-type]
    (
        Effects(timers=(Timer(Text("t"), True, Bytes(b"a"), Text("s")),)),
        Effects(timers=(Timer("t", 1.0, b"a", "s"),)),
    ),
    (
        Effects(states=[(Text("a"), Text("b"), Bytes(b"a"), None)]),  # type: ignore[arg-type]
        Effects(states=(StateChange("a", "b", b"a", None),)),
    ),
    (MyEffects((Call("a", b""),), b"s"), Effects((Call("a", b""),), b"s")),
]


def leaves(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)


@pytest.mark.parametrize(("given", "exact"), LOOKALIKES)
def test_what_only_looks_like_the_engines_types_is_made_exact(given, exact):
    checked = checked_effects(given)
    assert checked == exact
    kinds = {type(leaf) for leaf in leaves(checked)}
    assert kinds <= {
        Effects,
        tuple,
        Call,
        Timer,
        StateChange,
        str,
        bytes,
        int,
        float,
        type(None),
        type(NOTHING.state),
    }


class Pair(NamedTuple):
    first: object
    second: object


@pytest.mark.parametrize(
    "given",
    [
        Effects(Call("a", b"") for _ in "x"),  # type: ignore[arg-type]
        Effects("text"),  # type: ignore[arg-type]
        Effects(None),  # type: ignore[arg-type]
        Effects(0),  # type: ignore[arg-type]
        Effects({"a": b""}),  # type: ignore[arg-type]
        Effects((b"a",)),  # type: ignore[arg-type]
        Effects((["a", b""],)),  # type: ignore[arg-type]
        Effects((("a", b"", b""),)),  # type: ignore[arg-type]
        Effects((Pair(b"a", b""),)),  # type: ignore[arg-type]
        Effects((Call("a", bytearray(b"")),)),  # type: ignore[arg-type]
        Effects((Call("a", memoryview(b"")),)),  # type: ignore[arg-type]
        Effects(state=bytearray(b"")),  # type: ignore[arg-type]
        Effects(state=False),  # type: ignore[arg-type]
        Effects(timers=None),  # type: ignore[arg-type]
        Effects(timers=(Timer("t", timedelta(seconds=1)),)),  # type: ignore[arg-type]
        Effects(timers=(Timer("t", "1"),)),  # type: ignore[arg-type]
        Effects(timers=(Timer("t", 10**400),)),
        Effects(timers=(Timer(b"t", 1.0),)),  # type: ignore[arg-type]
        Effects(also=None),  # type: ignore[arg-type]
        Effects(also=1.0),  # type: ignore[arg-type]
        Effects(states=None),  # type: ignore[arg-type]
        Effects(states=(("a", "b", None),)),  # type: ignore[arg-type]
    ],
)
def test_what_no_store_can_keep_is_refused_and_fails_only_its_delivery(given):
    with pytest.raises((TypeError, ValueError)):
        checked_effects(given)

    async def handler(_: House, delivery: Delivery) -> Effects:
        return given if delivery.envelope.id == 1 else NOTHING

    house = House(handler, attempts_max=1)
    in_house(house, update(1), update(2), update(3, "chat:2"))
    assert [letter[0] for letter in dead(house)] == [1]


def test_a_body_that_is_larger_than_a_store_takes_is_refused(monkeypatch):
    monkeypatch.setattr(checks, "BYTES_MAX", 3)
    for effects in (
        Effects(state=b"1234"),
        Effects((Call("a", b"1234"),)),
        Effects(timers=(Timer("t", 0.0, b"1234"),)),
    ):
        with pytest.raises(ValueError, match="at most 3 bytes, not 4"):
            checked_effects(effects)
    checked_effects(Effects((Call("a", b"123"),), b"123"))


def test_effects_that_are_larger_together_than_a_store_takes_are_refused(monkeypatch):
    """PostgreSQL ends the connection at a message of 1 GiB (psycopg2, 1457): the bot would never get further."""
    monkeypatch.setattr(checks, "BYTES_MAX", 3)
    for effects in (
        Effects((Call("a", b"12"), Call("b", b"34"))),
        Effects(timers=(Timer("t", 0.0, b"12"),), posts=(Post("a", "", b"34"),)),
        Effects(posts=(Post("a", "", b"12"),), states=(StateChange("a", "", None, b"34"),)),
    ):
        with pytest.raises(ValueError, match="at most 3 bytes together, not 4"):
            checked_effects(effects)
    checked_effects(Effects((Call("a", b"1"), Call("b", b"23")), b"123", (Timer("t", 0.0, b"123"),)))


def test_exact_effects_are_not_copied():
    effects = Effects((Call("chat:1", b"a"), Call("chat:2", b"b")), b"s")
    assert checked_effects(effects) is effects
    assert checked_effects(NOTHING) is NOTHING
    assert checked_calls(effects.calls) is effects.calls


@pytest.mark.parametrize(
    "seconds", [math.nan, math.inf, -1, -0.1, 1e300, 10**400, "1", None, timedelta(1), Decimal(1), 1j]
)
def test_what_is_no_delay(seconds):
    with pytest.raises(ValueError, match="a delay is a number of seconds from 0"):
        check_delay(seconds)


@pytest.mark.parametrize("seconds", [1, True, Number.ONE, 1.0, Float(1.0)])
def test_a_delay_is_an_exact_float(seconds):
    assert (check_delay(seconds), type(check_delay(seconds))) == (1.0, float)


# -- what is raised ----------------------------------------------------------------------------------------------------


class BadText:
    def __str__(self) -> str:
        raise SystemExit("no text")


class WordlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Forgetful(Retry):
    def __init__(self) -> None:
        Exception.__init__(self)

    @property
    def reason(self) -> str:  # type: ignore[override]
        raise KeyError("reason")


class TooManyRequests(Park):
    def __init__(self, wait: Any) -> None:
        Exception.__init__(self, "too many")
        self.delay_s = wait


def with_fields(wish: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(wish, name, value)
    return wish


@pytest.mark.parametrize(
    ("raised", "exact"),
    [
        (with_fields(Reject("x"), reason=None), Reject("")),
        (with_fields(Reject("x"), reason=BadText()), Reject("BadText")),
        (with_fields(Reject("x"), reason=Text("why")), Reject("why")),
        (with_fields(Retry("x"), reason=7), Retry("7")),
        (with_fields(Retry("x"), after_s=3), Retry("x", after_s=3.0)),
        (
            with_fields(Retry("x"), after_s=timedelta(seconds=3)),
            Retry("Retry: ValueError: a delay is a number"),
        ),
        (TooManyRequests(math.nan), Retry("TooManyRequests: ValueError: a delay is a number")),
        (TooManyRequests(None), Retry("TooManyRequests: ValueError: a delay is a number")),
        (TooManyRequests(3), Park("", delay_s=3.0)),
        (Forgetful(), Retry("Forgetful: KeyError: 'reason'")),
        (WordlessError(), Retry("WordlessError")),
        (SystemExit(3), Retry("SystemExit: 3")),
    ],
)
def test_what_is_raised_becomes_one_of_three_exact_outcomes(raised, exact):
    outcome = outcome_of(raised)
    assert type(outcome) is type(exact)
    assert outcome.reason.startswith(exact.reason)
    assert type(outcome.reason) is str
    for field in ("after_s", "delay_s"):
        value = getattr(outcome, field, None)
        assert value == getattr(exact, field, None)
        assert type(value) in (float, type(None))


def test_a_reason_is_bounded_and_valid_text():
    assert storable("\ud800" + "x" * 5000) == "\\ud800" + "x" * 999


def test_a_reason_has_no_nul():
    """PostgreSQL refuses one in a text: the failure itself could not be recorded, and would be repeated for ever."""
    assert outcome_of(OSError("read a\0b")).reason == "OSError: read a\\0b"
    assert storable("a\0") == "a\\0"
