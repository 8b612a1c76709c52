"""The judge of the survey's campaign on trial with hand-written histories; and a small campaign."""

import pytest

from tests.torture import survey
from tests.torture.report import Plan
from tests.torture.survey_judge import LATE_MAX_S, Gap, Heard, Story, judge
from tests.torture.survey_model import (
    CANCELLED,
    NO_ANSWER,
    NO_NUMBER,
    QUESTIONS,
    TIMED_OUT,
    WELCOME,
    Act,
    Reply,
    edits,
    says,
)

CHAT, TIMEOUT_S = 5, 10.0
NAME, AGE, TOPIC = map(says, QUESTIONS.values())
SUMMARY = says("Ada, 42, events. Is that right?")


def answers(query):
    return Reply("answerCallbackQuery", query)


def acts(*what):
    """One act a second, from 1 on: a text, or a button's data with the number of the press."""
    return [
        Act(n, float(n), "button", *each) if isinstance(each, tuple) else Act(n, float(n), "text", each)
        for n, each in enumerate(what, 1)
    ]


WHOLE = acts("/survey", "Ada", "42", ("topic:events", "q1"), ("confirm", "q2"))
SAID = [
    (1.1, says(WELCOME)),
    (1.2, NAME),
    (2.1, AGE),
    (3.1, TOPIC),
    (4.1, edits("You want to hear about events.")),
    (4.2, SUMMARY),
    (4.3, answers("q1")),
    (5.1, edits("Registered: Ada, 42, events.")),
    (5.2, answers("q2")),
]


def gap(began, ended, *pending):
    return Gap(began, ended, {CHAT: pending})


def found(did, said, gaps=()):
    (findings,) = judge({CHAT: Story(did, [Heard(*each) for each in said])}, gaps, TIMEOUT_S)
    return findings


def kinds(did, said, gaps=()):
    return [anomaly.kind for anomaly in found(did, said, gaps).anomalies]


def test_a_whole_survey():
    findings = found(WHOLE, SAID)
    assert (findings.anomalies, findings.repeated, findings.late_s) == ([], 0, [])
    assert list(findings.steps.values()) == ["no survey", "name", "age", "topic", "summary"]


@pytest.mark.parametrize(
    ("did", "said"),
    [
        (["/survey", "Ada", "x"], [says(WELCOME), NAME, AGE, says(NO_NUMBER), AGE]),
        (["/survey", "/survey"], [says(WELCOME), NAME, says(WELCOME), NAME]),
        (["/survey", "/order"], [says(WELCOME), NAME, says(NO_ANSWER), NAME]),
        (["/survey", "Ada", ("back", "q")], [says(WELCOME), NAME, AGE, NAME, answers("q")]),
        (["/survey", ("back", "q")], [says(WELCOME), NAME, answers("q")]),  # nobody was offered that
        (["/survey", ("confirm", "q")], [says(WELCOME), NAME, answers("q")]),
        (["hi", ("back", "q"), "/cancel"], [says("hi"), answers("q")]),
        (["/survey", "/cancel", "/survey"], [says(WELCOME), NAME, says(CANCELLED), says(WELCOME), NAME]),
    ],
)
def test_other_ways(did, said):
    history = [(3.5, reply) for reply in said]
    is_open = NAME in said[-3:] or AGE in said[-3:]
    assert kinds(acts(*did), [*history, (15.0, says(TIMED_OUT))] if is_open else history) == []


@pytest.mark.parametrize("missing", range(len(SAID)))
def test_nothing_may_be_missing(missing):
    assert kinds(WHOLE, SAID[:missing] + SAID[missing + 1 :]) in (["lost"], ["skipped"], ["stray"])


MESSAGES = [heard for heard in SAID if heard[1].method != "answerCallbackQuery"]
ANSWERS = [heard for heard in SAID if heard not in MESSAGES]


@pytest.mark.parametrize("place", range(len(MESSAGES) - 1))
def test_no_message_may_change_places(place):
    before, (first_at, first), (second_at, second), after = (
        MESSAGES[:place],
        MESSAGES[place],
        MESSAGES[place + 1],
        MESSAGES[place + 2 :],
    )
    assert kinds(WHOLE, [*before, (first_at, second), (second_at, first), *after, *ANSWERS]) != []


def test_an_answer_waits_for_no_message_but_comes_once_and_after_the_press():
    first, last = (at - 0.15 for at, _ in ANSWERS)
    assert kinds(WHOLE, [*MESSAGES[:4], (first, answers("q1")), *MESSAGES[4:], (last, answers("q2"))]) == []
    assert kinds(WHOLE, [*MESSAGES, (9.0, answers("q2")), (9.1, answers("q1"))]) == []
    assert kinds(WHOLE, [(3.9, answers("q1")), *MESSAGES, ANSWERS[1]]) == ["stray"]
    assert kinds(WHOLE, [*SAID, (6.0, answers("q3"))]) == ["stray"]
    assert kinds(WHOLE, [*SAID, (6.0, answers("q1"))]) == ["sent twice"]
    assert kinds(WHOLE, [*SAID, (6.0, answers("q1"))], [gap(5.0, 5.5, answers("q1"))]) == []
    assert kinds(WHOLE, [*SAID, (6.0, answers("q1"))], [gap(5.0, 5.5, answers("q2"))]) == ["sent twice"]


def test_a_step_that_was_done_twice():
    twice = [*SAID[:3], (2.2, says(NO_NUMBER)), (2.3, AGE), *SAID[3:]]
    assert kinds(WHOLE, twice) == ["stray"]
    assert kinds(WHOLE, [*SAID[:5], *SAID[4:]]) == ["sent twice"]
    assert kinds(WHOLE, [*SAID[:6], (4.25, SUMMARY), (4.26, edits("You want to hear about events."))]) != []


def test_an_older_reply_that_comes_again():
    gaps = [gap(3.2, 3.9, AGE, TOPIC)]
    assert kinds(WHOLE, [*SAID[:4], (3.95, AGE), *SAID[4:]], gaps) == ["stray"]


def test_the_same_twice_in_a_row_may_not_be_once():
    did, said = acts("hi", "hi"), [(1.1, says("hi"))]
    assert kinds(did, [*said, (2.1, says("hi"))]) == []
    for more in (0, 2):
        assert kinds(did, [*said, *[(2.1, says("hi"))] * more]) != []


def test_a_button_of_an_earlier_question_moves_nothing():
    did = [*acts("/survey", "Ada"), *(Act(n, float(n), "button", "back", f"q{n}", "first") for n in (3, 4))]
    did += [Act(5, 5.0, "text", "Bob"), Act(6, 6.0, "button", "back", "q6", "first")]
    heard = [(1.1, says(WELCOME)), (1.2, NAME), (2.1, AGE, "first"), (3.1, NAME), (3.2, answers("q3"))]
    heard += [(4.1, answers("q4")), (5.1, AGE, "second"), (6.1, answers("q6")), (20.0, says(TIMED_OUT))]
    assert kinds(did, heard) == []
    assert kinds(did, [*heard[:6], (4.2, NAME), *heard[6:]]) != []


def test_something_behind_the_end():
    assert kinds(WHOLE, [*SAID, (9.0, NAME)]) == ["stray"]


def test_a_reply_may_come_again_if_a_kill_came_before_it_was_noted():
    again = [*SAID[:4], (3.9, TOPIC), *SAID[4:]]
    assert kinds(WHOLE, again) == ["sent twice"]
    assert kinds(WHOLE, again, [gap(3.2, 3.6, TOPIC)]) == []
    assert found(WHOLE, again, [gap(3.2, 3.6, TOPIC)]).repeated == 1
    assert kinds(WHOLE, again, [gap(3.2, 3.6, AGE)]) == ["sent twice"]
    assert kinds(WHOLE, again, [Gap(3.2, 3.6, {CHAT + 1: [TOPIC]})]) == ["sent twice"]
    assert kinds(WHOLE, again, [gap(1.0, 1.5, TOPIC)]) == ["sent twice"]
    assert kinds(WHOLE, again, [gap(4.5, 5.0, TOPIC)]) == ["sent twice"]


LEFT = acts("/survey", "Ada")
ASKED = SAID[:3]


def times_out(*moments):
    return [*ASKED, *((moment, says(TIMED_OUT)) for moment in moments)]


def test_a_time_out_comes_once_and_not_before_its_time():
    assert kinds(LEFT, times_out(12.15)) == []
    assert kinds(LEFT, times_out()) == ["lost"]
    assert kinds(LEFT, times_out(11.99)) == ["early"]
    assert kinds(LEFT, times_out(12.15, 12.3)) == ["sent twice"]
    assert kinds(LEFT, [*times_out(12.15), (12.2, NAME)]) == ["stray"]


def test_a_time_out_of_a_survey_that_is_over():
    assert kinds(WHOLE, [*SAID, (15.2, says(TIMED_OUT))]) == ["stray"]


def test_a_time_out_of_the_survey_before_comes_too_early_for_this_one():
    did = [*acts("/survey", "/cancel"), Act(3, 8.0, "text", "/survey")]
    said = [*SAID[:2], (2.1, says(CANCELLED)), (8.1, says(WELCOME)), (8.2, NAME)]
    assert kinds(did, [*said, (11.2, says(TIMED_OUT))]) == ["early"]
    assert kinds(did, [*said, (18.2, says(TIMED_OUT))]) == []


def test_a_time_out_that_was_due_while_the_bot_was_down_comes_with_the_next_start():
    gaps = [gap(11.0, 30.0)]
    findings = found(LEFT, times_out(30.5), gaps)
    assert (findings.anomalies, findings.slept) == ([], 1)
    assert findings.late_s == [0.5]
    assert kinds(LEFT, times_out(30.1 + LEFT[-1].at + LATE_MAX_S), gaps) == ["late"]
    assert kinds(LEFT, times_out(12.2 + LATE_MAX_S)) == ["late"]


def test_what_is_written_after_a_time_out_meets_no_survey():
    did = [*LEFT, Act(3, 13.0, "text", "42")]
    assert kinds(did, [*times_out(12.2), (13.1, says("42"))]) == []
    assert kinds(did, [*ASKED, (13.1, TOPIC), (23.2, says(TIMED_OUT))]) == []  # Telegram had it before
    assert kinds(did, [*times_out(12.2), (13.1, TOPIC)]) == ["stray"]


@pytest.mark.processes
async def test_a_survey_survives_kills():
    aims = (
        survey.while_committing,
        survey.while_a_reply_is_out,
        survey.before_a_time_out_is_due,
        survey.while_handling("age"),
        survey.whenever,
    )
    result = await survey.run(Plan(rounds=len(aims), chats=12), lambda *_, **__: None, aims)
    assert result.is_good, "\n".join(result.lines())
    assert result.facts["time-outs"] != "0, 0 of them due while nobody ran"
