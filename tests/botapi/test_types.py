import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from telegram.botapi.decoding import decode
from telegram.botapi.errors import Unreadable
from telegram.botapi.intake import UPDATE_BYTES_MAX
from telegram.botapi.objects import TelegramObject, Unknown
from telegram.botapi.types import (
    KINDS,
    ChatMemberAdministrator,
    InaccessibleMessage,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    MessageOriginHiddenUser,
    RichBlock,
    Update,
)
from tests.kit import updates

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
    found = decode(message(teleport={"emoji": "x"})).message
    assert found is not None
    assert found.model_extra == {"teleport": {"emoji": "x"}}


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
    assert isinstance(future.message.forward_origin, Unknown)


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
        (update(teleport={"from": USER}), "unknown kind of update: teleport"),
        (update(**{"x\n" + "y" * 99: {}}), "unknown kind of update: not a name"),
    ],
)
def test_unreadable_has_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(body)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        ({"forward_origin": {"type": "hidden_user", "date": 1}}, ("message.forward_origin",)),
        ({"external_reply": {"origin": {"type": "user", "date": 1, "sender_user": USER}, "story": {}}},
         ("message.external_reply.story",)),
        ({"entities": [{"type": "bold", "offset": 0, "length": 1}, {"type": "bold"}, 7]},
         ("message.entities.1", "message.entities.1")),
        ({"text": 5}, ("message.text",)),
        ({"from": {"id": "x"}, "photo": [{}]}, ("message.from.id", "message.from", "message.photo.0")),
        ({"reply_to_message": {**MESSAGE, "reply_to_message": {"message_id": 1}}},
         ("message.reply_to_message.reply_to_message",)),
    ],
)  # fmt: skip
def test_an_invalid_part_is_dropped_and_listed_and_the_update_is_handled(
    broken: dict[str, Any], lost: tuple[str, ...]
) -> None:
    found = decode(message(**broken))
    assert found.lost == lost
    assert found.kind == "message"
    assert found.message.chat.id == 5
    assert found.update_id == 7


def test_an_update_with_too_many_broken_parts_is_unreadable() -> None:
    with pytest.raises(Unreadable, match=r"message\.photo\.0\.file_id: missing"):
        decode(message(photo=[{}] * 40))


def test_a_part_that_is_lost_takes_nothing_from_a_sound_one() -> None:
    found = decode(message(entities=[{"type": "bold"}, {"type": "bold", "offset": 1, "length": 1}]))
    assert [entity.offset for entity in found.message.entities] == [1]


def test_a_flag_that_an_older_server_does_not_send_is_off() -> None:
    member = decode(update(chat_member=updates.KINDS["chat_member"])).chat_member.new_chat_member
    assert isinstance(member, ChatMemberAdministrator)
    assert (member.can_manage_chat, member.can_send_welcome_messages) == (True, False)


def test_rich_text_is_text_lists_and_objects_in_any_depth() -> None:
    paragraph: Any
    block = {"type": "paragraph", "text": ["a", {"type": "bold", "text": ["b", {"type": "new", "x": 1}]}]}
    paragraph = TypeAdapter(RichBlock).validate_python(block)
    plain, bold = paragraph.text
    assert plain == "a"
    assert bold.text[0] == "b"
    assert isinstance(bold.text[1], Unknown)


def test_reason_does_not_quote_users() -> None:
    with pytest.raises(Unreadable) as caught:
        decode(message(chat={"private words": 1}))
    assert "private" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.binary() | st.text().map(str.encode))
def test_decode_raises_nothing_else(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(b"\x00" + body)


def test_27_kinds_are_known() -> None:
    assert len(set(KINDS)) == 27


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_typed_to_its_last_field(kind: str) -> None:
    found = decode(update(**{kind: updates.KINDS[kind]}))
    assert found.kind == kind
    assert found.lost == ()
    assert not untyped(getattr(found, kind))


def untyped(item: Any) -> list[Any]:
    """What no field is there for, in any depth."""
    if isinstance(item, list):
        return [found for each in item for found in untyped(each)]
    if isinstance(item, TelegramObject):
        parts = [found for each in item.__dict__.values() for found in untyped(each)]
        return [*parts, *([item] if isinstance(item, Unknown) else []), *(item.model_extra or {})]
    return []


def test_kind_of_nothing_and_of_what_is_known_beside_the_unknown() -> None:
    assert decode(update()).kind is None
    assert decode(update(message=None)).kind is None
    assert decode(update(aaa=1, message=MESSAGE)).kind == "message"
    assert Update.model_validate({"update_id": 1, "kind": {}, "copy": {}}).kind == "copy"


def test_keyboard_goes_out_as_telegram_spells_it() -> None:
    button = InlineKeyboardButton(text="Go", callback_data="go")
    dumped = InlineKeyboardMarkup(inline_keyboard=[[button]]).model_dump(exclude_none=True, by_alias=True)
    assert dumped == {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}


def test_an_update_that_is_too_long_is_not_read() -> None:
    with pytest.raises(Unreadable, match=f"longer than {UPDATE_BYTES_MAX} bytes"):
        decode(b'{"update_id":1,"poll":{"id":"1","more":"' + b"x" * UPDATE_BYTES_MAX + b'"}}')


def test_a_long_update_is_not_mended_part_by_part() -> None:
    bad = b'{"update_id":1,"message":{"chat":{"id":5,"type":"private"},"date":1,"message_id":1,"from":5,"text":"%b"}}'
    assert decode(bad % b"x").lost
    with pytest.raises(Unreadable):
        decode(bad % (b"x" * 2**18))
