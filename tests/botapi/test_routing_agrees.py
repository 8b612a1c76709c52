"""Where an update is routed and what its handler is given are of the same chat, whatever the server writes."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from telegram.botapi.decoding import decode
from telegram.botapi.errors import Unreadable
from telegram.botapi.intake import RawUpdate, split
from telegram.botapi.routing import envelope, route
from telegram.botapi.types import KINDS as KIND_NAMES
from tests.kit.updates import GROUP, KINDS, message

ODD = [
    *(
        "1.0",
        '"1"',
        "true",
        "false",
        "0",
        '"0"',
        '" 1 "',
        '"+1"',
        '"-1"',
        '"01"',
        '"1_0"',
        '"1.0"',
        "1e0",
        '"1e0"',
    ),
    *(
        "-0.0",
        "1.5",
        "null",
        "[1]",
        "{}",
        '""',
        '"x"',
        "1e30",
        '"1e3"',
        str(2**63),
        f'"{2**63}"',
        "NaN",
        "1E400",
    ),
    *('"\\u0661"', f"{2**53 + 1}.0", "-1001234567890.0", '"-1001234567890"', "9007199254740993"),
]


def places(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each place at which an object of an update says who or where."""
    for name, each in value.items():
        if name in {"id", "message_thread_id", "user_chat_id", "is_forum", "is_topic_message"}:
            yield (*at, name)
        if isinstance(each, dict):
            yield from places(each, (*at, name))


def put(value: Any, at: tuple[str, ...], odd: Any) -> Any:
    changed = copy.deepcopy(value)
    inner = changed
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = odd
    return changed


def agrees(body: bytes) -> bool:
    """Whether it is routed as what its handler sees would be; True for what no handler sees."""
    [raw] = split(b'{"ok":true,"result":[%b]}' % body)
    try:
        update = decode(body)
    except Unreadable:
        return True
    seen = update.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return envelope(raw)[:3] == envelope(RawUpdate(raw.update_id, body, seen))[:3]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_number_in_another_form_is_the_same_number_for_both(kind: str) -> None:
    item = KINDS[kind]
    if kind == "message":
        item = {**item, "chat": GROUP, "message_thread_id": 5, "is_topic_message": True}
    wrong = [
        (at, odd)
        for at in places(item)
        for odd in ODD
        if not agrees(json.dumps({"update_id": 1, kind: put(item, at, "@@")}).replace('"@@"', odd).encode())
    ]
    assert wrong == []


@pytest.mark.parametrize("odd", [*ODD, '"true"', '"off"'])
def test_a_flag_in_another_form_is_the_same_flag_for_both(odd: str) -> None:
    body = json.dumps({"update_id": 1, "message": message(chat={**GROUP, "is_forum": "@@"})})
    assert agrees(body.replace('"@@"', odd).encode())


@pytest.mark.parametrize("odd", ["1.0", '"1"', "true"])
def test_such_a_chat_has_one_lane(odd: str) -> None:
    body = json.dumps({"update_id": 1, "message": message(chat={"id": "@@", "type": "private"})})
    update = decode(body.replace('"@@"', odd).encode())
    assert update.message is not None
    assert update.message.chat.id == 1
    assert route(json.loads(body.replace('"@@"', odd)), 1).key == "chat:1"


@pytest.mark.parametrize("first", KIND_NAMES)
@pytest.mark.parametrize("second", ["message", "callback_query", "poll", "my_chat_member"])
def test_an_update_of_two_kinds_is_a_dead_letter(first: str, second: str) -> None:
    """Telegram Bot API, Update: at most one of the optional fields can be present."""
    if first == second:
        return
    for one, other in ((first, second), (second, first)):
        with pytest.raises(Unreadable, match="more than one kind"):
            decode(json.dumps({"update_id": 1, one: KINDS[one], other: KINDS[other]}).encode())
    nothing = decode(json.dumps({"update_id": 1, first: KINDS[first], second: None}).encode())
    assert nothing.kind == first


def test_a_second_kind_that_is_broken_does_not_hide_the_first() -> None:
    body = json.dumps({"update_id": 1, "message": {"chat": 5}, "callback_query": KINDS["callback_query"]})
    with pytest.raises(Unreadable, match="more than one kind"):
        decode(body.encode())


def test_of_a_name_twice_both_take_the_last() -> None:
    for name, first, last in (
        ("id", "5", "7"),
        ("chat", '{"id":5,"type":"private"}', '{"id":7,"type":"private"}'),
    ):
        chat = (
            f'"chat":{{"id":{first},"id":{last},"type":"private"}}'
            if name == "id"
            else f'"chat":{first},"chat":{last}'
        )
        body = b'{"update_id":1,"message":{"message_id":1,"date":1,%b,"text":"x"}}' % chat.encode()
        update = decode(body)
        assert update.message is not None
        assert route(json.loads(body), 1).key == f"chat:{update.message.chat.id}" == "chat:7"
        assert agrees(body)
