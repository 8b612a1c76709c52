"""The odd updates that have stopped other bots, or could: to extend the set, add one to ODD.

Each is pushed as the bytes behind its `update_id`, so it may be anything, also no JSON.
"""

import json
from typing import Any, Final, NamedTuple

from tests.kit.updates import ALICE, BOB, BOT, CHANNEL, DATE, GROUP, KINDS, PRIVATE, Json, message

UNSENT: Final = "update:{id}"
"""The lane of what names no chat, user or poll: one of its own."""


class Odd(NamedTuple):
    """What comes, where it belongs, and what becomes of it; a `reason` is that of a dead letter."""

    name: str
    rest: bytes
    key: str
    scope: str
    reason: str | None = None
    lost: tuple[str, ...] = ()


def rest_of(kind: str, item: Any) -> bytes:
    """The bytes of an update behind its id."""
    return json.dumps({kind: item}).encode()[1:-1]


def _of(name: str, kind: str, item: Any, key: str, scope: str, **more: Any) -> Odd:
    return Odd(name, rest_of(kind, item), key, scope, **more)


def _press(**more: Any) -> Json:
    return {**KINDS["callback_query"], **more}


def _with(place: bytes, item: Json) -> bytes:
    """A message or press whose "@" is these raw bytes."""
    return rest_of("message" if "date" in item else "callback_query", item).replace(b"@", place)


ALICES: Final = ("chat:7", "7")
IN_GROUP: Final = (f"chat:{GROUP['id']}", "7/0")  # a forum, in its general topic
AS_CHANNEL: Final = (f"chat:{GROUP['id']}", f"{CHANNEL['id']}/0")
DEEP: Final = b"[" * 50_000 + b"]" * 50_000

ODD: Final[tuple[Odd, ...]] = (
    # Kinds and fields that came after this version, and the two that no documentation names.
    _of("unknown kind", "teleport", message(), *ALICES, reason="unknown kind of update: teleport"),
    _of("kind without a name", "Te le", message(), *ALICES, reason="unknown kind of update: not a name"),
    _of("custom_event", "custom_event", "x", UNSENT, "", reason="unknown kind of update: custom_event"),
    _of("custom_query", "custom_query", {}, UNSENT, "", reason="unknown kind of update: custom_query"),
    _of("unknown fields", "message", message(teleport={"to": [1]}, thumb={}, left_chat_participant=BOB), *ALICES),
    _of("unknown entity", "message", message(entities=[{"type": "later", "offset": 0, "length": 1}]), *ALICES),
    _of("unknown origin", "message", message(forward_origin={"type": "later", "date": 1}), *ALICES),
    _of("unknown member", "chat_member", {**KINDS["chat_member"], "new_chat_member": {"status": "later", "user": BOB}},
        IN_GROUP[0], "8"),
    # Parts that are broken; the first two have stood still bots of other frameworks (facts, section 8).
    _of("origin without its name", "message", message(forward_origin={"type": "hidden_user", "date": 1}), *ALICES,
        lost=("message.forward_origin",)),
    _of("empty story", "message",
        message(external_reply={"origin": {"type": "user", "date": 1, "sender_user": ALICE}, "story": {}}), *ALICES,
        lost=("message.external_reply.story",)),
    _of("broken entity", "message", message(entities=[{"type": "bold"}, {"type": "bold", "offset": 0, "length": 1}]),
        *ALICES, lost=("message.entities.0",)),
    _of("entity beyond the text", "message", message(entities=[{"type": "bold", "offset": -5, "length": 2**40}]),
        *ALICES),
    _of("null text", "message", message(text=None), *ALICES),
    _of("text that is none", "message", message(text=5), *ALICES, lost=("message.text",)),
    _of("broken pinned message", "message", message(pinned_message={"date": 0}), *ALICES,
        lost=("message.pinned_message",)),
    _of("no chat", "message", {"message_id": 1, "date": DATE, "from": ALICE}, *ALICES, reason="message.chat: missing"),
    _of("chat id as text", "message", message(chat={**PRIVATE, "id": "x"}), *ALICES,
        reason="message.chat.id: int_parsing"),
    _of("message that is a list", "message", [], UNSENT, "", reason="message: model_type"),
    # Buttons.
    _of("inaccessible message", "callback_query", _press(message={"chat": GROUP, "message_id": 1, "date": 0}),
        IN_GROUP[0], "7"),
    _of("inline button", "callback_query", {"id": "1", "from": ALICE, "chat_instance": "c",
        "inline_message_id": "i", "data": "d"}, "inline:i", ""),
    _of("button of a business message", "callback_query",
        _press(message=message(business_connection_id="bc1", chat={**PRIVATE, "id": 8})), "business:bc1:8", "7"),
    _of("NUL in callback data", "callback_query", _press(data="a\0b"), *ALICES),
    _of("callback data of 10,000 characters", "callback_query", _press(data="x" * 10_000), *ALICES),
    Odd("invalid UTF-8 in callback data", _with(b"\xff\xfe", _press(data="@")), *ALICES, "invalid UTF-8"),
    Odd("cut UTF-8 in callback data", _with(b"\xf0\x9f", _press(data="@")), *ALICES, "invalid UTF-8"),
    # Text that some parsers take and others refuse.
    Odd("lone surrogate", _with(b"\\ud83d", message(text="@")), *ALICES, "lone surrogate"),
    Odd("surrogate in UTF-8", _with(b"\xed\xa0\xbd", message(text="@")), *ALICES, "invalid UTF-8"),
    Odd("raw control character", _with(b"\x01", message(text="@")), *ALICES, "broken JSON"),
    Odd("NaN", rest_of("message", message(later="@")).replace(b'"@"', b"NaN"), *ALICES),
    Odd("number of 5,000 digits", b'"message":{"x":' + b"9" * 5000 + b"}", UNSENT, "", "broken JSON"),
    Odd("one key twice", rest_of("message", message()) + b"," + rest_of("message", message(text="again")), *ALICES),
    Odd("deep nesting", rest_of("message", message(later="@")).replace(b'"@"', DEEP), UNSENT, "", "broken JSON"),
    Odd("brackets that do not close", b'"message":' + b"[" * 5000, UNSENT, "", "broken JSON"),
    Odd("cut in the middle", rest_of("message", message())[:60], UNSENT, "", "broken JSON"),
    # Ids.
    _of("id of 52 bits", "message", message(chat={**PRIVATE, "id": 2**52 - 1}, **{"from": {**ALICE, "id": 2**52 - 1}}),
        f"chat:{2**52 - 1}", str(2**52 - 1)),
    _of("id of 63 bits", "message", message(chat={**GROUP, "id": -(2**63)}), f"chat:{-(2**63)}", "7/0"),
    _of("id beyond 64 bits", "message", message(chat={**GROUP, "id": 2**70}), *ALICES),
    _of("file of 4 GB", "message", message(text=None, document={"file_id": "d", "file_unique_id": "u",
        "file_size": 2**32}), *ALICES),
    # Who writes.
    _of("channel as sender", "message", message(chat=GROUP, sender_chat=CHANNEL, **{"from": {**BOT, "id": 136817688}}),
        *AS_CHANNEL),
    _of("anonymous administrator", "message", message(chat=GROUP, sender_chat=GROUP, **{"from": {**BOT,
        "id": 1087968824}}), IN_GROUP[0], f"{GROUP['id']}/0"),
    _of("forwarded automatically", "message", message(chat=GROUP, is_automatic_forward=True, **{"from": {**BOT,
        "id": 777000}}), IN_GROUP[0], "/0"),
    _of("nobody", "message", {"message_id": 1, "date": DATE, "chat": GROUP, "group_chat_created": True},
        IN_GROUP[0], "/0"),
    _of("reaction of a channel", "message_reaction", {**KINDS["message_reaction"], "user": None, "actor_chat": CHANNEL},
        AS_CHANNEL[0], str(CHANNEL["id"])),
    _of("vote of a channel", "poll_answer", {**KINDS["poll_answer"], "voter_chat": CHANNEL, "user": {**BOT,
        "id": 136817688}}, "poll:555", str(CHANNEL["id"])),
    _of("giveaway boost of nobody", "chat_boost", {"chat": CHANNEL, "boost": {"boost_id": "b", "add_date": DATE,
        "expiration_date": DATE, "source": {"source": "giveaway", "giveaway_message_id": 1}}},
        f"chat:{CHANNEL['id']}", ""),
    _of("ephemeral message", "message", message(message_id=0, ephemeral_message_id=3, receiver_user=BOB), *ALICES),
    _of("in a topic", "message", message(chat=GROUP, message_thread_id=4, is_topic_message=True), IN_GROUP[0], "7/4"),
    _of("in the direct messages of a channel", "message", message(chat={**GROUP, "is_direct_messages": True},
        direct_messages_topic={"topic_id": 2, "user": ALICE}), *IN_GROUP),
    _of("business connection that ends", "business_connection", {**KINDS["business_connection"], "is_enabled": False,
        "rights": None}, *ALICES),
    _of("guest in a private chat", "guest_message", message(guest_query_id="g"), "guest:7", "7"),
    # Nothing at all.
    Odd("nothing", b'"message":null', UNSENT, ""),
    Odd("empty update", b'"":null', UNSENT, ""),
    Odd("two kinds", rest_of("poll", KINDS["poll"]) + b"," + rest_of("message", message()), "poll:555", "",
        reason="more than one kind of update"),
)  # fmt: skip
