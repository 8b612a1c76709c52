"""What the campaign `policies` judges by, on trial with hand-written evidence."""

import pytest

from tests.torture.policies import GROUPS, PRIVATE, Answer, judge
from tests.torture.policies_bot import POLICIES, policy_of


def history(policy: str, *numbers: tuple[int, ...], every_s: float = 2.0, texts: int = 3) -> list[str]:
    """Judge answers with these numbers: one every `every_s`, of texts that were written a second apart."""
    chat = next(chat for chat in PRIVATE if policy_of(chat) == policy)
    answers = [Answer(count, each, count * every_s) for count, each in enumerate(numbers, 1)]
    return judge((chat, chat), [float(number) for number in range(texts)], answers)


def test_each_policy_has_a_private_chat_and_a_group():
    assert sorted(map(policy_of, PRIVATE)) == sorted(POLICIES)
    assert sorted(map(policy_of, GROUPS)) == sorted(POLICIES)


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        ("queue", [(0,), (1,), (2,)]),
        ("stop", [(2,)]),
        ("stop", [(0,), (2,)]),
        ("restart", [(0, 1, 2)]),
        ("merge", [(0,), (1, 2)]),
        ("drop", [(0,), (2,)]),
    ],
)
def test_what_is_right(policy, numbers):
    assert history(policy, *numbers) == []


@pytest.mark.parametrize(
    ("policy", "numbers", "what"),
    [
        ("queue", [(0,), (2,)], "lost: [1]"),
        ("queue", [(0,), (2,), (1,)], "out of order"),
        ("queue", [(0,), (1,), (1,), (2,)], "handled twice"),
        ("queue", [(0, 1), (2,)], "handed over together"),
        ("stop", [(0,), (1,)], "the newest message"),
        ("restart", [(0, 2)], "lost: [1]"),
        ("restart", [(0, 1), (1, 2)], "handled twice"),
        ("merge", [(1, 2)], "lost: [0]"),
        ("drop", [(1,)], "lost: 0"),
        ("drop", [], "lost: 0"),
    ],
)
def test_what_is_wrong(policy, numbers, what):
    found = history(policy, *numbers)
    assert any(what in line for line in found), found


def test_a_dropped_message_was_written_while_the_handler_worked():
    (line,) = history("drop", (0,), every_s=0.5, texts=2)
    assert line.endswith("lost: 1, which nothing was in front of")


def test_an_answer_that_was_sent_again_is_one_answer():
    chat = PRIVATE[0]
    answers = [Answer(1, (0,), 1.0), Answer(1, (0,), 2.0)]
    assert judge((chat, chat), [0.0], answers) == []


def test_a_commit_that_was_skipped_is_found():
    chat = PRIVATE[0]
    assert (
        "commits [1, 3]" in judge((chat, chat), [0.0, 0.1], [Answer(1, (0,), 1.0), Answer(3, (1,), 2.0)])[0]
    )
