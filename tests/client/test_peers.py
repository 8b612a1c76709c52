"""What the comparison with other frameworks makes of hand-written histories."""

import time

import pytest

from telegram.fake import Call
from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import BotReply, SentText
from tests.peers.bots.work import evidence, work_s
from tests.peers.contenders import CONTENDERS
from tests.peers.figures import (
    COLUMNS,
    Disorder,
    Figures,
    Losses,
    Speed,
    as_json,
    disorder,
    losses,
    pins,
    replies,
    speed,
    spread,
    table,
)
from tests.peers.job import BURST, Size

A, B = 5, 6
SENT = [SentText(A, 1, "a1"), SentText(B, 2, "b1"), SentText(A, 3, "a2")]


def seen(chat_id, update_id, count, begin, *, at=100.0):
    text = next(line.text for line in SENT if line.update_id == update_id)
    return BotReply(chat_id, Evidence(text, update_id, count, begin, begin + 5, 1), at, answered=True)


A1, B1, A2 = seen(A, 1, 1, 10), seen(B, 2, 1, 11), seen(A, 3, 2, 20)


def sent(text, *, method="sendMessage", delivered=True):
    return Call(1, 100.0, method, {"chat_id": str(A), "text": text}, 200, delivered)


def test_replies_are_the_delivered_evidence():
    calls = [sent("", method="getMe"), sent("a1|1|1|10|15|1", delivered=False), sent("a1|1|1|10|15|1")]
    assert replies(calls, {}) == [A1]


def test_an_update_id_that_a_bot_cannot_tell_is_found_by_the_text():
    assert replies([sent("a2|0|2|20|25|1")], {"a1": 1, "a2": 3}) == [A2]


def test_speed_is_from_the_beginning_to_the_last_reply():
    last = A1._replace(at=104.0)
    assert speed(SENT[:2], [last, B1], 100.0, 0.5) == Speed(2, 0, 0.5, 250.0)


def test_speed_of_a_bot_that_forgets_and_repeats():
    assert speed(SENT, [B1._replace(at=101.0), B1._replace(at=102.0)], 100.0, 0.5) == Speed(3, 2, 0.5, 500.0)


def test_no_disorder():
    assert disorder(SENT, [B1, A1, A2]) == Disorder(3, 0, 0, 0)


def test_two_handlers_of_a_chat_at_once():
    assert disorder(SENT, [A1, B1, seen(A, 3, 2, 14)]) == Disorder(3, 0, 1, 0)


def test_answers_in_the_wrong_order_are_counted_once():
    assert disorder(SENT, [A2, B1, A1]) == Disorder(3, 0, 0, 1)
    assert disorder(SENT, [seen(A, 3, 1, 10), B1, seen(A, 1, 2, 20)]) == Disorder(3, 0, 0, 1)


def test_answers_in_order_of_handlers_in_the_wrong_one():
    assert disorder(SENT, [seen(A, 1, 2, 20), B1, seen(A, 3, 1, 10)]) == Disorder(3, 0, 0, 0)


def test_lost_without_a_reason():
    assert disorder(SENT, [A1, A2]) == Disorder(3, 1, 0, 0)


def test_lost_and_answered_twice():
    assert losses(SENT, [A1, B1, A2], 0.5) == Losses(3, 0, 0, 0.5)
    assert losses(SENT, [A1, A1, seen(A, 1, 2, 30), A2, A2], 0.5) == Losses(3, 1, 2, 0.5)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([3], "3"),
        ([0, 0, 0], "0"),
        ([0, 2, 1], "1 (0-2)"),
        ([1234.5, 987.6, 2345.6], "1,234 (988-2,346)"),
        ([0.333, 0.129], "0.23 (0.13-0.33)"),
        ([0.333, 0.334], "0.33"),
    ],
)
def test_a_spread_is_shown_in_significant_digits(values, shown):
    assert spread(values) == shown


def figures(overlapping=0):
    return Figures(
        Speed(10, 1, 2000.0, 0.25),
        Disorder(11, 2, overlapping, 6),
        Losses(12, 7, 8, 0.1),
        Losses(13, 9, 10, 4.5),
    )


def test_every_column_shows_its_figure():
    assert [figure(figures(5)) for figure in COLUMNS.values()] == [2000, 0.25, 5, 6, 3, 7, 8, 9, 10, 4.5]
    head, row = table({"somebody": [figures(5)]}).splitlines()
    assert row.split() == ["somebody", "2,000", "0.25", "5", "6", "3", "7", "8", "9", "10", "4.50"]
    assert len(head) == len(row)


def test_a_row_has_the_median_of_the_rounds():
    text = table({"short": [figures()], "much longer": [figures(1), figures(3), figures(2)]})
    assert "2 (1-3)" in text.splitlines()[2]


def test_everything_is_in_the_json():
    (one,) = as_json({"somebody": [figures(5)]})["somebody"]
    assert one["disorder"] == {"sent": 11, "lost": 2, "overlapping": 5, "swapped": 6}
    assert list(one) == ["speed", "disorder", "killed", "terminated"]


def test_the_pins_of_a_lock_file():
    assert pins("a-b==1.2 \\\n    --hash=sha256:0\n    # via x\nc==3\n") == {"a-b": "1.2", "c": "3"}


def test_a_handler_takes_the_time_in_the_text_and_replies_with_evidence():
    assert work_s("17 12.5") == 0.0125
    before = time.monotonic_ns()
    told = Evidence.parse(evidence("17 12.5", 3, 2, before))
    assert told[:4] == ("17 12.5", 3, 2, before)
    assert before <= told.end_ns <= time.monotonic_ns()


def test_a_job_can_be_smaller_but_not_empty():
    assert Size().times(0.5) == Size(1500, 150, 300, 15)
    assert min(Size().times(0)) == BURST


def test_contenders_have_names_of_their_own():
    assert len({each.name for each in CONTENDERS}) == len(CONTENDERS)
    assert [each.name for each in CONTENDERS if each.is_chatlane] == ["Chatlane"]
