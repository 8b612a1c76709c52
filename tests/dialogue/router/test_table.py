"""The quick table finds whom the slow search finds, for any router and any update."""

import inspect
from enum import Enum
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from telegram.botapi.types import Message
from telegram.dialogue import (
    Extract,
    Flow,
    Invalid,
    Router,
    TimerContext,
    Tools,
    any_of,
    carries,
    chat_type,
    command,
    content,
    data,
    data_prefix,
    kind,
    no,
    photo,
    regex,
    text,
    video,
)
from telegram.dialogue.buttons.callback_data import CallbackData
from telegram.dialogue.filters import builtin as filters
from telegram.dialogue.filters.builtin import MEDIA, checked_filters, hint_of
from telegram.dialogue.filters.conditions import Condition
from telegram.dialogue.filters.contradictions import check_possible
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.route import Route
from telegram.dialogue.state.timers import Fired
from tests.kit.deliveries import GROUP, PRIVATE, context, delivery, message, naive_match, press
from tests.kit.updates import KINDS


class Pick(CallbackData, prefix="pick"):
    number: int


class Text(CallbackData, prefix="text"):
    pass


class Args(BaseModel):
    number: int


PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
FILE = {"file_id": "f", "file_unique_id": "u"}
CLIP = {**FILE, "width": 1, "height": 1, "duration": 1}
CONTENTS: dict[str, Any] = {
    "photo": PHOTO,
    "document": FILE,
    "audio": {**FILE, "duration": 1},
    "video": CLIP,
    "voice": {**FILE, "duration": 1},
    "animation": CLIP,
    "video_note": {**FILE, "length": 1, "duration": 1},
    "sticker": {
        **FILE, "type": "regular", "width": 1, "height": 1, "is_animated": False, "is_video": False,
    },
    "location": {"latitude": 1.0, "longitude": 1.0},
    "contact": {"phone_number": "1", "first_name": "A"},
    "successful_payment": {
        "currency": "XTR", "total_amount": 1, "invoice_payload": "start",
        "telegram_payment_charge_id": "1", "provider_payment_charge_id": "1",
    },
    "dice": {"emoji": "x", "value": 1},
    "poll": KINDS["poll"],
    "new_chat_title": "start",
}  # fmt: skip

EXTRACTS = [each for each in vars(filters).values() if isinstance(each, Extract)]
COMMANDS = [command("start"), command("START", "help"), command("pick"), command("text")]
SIMPLE: list[Any] = [
    *COMMANDS,
    command("start").payload,
    command("start", "pick").parse(Args),
    *(text, regex("a"), regex("^/"), regex("")),
    *EXTRACTS,
    *(content(name) for name in ("photo", "document", "text", "caption", "new_chat_title", "game")),
    *(content("photo", "document"), content("photo", "caption"), content("poll", "dice")),
    *(data("start"), data("pick:1", "x"), data(""), data(" photo"), data_prefix("pick"), data_prefix("")),
    *(carries(Pick), Pick, Text),
    *(kind("message"), kind("poll", "callback_query"), kind("timer")),
    *(chat_type("private"), chat_type("supergroup", "channel")),
]
COMBINED: list[Any] = [
    *(
        any_of(command("start"), content("photo")),
        any_of(photo, video),
        any_of(carries(Pick), text),
        any_of(),
    ),
    *(
        any_of(command("start").parse(Args), data("x")),
        no(command("start")),
        no(text),
        no(photo),
        no(carries(Pick)),
    ),
    *(no(any_of(photo, carries(Pick))), any_of(no(text), command("start")), no(content("photo"))),
    *(photo | video, text | photo, ~text, ~photo, ~command("start"), photo | carries(Pick) | text),
    *(command("start") & chat_type("private"), photo & chat_type("private"), data("x") & ~kind("poll")),
    *(
        command("start").parse(Args) & chat_type("private"),
        command("start", prefix="!/"),
        command("start", prefix=".").payload,
    ),
]
FILTERS = SIMPLE + COMBINED
PLAIN = [each for each in FILTERS if not isinstance(each, type) and callable(each)]
ON = ["message", "edited_message", "callback_query", "any_message", "update", "poll_answer", "inline_query"]

TEXTS = ["!start", ".start x", "/start", "/start x", "/start 1", "/help", "/pick", "/text", "/Start@other", "/unknown", "a", "pick:1",
         " text", "", "/"]  # fmt: skip
BUTTONS = ["start", "pick:1", "pick:x", "pick", "text", "x", "x:y", "", " text", " photo", ":", None]

UNDER: list[Any] = [
    *(message(each) for each in ("", "a", "/start", "pick:1")),
    *(message(None, **{name: value}) for name, value in CONTENTS.items()),
    message(None, photo=PHOTO, caption="/start"),
    message(None, photo=PHOTO, caption="a", chat=GROUP),
    {"message_id": 1, "date": 0, "chat": PRIVATE},  # too old to be seen
    None,
]
MESSAGES: list[Any] = [
    *(message(each, chat=chat) for each in TEXTS for chat in (PRIVATE, GROUP)),
    *UNDER[:-2],
    *(message(None, **{name: value}, caption="/start 1") for name, value in CONTENTS.items()),
    *(message("/start", **{name: value}) for name, value in CONTENTS.items()),  # Telegram sends no such
]
TIMER = "~a timer"


def updates() -> list[dict[str, Any]]:
    """All there is: each kind as Telegram sends it, each kind of message with each content, each press."""
    named = ("message", "edited_message", "channel_post", "business_message", "guest_message")
    return [
        *({name: value} for name, value in KINDS.items()),
        *({name: each} for name in named for each in MESSAGES),
        *({"callback_query": press(each, message=under)} for each in BUTTONS for under in UNDER),
        {"callback_query": press(None, message=message(None, photo=PHOTO), game_short_name="start")},
        *({TIMER: name} for name in ("start", "x")),
    ]


def context_for(update: dict[str, Any]) -> Any:
    """The context of an update, or of a timer."""
    if TIMER not in update:
        return context(update, username="my_bot")
    fired = Fired(update[TIMER], 7, 7, {}, {})
    return TimerContext(fired, delivery({"message": message()}), Tools(username="my_bot"))


UPDATES = updates()


class Where(Enum):
    HERE = "here"


class Nothing(BaseModel):
    pass


def a_flow(number: int, filters_: list[Any]) -> Flow[Any, Any]:
    flow = Flow(f"flow {number}", Where, Nothing)

    @flow.entry.message(*filters_)
    async def begin() -> Literal[Where.HERE]:
        return Where.HERE

    return flow


def are_possible(given_filters: list[Any]) -> bool:
    """Others are refused where they are written (telegram/dialogue/filters/contradictions.py)."""
    try:
        check_possible(checked_filters(tuple(given_filters)))
    except TypeError:
        return False
    return True


@st.composite
def routers(draw: st.DrawFn, depth: int = 0) -> Router:
    router = Router(*draw(st.lists(st.sampled_from(PLAIN), max_size=1 if depth else 0)))
    for number in range(draw(st.integers(0, 6))):
        what = draw(st.integers(0, 8))
        given_filters = draw(st.lists(st.sampled_from(FILTERS), max_size=3).filter(are_possible))
        if depth < 2 and what in {0, 1}:
            router.include(draw(routers(depth + 1)))
        elif what == 2:
            router.include(a_flow(number, given_filters))
        elif what == 3:

            async def timed() -> None: ...

            router.timer("start")(timed)
        else:

            async def handler(*given: Any) -> None: ...

            getattr(router, draw(st.sampled_from(ON)))(*given_filters)(handler)
    return router


def outcome(find: Any, ctx: Any) -> Any:
    """Who takes it, or what the user is told."""
    try:
        found = find(ctx)
    except Invalid as invalid:
        return invalid.text
    return getattr(found, "handler", found)


@given(routers(), st.lists(st.sampled_from(UPDATES), min_size=1, max_size=20))
def test_the_table_finds_whom_the_naive_search_finds(router, given_updates):
    table = Table(router)
    for update in given_updates:
        ctx = context_for(update)
        assert outcome(table.find, ctx) is outcome(partial(naive_match, router), ctx) or (
            outcome(table.find, ctx) == outcome(partial(naive_match, router), ctx)
        )


def test_all_filters_of_the_module_are_among_those():
    made = {
        "command",
        "regex",
        "button",
        "button_prefix",
        "data",
        "data_prefix",
        "carries",
        "kind",
        "chat_type",
        "content",
    }
    helpers = {
        "checked_filters", "first_word", "hint_of", "Hint",
    }  # fmt: skip
    here = {
        name
        for name, each in vars(filters).items()
        if getattr(each, "__module__", "") == filters.__name__
        and (inspect.isfunction(each) or inspect.isclass(each))
        and not name.startswith("_")
    }
    assert here == made | helpers
    assert [each for each in vars(filters).values() if isinstance(each, Condition)] == [text]
    assert len(EXTRACTS) == 11


CONTEXTS = [context_for(update) for update in UPDATES]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_no_hint_rules_out_what_a_filter_takes(number):
    """Exhaustive: each filter, alone and with each other one, as a handler for all kinds; every update."""
    passing = [[passes(each, ctx) for ctx in CONTEXTS] for each in FILTERS]
    for other in (None, *range(len(FILTERS))):
        both = [number] if other is None else [number, other]
        hint = hint_of(filters.checked_filters(tuple(FILTERS[each] for each in both)))
        for at, ctx in enumerate(CONTEXTS):
            if all(passing[each][at] for each in both):
                assert is_allowed(hint, ctx), (FILTERS[number], other, ctx.update)


def is_allowed(hint: filters.Hint, ctx: Any) -> bool:
    word = ctx.command or (None if ctx.button is None else ctx.button.partition(":")[0])
    return (hint.words is None or word in hint.words) and not (hint.without_text and ctx.text)


_PASSING: dict[tuple[int, int], bool] = {}


def passes(each: Any, ctx: Any) -> bool:
    """Whether a filter alone takes it; what is told to the user is taken, too."""
    key = (id(each), id(ctx))
    if key not in _PASSING:
        (checked,) = filters.checked_filters((each,))
        try:
            _PASSING[key] = checked.read(ctx) is not None if isinstance(checked, Extract) else checked(ctx)
        except Invalid:
            _PASSING[key] = True
    return _PASSING[key]


class Louder(dict):  # type: ignore[type-arg]
    """A filter of an author with something under the name `hint`: it is not taken for one of ours."""

    hint = filters.Hint(frozenset(("start",)), without_text=True)

    def __call__(self, ctx: Any) -> bool:
        return True


def test_the_hints_of_others_are_not_believed():
    class Photos(Extract[Any]):
        hint = filters.Hint(frozenset(("start",)), without_text=True)

    async def handler(*given: Any) -> None: ...

    for each in (Louder(), Photos(str, lambda ctx: "x")):
        assert Route(None, (each,), handler).hint == filters.Hint()
    with pytest.raises(TypeError, match="hint"):
        Extract(str, lambda ctx: "x", hint=frozenset("x"))  # type: ignore[call-arg]


def test_a_photo_under_a_button_hides_no_button():
    router = Router()

    @router.callback_query(content("photo"))
    async def under_a_photo() -> None: ...

    @router.callback_query(data("delete"))
    async def delete() -> None: ...

    table = Table(router)
    photographed = message(None, photo=PHOTO)
    assert (
        table.find(context({"callback_query": press("delete", message=photographed)})).handler
        is under_a_photo
    )
    assert table.find(context({"callback_query": press("delete")})).handler is delete


def test_a_message_with_a_text_has_no_media():
    """`text` is there "for text messages" only (Telegram Bot API, Message); what has both is a text."""
    both = context({"message": message("a", photo=PHOTO)})
    assert photo.read(both) is None
    assert not content("photo")(both)
    assert content("photo", "caption")(both)


@pytest.mark.parametrize(
    ("update", "taker"),
    [
        ({"message": message("/start x")}, "command"),
        ({"message": message("/other")}, "any text"),
        ({"message": message("a")}, "any text"),
        ({"message": message(None, photo=PHOTO)}, "photo"),
        ({"message": message(None, new_chat_title="x")}, "title"),
        ({"message": message(None, document=FILE)}, "any message"),
        ({"callback_query": press("pick:1")}, "typed data"),
        ({"callback_query": press("x:y")}, "data"),
        ({"callback_query": press("x:z")}, "any button"),
        ({"poll": KINDS["poll"]}, "anything"),
    ],
)
def test_each_is_found_by_what_it_names(update, taker):
    router = Router()
    takers: dict[str, Any] = {
        "command": router.message(command("start")),
        "photo": router.message(photo),
        "any text": router.message(regex("")),
        "title": router.message(content("new_chat_title")),
        "any message": router.message(),
        "typed data": router.callback_query(Pick),
        "data": router.callback_query(data("x:y")),
        "any button": router.callback_query(),
        "anything": router.update(),
    }
    handlers = {}
    for name, on in takers.items():

        async def handler(*given: Any) -> None: ...

        handlers[on(handler)] = name
    taken = Table(router).find(context(update))
    assert taken is not None
    assert handlers[taken.handler] == taker


@pytest.mark.parametrize("more", [(), (photo,), (data("x"),)])
def test_a_usage_error_is_raised_by_both(more):
    """Also if a filter behind it would not pass: it is not asked any more."""
    router = Router()

    @router.update(command("pick").parse(Pick), *more)
    async def handler(ctx: Any) -> None: ...

    ctx = context({"message": message("/pick x")})
    for find in (Table(router).find, partial(naive_match, router)):
        with pytest.raises(Invalid, match="/pick <number>"):
            find(ctx)


def test_media_are_fields_of_a_message():
    assert set(Message.model_fields) >= MEDIA
