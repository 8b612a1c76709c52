"""The traceback of a dead letter: where the last failure was."""

import asyncio
from typing import Any

import pytest

from engine import Queue, Reject
from engine.outcome import described, split_trace, with_trace
from tests.kit.house import House, in_house, update
from tests.kit.virtual import run_virtual


def letter_of(handler, **config):
    house = House(handler, **config)
    in_house(house, update(1))
    (letter,) = run_virtual(house.store.dead_letters())
    return letter


async def broken(house, delivery):
    raise OSError("broken on purpose")


async def stuck(house, delivery):
    await asyncio.Event().wait()


async def refused(house, delivery):
    raise Reject("no good")


async def cancels(house, delivery):
    raise asyncio.CancelledError


def test_the_last_failure_has_its_place():
    letter = letter_of(broken, attempts_max=2)
    assert letter.reason == "OSError: broken on purpose"
    assert letter.trace.rstrip().endswith("OSError: broken on purpose")
    assert 'raise OSError("broken on purpose")' in letter.trace
    first = letter.trace.splitlines()[1]
    assert "house.py" in first, "frames of ours that call the handler are left out"


def test_a_handler_that_ran_too_long_has_the_place_where_it_was():
    letter = letter_of(stuck, attempts_max=1, handler_timeout_s=5.0)
    assert letter.reason == "the handler ran longer than 5 s"
    assert "await asyncio.Event().wait()" in letter.trace


def test_a_cancellation_of_its_own_has_a_place():
    assert "raise asyncio.CancelledError" in letter_of(cancels, attempts_max=1).trace


def test_what_a_handler_refuses_has_its_reason_only():
    letter = letter_of(refused)
    assert (letter.reason, letter.trace) == ("no good", "")


class NastyError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "error", [NastyError(), OSError("\0 and \ud800"), OSError("x" * 100_000), OSError("\n\x1e")]
)
def test_any_error_gives_a_text_that_a_store_can_keep(error):
    try:
        raise error
    except Exception as raised:  # noqa: BLE001
        told = with_trace("reason", raised)
    assert told.encode() and "\0" not in told
    assert len(told) < 10_000
    assert split_trace(told)[0] == "reason"


def test_a_deep_recursion_is_cut():
    def down(depth: int) -> None:
        if not depth:
            raise OSError("at the bottom")
        down(depth - 1)

    try:
        down(300)
    except OSError as raised:
        told = with_trace(described(raised), raised)
    assert len(told) < 10_000
    assert "at the bottom" in told


def test_an_observer_is_told_the_reason_only():
    from engine import observed_store
    from engine.observe import Buried
    from engine.stores.memory import MemoryStore

    seen: list[Any] = []
    letter = letter_of(broken, attempts_max=1, store=observed_store(MemoryStore(), seen.append))
    assert [event.reason for event in seen if isinstance(event, Buried)] == [letter.reason]
    assert letter.queue is Queue.INBOX and letter.trace
