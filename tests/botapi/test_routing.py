from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model import Envelope
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import FAKE_USERS, Route, envelope, migration, route
from telegram.botapi.types import KINDS

ANN = {"id": 42, "is_bot": False, "first_name": "Ann"}
BOB = {"id": 43, "is_bot": False, "first_name": "Bob"}
GROUP = {"id": -100123, "type": "supergroup", "title": "G"}
CHANNEL = {"id": -100777, "type": "channel", "title": "C"}
PRIVATE = {"id": 42, "type": "private", "first_name": "Ann"}
IN_GROUP = {"message_id": 1, "date": 1, "chat": GROUP, "from": ANN, "text": "hi"}
POST = {"message_id": 1, "date": 1, "chat": CHANNEL, "sender_chat": CHANNEL, "text": "news"}
BUSINESS = {"message_id": 1, "date": 1, "chat": PRIVATE, "from": ANN, "business_connection_id": "bc1"}
MEMBERS = {"chat": GROUP, "from": ANN, "date": 1, "old_chat_member": {"user": BOB, "status": "left"}}
SOURCE = {"source": "premium", "user": BOB}
PRESS = {"id": "1", "from": ANN, "chat_instance": "c", "data": "d"}

LANES: list[tuple[str, dict[str, Any], str, str]] = [
    ("message", IN_GROUP, "chat:-100123", "42"),
    ("edited_message", IN_GROUP, "chat:-100123", "42"),
    ("channel_post", POST, "chat:-100777", "-100777"),
    ("edited_channel_post", POST, "chat:-100777", "-100777"),
    ("business_connection", {"id": "bc1", "user": ANN, "user_chat_id": 42}, "chat:42", "42"),
    ("business_message", BUSINESS, "business:bc1:42", "42"),
    ("edited_business_message", BUSINESS, "business:bc1:42", "42"),
    (
        "deleted_business_messages",
        {"business_connection_id": "bc1", "chat": PRIVATE, "message_ids": [1]},
        "business:bc1:42",
        "",
    ),
    ("guest_message", IN_GROUP | {"guest_query_id": "q"}, "guest:-100123", "42"),
    ("message_reaction", {"chat": GROUP, "message_id": 1, "user": ANN}, "chat:-100123", "42"),
    ("message_reaction_count", {"chat": GROUP, "message_id": 1}, "chat:-100123", ""),
    ("inline_query", {"id": "1", "from": ANN, "query": "x"}, "inline_query:42", "42"),
    ("chosen_inline_result", {"result_id": "1", "from": ANN, "query": "x"}, "chat:42", "42"),
    ("callback_query", PRESS | {"message": IN_GROUP | {"from": BOB}}, "chat:-100123", "42"),
    ("shipping_query", {"id": "1", "from": ANN}, "payment:42", "42"),
    ("pre_checkout_query", {"id": "1", "from": ANN}, "payment:42", "42"),
    ("purchased_paid_media", {"from": ANN, "paid_media_payload": "p"}, "chat:42", "42"),
    ("poll", {"id": "900", "question": "?"}, "poll:900", ""),
    ("poll_answer", {"poll_id": "900", "user": ANN, "option_ids": [0]}, "poll:900", "42"),
    ("my_chat_member", MEMBERS | {"new_chat_member": {"user": BOB}}, "chat:-100123", "42"),
    ("chat_member", MEMBERS | {"new_chat_member": {"user": BOB}}, "chat:-100123", "43"),
    ("chat_join_request", {"chat": GROUP, "from": ANN, "user_chat_id": 42}, "chat:-100123", "42"),
    ("chat_boost", {"chat": GROUP, "boost": {"boost_id": "b", "source": SOURCE}}, "chat:-100123", "43"),
    ("removed_chat_boost", {"chat": GROUP, "boost_id": "b", "source": SOURCE}, "chat:-100123", "43"),
    ("managed_bot", {"user": ANN, "bot": BOB}, "chat:42", "42"),
    ("subscription", {"user": ANN, "invoice_payload": "p"}, "chat:42", "42"),
    ("stopped_message_generation", {"chat": PRIVATE, "draft_id": 3}, "chat:42", "42"),
]


@pytest.mark.parametrize(("kind", "item", "key", "scope"), LANES)
def test_every_kind_has_its_lane(kind: str, item: dict[str, Any], key: str, scope: str) -> None:
    assert route({"update_id": 7, kind: item}, 7) == Route(key, scope)
    assert route({kind: item, "update_id": 7}, 7) == Route(key, scope)


def test_no_kind_is_forgotten() -> None:
    assert [kind for kind, *_ in LANES] == list(KINDS)


ODD: list[tuple[str, dict[str, Any], str, str]] = [
    # A button in an inline message, on a message that is gone, on a business message.
    ("callback_query", PRESS | {"inline_message_id": "i"}, "inline:i", ""),
    ("callback_query", PRESS | {"inline_message_id": "é"}, "inline:\\xe9", ""),
    ("callback_query", PRESS | {"inline_message_id": 5}, "chat:42", "42"),
    ("chosen_inline_result", {"result_id": "1", "from": ANN, "inline_message_id": "i"}, "inline:i", ""),
    (
        "callback_query",
        PRESS | {"message": {"chat": GROUP, "message_id": 1, "date": 0}},
        "chat:-100123",
        "42",
    ),
    ("callback_query", PRESS | {"message": BUSINESS}, "business:bc1:42", "42"),
    ("callback_query", PRESS | {"message": {"chat": {"id": "x"}}}, "chat:42", "42"),
    # Telegram waits 10 s for the answer to a request to join with a query.
    (
        "chat_join_request",
        {"chat": GROUP, "from": ANN, "user_chat_id": 42, "query_id": "q"},
        "join_request:-100123:42",
        "42",
    ),
    ("chat_join_request", {"chat": GROUP, "query_id": "q"}, "chat:-100123", ""),
    # A chat that speaks for itself.
    ("message", IN_GROUP | {"sender_chat": CHANNEL}, "chat:-100123", "-100777"),
    ("message", IN_GROUP | {"from": {"id": 136817688}, "sender_chat": CHANNEL}, "chat:-100123", "-100777"),
    ("message_reaction", {"chat": GROUP, "actor_chat": CHANNEL}, "chat:-100123", "-100777"),
    ("poll_answer", {"poll_id": "9", "voter_chat": CHANNEL, "user": {"id": 136817688}}, "poll:9", "-100777"),
    # Nobody in particular.
    ("message", {"message_id": 1, "chat": GROUP}, "chat:-100123", ""),
    ("chat_member", MEMBERS, "chat:-100123", ""),
    ("chat_boost", {"chat": GROUP, "boost": {"source": {"source": "giveaway"}}}, "chat:-100123", ""),
    ("stopped_message_generation", {"chat": GROUP}, "chat:-100123", ""),
    # Ids are what the types read as an integer (tests/botapi/test_routing_agrees.py).
    ("message", {"chat": {"id": 42}, "from": {"id": True}}, "chat:42", "1"),
    ("message", {"chat": {"id": 42}, "from": {"id": "43"}}, "chat:42", "43"),
    ("message", {"chat": {"id": 42}, "from": {"id": 43.0}}, "chat:42", "43"),
    ("message", {"chat": {"id": "42"}}, "chat:42", ""),
    ("message", {"chat": {"id": False}}, "chat:0", ""),
    ("message", {"chat": {"id": 42.5}}, "update:7", ""),
    ("message", {"chat": {"id": 10**5000}}, "update:7", ""),
    ("message", {"chat": {"id": 2**63 - 1}, "from": {"id": -(2**63)}}, f"chat:{2**63 - 1}", f"{-(2**63)}"),
    ("message", {"chat": {"id": 2**63}}, "update:7", ""),
    ("poll", {"id": 900}, "update:7", ""),
    ("poll", {"id": ""}, "update:7", ""),
    # A known kind without its place: wherever else a chat or a user stands.
    ("inline_query", {"chat": GROUP}, "chat:-100123", ""),
    ("business_message", {"chat": PRIVATE, "from": ANN}, "chat:42", "42"),
    # Kinds that are not known yet.
    ("teleport", {"chat": GROUP, "from": ANN}, "chat:-100123", "42"),
    ("teleport", {"chat": GROUP, "user": ANN}, "chat:-100123", "42"),
    ("teleport", {"message": IN_GROUP, "from": BOB}, "chat:-100123", "43"),
    ("teleport", {"message": BUSINESS}, "business:bc1:42", ""),
    ("teleport", {"from": ANN, "user": BOB}, "chat:42", "42"),
    ("teleport", {"user": BOB}, "chat:43", "43"),
    ("teleport", {"to": ANN}, "update:7", ""),
]


@pytest.mark.parametrize(("kind", "item", "key", "scope"), ODD)
def test_odd_updates(kind: str, item: dict[str, Any], key: str, scope: str) -> None:
    assert route({"update_id": 7, kind: item}, 7) == Route(key, scope)


@pytest.mark.parametrize("fake", sorted(FAKE_USERS))
@pytest.mark.parametrize(("kind", "actor"), [("message", "from"), ("message_reaction", "user")])
def test_fake_users_own_nothing(fake: int, kind: str, actor: str) -> None:
    assert route({kind: {"chat": GROUP, actor: {"id": fake}}}, 7) == Route("chat:-100123", "")


@pytest.mark.parametrize("fields", [None, {}, {"update_id": 7}, {"message": None}, {"message": []}])
def test_an_update_without_a_chat_or_user_has_a_lane_of_its_own(fields: dict[str, Any] | None) -> None:
    assert route(fields, 7) == Route("update:7", "")


def test_known_kind_goes_before_unknown_company() -> None:
    assert route({"teleport": {"chat": PRIVATE}, "message": IN_GROUP}, 7).key == "chat:-100123"


def test_user_without_a_chat_shares_the_lane_of_the_private_chat() -> None:
    in_private = route({"message": IN_GROUP | {"chat": PRIVATE}}, 1)
    assert route({"purchased_paid_media": {"from": ANN}}, 2) == in_private


@pytest.mark.parametrize("kind", ["pre_checkout_query", "shipping_query", "inline_query"])
def test_queries_that_cannot_wait_stand_in_lanes_of_their_own(kind: str) -> None:
    key, scope = route({kind: {"from": ANN}}, 2)
    assert key not in {"chat:42", route({"callback_query": {"from": ANN, "inline_message_id": "42"}}, 3).key}
    assert scope == "42"


def test_equal_chat_ids_of_different_worlds_do_not_meet() -> None:
    keys = {route({kind: BUSINESS}, 1).key for kind in ("message", "business_message", "guest_message")}
    assert len(keys) == 3


def test_string_ids_fit_into_every_store() -> None:
    key = route({"poll": {"id": "a\udcffé\x00" + "z" * 5000}}, 7).key
    assert key.startswith("poll:a\\udcff\\xe9\\0")
    assert key.isascii()
    assert len(key) < 600


PLACES = (
    "id chat from user message sender_chat actor_chat voter_chat business_connection_id poll_id boost source"
)
KEYS = st.sampled_from([*PLACES.split(), "new_chat_member", *KINDS])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KINDS) | st.text(max_size=5), ANYTHING, max_size=3))
def test_total_over_anything(fields: dict[str, Any]) -> None:
    key, scope = route(fields, 7)
    assert key.split(":")[0] in {
        "chat",
        "business",
        "guest",
        "poll",
        "update",
        "inline",
        "inline_query",
        "payment",
    }
    assert key.isascii()
    assert scope == "" or str(int(scope)) == scope


def test_envelope_carries_the_bytes_as_they_are() -> None:
    raw = RawUpdate(7, b'{"exact" : 1}', {"message": IN_GROUP})
    assert envelope(raw) == Envelope(7, "chat:-100123", "42", b'{"exact" : 1}', 0.0)
    assert envelope(raw, 5.5).at == 5.5


NEW_GROUP, OLD_GROUP = {"id": -100555, "type": "supergroup"}, {"id": -555, "type": "group"}


@pytest.mark.parametrize(
    ("fields", "moved"),
    [
        ({"message": {"chat": OLD_GROUP, "migrate_to_chat_id": -100555}}, ("chat:-100555", "chat:-555")),
        ({"message": {"chat": NEW_GROUP, "migrate_from_chat_id": -555}}, ("chat:-100555", "chat:-555")),
        ({"message": IN_GROUP}, None),
        ({"message": {"chat": OLD_GROUP, "migrate_to_chat_id": "-100555"}}, None),
        ({"message": {"chat": NEW_GROUP, "migrate_from_chat_id": True}}, None),
        ({"message": {"migrate_to_chat_id": -100555}}, None),
        (
            {"message": IN_GROUP | {"reply_to_message": {"chat": OLD_GROUP, "migrate_to_chat_id": -100555}}},
            None,
        ),
        ({"edited_message": {"chat": OLD_GROUP, "migrate_to_chat_id": -100555}}, None),
        ({"message": []}, None),
        (None, None),
    ],
)
def test_a_migration_is_recognised_in_both_chats(fields: Any, moved: tuple[str, str] | None) -> None:
    assert migration(fields) == moved
