"""What the campaigns judge by beside the checker, on trial with hand-written evidence."""

import pytest

from telegram.fake import Call
from telegram.load.checker import Anomaly, Verdict
from telegram.load.service import Finished, Noted
from tests.torture import trouble
from tests.torture.report import Result, table
from tests.torture.sigterm import running_at, unfinished
from tests.torture.spells import too_early, tries


def sent(chat_id, at, status):
    return Call(1, at, "sendMessage", {"chat_id": chat_id}, status, status == 200)


@pytest.mark.parametrize(
    ("within_s", "expected"), [(0, 3), (0.5, 4), (1.4, 4), (1.5, 5), (15.5, 8), (45.5, 10)]
)
def test_how_many_tries_doubling_pauses_leave_room_for(within_s, expected):
    assert tries(within_s, 0.5) == expected


def test_a_call_before_its_retry_after_is_too_early():
    assert too_early([sent(5, 10.0, 429), sent(5, 11.9, 200)], 2) == 1
    assert too_early([sent(5, 10.0, 429), sent(5, 12.0, 429), sent(5, 13.0, 200)], 2) == 1


def test_another_chat_need_not_wait():
    assert too_early([sent(5, 10.0, 429), sent(6, 10.1, 200), sent(5, 12.0, 200)], 2) == 0


def noted(*lines):
    return [Noted(event, update_id, at, 1) for at, (event, update_id) in enumerate(lines)]


def test_a_handler_that_ends_is_finished():
    assert unfinished(noted(("begin", 1), ("begin", 2), ("end", 1), ("connect", 0), ("end", 2))) == []


def test_a_beginning_without_an_end():
    assert unfinished(noted(("begin", 1), ("begin", 2), ("end", 1))) == ["1 handlers were cut off"]


def test_a_handler_that_was_cut_off_and_finished_later():
    assert unfinished(noted(("begin", 1), ("begin", 1), ("end", 1))) == ["1 handlers ran again"]


def test_how_many_handlers_run_at_a_moment():
    notes = noted(("begin", 1), ("begin", 2), ("end", 1), ("end", 2))
    assert [running_at(moment, notes) for moment in range(4)] == [1, 2, 1, 0]


def dead(*reasons):
    lines = [f"     1  inbox  chat:5  id 1  attempts 1  {reason}\n        {{body}}\n" for reason in reasons]
    return Finished(0, "".join(lines), "")


def test_the_dead_letters_of_a_bad_batch():
    assert trouble.not_buried(dead(*trouble.BAD)) == []
    assert trouble.not_buried(dead(*list(trouble.BAD)[1:])) == [
        "no dead letter says 'invalid UTF-8'",
        "3 dead letters instead of 4",
    ]
    assert trouble.not_buried(dead(*trouble.BAD, "another")) == ["5 dead letters instead of 4"]


def result(anomalies=(), failures=()):
    return Result("kill", Verdict(3, 4, 1, 2, anomalies), 1.0, {}, failures)


def test_a_result_is_good_only_if_nothing_is_wrong():
    lost = Anomaly("lost", 5, "text 1")
    assert result().is_good
    assert not result(anomalies=(lost,)).is_good
    assert not result(failures=["exit code 1"]).is_good
    assert result(anomalies=(lost,)).lines()[-1] == "    lost in chat 5: text 1"
    assert "BROKEN" in table([result(failures=["exit code 1"])])


def test_every_kind_of_anomaly_has_a_column():
    kinds = [
        "lost",
        "stray",
        "swapped",
        "committed twice",
        "skipped",
        "forgotten",
        "overlapping",
        "sent twice",
    ]
    for kind in kinds:
        row = table([result(anomalies=(Anomaly(kind, 5, ""),))]).splitlines()[1].split()
        assert row.count("1") == 3, kind  # with the repeats and the seconds
