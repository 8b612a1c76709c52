"""The judge of the webhook campaign finds what it is for, in evidence written by hand."""

import pytest

from telegram.fake import Delivery
from tests.torture.webhook import answers, judge


def test_each_chat_has_said_all_its_numbers_in_order():
    assert judge({1: 3, 2: 0}, {1: "3 []", 2: "0 []"}) == []


@pytest.mark.parametrize("said", ["2 []", "4 []", "3 [[1, 3]]", None])
def test_what_is_lost_repeated_or_swapped_is_found(said):
    [failure] = judge({1: 3}, {} if said is None else {1: said})
    assert failure.startswith("chat 1 wrote 3")


def test_how_long_answers_took():
    taken = [Delivery(n, 0.0, n, 200, n / 1000) for n in range(1, 101)]
    found = answers([*taken, Delivery(101, 0.0, 5, 503, 0.5), Delivery(102, 0.0, 5, 0, 0.0)], 10)
    assert (found.taken, found.per_s) == (100, 10)
    assert (found.p50_ms, found.p99_ms, found.max_ms) == (51, 100, 100)
    assert found.failed == {503: 1, 0: 1}
    assert answers([], 1).p99_ms == 0
