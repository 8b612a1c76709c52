"""The shortcut for usual updates reads just what the whole schema reads, and nothing else."""

import json

import pytest

from telegram.botapi import usual
from telegram.botapi.decoding import decode
from telegram.botapi.types import Update
from tests.kit.updates import CHANNEL, KINDS, Json, message

FORWARDED = message(forward_origin={"type": "hidden_user", "date": 1, "sender_user_name": "Eve"})
NEWER_ORIGIN = message(forward_origin={"type": "later", "date": 1, "more": [1]})
NEWER_CHAT = message(chat={"id": 7, "type": "later", "later": True})
REPLY = message(reply_to_message=message(reply_to_message=message()))
GONE = {**KINDS["callback_query"], "message": {"message_id": 1, "date": 0, "chat": CHANNEL}}

USUAL: list[tuple[str, Json]] = [
    *((kind, KINDS[kind]) for kind in ("message", "edited_message", "channel_post", "callback_query")),
    *(("message", each) for each in (FORWARDED, NEWER_ORIGIN, NEWER_CHAT, REPLY, message(text=None))),
    ("callback_query", GONE),
]
OTHERS: list[tuple[str, Json]] = [
    ("poll", KINDS["poll"]),
    ("later", message()),
    ("message", message(later=1)),
    ("message", message(dice={"emoji": "🎲", "value": 1})),
    ("message", message(reply_to_message=message(dice={"emoji": "🎲", "value": 1}))),
    ("message", message(text=5)),
    ("message", message(chat=None)),
]


def encoded(kind: str, item: Json) -> bytes:
    return json.dumps({"update_id": 5, kind: item}).encode()


@pytest.mark.parametrize(("kind", "item"), USUAL)
def test_what_the_shortcut_reads_is_what_the_whole_schema_reads(kind: str, item: Json) -> None:
    short, whole = usual.read(encoded(kind, item)), Update.model_validate_json(encoded(kind, item))
    assert short is not None
    assert short.kind == whole.kind == kind
    assert (short, repr(short)) == (whole, repr(whole))
    assert short.model_dump() == whole.model_dump()
    assert list(short.model_dump()) == list(whole.model_dump())
    assert list(vars(getattr(short, kind))) == list(vars(getattr(whole, kind)))
    assert getattr(short, kind).model_fields_set == getattr(whole, kind).model_fields_set


@pytest.mark.parametrize(("kind", "item"), OTHERS)
def test_what_is_broken_or_not_usual_is_left_to_the_whole_schema(kind: str, item: Json) -> None:
    assert usual.read(encoded(kind, item)) is None


def test_an_update_that_carries_nothing_is_read() -> None:
    assert decode(b'{"update_id":5}').kind is None


def test_the_shortcut_does_not_change_the_types() -> None:
    usual.read(encoded("message", message()))
    assert decode(encoded("message", message(later=1))).message.later == 1
