"""What buttons carry, packed and unpacked."""

import json
from datetime import date
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel

from telegram.dialogue.buttons.callback_data import DATA_MAX, CallbackData


class Vote(CallbackData, prefix="vote"):
    poll: int
    up: bool = True


class Colour(Enum):
    RED = "red"


class Point(BaseModel):
    x: int = 0


class All(CallbackData, prefix="a"):
    text: str | None = None
    number: int | None = None
    ratio: float | None = None
    yes: bool | None = None


class Texts(CallbackData, prefix="t"):
    one: str
    two: str


class Rich(CallbackData, prefix="r"):
    day: date
    colour: Colour
    kind: Literal["x", "y"]
    numbers: list[int]
    point: Point


class Empty(CallbackData, prefix="empty"):
    pass


def test_it_is_short_and_readable():
    assert Vote(poll=7).pack() == "vote:7:1"
    assert Vote(poll=7, up=False).pack() == "vote:7:0"
    assert Empty().pack() == "empty"
    assert Vote.unpack("vote:7:0") == Vote(poll=7, up=False)
    assert Empty.unpack("empty") == Empty()


def test_rich_values_come_back():
    rich = Rich(day=date(2026, 1, 5), colour=Colour.RED, kind="y", numbers=[1, 2], point=Point(x=3))
    assert Rich.unpack(rich.pack()) == rich


def packed(each: CallbackData) -> str:
    try:
        return each.pack()
    except ValueError:
        assume(False)
        raise


@given(st.builds(Vote))
def test_votes_come_back(vote):
    assert Vote.unpack(packed(vote)) == vote


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_texts_come_back(one, two):
    texts = Texts(one=one, two=two)
    assert Texts.unpack(packed(texts)) == texts


@given(
    st.builds(
        All,
        text=st.none() | st.text(max_size=20),
        number=st.none() | st.integers(-(2**63), 2**63),
        ratio=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        yes=st.none() | st.booleans(),
    )
)
def test_optional_values_come_back(each):
    assert All.unpack(packed(each)) == each


@pytest.mark.parametrize(
    "hostile", ["", ":", "%", "%3A", "%25", "%253A", "[1", "{", "[1]", '"', "null", "a:b"]
)
def test_texts_that_look_like_our_marks_come_back(hostile):
    texts = Texts(one=hostile, two=hostile)
    assert Texts.unpack(texts.pack()) == texts


@given(st.text() | st.text('vote:0123456789%[]{}"-.').map("vote:{}".format))
def test_no_data_of_a_stranger_raises(data):
    found = Vote.unpack(data)
    assert found is None or Vote.unpack(found.pack()) == found
    for model in (All, Texts, Rich, Empty):
        model.unpack(f"{model.prefix}:{data}")
        model.unpack(data)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "vote",
        "vote:7",
        "vote:7:1:1",
        "vote:x:1",
        "vote:7:2",
        "Vote:7:1",
        "votes:7:1",
        "vote::1",
        "vote:[:1",
    ],
)
def test_what_does_not_fit_is_none(data):
    assert Vote.unpack(data) is None


def test_deep_brackets_are_only_data_that_does_not_fit():
    assert Rich.unpack("r:2026-01-05:red:x:" + "[" * 100_000 + ":{}") is None


def test_more_than_a_button_has_is_an_error():
    """Data over Telegram's 64 bytes are kept under a key (test_long.py)."""
    room = DATA_MAX - len("t::%")
    assert len(Texts(one="x" * room, two="").pack()) == DATA_MAX
    for too_long in ("x" * (room + 1), "é" * (room // 2 + 1)):
        with pytest.raises(ValueError, match="at most 1024 bytes"):
            Texts(one=too_long, two="").pack()


@pytest.mark.parametrize("prefix", ["", "a:b", "x" * 33])
def test_a_prefix_that_would_not_work_is_refused(prefix):
    with pytest.raises(ValueError, match="short, not empty"):
        type("Bad", (CallbackData,), {"__module__": __name__}, prefix=prefix)


def test_values_are_json_text_where_they_are_no_words():
    found: Any = Rich.unpack(f"r:2026-01-05:red:x:{json.dumps([1])}:" + '{"x"%3A1}')
    assert (found.numbers, found.point.x) == ([1], 1)
