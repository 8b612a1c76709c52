"""How long a chat waited, on trial with hand-written evidence."""

import pytest

from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import BotReply
from tests.torture.pg_supervised import longest, waits

S = 1_000_000_000


def reply(chat_id: int, update_id: int, counted: int, begin_s: float, end_s: float) -> BotReply:
    return BotReply(
        chat_id, Evidence("text", update_id, counted, int(begin_s * S), int(end_s * S), 1), 0.0, True
    )


def test_a_chat_waits_from_when_it_could_go_on():
    sent_ns = {1: 0, 2: S, 3: 2 * S}
    replies = [reply(5, 1, 1, 0.5, 3.0), reply(5, 2, 2, 4.0, 4.5), reply(6, 3, 1, 2.25, 2.5)]
    found = {each.update_id: each.seconds for each in waits(sent_ns, replies)}
    assert found == {1: 0.5, 2: 1.0, 3: 0.25}  # the second one waited for the first one's handler until 3.0


def test_of_replies_that_are_repeated_the_first_one_counts():
    replies = [reply(5, 1, 1, 0.5, 1.0), reply(5, 2, 2, 1.5, 2.0), reply(5, 1, 1, 0.5, 1.0)]
    assert [each.seconds for each in waits({1: 0, 2: 0}, replies)] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("began_s", "ended_s", "expected"),
    [(0, 1, 2.0), (2.75, 9, 2.0), (3.5, 9, 0.0), (0, 0.5, 0.0), (2, 2, 2.0)],
)
def test_the_longest_wait_of_a_time(began_s, ended_s, expected):
    found = waits({1: S, 2: 2 * S}, [reply(5, 1, 1, 3.0, 3.0), reply(6, 2, 1, 2.5, 2.6)])
    assert longest(found, int(began_s * S), int(ended_s * S)) == expected
