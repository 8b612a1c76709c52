import re
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from telegram.botapi.types import InlineKeyboardButton
from telegram.dialogue import CallbackData, Router, chat_type, command, data, inline, keyboard, kind, text
from telegram.dialogue.flows.flow import Flow
from telegram.dialogue.flows.outcomes import Back, End
from telegram.dialogue.router.flows import flows_of, problems, router_problems
from telegram.dialogue.state.scopes import CHAT, OWN, TOPIC, USER
from tests.flows import sound


class S(Enum):
    A = "a"
    B = "b"


class Data(BaseModel):
    n: int = 0


class Vote(CallbackData, prefix="vote"):
    up: bool


def leads(to: Any, name: str = "handler", takes: int = 2) -> Any:
    """A handler that may return what `to` says."""

    async def two(ctx: Any, data: Any) -> None: ...
    async def three(ctx: Any, data: Any, value: Any) -> None: ...

    handler = two if takes == 2 else three
    handler.__annotations__["return"] = to
    handler.__qualname__ = name
    return handler


A, B, END, BACK = Literal[S.A], Literal[S.B], End[None], Back


def flow(name="f", *, a: Any = B, b: Any = END, **more: Any) -> Flow[Any, Any, Any]:
    """Begins in A, which leads to B, which ends it; None leaves the handler out."""
    made: Flow[Any, Any, Any] = Flow(name, S, Data, **more)
    made.entry.message(command("".join(each for each in name if each.isalnum())))(leads(A, "begin"))
    for state, to in ((S.A, a), (S.B, b)):
        if to is not None:
            made.at(state).message(text)(leads(to, f"at_{state.value}"))
    return made


def test_sound_flows_have_no_problems():
    assert router_problems(sound.router) == []
    assert problems(flow()) == []


# ---- reaching


NOWHERE = (
    "flow f: state b: nothing leads here: return it from a handler, name it in Flow(begins=...), or remove it"
)


def test_a_state_that_nothing_reaches():
    assert problems(flow(a=END)) == [NOWHERE]


@pytest.mark.parametrize("how", ["anywhere", "otherwise", "timeout", "begins", "misfit", "entry", "sub-flow"])
def test_many_ways_lead_to_a_state(how):
    made = flow(a=END, begins=[S.B] if how == "begins" else ())
    if how == "anywhere":
        made.anywhere.message(command("b"))(leads(B))
    elif how == "otherwise":
        made.otherwise.message()(leads(B))
    elif how == "timeout":
        made.at(S.A).timeout(5)(leads(B))
    elif how == "misfit":
        made.mismatch(leads(B, takes=3))
    elif how == "entry":
        made.entry.message(command("b"))(leads(B))
    elif how == "sub-flow":
        made.at(S.A).runs(flow("inner"))(leads(B, takes=3))
    assert problems(made) == []


def test_a_state_that_only_an_unreachable_one_reaches():
    made = flow(a=END, b=Literal[S.B, S.A])
    assert problems(made) == [NOWHERE]


def test_a_sub_flow_begins_in_its_first_state():
    inner: Flow[Any, Any, Any] = Flow("inner", S, Data)
    inner.at(S.A).message(text)(leads(B))
    inner.at(S.B).message(text)(leads(END))
    assert problems(inner, hosts=[flow()]) == []
    inner.entry.message(command("b"))(leads(B, "begin_later"))
    assert problems(inner, hosts=[flow()]) == []
    assert "flow inner: state a: nothing leads here" in problems(inner)[0]


def test_a_flow_that_nothing_begins_begins_in_its_first_state():
    made: Flow[Any, Any, Any] = Flow("f", S, Data)
    made.at(S.A).message(text)(leads(B))
    made.at(S.B).message(text)(leads(END))
    assert problems(made) == []


# ---- leaving


STAYS = (
    "flow f: state b: nothing leads out of it (at_b only stay): return another state, BACK or End(...) here"
)


@pytest.mark.parametrize("to", [type(None), B, Literal[S.B] | None])
def test_a_state_without_exit(to):
    assert problems(flow(b=to)) == [STAYS]


@pytest.mark.parametrize(
    "how",
    [
        "anywhere",
        "otherwise",
        "timeout",
        "timeout everywhere",
        "timer",
        "back",
        "host",
        "time-out of the host",
    ],
)
def test_many_ways_lead_out_of_a_state(how):
    made, hosts = flow(b=BACK if how == "back" else type(None)), []
    if how in {"anywhere", "otherwise"}:
        getattr(made, how).message(command("x"))(leads(END))
    elif how == "timeout":
        made.at(S.B).timeout(5)(leads(END))
    elif how == "timeout everywhere":
        made.anywhere.timeout(5)(leads(END))
    elif how == "timer":
        made.at(S.B).timer("x")(leads(END))
    elif how == "host":
        made.at(S.A).message(command("end"))(leads(END))
        hosts = [flow("host")]
        hosts[0].anywhere.message(command("x"))(leads(END))
    elif how == "time-out of the host":
        made.at(S.A).message(command("end"))(leads(END))
        hosts = [flow("host", b=None)]
        hosts[0].at(S.B).runs(made)(leads(END, takes=3))
        hosts[0].at(S.B).timeout(5)(leads(END))
    assert problems(made, hosts=hosts) == []


def test_a_step_everywhere_that_stays_is_no_exit():
    made = flow(b=type(None))
    made.anywhere.message(command("help"))(leads(type(None)))
    assert problems(made) == [STAYS]


def test_what_leads_everywhere_to_one_state_leaves_the_others_only():
    made = flow(b=type(None))
    made.anywhere.message(command("b"))(leads(B))
    assert problems(made) == [STAYS]


def test_who_only_stays_is_named_if_there_is_anybody():
    made = flow(b=None)
    made.otherwise.message()(leads(type(None)))
    (line,) = problems(made)
    assert line.startswith("flow f: state b: nothing leads out of it: return another state")


# ---- taking


NOTHING = "flow f: state b: no handler takes anything here: add @flow.at(S.B).message(...)"


def test_a_state_without_handler():
    made = flow(b=None)
    assert problems(made) == [NOTHING]
    made.anywhere.message(command("cancel"))(leads(END))
    made.anywhere.timeout(5)(leads(END))
    assert problems(made) == [NOTHING]  # what is for all states does not answer what this one asks


@pytest.mark.parametrize("how", ["otherwise", "timeout", "sub-flow"])
def test_what_answers_in_a_state(how):
    made = flow(b=None)
    if how == "otherwise":
        made.otherwise.message()(leads(END))
    elif how == "timeout":
        made.at(S.B).timeout(5)(leads(END))
    else:
        made.at(S.B).runs(flow("inner"))(leads(END, takes=3))
    assert problems(made) == []


# ---- buttons


def asked(markup: Any, *filters: Any, kind: str = "callback_query", where: str = "at") -> Flow[Any, Any, Any]:
    made = flow(scope=CHAT)
    made.at(S.A).ask("?", reply_markup=markup)
    if filters:
        spot = made.at(S.A) if where == "at" else getattr(made, where)
        getattr(spot, kind)(*filters)(leads(END, takes=3 if filters[0] is Vote else 2))
    return made


UNTAKEN = (
    "flow f: state a: no handler takes the button 'Yes' with the data 'yes': "
    "add @flow.at(S.A).callback_query(...), or take the button away"
)
YES = inline([("Yes", "yes")])


@pytest.mark.parametrize(
    "markup",
    [
        YES,
        {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]},
        YES.model_dump(exclude_none=True),
    ],
)
def test_a_button_without_a_handler(markup):
    assert problems(asked(markup)) == [UNTAKEN]
    assert problems(asked(markup, data("no"))) == [UNTAKEN]
    assert problems(asked(markup, data("yes"))) == []


@pytest.mark.parametrize("where", ["at", "anywhere", "otherwise", "entry"])
def test_where_a_button_may_be_taken(where):
    made = asked(YES, data("yes"), where=where) if where != "entry" else asked(YES)
    if where == "entry":
        made.entry.callback_query(data("yes"))(leads(A))
    assert problems(made) == []


def test_only_the_state_that_asks_takes_its_buttons():
    made = asked(YES)
    made.at(S.B).callback_query(data("yes"))(leads(END))
    assert problems(made) == [UNTAKEN]


def test_a_message_handler_takes_no_button():
    assert problems(asked(YES, lambda ctx: True, kind="message")) == [UNTAKEN]


def test_typed_buttons_are_read():
    assert problems(asked(inline([("Up", Vote(up=True))]), Vote)) == []
    (line,) = problems(asked(inline([("Up", "vote:1:2:3")]), Vote))
    assert "'Up' with the data 'vote:1:2:3'" in line


def test_a_handler_without_filters_takes_every_button():
    made = asked(YES)
    made.at(S.A).callback_query()(leads(END))
    assert problems(made) == []


@pytest.mark.parametrize("type_", ["private", "group", "supergroup"])
def test_a_button_may_be_taken_in_some_chats_only(type_):
    assert problems(asked(YES, data("yes"), chat_type(type_))) == []


def test_a_filter_that_raises_may_take_it():
    assert problems(asked(YES, lambda ctx: ctx.nothing_of_this_name)) == []


def test_links_and_other_buttons_cause_nothing():
    assert problems(asked(inline([("Read", "https://example.org")]))) == []
    share: Any = {"keyboard": [[{"text": "My number", "request_contact": True}]]}
    made = flow(a=None)
    made.at(S.A).message(command("x"))(leads(B))
    made.at(S.A).ask("?", reply_markup=share)
    assert problems(made) == []


@pytest.mark.parametrize("passes", [lambda ctx: ctx.chat_id > 0, lambda ctx: ctx.chat_id < 0])
def test_the_chats_of_a_press_have_ids_of_their_type(passes):
    """Private chats have positive ids, all others negative ones (Telegram Bot API, "Bot API dialog IDs")."""
    assert problems(asked(YES, data("yes"), passes)) == []


def test_a_handler_of_any_update_takes_buttons():
    made = asked(YES)
    made.at(S.A).update()(leads(END))
    assert problems(made) == []


def test_buttons_are_found_however_the_keyboard_is_written():
    cell = InlineKeyboardButton(text="Yes", callback_data="yes")
    assert problems(asked({"inline_keyboard": [[cell]]})) == [UNTAKEN]
    made = flow(a=None)
    made.at(S.A).message(command("x"))(leads(B))
    rows: Any = {"keyboard": [["Red"], [{"text": "Blue"}]]}
    made.at(S.A).ask("?", reply_markup=rows)
    assert [re.findall("button '(.*?)'", line) for line in problems(made)] == [["Red"], ["Blue"]]


def test_what_a_state_would_ask_is_not_asked_where_a_sub_flow_runs():
    made = asked(YES)
    made.at(S.A).runs(flow("inner", scope=CHAT))(leads(B, takes=3))
    assert problems(made) == []


def test_letters_of_a_reply_keyboard():
    made = flow(a=None)
    made.at(S.A).message(command("x"))(leads(B))
    made.at(S.A).ask("?", reply_markup=keyboard(["/x", "Red"]))
    (line,) = problems(made)
    assert line.startswith(
        "flow f: state a: no handler takes the button 'Red': add @flow.at(S.A).message(...)"
    )
    made.at(S.A).message(lambda ctx: ctx.text == "Red")(leads(B))
    assert problems(made) == []


def test_a_handler_beside_the_flow_that_names_the_button_takes_it():
    router, made = Router(), asked(YES)
    router.include(made)
    router.callback_query()(_plain_handler)
    assert router_problems(router) == [UNTAKEN]  # taking everything is not meaning it
    router.callback_query(data("yes"))(_plain_handler)
    assert router_problems(router) == []


def test_the_entry_of_another_flow_that_names_the_button_takes_it():
    router, made, other = Router(), asked(YES), flow("other", scope=CHAT)
    router.include(made)
    router.include(other)
    assert router_problems(router) == [UNTAKEN]
    other.entry.callback_query(data("yes"))(leads(A))
    assert router_problems(router) == []


async def _plain_handler(ctx: Any) -> None: ...


# ---- back


BACK_SAYS = "returns BACK, but no state comes before: return a state or End(...) instead"


def test_back_where_nothing_comes_before():
    made = flow()
    made.at(S.A).message(command("back"))(leads(BACK, "go_back"))
    assert problems(made) == [f"flow f: state a: go_back {BACK_SAYS}"]
    assert problems(made, hosts=[flow("host")]) == []  # then it leads to the flow around


def test_a_state_that_comes_again_does_not_come_before_itself():
    made = flow(a=Literal[S.A, S.B])
    made.at(S.A).message(command("back"))(leads(BACK, "go_back"))
    assert problems(made) == [f"flow f: state a: go_back {BACK_SAYS}"]


def test_back_that_leads_somewhere_in_one_of_its_states():
    for spot in (lambda made: made.at(S.A, S.B), lambda made: made.anywhere, lambda made: made.otherwise):
        made = flow()
        spot(made).message(command("back"))(leads(BACK))
        assert problems(made) == []


def test_back_in_an_unreachable_state_is_no_second_problem():
    assert problems(flow(a=END, b=BACK)) == [NOWHERE]


def test_back_with_a_way_round():
    made = flow(b=Literal[S.A] | END)
    made.at(S.A).message(command("back"))(leads(BACK))
    assert problems(made) == []


def test_back_on_a_time_out():
    made = flow()
    made.at(S.A).timeout(5)(leads(BACK, "late"))
    assert problems(made) == [f"flow f: state a: late {BACK_SAYS}"]


def test_back_from_an_entry():
    made = flow()
    made.entry.message(command("x"))(leads(BACK, "again"))
    assert problems(made) == [
        "flow f: again begins the flow, so BACK leads nowhere: return a state or End(...) instead"
    ]


# ---- sub-flows and names


def nested(inner: Flow[Any, Any, Any]) -> Router:
    outer, router = flow("outer", a=None), Router()
    outer.at(S.A).runs(inner)(leads(B, takes=3))
    router.include(outer)
    return router


def test_a_sub_flow_that_never_ends():
    line = "flow f: it runs in outer, but never ends: return End(value) from a handler"
    assert router_problems(nested(flow(b=A))) == [line]
    assert router_problems(nested(flow())) == []
    assert problems(flow(b=A)) == []  # a menu may go on for ever


@pytest.mark.parametrize("to", [End[str], End, End[str] | None])
def test_a_sub_flow_that_ends_with_a_value(to):
    line = "flow f: it runs in outer, but never ends with a value: return End(str) from at_b"
    assert router_problems(nested(flow(result=str))) == [line]
    assert router_problems(nested(flow(result=str, b=to))) == []


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_flows_around_are_known_however_deep(depth):
    inner = flow("inner", a=Literal[S.A, S.B] | END, b=type(None))
    for number in range(depth):
        middle = flow(f"middle_{number}", a=None)
        middle.at(S.A).runs(inner)(leads(B, takes=3))
        inner = middle
    router = nested(inner)
    assert len(router_problems(router)) == 1
    (outer, _), *_ = router.entries()
    outer.anywhere.message(command("cancel"))(leads(END))  # type: ignore[attr-defined]
    assert router_problems(router) == []


def test_flows_that_run_in_each_other_are_found_once():
    one, two, router = flow("one", a=None), flow("two", a=None), Router()
    one.at(S.A).runs(two)(leads(B, takes=3))
    two.at(S.A).runs(one)(leads(B, takes=3))
    router.include(one)
    assert [(flow.name, [host.name for host in hosts]) for flow, hosts in flows_of(router)] == [
        ("one", ["two", "one"]),
        ("two", ["one", "two"]),
    ]


def test_two_flows_of_one_name():
    router, inner = Router(), Router()
    router.include(flow())
    router.include(inner)
    inner.include(flow())
    assert router_problems(router) == [
        "flow f: 2 flows have this name: give each its own, stored conversations go by it"
    ]


def test_one_flow_in_two_places_is_one():
    router, made = Router(), flow()
    router.include(made)
    router.include(made)
    assert router_problems(router) == []


def test_a_message_is_one_line_whatever_the_names_hold():
    made = flow("f\n<script>", a=END)
    (line,) = problems(made)
    assert line.startswith("flow f <script>: state b: ")
    assert "\n" not in line


# ---- kinds of update that never come to the flow


@pytest.mark.parametrize(
    ("kind_", "scope", "whose"),
    [
        ("poll", OWN, "a person"),
        ("poll", USER, "a person"),
        ("poll", CHAT, "a chat"),
        ("poll", TOPIC, "a chat"),
        ("message_reaction_count", OWN, "a person"),
        ("deleted_business_messages", USER, "a person"),
    ],
)
def test_a_state_waits_for_what_never_comes_to_its_flow(kind_: str, scope: Any, whose: str):
    """Telegram Bot API, Update: they tell nobody who did it, and a poll not even a chat."""
    made = flow(scope=scope)
    made.at(S.A).update(kind(kind_))(leads(END, "counts"))
    (line,) = problems(made)
    assert line == (
        f"flow f: state a: {kind_} comes without {whose} and never reaches a flow of one (counts): "
        "take it with a handler of the router"
    )


@pytest.mark.parametrize(
    ("kinds", "scope"),
    [
        (("message_reaction_count",), CHAT),
        (("poll", "poll_answer"), OWN),
        (("pre_checkout_query",), OWN),
        (("poll_answer",), CHAT),
        ((), OWN),
    ],
)
def test_what_may_come_to_its_flow_is_no_problem(kinds: tuple[str, ...], scope: Any):
    made = flow(scope=scope)
    made.at(S.A).update(*([kind(*kinds)] if kinds else []))(leads(END, "counts"))
    assert problems(made) == []


def test_a_flow_that_begins_with_such_an_update_is_its_authors():
    made = flow()
    made.entry.update(kind("message_reaction_count"))(leads(A, "counted"))
    made.at(S.A).update(kind("message_reaction_count"))(leads(END, "counts"))
    assert problems(made) == []
