"""The quick table finds whom the slow search finds, for any router and any update."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.callback_data import CallbackData
from telegram.dialogue import (
    Invalid,
    Router,
    any_of,
    carries,
    chat_type,
    command,
    content,
    data,
    data_prefix,
    document,
    kind,
    no,
    photo,
    regex,
    text,
)
from telegram.dialogue.filters import MEDIA
from telegram.dialogue.table import Table
from telegram.types import Message
from tests.kit.deliveries import GROUP, context, message, naive_match, press
from tests.kit.updates import KINDS


class Pick(CallbackData, prefix="pick"):
    number: int


class Text(CallbackData, prefix="text"):
    pass


PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
DOCUMENT = {"file_id": "f", "file_unique_id": "u"}

FILTERS: list[Any] = [
    *(command("start"), command("START", "help"), command("pick"), command("text"), command("start").payload),
    *(text, regex("a"), regex("^/"), photo, document, content("photo"), content("photo", "document")),
    *(content("text"), content("caption"), content("photo", "caption"), content("new_chat_title")),
    *(
        data("start"),
        data("pick:1", "x"),
        data(""),
        data_prefix("pick"),
        data_prefix(""),
        carries(Pick),
        Pick,
        Text,
    ),
    *(kind("message"), kind("poll", "callback_query"), chat_type("private"), chat_type("supergroup")),
    *(any_of(command("start"), content("photo")), no(command("start")), no(text)),
]
PLAIN = [each for each in FILTERS if not isinstance(each, type) and callable(each)]
ON = ["message", "edited_message", "callback_query", "any_message", "update", "poll_answer"]

TEXTS = [
    "/start",
    "/start x",
    "/help",
    "/pick",
    "/text",
    "/Start@other",
    "/unknown",
    "a",
    "pick:1",
    " text",
    "",
    "/",
]
BUTTONS = ["start", "pick:1", "pick:x", "pick", "text", "x", "x:y", "", " text", " photo", ":", None]


def updates() -> st.SearchStrategy[dict[str, Any]]:
    media = st.sampled_from(
        [
            {},
            {"photo": PHOTO},
            {"photo": PHOTO, "caption": "/start"},
            {"document": DOCUMENT},
            {"new_chat_title": "x"},
        ]
    )
    messages = st.builds(
        lambda said, chat, more: message(None if more else said, **more, **({"chat": chat} if chat else {})),
        st.sampled_from([*TEXTS, None]),
        st.sampled_from([None, GROUP]),
        media,
    )
    named = st.sampled_from(["message", "edited_message", "channel_post"])
    return st.one_of(
        st.builds(lambda name, each: {name: each}, named, messages),
        st.builds(
            lambda each, under: {"callback_query": press(each, message=under)},
            st.sampled_from(BUTTONS),
            messages,
        ),
        st.sampled_from([{"poll": KINDS["poll"]}, {"poll_answer": KINDS["poll_answer"]}]),
    )


@st.composite
def routers(draw: st.DrawFn, depth: int = 0) -> Router:
    router = Router(*draw(st.lists(st.sampled_from(PLAIN), max_size=1 if depth else 0)))
    for _ in range(draw(st.integers(0, 6))):
        if depth < 2 and draw(st.integers(0, 4)) == 0:
            router.include(draw(routers(depth + 1)))
            continue

        async def handler(*given: Any) -> None: ...

        on = getattr(router, draw(st.sampled_from(ON)))
        on(*draw(st.lists(st.sampled_from(FILTERS), max_size=2)))(handler)
    return router


@given(routers(), st.lists(updates(), min_size=1, max_size=8))
def test_the_table_finds_whom_the_naive_search_finds(router, given_updates):
    table = Table(router)
    for update in given_updates:
        ctx = context(update, username="my_bot")
        taken = table.find(ctx)
        assert (None if taken is None else taken.handler) is naive_match(router, ctx)


@pytest.mark.parametrize(
    ("update", "taker"),
    [
        ({"message": message("/start x")}, "command"),
        ({"message": message("/other")}, "any text"),
        ({"message": message("a")}, "any text"),
        ({"message": message(None, photo=PHOTO)}, "photo"),
        ({"message": message(None, new_chat_title="x")}, "title"),
        ({"message": message(None, document=DOCUMENT)}, "any message"),
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


def test_a_usage_error_is_raised_by_both():
    router = Router()

    @router.message(command("pick").parse(Pick))
    async def handler(ctx: Any) -> None: ...

    ctx = context({"message": message("/pick x")})
    for find in (Table(router).find, partial(naive_match, router)):
        try:
            find(ctx)
        except Invalid as invalid:
            assert "/pick <number>" in invalid.text
        else:
            raise AssertionError


def test_media_are_fields_of_a_message():
    assert {name.strip() for name in MEDIA} <= set(Message.model_fields)
