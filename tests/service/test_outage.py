"""Which failures of calls are an outage of Telegram, and which are those of one call, one chat or one method."""

import pytest
import structlog

from telegram.service.outage import Outage, Tried


class Calls:
    """Calls one after another, a second apart, and what the Outage makes of their outcomes."""

    def __init__(self) -> None:
        self.outage = Outage(lambda: 0.0)
        self.now = 0.0

    def _next(self, lane: str, method: str) -> Tried:
        self.now += 1.0
        return Tried(lane, method, self.now)

    def fails(self, *lanes: str, method: str = "sendMessage", sent: bool = True) -> "Calls":
        for lane in lanes:
            call = self._next(lane, method)
            self.outage.failed(call, self.now + 0.1, "x", sent=sent)
        return self

    def passes(self, *lanes: str, method: str = "sendMessage") -> "Calls":
        for lane in lanes:
            self.outage.over(self._next(lane, method))
        return self

    @property
    def is_known(self) -> bool:
        """Whether another call would have to wait right now."""
        return self.outage.wait_s(self.now + 0.1) > 0


def test_one_call_that_always_gets_a_500_is_no_outage():
    """One photo gets a 500 at each attempt (python-telegram-bot/python-telegram-bot#2795)."""
    calls = Calls()
    assert not calls.fails(*["bad"] * 10).is_known
    assert not calls.passes("a").fails(*["bad"] * 10).is_known


def test_failures_of_several_lanes_are_an_outage():
    calls = Calls().fails("a", "b")
    assert not calls.is_known
    assert calls.fails("c").is_known
    assert not calls.passes("a").is_known


def test_calls_that_cannot_be_sent_are_an_outage_whatever_their_chat():
    calls = Calls().fails("a", "a", sent=False)
    assert not calls.is_known
    assert calls.fails("a", sent=False).is_known


def test_bad_calls_of_several_chats_are_an_outage_at_most_once():
    """After a call got through, those that failed before prove nothing any more."""
    calls = Calls().fails("x", "y", "z")
    assert calls.is_known
    calls.passes("a")
    assert not calls.fails(*["x", "y", "z"] * 10).is_known
    assert calls.fails("a", "b", "c").is_known


def test_a_lane_that_works_again_counts_again():
    calls = Calls().fails("x", "y", "z").passes("a")
    assert calls.passes("x").fails("x", "a", "b").is_known


def test_a_method_that_fails_while_others_work_is_no_outage():
    """sendPhoto failed for hours in all chats, sendMessage worked (php-telegram-bot/core#549, mullwar/telebot#100)."""
    calls = Calls().fails("p1", method="sendPhoto").passes("a")
    assert not calls.fails("p2", "p3", "p4", "p5", method="sendPhoto").is_known
    assert calls.fails("a", "b", "c").is_known
    calls.passes("a").passes("p9", method="sendPhoto")
    assert calls.fails("p7", "p8", "p9", method="sendPhoto").is_known


def test_a_success_from_before_the_failure_proves_nothing_against_its_lane():
    outage = Outage(lambda: 0.0)
    outage.failed(Tried("x", "sendMessage", 1.0), 2.0, "x")
    outage.over(Tried("a", "sendMessage", 1.5))
    for number, lane in enumerate(("x", "b", "c")):
        outage.failed(Tried(lane, "sendMessage", 3.0 + number), 3.5 + number, "x")
    assert outage.wait_s(5.5) > 0


def test_a_bad_call_as_the_probe_leaves_its_place_to_another():
    calls = Calls().fails("x", method="sendPhoto").passes("a")
    calls.fails("a", "b", "c")
    assert calls.is_known
    calls.now += 60
    assert not calls.outage.wait_s(calls.now)  # the probe
    assert calls.is_known
    calls.outage.failed(Tried("x", "sendPhoto", calls.now), calls.now + 0.1, "x")
    assert not calls.is_known


def test_a_probe_that_fails_makes_the_pause_longer():
    calls = Calls().fails("a", "b", "c")
    waits = []
    for _ in range(8):
        waits.append(calls.outage.wait_s(calls.now + 0.1))
        calls.now += 20
        assert not calls.outage.wait_s(calls.now)
        calls.outage.failed(Tried("a", "sendMessage", calls.now), calls.now + 0.1, "x")
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0])  # half of 0.5, 1, 2 ... 10


def test_what_is_kept_in_mind_is_bounded():
    calls = Calls()
    for round_ in range(3):
        calls.fails(*(f"{round_}-{number}" for number in range(1_500)), sent=True).passes("a")
        calls.now += 100
    assert len(calls.outage._suspects) <= 1_000


def test_an_outage_is_logged_once_with_its_reason_and_its_end():
    with structlog.testing.capture_logs() as logs:
        Calls().fails("a", "b", "c", "d", "e").passes("a")
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "sending fails: one call at a time probes Telegram"),
        ("info", "sending works again"),
    ]
