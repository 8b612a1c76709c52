"""Tests of the checker of the journal: a hand-written bad history for each anomaly, and good ones without any."""

import pytest

from telegram.load.bot.journal import JournalEntry
from telegram.load.checkers.handlings import KINDS, SHOWN_MAX, Handlings, Killed, Paused
from telegram.load.checkers.recording import Handling

A, B, C = 5, 6, 7
S = 1_000_000_000


class Story:
    """Feeds a checker with events; updates count from 1, times are seconds."""

    def __init__(self, **settings):
        self.latencies: list[tuple[int, int]] = []
        self.judge = Handlings(on_end=lambda latency, at: self.latencies.append((latency, at)), **settings)
        self.judge.started(1)
        self.pid = 1
        self._said = 0

    def say(self, *chats, at=0.0):
        for chat in chats:
            self._said += 1
            self.judge.sent(chat, self._said, int(at * S))
        return self

    def begin(self, update, at, pid=1):
        return self._note("begin", update, at, pid)

    def end(self, update, at, pid=1):
        return self._note("end", update, at, pid)

    def fail(self, update, at, pid=1):
        return self._note("fail", update, at, pid)

    def run(self, update, at, pid=1):
        return self.begin(update, at, pid).end(update, at + 0.02, pid)

    def kill(self, at, pid=1):
        self.judge.feed([Killed(pid, int(at * S))])
        self.pid = pid + 1
        self.judge.started(self.pid)
        return self

    def pause(self, seconds):
        self.judge.feed([Paused(int(seconds * S))])
        return self

    def kinds(self, given_up=(), *, complete=True):
        self.judge.finish(given_up, complete=complete)
        assert set(self.judge.counts) <= set(KINDS)
        return dict(self.judge.counts)

    def _note(self, event, update, at, pid):
        self.judge.feed([JournalEntry(event, update, int(at * S), pid, "chat:5")])
        return self


def test_a_good_history_is_not_accused():
    story = Story().say(A, B, A).begin(1, 1).begin(2, 1.1).end(1, 1.2).run(3, 1.3).end(2, 2)
    assert story.kinds() == {}
    assert (story.judge.handled, story.judge.active_most, story.judge.active) == (3, 2, 0)


def test_latency_is_from_sending_to_the_first_end():
    story = Story().say(A, at=1).run(1, 3).kill(3.1).run(1, 5, pid=2)
    assert story.latencies == [(int(2.02 * S), int(3.02 * S))]
    assert story.judge.ledger.update(0).ended_ns == int(3.02 * S)


def test_a_failed_update_is_tried_again():
    story = Story().say(A, A).begin(1, 1).fail(1, 2).run(1, 3).run(2, 4)
    assert story.kinds() == {}
    assert (story.judge.failed, story.judge.handled) == (1, 2)


def test_lost():
    assert Story().say(A, B, A).run(1, 1).run(3, 1).kinds() == {"lost": 1}


def test_a_handling_that_was_cut_and_never_run_again_is_lost():
    assert Story().say(A).begin(1, 1).kill(2).kinds() == {"lost": 1}


def test_what_was_given_up_is_not_lost_and_the_chat_goes_on():
    assert Story().say(A, A).begin(1, 1).fail(1, 2).run(2, 3).kinds(given_up={1}) == {}


def test_what_still_waits_at_an_interruption_is_not_lost():
    assert Story().say(A, A).run(1, 1).kinds(complete=False) == {}


def test_what_was_passed_over_is_lost_whenever_the_test_ends():
    assert Story().say(A, A).run(2, 1).kinds(complete=False) == {"lost": 1}


def test_stray():
    assert Story().say(A).run(1, 1).run(9, 2).kinds() == {"stray": 1}
    assert Story().say(A).run(1, 1).begin(0, 2).kinds() == {"stray": 1}


def test_journal_lines_of_updates_that_are_not_known_yet_wait():
    story = Story().run(1, 1).begin(2, 1.1).say(A, at=0.9).say(B, at=1).end(2, 1.3)
    assert story.kinds() == {}
    assert story.judge.handled == 2


def test_swapped():
    assert Story().say(A, A).run(2, 1).run(1, 2).kinds() == {"swapped": 1}


def test_a_retry_that_the_chat_did_not_wait_for_is_swapped():
    assert Story().say(A, A).begin(1, 1).fail(1, 2).run(2, 3).run(1, 4).kinds() == {"swapped": 1}


def test_overlapping():
    assert Story().say(A, A).begin(1, 1).begin(2, 1.5).end(1, 2).end(2, 3).kinds() == {"overlapping": 1}


def test_the_same_update_twice_at_once_is_overlapping():
    story = Story().say(A).begin(1, 1).begin(1, 1.5).end(1, 2)
    assert story.kinds() == {"overlapping": 1}


def test_a_kill_ends_what_ran():
    story = Story().say(A, A).begin(1, 1).kill(2).run(1, 3, pid=2).run(2, 4, pid=2)
    assert story.kinds() == {}
    assert (story.judge.cut, story.judge.repeated) == (1, 0)


def test_a_kill_ends_nothing_of_another_process():
    story = Story().say(A, A)
    story.judge.started(2)
    story.begin(1, 1, pid=2)
    story.judge.feed([Killed(1, 2 * S)])
    assert story.begin(2, 3, pid=2).end(1, 4, pid=2).end(2, 4, pid=2).kinds() == {"overlapping": 1}


def test_handled_again():
    assert Story().say(A).run(1, 1).run(1, 2).kinds() == {"handled again": 1}


def test_handled_again_because_of_a_kill_before_the_commit_is_allowed_and_counted():
    story = Story().say(A).run(1, 1).kill(1.1).run(1, 3, pid=2)
    assert story.kinds() == {}
    assert story.judge.repeated == 1


def test_a_kill_long_after_the_end_explains_nothing():
    assert Story().say(A).run(1, 1).kill(10).run(1, 12, pid=2).kinds() == {"handled again": 1}


def test_a_kill_explains_nothing_if_the_next_one_had_begun():
    story = Story().say(A, A).run(1, 1).begin(2, 1.05).kill(1.1).run(1, 3, pid=2).run(2, 4, pid=2)
    assert story.kinds() == {"handled again": 1}


def test_what_fails_after_its_handler_had_returned_is_handled_again_until_it_is_given_up():
    assert Story().say(A).run(1, 1).run(1, 2).kinds(given_up={1}) == {}


def flooded(others, *, chats=(B,), story=None, **settings):
    """A waits from 0 s to 10 s, and meanwhile `others` handlings of B go on."""
    story = story or Story(**settings)
    first = story.judge.ledger.updates
    story.say(*chats, A, *[B] * others)
    for n in range(others):
        story.run(first + (1 if not n else len(chats) + 1 + n), 10 * n / others, pid=story.pid)
    return story


def test_starved():
    assert flooded(41, starved_after_s=9).run(2, 10).judge.counts == {"starved": 1}


def test_a_chat_that_waits_shorter_is_not_starved():
    assert not flooded(41, starved_after_s=11).run(2, 10).judge.counts


def test_a_chat_that_waits_for_the_fair_turns_of_others_is_not_starved():
    assert not flooded(40, starved_after_s=9).run(2, 10).judge.counts
    many = flooded(41, chats=(B, C), starved_after_s=9)
    assert not many.run(3, 10).judge.counts


def test_a_chat_that_was_idle_and_writes_again_is_starved_as_any_other():
    before = Story(starved_after_s=9).say(A, B).run(1, -2).run(2, -1)
    assert flooded(41, story=before).run(4, 10).judge.counts == {"starved": 1}


def test_what_is_fair_is_the_same_after_a_kill():
    before = Story(starved_after_s=9).say(A, B).run(1, -3).run(2, -3).kill(-2).run(1, -1, pid=2)
    assert not flooded(40, story=before).run(4, 10, pid=2).judge.counts


def test_interruptions_do_not_count_as_waiting():
    assert not flooded(41, starved_after_s=9).pause(2).run(2, 10).judge.counts


def test_backoff_is_no_starvation():
    story = Story(starved_after_s=9).say(B, A, A, *[B] * 50).begin(2, 0).fail(2, 0)
    for n in range(50):
        story.run(1 if not n else 3 + n, 10 * n / 50)
    assert not story.run(2, 10).judge.counts


def test_waiting_begins_anew_with_each_end():
    story = Story(starved_after_s=9).say(B, A, A, *[B] * 50).run(2, 0)
    for n in range(50):
        story.run(1 if not n else 3 + n, 0.1 + 10 * n / 50)
    assert story.run(3, 10.2).judge.counts == {"starved": 1}
    assert "update 3 waited 10.2 s" in story.judge.anomalies[0].details


def test_only_the_first_anomalies_are_kept_and_all_are_counted():
    story = Story().say(*[A] * (SHOWN_MAX + 3))
    assert story.kinds() == {"lost": SHOWN_MAX + 3}
    assert len(story.judge.anomalies) == SHOWN_MAX
    assert (story.judge.anomalies_by_chat[A], story.judge.anomalies[0].chat_id) == (SHOWN_MAX + 3, A)


def test_ids_with_a_gap_are_refused():
    story = Story().say(A)
    with pytest.raises(ValueError, match="update 3 follows update 1"):
        story.judge.sent(A, 3, 0)


def test_the_handlings_of_a_chat_as_they_were():
    story = Story().say(A, B, A).begin(1, 1).begin(2, 1).kill(2).begin(1, 3, pid=2).fail(1, 4, pid=2)
    found = list(story.judge.ledger.handlings_of({A}, began_ns=S))
    assert found == [(A, Handling(1, 0, 1, "cut", 1)), (A, Handling(1, 2, 3, "fail", 2))]
