"""The simulated users of a load test: their next action, chosen from the bot's messages."""

import random
from collections import Counter

import pytest
from pydantic import ValidationError

from handlers import survey
from telegram.dialogue import Router, command, data, text
from telegram.load.command import run_load
from telegram.load.workload.simulated_users import (
    PATIENCE_S,
    TEXTS,
    Action,
    ActionKind,
    Commands,
    Shown,
    SimulatedUsers,
    Step,
    read_script,
)
from telegram.settings.load_test import Load

SURVEY = Commands(("survey",), ("cancel",))


def users(*script, commands=SURVEY, seed=1):
    return SimulatedUsers(commands, script, random.Random(seed))


def said(message_id, text, *buttons, **more):
    markup = {"inline_keyboard": [[{"text": label, "callback_data": pressed} for label, pressed in buttons]]}
    return Shown(
        {"message_id": message_id, "text": text, **({"reply_markup": markup} if buttons else {}), **more}
    )


def test_commands_are_read_from_the_filters_of_the_router():
    assert Commands.of(survey.router) == SURVEY
    router = Router()

    async def handler() -> None: ...

    router.message(command("start", "help"))(handler)
    router.callback_query(data("yes"))(handler)
    router.message(text)(handler)
    assert Commands.of(router) == (("start", "help"), ())


def test_who_gets_no_answer_waits_and_then_begins_anew():
    crowd = users()
    assert crowd.next(5, Shown(), 0.0) == Action(5, ActionKind.WRITE, "/survey")
    assert crowd.next(5, Shown(), PATIENCE_S - 0.1) is None
    assert crowd.next(6, Shown(), PATIENCE_S - 0.1) is not None  # others do not wait for that
    assert crowd.next(5, Shown(), PATIENCE_S) is not None


def test_the_time_for_an_answer_runs_when_the_update_was_handled():
    crowd = users()
    assert crowd.next(5, Shown(), 0.0) is not None
    assert crowd.next(5, Shown(), 100.0, at_work=True) is None
    assert crowd.next(5, Shown(), 100.0 + PATIENCE_S - 0.1) is None
    assert (
        crowd.next(5, said(7, "How old are you?"), 101.0, at_work=True) is not None
    )  # an answer may come before
    assert crowd.next(5, said(7, "How old are you?"), 101.0 + PATIENCE_S) is not None


def test_buttons_are_pressed_and_seldom_those_that_lead_back():
    question = said(7, "Is that right?", ("Yes", "confirm"), ("« Back", "back"))
    done = Counter(users(seed=seed).next(5, question, 0.0) for seed in range(300))
    assert done[Action(5, ActionKind.PRESS, "confirm", 7)] > 250
    assert 1 <= done[Action(5, ActionKind.PRESS, "back", 7)] < 40


def test_where_only_the_way_back_can_be_pressed_something_is_written():
    question = said(7, "How old are you?", ("« Back", "back"))
    done = Counter(users(seed=seed).next(5, question, 0.0) for seed in range(100))
    assert done[Action(5, ActionKind.WRITE, TEXTS[0])] > 90


def test_keys_below_the_chat_are_pressed():
    shown = Shown({"message_id": 1, "text": "Your number"}, [["Send it"]])
    assert users().next(5, shown, 0.0) == Action(5, ActionKind.KEY, "Send it")


def test_what_leads_on_from_a_question_is_written_first_the_next_time():
    crowd = users(commands=Commands())
    age, topic = "How old are you?", "Which topic?"
    number, written = 0, ""
    while written != "42":
        number += 1
        written = crowd.next(5, said(number, age), float(number)).text
    crowd.next(5, said(number + 1, topic), float(number + 1))
    assert [crowd.next(chat, said(1, age), 0.0).text for chat in (6, 7, 8)] == ["42"] * 3
    crowd.next(6, said(2, age), 1.0)  # no longer accepted: the same question again
    assert crowd.next(9, said(1, age), 0.0).text != "42"


def test_the_same_question_with_another_number_is_the_same():
    crowd = users(commands=Commands())
    assert crowd.next(5, said(1, "Question 1?"), 0.0).text == TEXTS[0]
    assert crowd.next(6, said(1, "Question 2?"), 0.0).text == TEXTS[1]


def test_a_script_is_followed_and_begun_again_where_it_leads_no_further(tmp_path):
    path = tmp_path / "script"
    path.write_text("# an order\n/order\n\npress Pizza\n  two please  \npress yes\n")
    script = read_script(path)
    assert script == (
        Step(False, "/order"),
        Step(True, "Pizza"),
        Step(False, "two please"),
        Step(True, "yes"),
    )
    crowd = users(*script)
    menu = said(1, "What?", ("Pizza", "d1"), ("Pasta", "d2"))
    assert crowd.next(5, Shown(), 0.0) == Action(5, ActionKind.WRITE, "/order")
    assert crowd.next(5, menu, 1.0) == Action(5, ActionKind.PRESS, "d1", 1)
    assert crowd.next(5, said(2, "How many?"), 2.0) == Action(5, ActionKind.WRITE, "two please")
    assert crowd.next(5, said(3, "Right?", ("Sure", "yes")), 3.0) == Action(5, ActionKind.PRESS, "yes", 3)
    assert crowd.completed_scripts == 0
    assert crowd.next(5, said(4, "Thanks"), 4.0) == Action(5, ActionKind.WRITE, "/order")
    assert crowd.completed_scripts == 1
    assert crowd.next(5, said(5, "We are closed"), 5.0) == Action(5, ActionKind.WRITE, "/order")
    assert crowd.next(5, menu, 6.0) == Action(5, ActionKind.PRESS, "d1", 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [("# nothing\n\n", "has no step"), ("press x\n", "begins with a press"), (None, "cannot be read")],
)
async def test_a_script_of_no_use_is_one_line(tmp_path, content, says):
    path = tmp_path / "script"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=says):
        await run_load(
            Load(handlers="handlers.echo:router", script=path, report=tmp_path / "report"), {}, "load"
        )


def test_a_script_is_for_ones_own_handlers(tmp_path):
    with pytest.raises(ValidationError, match="--script is for your own handlers"):
        Load(script=tmp_path / "script")
