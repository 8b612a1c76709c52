"""A realistic raw update of each kind, as Telegram sends it; and the odd ones that have stopped other bots."""

from typing import Any, Final

Json = dict[str, Any]

ALICE: Final[Json] = {
    "id": 7,
    "is_bot": False,
    "first_name": "Alice",
    "username": "alice",
    "language_code": "en",
}
BOB: Final[Json] = {"id": 8, "is_bot": False, "first_name": "Bob"}
BOT: Final[Json] = {"id": 99, "is_bot": True, "first_name": "Bot", "username": "my_bot"}
PRIVATE: Final[Json] = {"id": 7, "type": "private", "first_name": "Alice", "username": "alice"}
GROUP: Final[Json] = {"id": -1001234567890, "type": "supergroup", "title": "Group", "is_forum": True}
CHANNEL: Final[Json] = {"id": -1009876543210, "type": "channel", "title": "News"}
DATE: Final = 1_790_000_000


def message(**more: Any) -> Json:
    """A text message from Alice."""
    return {"message_id": 11, "date": DATE, "chat": PRIVATE, "from": ALICE, "text": "hello", **more}


_MEMBER: Final[Json] = {"status": "member", "user": BOT}
_KICKED: Final[Json] = {"status": "kicked", "user": BOT, "until_date": 0}
_OLD_ADMINISTRATOR: Final[Json] = {  # as a local server of 10.0 sends it: flags that came later are missing
    "status": "administrator",
    "user": BOB,
    "can_be_edited": False,
    "is_anonymous": False,
    "can_manage_chat": True,
}
_BOOST: Final[Json] = {
    "boost_id": "b1",
    "add_date": DATE,
    "expiration_date": DATE + 86_400,
    "source": {"source": "premium", "user": ALICE},
}
_ADDRESS: Final[Json] = {
    "country_code": "DE",
    "state": "",
    "city": "Berlin",
    "street_line1": "Street 1",
    "street_line2": "",
    "post_code": "10115",
}
_POLL: Final[Json] = {
    "id": "555",
    "question": "Tea?",
    "options": [
        {"persistent_id": "0", "text": "Yes", "voter_count": 1},
        {"persistent_id": "1", "text": "No", "voter_count": 0},
    ],
    "total_voter_count": 1,
    "is_closed": False,
    "is_anonymous": True,
    "type": "regular",
    "allows_multiple_answers": False,
    "allows_revoting": True,
    "members_only": False,
}

KINDS: Final[dict[str, Json]] = {
    "message": message(entities=[{"type": "bold", "offset": 0, "length": 5}]),
    "edited_message": message(edit_date=DATE + 1),
    "channel_post": {"message_id": 5, "date": DATE, "chat": CHANNEL, "sender_chat": CHANNEL, "text": "news"},
    "edited_channel_post": {
        "message_id": 5,
        "date": DATE,
        "edit_date": DATE + 1,
        "chat": CHANNEL,
        "sender_chat": CHANNEL,
        "text": "newer",
    },
    "business_connection": {
        "id": "bc1",
        "user": ALICE,
        "user_chat_id": 7,
        "date": DATE,
        "is_enabled": True,
        "rights": {"can_reply": True},
    },
    "business_message": message(business_connection_id="bc1", chat={**PRIVATE, "id": 8}, **{"from": BOB}),
    "edited_business_message": message(business_connection_id="bc1", edit_date=DATE + 1),
    "deleted_business_messages": {"business_connection_id": "bc1", "chat": PRIVATE, "message_ids": [1, 2]},
    "guest_message": message(guest_query_id="g1", chat=GROUP),
    "message_reaction": {
        "chat": GROUP,
        "message_id": 3,
        "user": ALICE,
        "date": DATE,
        "old_reaction": [],
        "new_reaction": [{"type": "emoji", "emoji": "👍"}, {"type": "custom_emoji", "custom_emoji_id": "1"}],
    },
    "message_reaction_count": {
        "chat": CHANNEL,
        "message_id": 3,
        "date": DATE,
        "reactions": [{"type": {"type": "paid"}, "total_count": 2}],
    },
    "inline_query": {"id": "1", "from": ALICE, "query": "cat", "offset": "", "chat_type": "sender"},
    "chosen_inline_result": {"result_id": "r1", "from": ALICE, "query": "cat", "inline_message_id": "i1"},
    "callback_query": {
        "id": "1",
        "from": ALICE,
        "chat_instance": "-1",
        "message": message(**{"from": BOT}),
        "data": "go",
    },
    "shipping_query": {"id": "1", "from": ALICE, "invoice_payload": "p", "shipping_address": _ADDRESS},
    "pre_checkout_query": {
        "id": "1",
        "from": ALICE,
        "currency": "XTR",
        "total_amount": 5,
        "invoice_payload": "p",
    },
    "purchased_paid_media": {"from": ALICE, "paid_media_payload": "p"},
    "poll": _POLL,
    "poll_answer": {"poll_id": "555", "user": ALICE, "option_ids": [0], "option_persistent_ids": ["0"]},
    "my_chat_member": {
        "chat": PRIVATE,
        "from": ALICE,
        "date": DATE,
        "old_chat_member": _MEMBER,
        "new_chat_member": _KICKED,
    },
    "chat_member": {
        "chat": GROUP,
        "from": ALICE,
        "date": DATE,
        "old_chat_member": {"status": "left", "user": BOB},
        "new_chat_member": _OLD_ADMINISTRATOR,
        "via_join_request": True,
    },
    "chat_join_request": {"chat": GROUP, "from": BOB, "user_chat_id": 8, "date": DATE, "bio": "hi"},
    "chat_boost": {"chat": CHANNEL, "boost": _BOOST},
    "removed_chat_boost": {
        "chat": CHANNEL,
        "boost_id": "b1",
        "remove_date": DATE,
        "source": {"source": "giveaway", "giveaway_message_id": 0, "is_unclaimed": True},
    },
    "managed_bot": {"user": ALICE, "bot": BOT},
    "subscription": {"user": ALICE, "invoice_payload": "p", "state": "active"},
    "stopped_message_generation": {"chat": PRIVATE, "draft_id": 1},
}
"""By kind: what stands under its name in the update."""
