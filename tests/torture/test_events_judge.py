"""The judge of the events campaign finds what it is for, in histories written by hand."""

import pytest

from tests.torture.events import judge
from tests.torture.events_bot import CHATS

FIRST, SECOND = CHATS[0], CHATS[1]
STEP = len(CHATS)
GOOD = [(chat, f"1 {place}") for place, chat in enumerate(CHATS)] + [(FIRST, f"2 {STEP}")]


def test_a_good_history_and_a_reply_that_was_sent_again():
    assert judge(GOOD, STEP + 1) == ([], 0)
    assert judge([*GOOD[:3], GOOD[2], *GOOD[3:]], STEP + 1) == ([], 1)


@pytest.mark.parametrize(
    ("history", "what"),
    [
        (GOOD[:-1], f"lost [{STEP}]"),
        ([*GOOD, (FIRST, f"3 {STEP}")], f"handled twice [{STEP}]"),
        ([*GOOD[1:-1], (FIRST, f"1 {STEP}"), (FIRST, "2 0")], "out of order"),
    ],
)
def test_what_is_lost_or_handled_twice_or_out_of_order_is_found(history, what):
    failures, _ = judge(history, STEP + 1)
    assert len(failures) == 1
    assert what in failures[0]
