"""Determines the lane (key) and the scope of every update.

The key names the lane, whose updates are handled strictly in order; the scope names the conversation in it. Every update
gets a lane, also one of an unknown kind. The bot's id is not part of the key, since a store belongs to one bot.

| update                                                       | key                                             |
|--------------------------------------------------------------|-------------------------------------------------|
| has a chat                                                   | `chat:<id>`                                     |
| has only a user (a private chat's id is its user's id)       | `chat:<user>`                                   |
| payment, inline query: Telegram waits only seconds           | `payment:<user>`, `inline_query:<user>`         |
| join request with a query_id: Telegram waits 10 s            | `join_request:<chat>:<user>`                    |
| about a message sent via the bot (inline mode)               | `inline:<inline_message_id>`                    |
| poll, vote                                                   | `poll:<id>`                                     |
| of a business connection, as a guest (other accounts' ids)   | `business:<connection>:<chat>`, `guest:<chat>`  |
| none of these, or unreadable                                 | `update:<update_id>`                            |

The urgent lanes (third and fourth row) do not wait for the handlers of the chat's messages, but share its conversation:
the private chat's, or the one in the group (telegram/dialogue/inbox/lending.py).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from engine.model import Envelope
from telegram.botapi.intake import RawUpdate

FAKE_USERS: Final = frozenset({1087968824, 136817688, 777000})
"""Users that stand for a chat: anonymous admin, sent as a channel, automatic forward and service."""

TOPIC_MARK: Final = "/"
"""Separator of person and topic in the scope of a message in a forum."""

# Longer than any id of Telegram's; if longer ones are truncated to the same lane, only concurrency is lost.
_NAME_MAX = 128
_ID_LIMIT = 2**63
_READ_INT: Final = TypeAdapter(int).validate_python


class Route(NamedTuple):
    """The lane of an update, and the scope of its conversation there; "" is the whole chat's."""

    key: str
    scope: str


def route(fields: dict[str, Any] | None, update_id: int) -> Route:
    """Return the lane and the scope of an update; an unreadable one gets a lane of its own."""
    if type(fields) is dict:
        for kind, item in fields.items():
            rule = _RULES.get(kind)
            if rule is not None and type(item) is dict and (found := rule(item)) is not None:
                return found
        for item in fields.values():
            if type(item) is dict and (found := _unknown(item)) is not None:
                return found
    return Route(f"update:{update_id}", "")


def envelope(raw: RawUpdate, at: float = 0.0) -> Envelope:
    """Return the envelope of a raw update with its lane; it arrived at Unix time `at`, by Telegram's clock."""
    key, scope = route(raw.fields, raw.update_id)
    return Envelope(raw.update_id, key, scope, raw.body, at)


_WITHOUT_CHAT: Final = ("chat:", "poll:", "inline:", "inline_query:", "payment:", "join_request:", "update:")
"""Key prefixes of lanes in which a call to a chat is not sent: it goes to the chat's own lane."""


JOIN_REQUEST: Final = "join_request:"
URGENT: Final = ("payment:", "inline_query:", JOIN_REQUEST)
"""Key prefixes of the lanes of queries whose answers Telegram awaits for only seconds."""


def chat_beside(key: str) -> str:
    """Return the lane of the chat to which an urgent lane belongs; any other key unchanged."""
    return f"chat:{key.split(':')[1]}" if key.startswith(URGENT) else key


POSTS: Final = "post:"
"""Key prefix of outbox lanes for calls to other chats than the handler's own: `post:CHAT`."""


def lane_for(chat_id: object, here: int | None, key: str) -> str:
    """Return the outbox lane of a call to `chat_id` from an update of the chat `here` in the lane `key`.

    Calls to the handler's own chat are sent in order, in the chat's lane (for business connections and guests: the
    update's lane). A call to another chat is a post, in a separate lane: a thousand of them must not delay the replies
    of that chat's own handlers.
    """
    if chat_id is None:
        return key
    lane = f"chat:{chat_id}"
    if here is None or key == lane:
        return lane
    if str(chat_id) != str(here):
        return f"{POSTS}{chat_id}"
    return lane if key.startswith(_WITHOUT_CHAT) else key


def migration(fields: dict[str, Any] | None) -> tuple[str, str] | None:
    """Return the new and the old lane of a group that has become a supergroup, if the update says so; else None.

    Telegram sends a service message in both chats, before other updates of the new one (Telegram Bot API, Message).
    """
    message = fields.get("message") if type(fields) is dict else None
    if type(message) is not dict or not (
        "migrate_to_chat_id" in message or "migrate_from_chat_id" in message
    ):
        return None
    if (here := _id(message, "chat")) is None:
        return None
    if (new := _integer(message.get("migrate_to_chat_id"))) is not None:
        return f"chat:{new}", f"chat:{here}"
    if (old := _integer(message.get("migrate_from_chat_id"))) is not None:
        return f"chat:{here}", f"chat:{old}"
    return None


def _id(item: dict[str, Any], name: str) -> int | None:
    """Return `item[name].id` if that is an id, else None."""
    inner = item.get(name)
    return _number(inner.get("id")) if type(inner) is dict else None


def _integer(value: object) -> int | None:
    """Return a 64-bit integer that is an int in the JSON, else None: an alias is made of no other form."""
    return _number(value) if type(value) is int else None


def _number(value: object) -> int | None:
    """Return a 64-bit integer, also for a value that the types convert to one (1.0, "1", true); else None."""
    if value is None:
        return None
    if type(value) is not int:
        try:
            value = _READ_INT(value)
        except ValidationError:
            return None
    return value if -_ID_LIMIT <= value < _ID_LIMIT else None


def _name(item: dict[str, Any], name: str) -> str | None:
    """Return `item[name]` as ASCII text that every store can keep (Telegram's string ids are ASCII); None if it has none."""
    value = item.get(name)
    if type(value) is not str or not value:
        return None
    return value[:_NAME_MAX].replace("\0", "\\0").encode("ascii", "backslashreplace").decode("ascii")


def _scope(actor: int | None) -> str:
    return "" if actor is None or actor in FAKE_USERS else str(actor)


def _sender(item: dict[str, Any]) -> str:
    """Return the scope of a message's author: the chat on whose behalf it was sent, else the user."""
    chat = _id(item, "sender_chat")
    return _scope(_id(item, "from")) if chat is None else str(chat)


def _in_topic(message: dict[str, Any], scope: str) -> str:
    """Return the scope of a message: in a forum each topic has its own conversation, also the general one (0).

    Only messages outside of the general topic have is_topic_message; message_thread_id alone is a reply thread (Telegram
    Bot API, Message: is_topic_message; Chat: is_forum). In a private chat all topics share one conversation, since a
    payment, say, has no topic. An inaccessible message (date 0) has no topic. The types read 1 and 1.0 as true, too.
    """
    chat = message.get("chat")
    if type(chat) is not dict or chat.get("type") == "private" or message.get("date") == 0:
        return scope
    if message.get("is_topic_message") == 1 and (topic := _number(message.get("message_thread_id"))):
        return f"{scope}{TOPIC_MARK}{topic}"
    return f"{scope}{TOPIC_MARK}0" if chat.get("is_forum") == 1 else scope


def scope_without_topic(scope: str) -> str | None:
    """Return a forum's scope without its topic, as older versions stored it; None for any other scope."""
    person, mark, _ = scope.partition(TOPIC_MARK)
    return person if mark else None


def _in_chat(item: dict[str, Any], scope: str) -> Route | None:
    chat = _id(item, "chat")
    return None if chat is None else Route(f"chat:{chat}", scope)


def _message(item: dict[str, Any]) -> Route | None:
    return _in_chat(item, _in_topic(item, _sender(item)))


def _business(item: dict[str, Any], scope: str) -> Route | None:
    connection, chat = _name(item, "business_connection_id"), _id(item, "chat")
    return None if connection is None or chat is None else Route(f"business:{connection}:{chat}", scope)


def _business_message(item: dict[str, Any]) -> Route | None:
    return _business(item, _sender(item))


def _deleted_business_messages(item: dict[str, Any]) -> Route | None:
    return _business(item, "")


def _guest_message(item: dict[str, Any]) -> Route | None:
    chat = _id(item, "chat")
    return None if chat is None else Route(f"guest:{chat}", _sender(item))


def _callback_query(item: dict[str, Any]) -> Route | None:
    """Return the lane of the message whose button was pressed, with the scope of the user who pressed it."""
    scope = _scope(_id(item, "from"))
    message = item.get("message")
    if type(message) is dict and (
        found := _business(message, scope) or _in_chat(message, _in_topic(message, scope))
    ):
        return found
    return _sent_via_the_bot(item)


def _sent_via_the_bot(item: dict[str, Any]) -> Route | None:
    """Return the lane of a message sent via the bot; its conversation is shared by all who see it.

    The update has neither the chat nor the message (Telegram Bot API, CallbackQuery: inline_message_id).
    """
    name = _name(item, "inline_message_id")
    return _from_user(item) if name is None else Route(f"inline:{name}", "")


def _from_user(item: dict[str, Any]) -> Route | None:
    return _private(_id(item, "from"))


def _payment(item: dict[str, Any]) -> Route | None:
    """Return the user's lane of payments: Telegram waits 10 s for the answer (Telegram Bot API, answerPreCheckoutQuery)."""
    return _beside("payment", item)


def _inline_query(item: dict[str, Any]) -> Route | None:
    """Return the user's lane of inline queries: further typing makes an answer useless within seconds."""
    return _beside("inline_query", item)


def _beside(lane: str, item: dict[str, Any]) -> Route | None:
    """Return the user's lane with this prefix, with the same scope as in the private chat."""
    user = _id(item, "from")
    return None if user is None else Route(f"{lane}:{user}", _scope(user))


def _of_user(item: dict[str, Any]) -> Route | None:
    return _private(_id(item, "user"))


def _private(user: int | None) -> Route | None:
    return None if user is None else Route(f"chat:{user}", _scope(user))


def _message_reaction(item: dict[str, Any]) -> Route | None:
    chat = _id(item, "actor_chat")
    return _in_chat(item, _scope(_id(item, "user")) if chat is None else str(chat))


def _by_sender(item: dict[str, Any]) -> Route | None:
    return _in_chat(item, _scope(_id(item, "from")))


def _chat_join_request(item: dict[str, Any]) -> Route | None:
    """Return a lane per request if Telegram waits 10 s for the answer (Telegram Bot API, ChatJoinRequest: query_id)."""
    chat, user = _id(item, "chat"), _id(item, "from")
    if _name(item, "query_id") is None or chat is None or user is None:
        return _by_sender(item)
    return Route(f"{JOIN_REQUEST}{chat}:{user}", _scope(user))


def _without_actor(item: dict[str, Any]) -> Route | None:
    return _in_chat(item, "")


def _chat_member(item: dict[str, Any]) -> Route | None:
    """Use the member whose status changed as the scope; `from` is the admin who changed it."""
    member = item.get("new_chat_member")
    return _in_chat(item, _scope(_id(member, "user")) if type(member) is dict else "")


def _chat_boost(item: dict[str, Any]) -> Route | None:
    boost = item.get("boost")
    return _in_chat(item, _booster(boost) if type(boost) is dict else "")


def _removed_chat_boost(item: dict[str, Any]) -> Route | None:
    return _in_chat(item, _booster(item))


def _booster(boost: dict[str, Any]) -> str:
    source = boost.get("source")
    return _scope(_id(source, "user")) if type(source) is dict else ""


def _poll(item: dict[str, Any]) -> Route | None:
    poll = _name(item, "id")
    return None if poll is None else Route(f"poll:{poll}", "")


def _poll_answer(item: dict[str, Any]) -> Route | None:
    poll, chat = _name(item, "poll_id"), _id(item, "voter_chat")
    voter = _scope(_id(item, "user")) if chat is None else str(chat)
    return None if poll is None else Route(f"poll:{poll}", voter)


def _stopped_message_generation(item: dict[str, Any]) -> Route | None:
    """Use the chat's id as the scope: drafts exist in private chats only, where it is the user's id."""
    chat = _id(item, "chat")
    return None if chat is None else Route(f"chat:{chat}", str(chat) if chat > 0 else "")


def _unknown(item: dict[str, Any]) -> Route | None:
    """Guess the lane of a kind that Telegram added later, by the usual fields of chats and users."""
    scope = _sender(item) or _scope(_id(item, "user"))
    for place in (item, item.get("message")):
        if type(place) is dict and (found := _business(place, scope) or _in_chat(place, scope)):
            return found
    return _from_user(item) or _of_user(item)


_RULES: Final[Mapping[str, Callable[[dict[str, Any]], Route | None]]] = {
    "message": _message,
    "edited_message": _message,
    "channel_post": _message,
    "edited_channel_post": _message,
    "business_connection": _of_user,
    "business_message": _business_message,
    "edited_business_message": _business_message,
    "deleted_business_messages": _deleted_business_messages,
    "guest_message": _guest_message,
    "message_reaction": _message_reaction,
    "message_reaction_count": _without_actor,
    "inline_query": _inline_query,
    "chosen_inline_result": _sent_via_the_bot,
    "callback_query": _callback_query,
    "shipping_query": _payment,
    "pre_checkout_query": _payment,
    "purchased_paid_media": _from_user,
    "poll": _poll,
    "poll_answer": _poll_answer,
    "my_chat_member": _by_sender,
    "chat_member": _chat_member,
    "chat_join_request": _chat_join_request,
    "chat_boost": _chat_boost,
    "removed_chat_boost": _removed_chat_boost,
    "managed_bot": _of_user,
    "subscription": _of_user,
    "stopped_message_generation": _stopped_message_generation,
}
