"""Filters: what passes, what they hand over, and what a person is told."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from telegram.dialogue import (
    Invalid,
    MessageContext,
    Router,
    any_of,
    audio,
    caption,
    carries,
    chat_type,
    command,
    contact,
    content,
    data,
    document,
    kind,
    no,
    photo,
    regex,
    text,
    text_or_caption,
    video,
)
from telegram.dialogue.buttons.callback_data import CallbackData
from tests.kit.deliveries import GROUP, context, message, press
from tests.kit.updates import KINDS

PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]


class Args(BaseModel):
    number: int = Field(ge=1)
    word: str
    rest: str = "none"


class Nothing(BaseModel):
    pass


class Size(BaseModel):
    size: Literal["s", "m"] = "m"


class Pick(CallbackData, prefix="pick"):
    number: int


def said(said_text: str | None, **more: Any) -> Any:
    return context({"message": message(said_text, **more)}, username="my_bot")


# ---- command.parse


def parse(said_text: str) -> Any:
    return command("add", "plus").parse(Args).read(said(said_text))


@pytest.mark.parametrize(
    ("said_text", "expected"),
    [
        ("/add 3 x", Args(number=3, word="x")),
        ("/PLUS@My_Bot 3 x", Args(number=3, word="x")),
        ("/add  3\n x  all of\nthe rest ", Args(number=3, word="x", rest="all of\nthe rest")),
        ("/sub 3 x", None),
        ("/add@other_bot 3 x", None),
        ("add 3 x", None),
    ],
)
def test_arguments_in_the_order_of_the_fields(said_text, expected):
    assert parse(said_text) == expected


@pytest.mark.parametrize(
    ("said_text", "why"),
    [
        ("/add", "number: This is missing."),
        ("/add 3", "word: This is missing."),
        ("/add x y", "number: Please write a whole number."),
        ("/add 0 x", "number: Please write a number of at least 1."),
    ],
)
def test_arguments_that_do_not_fit_are_answered_with_the_usage(said_text, why):
    with pytest.raises(Invalid) as caught:
        parse(said_text)
    first, usage = caught.value.text.split("\n")
    assert first.startswith(why)
    assert usage == "Write it like this: /add <number> <word> [rest]"
    assert caught.value.__suppress_context__


def test_a_command_without_fields_or_with_defaults_only():
    assert command("x").parse(Nothing).read(said("/x")) == Nothing()
    assert command("x").parse(Nothing).read(said("/x ignored")) == Nothing()
    assert command("x").parse(Size).read(said("/x")) == Size(size="m")
    assert command("x").parse(Size).read(said("/x s")) == Size(size="s")


def test_the_payload_of_a_deep_link():
    payload = command("start").payload
    assert payload.read(said("/start ref_7")) == "ref_7"
    assert payload.read(said("/start")) is None
    assert payload.read(said("/help ref_7")) is None


# ---- texts and contents


def test_a_pattern_is_searched_and_its_match_handed_over():
    found = regex(r"(\d+) eur").read(said("for 12 eur"))
    assert found is not None
    assert found[1] == "12"
    assert regex("x").read(said("y")) is None
    assert regex("").read(said(None)) is None
    assert regex("button").read(context({"callback_query": press("button")})) is None


PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
DOCUMENT = {"file_id": "f", "file_unique_id": "u"}


def test_media_are_handed_over_if_they_are_there():
    found = photo.read(said(None, photo=PHOTO))
    assert found is not None
    assert found[0].file_id == "f"
    assert document.read(said(None, document=DOCUMENT)).file_id == "f"
    assert audio.read(said(None, document=DOCUMENT)) is None
    assert contact.read(said("x")) is None


def test_media_of_the_message_with_a_pressed_button_were_not_sent_by_the_person():
    query = press("x", message=message(None, photo=PHOTO))
    assert photo.read(context({"callback_query": query})) is None
    assert photo.read(context({"callback_query": {**query, "data": None, "game_short_name": "g"}})) is None


@pytest.mark.parametrize(
    ("names", "fields", "expected"),
    [
        (("photo",), {"photo": PHOTO}, True),
        (("photo", "document"), {"document": DOCUMENT}, True),
        (("photo",), {"document": DOCUMENT}, False),
        (("new_chat_members",), {"new_chat_members": [{"id": 1, "is_bot": False, "first_name": "A"}]}, True),
        (("caption",), {"photo": PHOTO, "caption": "x"}, True),
    ],
)
def test_content(names, fields, expected):
    assert content(*names)(said(None, **fields)) is expected


@pytest.mark.parametrize("names", [(), ("foto",), ("photo", "foto")])
def test_a_content_that_no_message_has_is_refused(names):
    with pytest.raises(ValueError, match=r"a Message has no (foto|field)"):
        content(*names)


# ---- where and who


@pytest.mark.parametrize(
    ("update", "types", "expected"),
    [
        ({"message": message()}, ("private",), True),
        ({"message": message(chat=GROUP)}, ("private",), False),
        ({"message": message(chat=GROUP)}, ("group", "supergroup"), True),
        ({"callback_query": press("x", message=message(chat=GROUP))}, ("supergroup",), True),
        ({"callback_query": press("x", message=None, inline_message_id="i")}, ("private",), False),
        ({"my_chat_member": KINDS["my_chat_member"]}, ("private",), True),
        ({"inline_query": KINDS["inline_query"]}, ("private",), False),
    ],
)
def test_the_type_of_the_chat(update, types, expected):
    assert chat_type(*types)(context(update)) is expected


def test_filters_of_filters():
    hello = said("hello")
    assert any_of(command("x"), text)(hello)
    assert not any_of(command("x"), command("y"))(hello)
    assert not any_of()(hello)
    assert no(command("x"))(hello)
    assert not no(text)(hello)
    assert kind("message")(hello)


def test_extracts_in_filters_of_filters_pass_what_they_would_take():
    picture = context({"message": message(None, photo=PHOTO)})
    hello = said("hello")
    assert [any_of(photo, video)(each) for each in (picture, hello)] == [True, False]
    assert [no(photo)(each) for each in (picture, hello)] == [False, True]
    assert [no(any_of(photo, text))(each) for each in (picture, hello)] == [False, False]


@pytest.mark.parametrize("wrong", ["photo", None, 7, Pick, MessageContext])
def test_what_is_no_filter_is_refused_at_once(wrong):
    with pytest.raises(TypeError, match="a filter is a plain function of the Context"):
        any_of(text, wrong)
    with pytest.raises(TypeError, match="a filter is a plain function of the Context"):
        no(wrong)


# ---- buttons


def test_typed_data_is_handed_over():
    assert carries(Pick).read(context({"callback_query": press("pick:3")})) == Pick(number=3)
    for other in ("pick:x", "pick", "other:3", "", None):
        assert carries(Pick).read(context({"callback_query": press(other)})) is None
    assert carries(Pick).read(said("pick:3")) is None


def test_data_by_value_has_colons_as_any_other_character():
    passes = data("a:b", "c")
    assert [passes(context({"callback_query": press(each)})) for each in ("a:b", "a", "c", "c:d")] == [
        True, False, True, False,
    ]  # fmt: skip


def test_arguments_that_cannot_be_read_do_not_pass_any_of():
    """Nobody takes the arguments there, so nobody is told of them: the next filter is asked."""

    class Args(BaseModel):
        number: int

    ctx = context({"message": message("/start x")}, username="my_bot")
    parsed = command("start").parse(Args)
    assert not any_of(parsed)(ctx)
    assert any_of(parsed, command("start"))(ctx)
    assert no(parsed)(ctx)


def test_an_extract_as_a_filter_of_a_router_is_refused_with_what_to_write():
    with pytest.raises(TypeError, match=r"photo hands a value over.*any_of"):
        Router(photo)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["say-hi", "привет", "two words", "a.b", "x" * 65])
def test_a_command_that_telegram_never_marks_is_refused(name):
    """thedotmack/claude-mem#1108, mvanhorn/paperclip-plugin-telegram#14 (hyphens), python-telegram-bot#2867 (other letters)."""
    with pytest.raises(ValueError, match="Telegram knows no command /"):
        command(name)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ((command("a"), command("b")), "nothing is /a and /b: one of several is"),
        ((data("a"), data("b")), "one of several is"),
        ((command("echo"), text), "nothing is /echo and text: `text` and the captions take no commands"),
        ((text, command("echo")), "what follows a command is ctx.args"),
        ((command("echo"), text_or_caption), "take no commands"),
        ((photo, text), "nothing is photo and text: the words beside it are a `caption`"),
        ((content("web_app_data", "photo"), text), None),
        ((photo, regex("x")), "are a `caption`"),
        ((data("a"), text), "a press has no text"),
        ((command("a", "b"), command("b", "c")), None),
        ((command("a"), regex("x")), None),
        ((photo, caption), None),
        ((photo, command("a")), None),
    ],
)
def test_filters_that_exclude_each_other_are_an_error_where_they_are_written(filters, said):
    """Such a handler never ran, in silence. Telegram Bot API, Message: `text` is there "for text messages"."""
    router = Router()

    async def handler() -> None: ...

    if said is None:
        router.message(*filters)(handler)
        return
    with pytest.raises(TypeError) as caught:
        router.message(*filters)(handler)
    assert said in str(caught.value)


def test_a_decorator_without_parentheses_names_them():
    """`@router.message` takes the handler for a filter, `@router.timer` for a name."""

    async def handler() -> None: ...

    router: Any = Router()
    with pytest.raises(TypeError, match=r"write the parentheses, too: @router.message\(\)"):
        router.message(handler)
    with pytest.raises(TypeError, match=r"a timer has a name: @router.timer\('tea'\)"):
        router.timer(handler)
