import re
from enum import Enum
from itertools import combinations
from typing import Any, Literal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from telegram.dialogue import (
    CallbackContext,
    CallbackData,
    any_of,
    carries,
    chat_type,
    command,
    content,
    data,
    data_prefix,
    inline,
    kind,
    no,
    photo,
    regex,
    text,
)
from telegram.dialogue.diagrams.diagram import duration, mermaid, picture_of, plain
from telegram.dialogue.diagrams.layout import GAP_X, Link, Size, lay_out
from telegram.dialogue.diagrams.svg import svg
from telegram.dialogue.filters.builtin import label_of
from telegram.dialogue.flows.flow import Flow
from telegram.dialogue.flows.outcomes import BACK, END, Back, End
from tests.flows import sound

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a"b\n<script>alert(1)</script>; end note %% direction TB --> ]]> {x} #35; [*]'


class Data(BaseModel):
    n: int = 0


class Vote(CallbackData, prefix="vote"):
    up: bool


class S(Enum):
    A = HOSTILE
    B = "b"


def hostile() -> Flow[S, Data, None]:
    flow = Flow("x]]>\n<script>", S, Data)
    flow.at(S.A).ask("?", reply_markup=inline([(HOSTILE, "yes")]))

    @flow.entry.message(regex(HOSTILE.replace("[*]", "")))
    async def begin(ctx: Any, data: Data, found: Any) -> Literal[S.A]:
        return S.A

    @flow.at(S.A).callback_query(data("yes"))
    async def press(ctx: CallbackContext, data: Data) -> Literal[S.B]:
        return S.B

    @flow.at(S.B).callback_query(data("no"))
    async def end(ctx: CallbackContext, data: Data) -> End[None]:
        return END

    @flow.anywhere.message(command("a"), lambda ctx: True)
    async def back(ctx: Any, data: Data) -> Back:
        return BACK

    return flow


# ---- labels


def unnamed(ctx: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("passes", "label"),
    [
        (command("survey", "ask"), "/survey or /ask"),
        (command("age").parse(Data), "/age [n]"),
        (command("start").payload, "/start <payload>"),
        (text, "text"),
        (photo, "photo"),
        (regex("^a+$"), "text like ^a+$"),
        (data("yes", "no"), "'yes' or 'no' button"),
        (data_prefix("a:"), "a:… button"),
        (carries(Vote), "Vote button"),
        (content("dice", "poll"), "dice or poll"),
        (kind("poll"), "poll"),
        (chat_type("group"), "in a group chat"),
        (any_of(lambda ctx: True, text), "a condition or text"),
        (no(command("x")), "not /x"),
        (unnamed, "unnamed"),
        (lambda ctx: True, "a condition"),
    ],
)
def test_filters_say_what_they_want(passes, label):
    assert label_of(passes) == label


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0.5, "0.5 s"),
        (45, "45 s"),
        (90, "1.5 min"),
        (600, "10 min"),
        (3601, "3601 s"),
        (36000, "10 h"),
        (172800, "2 d"),
    ],
)
def test_times_are_for_people(seconds, says):
    assert duration(seconds) == says


# ---- Mermaid


def test_a_survey_in_whole():
    assert (
        mermaid(picture_of(sound.survey))
        == """\
stateDiagram-v2
    state "name" as s1
    state "age (after 10 min)" as s2
    state "summary" as s3
    [*] --> s1 : /survey
    s1 --> s2 : text
    s2 --> s1 : /back
    s2 --> s3 : text
    s2 --> [*] : time-out
    s3 --> s2 : /back
    s3 --> [*] : Confirm button
    s3 --> s1 : Change the name button
    note right of s1
        In every state
        /cancel → end
    end note
"""
    )


def test_an_order_with_an_address_in_it_in_whole():
    assert (
        mermaid(picture_of(sound.order))
        == """\
stateDiagram-v2
    state "cart" as s1
    state "address" as s2{
        state "street" as s2_1
        state "town" as s2_2
        [*] --> s2_1
        s2_1 --> s2_2 : text
        s2_2 --> [*] : text
        note right of s2_1
            In every state
            /back → back
        end note
    }
    state "pay" as s3
    [*] --> s1 : /order
    s1 --> s2 : To the till button
    s2 --> s3 : address done
    s3 --> s2 : Another address button
    s3 --> [*] : Pay button
    s1 --> s1 : Tea / Cake buttons
    note right of s1
        In every state
        /cancel → end
        time-out after 30 min → end
    end note
"""
    )


def test_hostile_names_in_whole():
    head = "a#34;b #60;script#62;alert(1)#60;/script#62;#59; en#100; note #37;#37;"
    name = f"{head} directio#110; TB --#62;…"
    expected = f"""\
stateDiagram-v2
    state "{name}" as s1
    state "b" as s2
    [*] --> s1 : text like {head} direct…
    s1 --> s2 : {name} button
    s2 --> [*] : 'no' button
    note right of s1
        In every state
        /a and a condition → back
    end note
"""
    assert mermaid(picture_of(hostile())) == expected


def test_a_button_that_every_state_shows_is_named_by_its_text():
    flow = Flow("f", S, Data)
    for state in S:
        flow.at(state).ask("?", reply_markup=inline([("« Back", "back")]))

    @flow.anywhere.callback_query(data("back"))
    async def back() -> Back:
        return BACK

    assert picture_of(flow).everywhere == ("« Back button → back",)


def test_handlers_without_filters_are_named_by_what_they_take():
    flow = Flow("f", S, Data)

    async def leave() -> End[None]:
        return END

    flow.at(S.B).message()(leave)
    flow.at(S.B).any_message()(leave)
    flow.at(S.B).callback_query()(leave)
    flow.at(S.B).update()(leave)
    flow.at(S.B).burst()(leave)
    flow.at(S.B).album()(leave)
    flow.at(S.B).timer("tea")(leave)
    (edge,) = (each for each in picture_of(flow).edges if each.target == "end")
    assert edge.labels == ("any message", "any button", "anything", "burst", "album", "timer tea")


def test_of_many_buttons_the_first_four_are_named():
    flow = Flow("f", S, Data)
    for state, letters in ((S.A, "abcd"), (S.B, "abcde")):
        flow.at(state).ask("?", reply_markup=inline([(each, each) for each in letters]))

        @flow.at(state).callback_query()
        async def stay() -> None: ...

    assert [node.stays for node in picture_of(flow).nodes] == [
        ("a / b / c / d buttons",),
        ("a / b / c / d / … buttons",),
    ]


def test_flows_that_run_in_each_other_are_drawn_once():
    one, two = Flow("one", S, Data), Flow("two", S, Data)

    async def leave(ctx: Any, data: Data, value: Any) -> End[None]:
        return END

    one.at(S.B).runs(two)(leave)
    two.at(S.B).runs(one)(leave)
    inner = picture_of(one).nodes[1].inner
    assert inner is not None
    assert [node.inner for node in inner.nodes] == [None, None]


def test_a_flow_that_nothing_begins_begins_in_its_first_state_and_without_more_has_no_note():
    flow = Flow("f", S, Data)

    @flow.at(S.A).message(text)
    async def leave() -> End[None]:
        return END

    lines = mermaid(picture_of(flow)).splitlines()[3:]
    assert lines == ["    [*] --> s1", "    s1 --> [*] : text"]


def test_a_sub_flow_is_drawn_from_its_first_state_whatever_begins_it_alone():
    outer, inner = Flow("outer", S, Data), Flow("inner", S, Data)

    async def leave(ctx: Any, data: Data, value: Any) -> End[None]:
        return END

    @inner.entry.message(command("b"))
    async def begin() -> Literal[S.B]:
        return S.B

    outer.at(S.B).runs(inner)(leave)
    node = picture_of(outer).nodes[1]
    assert (node.title, node.inner and [edge[:2] for edge in node.inner.edges]) == (
        "b: inner",
        [("start", "s2_1")],
    )
    assert [edge[:2] for edge in picture_of(inner).edges] == [("start", "s2")]


def test_a_flow_that_begins_in_a_later_state():
    flow = Flow("f", S, Data, begins=[S.B])
    assert [edge[:2] for edge in picture_of(flow).edges] == [("start", "s2")]


def test_a_handler_of_all_other_updates_is_drawn_once_with_its_outcomes():
    flow = Flow("f", S, Data)

    @flow.otherwise.message()
    async def stay() -> None: ...

    @flow.anywhere.message(command("b"))
    async def leave() -> Literal[S.B] | Back | End[None]:
        return END

    assert picture_of(flow).everywhere == ("/b → b or back or end", "else any message → stays")


def test_a_label_has_at_most_sixty_letters():
    assert (plain("x" * 60), plain("x" * 61)) == ("x" * 60, "x" * 59 + "…")


def test_a_state_that_leads_to_itself_and_elsewhere():
    flow = Flow("f", S, Data)

    @flow.at(S.B).message(text)
    async def again() -> Literal[S.B] | End[None]:
        return S.B

    @flow.at(S.B).message(photo)
    async def leave() -> End[None] | None:
        return END

    picture = picture_of(flow)
    assert picture.nodes[1].stays == ("text",)
    assert "s2 --> s2 : text\n" in mermaid(picture)
    assert "s2 --> [*] : text, photo\n" in mermaid(picture)


def test_nothing_hostile_is_left_for_mermaid():
    for line in mermaid(picture_of(hostile())).splitlines()[1:]:
        said = line.partition(" : ")[2] or "".join(re.findall('"(.*)"', line))
        assert not re.search(r'["<>{}\[\]%:]|#(?!\d+;)|(?<!\d);|direction\s|end note', said)


# ---- SVG


def parsed(source: str) -> ET.Element:
    return ET.fromstring(source)  # noqa: S314 - our own


def boxes(root: ET.Element, kinds: str) -> list[tuple[float, float, float, float]]:
    found = [each for each in root.iter(f"{SVG}rect") if each.get("class") in kinds.split()]
    edges = [[float(each.get(name, "")) for name in ("x", "y", "width", "height")] for each in found]
    return [(x, y, x + width, y + height) for x, y, width, height in edges]


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


FLOWS: dict[str, Flow[Any, Any, Any]] = {
    "survey": sound.survey,
    "order": sound.order,
    "quiz": sound.quiz,
    "hostile": hostile(),
}


@pytest.mark.parametrize("name", FLOWS)
def test_the_svg_shows_each_state_once_and_nothing_on_top_of_another(name):
    root = parsed(svg(picture_of(FLOWS[name])))
    shown = [each.get("data-state") for each in root.iter(f"{SVG}g") if each.get("data-state")]
    nested = list(sound.Where) if name == "order" else []
    assert len(shown) == len(set(shown)) == len([*FLOWS[name].steps, *nested])
    _, _, wide, high = map(float, root.get("viewBox", "").split())
    found = boxes(root, "state note ground")
    assert len(found) > len(shown)
    assert not [pair for pair in combinations(found, 2) if overlap(*pair)]
    for left, top, right, bottom in found:
        assert 0 <= left < right <= wide
        assert 0 <= top < bottom <= high


def test_a_nested_flow_is_inside_its_state():
    root = parsed(svg(picture_of(sound.order)))
    (around,) = boxes(root, "flow")
    (host,) = [each for each in root.iter(f"{SVG}g") if each.get("data-state") == "address"]
    inner = boxes(host, "state note ground")
    assert len(inner) == 5  # two states, two labels, and the note
    assert all(
        around[0] < x and around[1] < y and to_x < around[2] and to_y < around[3]
        for x, y, to_x, to_y in inner
    )
    outer = [each for each in boxes(root, "state note ground") if each not in inner]
    assert not [each for each in outer if overlap(each, around)]


def test_hostile_texts_are_only_texts():
    source = svg(picture_of(hostile()))
    root = parsed(source)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in source
    words = " ".join(each.text or "" for each in root.iter(f"{SVG}text"))
    assert 'a"b <script>alert(1)</scrip' in words.replace("\n", " ")
    assert "x]]> <script>" in root.get("aria-label", "")


def test_the_svg_needs_nothing_else():
    source = svg(picture_of(sound.order))
    assert not re.search(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#)", source)
    assert re.findall(r"https?://[^\"]*", source) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in source


def test_every_arrow_ends_upright_so_that_its_head_is_not_turned():
    root = parsed(svg(picture_of(sound.survey)))
    arrows = [each.get("d", "") for each in root.iter(f"{SVG}path") if each.get("class") == "arrow"]
    assert len(arrows) == 8
    for path in arrows:
        numbers = [float(each) for each in re.findall(r"-?[\d.]+", path)]
        *_, x1, y1, x2, y2 = numbers
        assert x1 == x2
        assert y1 != y2


# ---- layout


def test_a_chain_stands_in_one_column():
    layout = lay_out([Size(90, 30)] * 3, [Link(0, 1, Size(40, 17)), Link(1, 2, Size(60, 17))])
    assert len({box.x for box in layout.boxes}) == 1
    assert [box.y for box in layout.boxes] == sorted(box.y for box in layout.boxes)


def test_what_leads_back_goes_up():
    layout = lay_out([Size(90, 30)] * 2, [Link(0, 1, Size(40, 17)), Link(1, 0, Size(40, 17))])
    down, up = layout.routes
    assert down.points[0].y < down.points[-1].y
    assert up.points[0].y > up.points[-1].y
    assert abs(down.label.x - up.label.x) >= 40 + GAP_X


def test_of_two_orders_the_one_without_crossing_is_taken():
    links = [Link(0, 1, Size(8, 8)), Link(0, 2, Size(8, 8)), Link(1, 4, Size(8, 8)), Link(2, 3, Size(8, 8))]
    boxes = lay_out([Size(50, 20)] * 5, links).boxes
    assert (boxes[1].x < boxes[2].x) == (boxes[4].x < boxes[3].x)


def test_nothing_at_all_can_be_laid_out():
    assert lay_out([], []).size == Size(0, 0)
    assert lay_out([Size(10, 10)], []).size == Size(10, 10)


sizes = st.builds(Size, st.integers(8, 200), st.integers(8, 80))


@st.composite
def graphs(draw):
    boxes = draw(st.lists(sizes, min_size=2, max_size=9))
    ends = st.integers(0, len(boxes) - 1)
    pairs = draw(
        st.lists(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1]), max_size=14, unique=True)
    )
    return boxes, [Link(source, target, draw(sizes)) for source, target in pairs]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_and_labels_never_overlap(graph):
    boxes, links = graph
    layout = lay_out(boxes, links)
    middles = [*layout.boxes, *(route.label for route in layout.routes)]
    placed = [
        (x - wide / 2 + 0.01, y - high / 2 + 0.01, x + wide / 2 - 0.01, y + high / 2 - 0.01)
        for (x, y), (wide, high) in zip(middles, [*boxes, *(link.label for link in links)], strict=True)
    ]
    assert not [pair for pair in combinations(placed, 2) if overlap(*pair)]
    for link, route in zip(links, layout.routes, strict=True):
        for number, end in ((0, link.source), (-1, link.target)):
            x, y = route.points[number]
            assert abs(x - layout.boxes[end].x) <= boxes[end].width / 2
            assert abs(y - layout.boxes[end].y) == pytest.approx(boxes[end].height / 2)
