"""What the campaigns judge by beside the checker, on trial with hand-written evidence."""

import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from telegram.botapi.calls import encode_call
from telegram.fake import Call
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.journal import JournalEntry
from telegram.load.bot.service import Finished
from telegram.load.checkers.checker import Anomaly, BotReply, Interruption, SentText, Verdict
from tests.torture import random_faults, trouble
from tests.torture.kill import cut_off
from tests.torture.report import Plan, Result, found, table
from tests.torture.server_faults import too_early, tries
from tests.torture.sigterm import running_at, unfinished
from tests.torture.stage import Stage
from tests.torture.storm import BLOWS, Deck
from tests.torture.window import Windows, stretched, together


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
    return [JournalEntry(event, update_id, at, 1) for at, (event, update_id) in enumerate(lines)]


def test_a_handler_that_ends_is_finished():
    assert unfinished(noted(("begin", 1), ("begin", 2), ("end", 1), ("connect", 0), ("end", 2))) == []


def test_a_beginning_without_an_end():
    assert unfinished(noted(("begin", 1), ("begin", 2), ("end", 1))) == ["1 handlers were cut off"]


def test_a_handler_that_was_cut_off_and_finished_later():
    assert unfinished(noted(("begin", 1), ("begin", 1), ("end", 1))) == ["1 handlers ran again"]


def test_a_handler_is_cut_off_in_each_process_that_did_not_finish_it():
    first, second = noted(("begin", 1), ("begin", 2), ("connect", 0), ("end", 1)), noted(("begin", 2))
    assert cut_off(first) == 1
    assert cut_off([*first, *(note._replace(pid=2) for note in second)]) == 2
    assert cut_off([*first, *(note._replace(pid=2) for note in noted(("begin", 2), ("end", 2)))]) == 1


def test_how_many_handlers_run_at_a_moment():
    notes = noted(("begin", 1), ("begin", 2), ("end", 1), ("end", 2))
    assert [running_at(moment, notes) for moment in range(4)] == [1, 2, 1, 0]


def dead(*reasons):
    lines = [f"     1  inbox  chat:5  id 1  attempts 1  {reason}\n        {{body}}\n" for reason in reasons]
    return Finished(0, "".join(lines), "")


def test_the_dead_letters_of_a_bad_batch():
    assert trouble.not_buried(dead(*trouble.BAD)) == []
    assert trouble.not_buried(dead(*list(trouble.BAD)[1:])) == [
        "no dead letter has the reason 'invalid UTF-8'",
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


def window(chat_id, *counts, first_id=1, at=100.0) -> tuple[list[SentText], list[BotReply]]:
    """Updates of one chat that were all handled, with these counts: the texts and the replies."""
    sent = [SentText(chat_id, first_id + n, f"text {first_id + n}") for n in range(len(counts))]
    seen = [
        BotReply(chat_id, Evidence(text, id_, count, id_ * 10, id_ * 10 + 5, 7), at + n, True)
        for n, ((_, id_, text), count) in enumerate(zip(sent, counts, strict=True))
    ]
    return sent, seen


def judged(*windows, gaps=()):
    """The kinds of anomaly in the last of several windows; those before it are good."""
    judge = Windows()
    *before, (sent, seen) = windows
    for earlier_said, earlier_seen in before:
        assert judge.judge(earlier_said, earlier_seen, ()).anomalies == ()
    return dict(judge.judge(sent, seen, gaps).kinds())


def test_a_window_goes_on_where_the_last_one_ended():
    assert judged(window(5, 1, 2), window(5, 3, 4, first_id=3)) == {}
    assert judged(window(5, 1, 2), window(6, 1, first_id=3), window(5, 3, first_id=4)) == {}


def test_a_window_counts_only_what_is_its_own():
    judge = Windows()
    judge.judge(*window(5, 1, 2), ())
    verdict = judge.judge(*window(5, 3, first_id=3), ())
    assert (verdict.updates, verdict.replies, verdict.repeated) == (1, 1, 0)


def test_what_breaks_between_two_windows():
    assert judged(window(5, 1, 2), window(5, 1, 2, first_id=3)) == {"swapped": 1, "forgotten": 1}
    assert judged(window(5, 1, 2), window(5, 2, first_id=3)) == {"forgotten": 1}
    assert judged(window(5, 1, 2), window(5, 4, first_id=3)) == {"skipped": 1}
    assert judged(window(5, 1, 2), window(6, 3, first_id=3)) == {"skipped": 1}


def test_an_update_of_the_window_before_that_is_handled_again():
    (_, last), (older, _) = window(5, 1, 2)[1], window(5, 3, 4)[1]
    later = last.evidence._replace(counted=3, begin_ns=100, end_ns=105)
    assert judged(window(5, 1, 2), ([], [last._replace(evidence=later)])) == {"committed twice": 1}
    assert judged(window(5, 1, 2), ([], [older])) == {"stray": 1}


def test_a_reply_of_the_window_before_that_is_sent_again():
    sent, seen = window(5, 1, 2)
    again = [seen[-1]._replace(at=110.0)]
    assert judged((sent, seen), ([], again)) == {"sent twice": 1}
    assert judged((sent, seen), ([], again), gaps=[Interruption(102.0, 105.0)]) == {}


def test_windows_together():
    lost = Anomaly("lost", 5, "text 1")
    assert together([Verdict(1, 2, 3, 4, ()), Verdict(5, 6, 7, 1, (lost,))]) == Verdict(6, 8, 10, 4, (lost,))


def test_a_gap_begins_with_the_freezes_just_before_it():
    freezes = [Interruption(10, 26), Interruption(30, 31)]
    gaps = [Interruption(*times) for times in ((5, 6), (15, 16), (29, 30), (34, 35), (36, 37))]
    assert stretched(gaps, freezes) == [(5, 6), (10, 16), (10, 30), (10, 35), (36, 37)]
    assert stretched(gaps, []) == gaps


class Process:
    """A bot of which only the end is known."""

    def __init__(self, code, folder):
        self.folder = folder
        self.is_running = True
        self.code = code

    def send_signal(self, number):
        self.code = self.code if self.code is not None else -number

    async def start(self, _plan=None):
        self.started_at = time.time()

    async def ended(self):
        return self.code

    def log(self):
        return []


def stage_of(bot: Any, fake: Any = None) -> Stage:
    return Stage(fake, bot, Plan(), lambda *_, **__: None)


async def test_nothing_answers_the_bot_from_the_first_kill_to_the_next_start(tmp_path):
    bot = Process(None, tmp_path)
    stage = stage_of(bot)
    await stage.start()
    assert stage.interruptions == []
    before = time.time()
    await stage.kill()
    await stage.kill()  # while starting
    await stage.start()
    ((began, ended),) = stage.interruptions
    assert before <= began <= bot.started_at <= ended
    assert stage.kills == 2


class Seen:
    """A fake server that knows only its calls."""

    def __init__(self, *calls):
        self._calls = calls

    async def calls(self, _since):
        return self._calls


def said(at, chat_id, text):
    return Call(1, at, "sendMessage", {"chat_id": chat_id, "text": text}, 200, delivered=True)


async def test_a_reply_that_was_not_noted_long_after_it_was_sent_may_come_again(tmp_path):
    """The store says so, not the clock."""
    with closing(sqlite3.connect(tmp_path / "bot.db")) as store:
        store.execute("CREATE TABLE outbox (body BLOB)")
        bodies = [encode_call("sendMessage", {"chat_id": 5, "text": text}) for text in ("sent", "not sent")]
        store.executemany("INSERT INTO outbox VALUES (?)", [(each,) for each in bodies])
        store.commit()
    seen = Seen(said(1.0, 5, "noted"), said(2.0, 6, "sent"), said(3.0, 5, "sent"), said(4.0, 5, "noted, too"))
    stage = stage_of(Process(None, tmp_path), seen)
    await stage.kill()
    await stage.start()
    ((began, _),) = stage.interruptions
    assert began == 3.0
    assert list(tmp_path.iterdir()) == [tmp_path / "bot.db"]


async def test_a_bot_that_ended_by_itself_was_not_killed(tmp_path):
    stage = stage_of(Process(0, tmp_path))
    await stage.kill(may_have_ended=True)
    assert stage.kills == 0
    with pytest.raises(RuntimeError, match="exit code 0"):
        await stage.kill()
    with pytest.raises(RuntimeError, match="exit code 1"):
        await stage_of(Process(1, tmp_path)).kill(may_have_ended=True)


def test_every_fault_comes_as_often_as_its_weight():
    deck, same = Deck(random.Random(1)), Deck(random.Random(1))
    size = sum(blow.weight for blow in BLOWS)
    drawn = [deck.draw() for _ in range(2 * size)]
    assert Counter(blow.name for blow in drawn[:size]) == {blow.name: blow.weight for blow in BLOWS}
    assert drawn[:size] != drawn[size:]
    assert [same.draw() for _ in range(2 * size)] == drawn


def test_random_faults_are_of_every_kind_for_every_method_and_end():
    rng = random.Random(1)
    faults = [random_faults.draw(rng) for _ in range(1000)]
    assert len({(fault.kind, fault.code) for fault in faults}) == 11
    assert {fault.method for fault in faults} == {"sendMessage", "getUpdates", None}
    assert all(fault.times for fault in faults)


def test_what_was_found_in_one_line():
    verdict = Verdict(
        3, 4, 1, 2, (Anomaly("lost", 5, ""), Anomaly("stray", 5, ""), Anomaly("skipped", 5, ""))
    )
    assert found(verdict) == ("1 lost, 0 swapped, 0 committed twice, 2 skipped, 0 overlapping, 0 sent twice")
