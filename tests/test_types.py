import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from telegram.errors import Unreadable
from telegram.types import (
    KINDS,
    InaccessibleMessage,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    MessageOriginHiddenUser,
    MessageOriginUnknown,
    Update,
    decode,
)

USER = {"id": 5, "is_bot": False, "first_name": "Ann"}
CHAT = {"id": 5, "type": "private", "first_name": "Ann"}
MESSAGE = {"message_id": 1, "date": 1_700_000_000, "chat": CHAT, "from": USER, "text": "hi"}


def update(**kinds: Any) -> bytes:
    return json.dumps({"update_id": 7} | kinds).encode()


def message(**fields: Any) -> bytes:
    return update(message=MESSAGE | fields)


def test_message() -> None:
    found = decode(message(entities=[{"type": "bold", "offset": 0, "length": 2}])).message
    assert found is not None
    assert (found.text, found.chat.id) == ("hi", 5)
    assert found.from_ is not None
    assert found.from_.first_name == "Ann"
    assert found.entities is not None
    assert found.entities[0].length == 2


def test_unknown_fields_are_kept() -> None:
    found = decode(message(sticker={"emoji": "x"})).message
    assert found is not None
    assert found.model_extra == {"sticker": {"emoji": "x"}}


def test_objects_are_frozen() -> None:
    found = decode(message()).message
    assert found is not None
    with pytest.raises(ValidationError):
        found.text = "other"  # type: ignore[misc]


def press(pressed: dict[str, Any] | None) -> Any:
    query = {"id": "1", "from": USER, "chat_instance": "c", "data": "d"}
    found = decode(update(callback_query=query | ({"message": pressed} if pressed else {}))).callback_query
    assert found is not None
    return found.message


def test_button_press_on_a_message_that_is_gone() -> None:
    assert isinstance(press({"message_id": 1, "date": 0, "chat": CHAT}), InaccessibleMessage)
    assert isinstance(press(MESSAGE), Message)
    assert press(None) is None


def test_forward_origin() -> None:
    hidden = decode(message(forward_origin={"type": "hidden_user", "date": 1, "sender_user_name": "B"}))
    assert hidden.message is not None
    assert isinstance(hidden.message.forward_origin, MessageOriginHiddenUser)
    future = decode(message(forward_origin={"type": "starship", "date": 1, "crew": 3}))
    assert future.message is not None
    assert isinstance(future.message.forward_origin, MessageOriginUnknown)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (message(text="@").replace(b"@", b"\xff"), "invalid UTF-8"),
        (message(text="@").replace(b"@", b"\\ud83d"), "lone surrogate"),
        (message(text="@").replace(b"@", b"\\udc00 x"), "lone surrogate"),
        (message()[:-1], "broken JSON"),
        (b"", "broken JSON"),
        (b"[" * 100_000, "broken JSON"),
        (message(text="@").replace(b"@", b"\n"), "broken JSON"),
        (b"[]", "update: model_type"),
        (b'{"message":null}', "update_id: missing"),
        (message(chat={"type": "private"}), "message.chat.id: missing"),
        (message(chat=[]), "message.chat: model_type"),
        (
            message(forward_origin={"type": "hidden_user", "date": 1}),
            "message.forward_origin.hidden_user.sender_user_name: missing",
        ),
        (update(teleport={"from": USER}), "unknown kind of update: teleport"),
        (update(**{"x\n" + "y" * 99: {}}), "unknown kind of update: x " + "y" * 62),
    ],
)
def test_unreadable_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(body)
    assert caught.value.reason == reason


def test_reason_does_not_quote_users() -> None:
    with pytest.raises(Unreadable) as caught:
        decode(message(text={"private words": 1}))
    assert "private" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.binary() | st.text().map(str.encode))
def test_decode_raises_nothing_else(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(b"\x00" + body)


def test_27_kinds_are_known() -> None:
    assert len(set(KINDS)) == 27


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(Update.model_fields)))
def test_kind_without_a_model_is_kept_as_it_is(kind: str) -> None:
    found = decode(update(**{kind: {"id": "5", "new": [1]}}))
    assert found.kind == kind
    assert found.model_extra == {kind: {"id": "5", "new": [1]}}


@pytest.mark.parametrize("kind", sorted(set(KINDS) & set(Update.model_fields) - {"callback_query"}))
def test_every_kind_of_message_is_typed(kind: str) -> None:
    found = decode(update(**{kind: MESSAGE}))
    assert found.kind == kind
    assert isinstance(getattr(found, kind), Message)


def test_kind_of_nothing_and_of_what_is_known_beside_the_unknown() -> None:
    assert decode(update()).kind is None
    assert decode(update(message=None)).kind is None
    assert decode(update(aaa=1, message=MESSAGE)).kind == "message"
    assert Update.model_validate({"update_id": 1, "kind": {}, "copy": {}}).kind == "copy"


def test_keyboard_goes_out_as_telegram_spells_it() -> None:
    button = InlineKeyboardButton(text="Go", callback_data="go")
    dumped = InlineKeyboardMarkup(inline_keyboard=[[button]]).model_dump(exclude_none=True, by_alias=True)
    assert dumped == {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}
