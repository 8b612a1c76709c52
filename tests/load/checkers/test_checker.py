"""Tests of the checker: a hand-written bad history for each anomaly, and good histories without any."""

import pytest

from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import BotReply, Interruption, SentText, check

A, B = 5, 6
KILL = Interruption(104.0, 105.0)
SENT = [SentText(A, 1, "a1"), SentText(B, 2, "b1"), SentText(A, 3, "a2"), SentText(A, 4, "a3")]


def handled(text, update_id, count, begin, end=None, pid=1):
    return Evidence(text, update_id, count, begin, begin + 2 if end is None else end, pid)


def seen(chat_id, evidence, at=100.0, *, answered=True):
    return BotReply(chat_id, evidence, at, answered)


A1, A2, A3 = handled("a1", 1, 1, 10), handled("a2", 3, 2, 20), handled("a3", 4, 3, 30)
B1 = handled("b1", 2, 1, 11)
GOOD = [seen(A, A1), seen(B, B1), seen(A, A2), seen(A, A3)]


def kinds(replies, interruptions=()):
    return dict(check(SENT, replies, interruptions).kinds())


def test_a_good_history_is_not_accused():
    verdict = check(SENT, GOOD)
    assert verdict.anomalies == ()
    assert (verdict.updates, verdict.replies, verdict.repeated) == (4, 4, 0)


def test_the_order_of_different_chats_does_not_matter():
    assert kinds([GOOD[1], GOOD[0], GOOD[2], GOOD[3]]) == kinds([GOOD[0], GOOD[2], GOOD[3], GOOD[1]]) == {}


def test_handlers_side_by_side_in_different_chats_are_counted():
    assert check(SENT, GOOD).chats_at_once == 2
    assert check(SENT, [*GOOD[:1], *GOOD[2:], seen(B, handled("b1", 2, 1, 12))]).chats_at_once == 1


def test_a_text_may_contain_the_separator():
    evidence = handled("a|1|x", 1, 1, 10)
    assert Evidence.parse(str(evidence)) == evidence
    assert check([SentText(A, 1, "a|1|x")], [seen(A, evidence)]).anomalies == ()


def test_what_is_no_evidence_is_refused():
    with pytest.raises(ValueError, match="invalid literal"):
        Evidence.parse("a|b|c|d|e|f")


def test_lost_in_the_middle():
    assert kinds([seen(A, A1), seen(B, B1), seen(A, handled("a3", 4, 2, 30))]) == {"lost": 1}


def test_lost_at_the_end():
    assert kinds(GOOD[:3]) == {"lost": 1}


def test_a_chat_without_any_reply():
    assert kinds([GOOD[0], *GOOD[2:]]) == {"lost": 1}


def test_a_lost_reply_of_a_committed_update_shows_in_the_count():
    assert kinds([GOOD[0], GOOD[1], GOOD[3]]) == {"lost": 1, "skipped": 1}


def test_stray_reply_to_an_update_that_was_not_sent():
    assert kinds([*GOOD, seen(A, handled("a9", 9, 4, 40))]) == {"stray": 1}


def test_stray_reply_in_the_wrong_chat():
    assert kinds([GOOD[0], GOOD[2], GOOD[3], seen(A, handled("b1", 2, 4, 40))]) == {"stray": 1, "lost": 1}


def test_stray_reply_with_the_wrong_text():
    assert kinds([*GOOD[:3], seen(A, handled("a2", 4, 3, 30))]) == {"stray": 1, "lost": 1}


def test_sent_in_the_wrong_order():
    assert kinds([GOOD[0], GOOD[1], GOOD[3], GOOD[2]]) == {"swapped": 1}


def test_handled_in_the_wrong_order_though_sent_in_the_right_one():
    late, early = handled("a2", 3, 3, 30), handled("a3", 4, 2, 20)
    assert kinds([GOOD[0], GOOD[1], seen(A, late), seen(A, early)]) == {"swapped": 1}


def test_a_repeat_after_a_newer_reply_is_swapped():
    again = seen(A, A2, 106.0)
    assert kinds([*GOOD, again], [KILL]) == {"swapped": 1}


def test_committed_twice_with_two_counts():
    replies = [*GOOD[:3], seen(A, handled("a2", 3, 3, 26)), seen(A, handled("a3", 4, 4, 30))]
    assert kinds(replies, [KILL]) == {"committed twice": 1}


def test_committed_twice_with_the_state_rolled_back():
    replies = [*GOOD[:3], seen(A, handled("a2", 3, 2, 26, pid=2), 106.0), GOOD[3]]
    assert kinds(replies, [KILL]) == {"committed twice": 1}


def test_the_count_jumped():
    assert kinds([*GOOD[:3], seen(A, handled("a3", 4, 4, 30))]) == {"skipped": 1}


def test_the_count_does_not_begin_at_one():
    assert kinds([GOOD[0], *GOOD[2:], seen(B, handled("b1", 2, 2, 11))]) == {"skipped": 1}


def test_the_state_forgot_a_commit():
    assert kinds([*GOOD[:3], seen(A, handled("a3", 4, 2, 30))]) == {"forgotten": 1}


def test_two_handlers_of_one_chat_at_once():
    overlapping = [GOOD[0], GOOD[1], GOOD[2], seen(A, handled("a3", 4, 3, 21))]
    assert kinds(overlapping) == {"overlapping": 1}


def test_a_short_handler_within_a_long_one_of_its_chat():
    replies = [seen(A, handled("a1", 1, 1, 10, 40)), *GOOD[1:3], seen(A, handled("a3", 4, 3, 50))]
    assert kinds(replies) == {"overlapping": 1}


def test_one_handler_may_begin_when_the_other_ends():
    assert kinds([*GOOD[:3], seen(A, handled("a3", 4, 3, 22))]) == {}


def test_sent_twice_for_no_reason():
    assert kinds([*GOOD[:3], seen(A, A2, 100.5), GOOD[3]]) == {"sent twice": 1}


def repeated_at(first_at, again_at, *, answered=True):
    return [*GOOD[:2], seen(A, A2, first_at, answered=answered), seen(A, A2, again_at), seen(A, A3, again_at)]


def test_sent_twice_around_a_kill_is_allowed_and_counted():
    verdict = check(SENT, repeated_at(103.9, 105.5), [KILL])
    assert (verdict.anomalies, verdict.repeated, verdict.replies) == ((), 1, 5)


def test_a_call_that_was_on_its_way_at_the_kill_may_arrive_after_it():
    assert kinds(repeated_at(104.1, 105.5), [KILL]) == {}


@pytest.mark.parametrize(
    ("first_at", "again_at"),
    [(103.0, 103.5), (105.1, 105.5), (90.0, 105.5)],
    ids=["both before the kill", "both after the restart", "sent long before the kill"],
)
def test_a_kill_does_not_explain_every_repeat(first_at, again_at):
    assert kinds(repeated_at(first_at, again_at), [KILL]) == {"sent twice": 1}


def test_sent_again_after_a_cut_answer_is_allowed_and_counted():
    verdict = check(SENT, repeated_at(103.0, 103.5, answered=False))
    assert (verdict.anomalies, verdict.repeated) == ((), 1)


def test_a_cut_answer_explains_one_repeat_only():
    replies = [*repeated_at(103.0, 103.5, answered=False)[:4], seen(A, A2, 103.9), GOOD[3]]
    verdict = check(SENT, replies)
    assert (dict(verdict.kinds()), verdict.repeated) == ({"sent twice": 1}, 1)


def test_an_anomaly_names_chat_and_update():
    (anomaly,) = check(SENT, GOOD[:3]).anomalies
    assert (anomaly.kind, anomaly.chat_id) == ("lost", A)
    assert "a3" in anomaly.details
