"""Building blocks of messages: formatted text, replies, keyboards, and the rules for sending and editing."""

from typing import Any, NamedTuple

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.markup import check_place, is_inline
from telegram.fake.protocol.params import Params, boolean, integer, structure, text
from telegram.fake.text.entities import utf16_length, with_users
from telegram.fake.text.formatting import formatted, usable

from .chat_state import ChatState
from .members import check_may_send, status_of
from .people import Chat

TEXT_MAX = 4096  # UTF-16 code units, after entities parsing
CAPTION_MAX = 1024

_ABOUT_THE_COPY_ONLY = frozenset(
    {
        *("message_id", "message_thread_id", "is_topic_message", "from", "sender_chat", "chat", "date"),
        *("edit_date", "reply_to_message", "reply_markup", "forward_origin", "has_protected_content"),
        *("business_connection_id", "effect_id", "media_group_id"),
    }
)
GENERAL_TOPIC = 1
"""The general topic's message_thread_id."""
_EXTRAS = frozenset(
    {
        "protect_content",
        "message_effect_id",
        "business_connection_id",
        "link_preview_options",
    }
)


# -- formatted text ----------------------------------------------------------------------------------------------


def text_content(params: Params) -> Json:
    """Return `text` and `entities` for a call; ApiError for an empty text."""
    source = text(params, "text")
    if not source:
        raise bad_request("message text is empty")
    body, entities = formatted(source, text(params, "parse_mode"), given_entities(params, "entities"))
    if not body:
        raise bad_request("text must be non-empty")
    return {"text": body, "entities": entities} if entities else {"text": body}


def caption_content(params: Params) -> Json:
    """Return `caption` and the fields that belong to it; {} without a caption."""
    given = given_entities(params, "caption_entities")
    body, entities = formatted(text(params, "caption"), text(params, "parse_mode"), given)
    if utf16_length(body) > CAPTION_MAX:
        raise bad_request("message caption is too long")
    content: Json = {"caption": body} if body else {}
    if entities:
        content["caption_entities"] = entities
    if body and boolean(params, "show_caption_above_media"):
        content["show_caption_above_media"] = True
    return content


def check_length(content: Json) -> None:
    """Raise ApiError if the text is too long."""
    if utf16_length(content["text"]) > TEXT_MAX:
        raise bad_request("message is too long")


def given_entities(params: Params, name: str) -> list[Json]:
    """Return the entities of a call; [] if they are not valid JSON (telegram-bot-api, Client.cpp, get_input_entities)."""
    try:
        given = structure(params, name)
    except ValueError:
        return []
    return usable(given) if isinstance(given, list) else []


# -- sending -----------------------------------------------------------------------------------------------------


def post(
    world: ChatState,
    chat: Chat,
    content: Json,
    markup: Json | None,
    params: Params,
    permission: str = "can_send_messages",
) -> Json:
    """Send a message of the bot with the keyboard, reply and topic of the call; return it."""
    if not chat.is_plain:
        check_may_send(chat, world.bot["id"], world.now(), permission)
    check_place(markup, chat.kind)
    content = with_users(content, world.known_user) | inline(markup)
    if not text(params, "business_connection_id"):
        content |= topic_of(world, chat, integer(params, "message_thread_id"))
    for name in params.keys() & _EXTRAS:
        content |= _extra(world, params, name)
    content |= _quoted(world, chat, params)
    return world.post(chat, content, None if is_inline(markup) else markup)


def inline(markup: Json | None) -> Json:
    """Return an inline keyboard as a field of the message; {} for other markups."""
    return {"reply_markup": markup} if is_inline(markup) else {}


def _extra(world: ChatState, params: Params, name: str) -> Json:
    match name:
        case "protect_content":
            return {"has_protected_content": True} if boolean(params, name) else {}
        case "message_effect_id":
            return {"effect_id": text(params, name)} if text(params, name) else {}
        case "business_connection_id":
            return _business(world, text(params, name))
    return {name: structure(params, name)} if params[name] else {}


def _business(world: ChatState, connection_id: str) -> Json:
    if connection_id and connection_id not in world.business:
        raise bad_request("business connection not found")
    return {"business_connection_id": connection_id} if connection_id else {}


def topic_of(world: ChatState, chat: Chat, thread_id: int) -> Json:
    """Return the topic of a call as fields of the message. Refused in chats without topics, and for the general topic.

    telegram-bot-api, Client.cpp, check_message_topic; tucnak/telebot#762 (topics were turned off) and
    python-telegram-bot/python-telegram-bot#4739 (the general topic). A thread of replies is not a topic.
    """
    if not thread_id:
        return {}
    topic = None if chat.is_plain or thread_id == GENERAL_TOPIC else chat.about.topics.get(thread_id)
    if topic is None:
        raise bad_request("message thread not found")
    status = status_of(chat, world.bot["id"], world.bot["id"], world.now())
    if topic["closed"] and not status.get("can_manage_topics"):
        raise bad_request("TOPIC_CLOSED")
    return {"message_thread_id": thread_id, "is_topic_message": True}


def _quoted(world: ChatState, chat: Chat, params: Params) -> Json:
    """Return the reply fields of a message; {} without a reply, or if the message is no longer stored.

    telegram-bot-api, Client.cpp, check_reply_parameters.
    """
    if "reply_parameters" not in params and "reply_to_message_id" not in params:
        return {}
    reply = structure(params, "reply_parameters") or {}
    message_id = integer(reply, "message_id") or integer(params, "reply_to_message_id")
    if not message_id:
        return {}
    there = chat
    if text(reply, "chat_id") and integer(reply, "chat_id") != chat.id:
        there = world.chat_for_bot(reply)
    message = there.find(message_id)
    if (
        message is None
        and there.is_missing(message_id)
        and not _may_lack_its_reply(there is chat, reply, params)
    ):
        raise bad_request("message to be replied not found")
    if message is None:
        return {}
    if there is not chat:
        return {
            "external_reply": {"origin": origin_of(message), "chat": there.chat(), "message_id": message_id}
        }
    shown = {name: value for name, value in message.items() if name != "reply_to_message"}
    return {"reply_to_message": shown} | _quote(reply, message)


def _may_lack_its_reply(same_chat: bool, reply: Json, params: Params) -> bool:
    """Whether it is sent without the reply. Telegram Bot API, ReplyParameters: never for a message of another chat."""
    name = "allow_sending_without_reply"
    return same_chat and (boolean(reply, name) or boolean(params, name))


def _quote(reply: Json, message: Json) -> Json:
    """Return the quote; ApiError if the message does not contain it (Telegram Bot API, ReplyParameters)."""
    quote, entities = formatted(
        text(reply, "quote"), text(reply, "quote_parse_mode"), given_entities(reply, "quote_entities")
    )
    if not quote:
        return {}
    whole = str(message.get("text") or message.get("caption") or "")
    if quote not in whole:
        raise bad_request("QUOTE_TEXT_INVALID")
    found: Json = {"text": quote, "position": utf16_length(whole[: whole.index(quote)]), "is_manual": True}
    return {"quote": found | ({"entities": entities} if entities else {})}


def origin_of(original: Json) -> Json:
    """Return the `MessageOrigin` of a message."""
    if "forward_origin" in original:
        origin: Json = original["forward_origin"]
        return origin
    if "from" in original:
        return {"type": "user", "sender_user": original["from"], "date": original["date"]}
    named = {name: original[name] for name in ("chat", "message_id", "date")}
    return {"type": "channel", **named}


# -- existing messages ---------------------------------------------------------------------------------------------


def is_own(world: ChatState, message: Json) -> bool:
    """Whether the bot is the sender; posts of a channel, which have no `from`, count as its own."""
    return bool(message.get("from", world.bot)["id"] == world.bot["id"])


class Editable(NamedTuple):
    """A message that the bot may edit: of a `chat`, or sent via the bot, whose content may be unknown ({})."""

    chat: Chat | None
    inline_message_id: str
    message: Json

    def has(self, *names: str) -> bool:
        """Whether it has one of these fields; True for unknown content."""
        is_unknown = self.chat is None and not self.message
        return is_unknown or not self.message.keys().isdisjoint(names)


def editable(world: ChatState, params: Params) -> Editable:
    """Return the message of an edit: by chat_id and message_id, else by inline_message_id (telegram-bot-api, Client.cpp)."""
    message_id = integer(params, "message_id")
    if not text(params, "chat_id") and not message_id:
        return _sent_via_the_bot(world, text(params, "inline_message_id"))
    chat = world.chat_for_bot(params)
    message = chat.find(message_id)
    if message is None:
        raise bad_request("message to edit not found")
    if not is_own(world, message):
        raise bad_request("message can't be edited")
    return Editable(chat, "", message)


def _sent_via_the_bot(world: ChatState, inline_message_id: str) -> Editable:
    if not inline_message_id:
        raise bad_request("message identifier is not specified")
    if inline_message_id not in world.inline:
        raise bad_request("MESSAGE_ID_INVALID")
    return Editable(None, inline_message_id, world.inline[inline_message_id])


def replace(world: ChatState, found: Editable, edited: Json) -> Json | bool:
    """Store the new content; return the message, or True for one sent via the bot. ApiError if nothing has changed."""
    edited = with_users(edited, world.known_user)
    if edited == found.message:
        raise bad_request(
            "message is not modified: specified new message content and reply markup are exactly the same"
            " as a current content and reply markup of the message"
        )
    if found.chat is not None:
        return world.replace(found.chat, edited)
    world.show_inline(found.inline_message_id, edited)
    return True


def without(message: Json, *names: str) -> Json:
    """Return the message without these fields."""
    return {name: value for name, value in message.items() if name not in names}


def source(world: ChatState, params: Params, what: str, message_id: int) -> Json:
    """Return the message to forward or copy; ApiError if it is not stored."""
    message = world.chat_for_bot(params, "from_chat_id").find(message_id)
    if message is None:
        raise bad_request(f"{what} not found")
    return message


def content_of(message: Json) -> Json:
    """Return the fields that a copy of the message keeps."""
    return without(message, *_ABOUT_THE_COPY_ONLY)


def message_in(world: ChatState, params: Params, missing: str) -> tuple[Chat, Json]:
    """Return chat and message of a call, by any sender; ApiError `missing` if it is not stored."""
    chat = world.chat_for_bot(params)
    message = chat.find(integer(params, "message_id"))
    if message is None:
        raise bad_request(missing)
    return chat, message


def object_of(params: Params, name: str) -> Any:
    """Return an object or array that was already checked; None also for {} and []."""
    return structure(params, name) or None
