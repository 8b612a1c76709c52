"""What messages are made of: formatted text, replies, keyboards, and the rules of posting and editing."""

from typing import Any

from .answers import Json, bad_request
from .entities import utf16_length, with_users
from .formatting import formatted, usable
from .markup import is_inline
from .members import check_may_send, status_of
from .params import Params, boolean, integer, structure, text
from .people import Chat
from .society import Society

TEXT_MAX = 4096  # UTF-16 units, after the parsing of entities
CAPTION_MAX = 1024

_ABOUT_THE_COPY_ONLY = frozenset(
    {
        *("message_id", "message_thread_id", "is_topic_message", "from", "sender_chat", "chat", "date"),
        *("edit_date", "reply_to_message", "reply_markup", "forward_origin", "has_protected_content"),
        *("business_connection_id", "effect_id", "media_group_id"),
    }
)
_EXTRAS = frozenset(
    {
        "message_thread_id",
        "protect_content",
        "message_effect_id",
        "business_connection_id",
        "link_preview_options",
    }
)


# -- formatted text ----------------------------------------------------------------------------------------------


def text_content(params: Params) -> Json:
    """`text` and `entities` of the message that the call describes."""
    source = text(params, "text")
    if not source:
        raise bad_request("message text is empty")
    body, entities = formatted(source, text(params, "parse_mode"), given_entities(params, "entities"))
    if not body:
        raise bad_request("text must be non-empty")
    return {"text": body, "entities": entities} if entities else {"text": body}


def caption_content(params: Params) -> Json:
    """`caption` and what belongs to it; {} for none."""
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
    """The entities that a call names; none if that is no JSON (telegram-bot-api, Client.cpp, get_input_entities)."""
    try:
        given = structure(params, name)
    except ValueError:
        return []
    return usable(given) if isinstance(given, list) else []


# -- posting -----------------------------------------------------------------------------------------------------


def post(
    world: Society,
    chat: Chat,
    content: Json,
    markup: Json | None,
    params: Params,
    permission: str = "can_send_messages",
) -> Json:
    """A new message of the bot, with the keyboard, reply and topic that the call names."""
    if not chat.is_plain:
        check_may_send(chat, world.bot["id"], world.now(), permission)
    content = with_users(content, world.known_user) | inline(markup)
    for name in params.keys() & _EXTRAS:
        content |= _extra(world, chat, params, name)
    if quoted := _quoted(chat, params):
        content["reply_to_message"] = quoted
    return world.post(chat, content, None if is_inline(markup) else markup)


def inline(markup: Json | None) -> Json:
    """The part of a markup that belongs to the message itself."""
    return {"reply_markup": markup} if is_inline(markup) else {}


def _extra(world: Society, chat: Chat, params: Params, name: str) -> Json:
    match name:
        case "protect_content":
            return {"has_protected_content": True} if boolean(params, name) else {}
        case "message_effect_id":
            return {"effect_id": text(params, name)} if text(params, name) else {}
        case "business_connection_id":
            return _business(world, text(params, name))
        case "link_preview_options":
            return {name: structure(params, name)} if params[name] else {}
    return _topic(world, chat, integer(params, name))


def _business(world: Society, connection_id: str) -> Json:
    if connection_id and connection_id not in world.business:
        raise bad_request("business connection not found")
    return {"business_connection_id": connection_id} if connection_id else {}


def _topic(world: Society, chat: Chat, thread_id: int) -> Json:
    if not thread_id:
        return {}
    if chat.is_plain or not chat.about.is_forum:
        return {"message_thread_id": thread_id}
    topic = chat.about.topics.get(thread_id)
    if topic is None:
        raise bad_request("message thread not found")
    status = status_of(chat, world.bot["id"], world.bot["id"], world.now())
    if topic["closed"] and not status.get("can_manage_topics"):
        raise bad_request("TOPIC_CLOSED")
    return {"message_thread_id": thread_id, "is_topic_message": True}


def _quoted(chat: Chat, params: Params) -> Json | None:
    """The message that the call replies to; None for no reply, or to a message older than what is remembered."""
    if "reply_parameters" not in params and "reply_to_message_id" not in params:
        return None
    reply = structure(params, "reply_parameters") or {}
    message_id = integer(reply, "message_id") or integer(params, "reply_to_message_id")
    if not message_id:
        return None
    message = chat.find(message_id)
    if message is None and chat.is_gone(message_id):
        lenient = boolean(reply, "allow_sending_without_reply") or boolean(
            params, "allow_sending_without_reply"
        )
        if not lenient:
            raise bad_request("message to be replied not found")
    if message is None:
        return None
    return {name: value for name, value in message.items() if name != "reply_to_message"}


# -- what is there already -----------------------------------------------------------------------------------------


def is_own(world: Society, message: Json) -> bool:
    """Whether the bot wrote it; a channel's posts are nobody's but the channel's."""
    return bool(message.get("from", world.bot)["id"] == world.bot["id"])


def editable(world: Society, params: Params) -> tuple[Chat, Json]:
    """The chat and the message of the bot that an edit names."""
    if text(params, "inline_message_id"):
        raise bad_request("MESSAGE_ID_INVALID")  # nobody has sent a message via the bot here
    message_id = integer(params, "message_id")
    if not text(params, "chat_id") and not message_id:
        raise bad_request("message identifier is not specified")
    chat = world.chat_for_bot(params)
    message = chat.find(message_id)
    if message is None:
        raise bad_request("message to edit not found")
    if not is_own(world, message):
        raise bad_request("message can't be edited")
    return chat, message


def replace(world: Society, chat: Chat, message: Json, edited: Json) -> Json:
    """The message with its new content; ApiError when nothing is new."""
    edited = with_users(edited, world.known_user)
    if edited == message:
        raise bad_request(
            "message is not modified: specified new message content and reply markup are exactly the same"
            " as a current content and reply markup of the message"
        )
    return world.replace(chat, edited)


def without(message: Json, *names: str) -> Json:
    """What is left of a message."""
    return {name: value for name, value in message.items() if name not in names}


def source(world: Society, params: Params, what: str, message_id: int) -> Json:
    """The message to forward or copy."""
    message = world.chat_for_bot(params, "from_chat_id").find(message_id)
    if message is None:
        raise bad_request(f"{what} not found")
    return message


def content_of(message: Json) -> Json:
    """What a copy has of a message."""
    return without(message, *_ABOUT_THE_COPY_ONLY)


def message_in(world: Society, params: Params, missing: str) -> tuple[Chat, Json]:
    """The chat and any message that a call names."""
    chat = world.chat_for_bot(params)
    message = chat.find(integer(params, "message_id"))
    if message is None:
        raise bad_request(missing)
    return chat, message


def object_of(params: Params, name: str) -> Any:
    """An object or array that was checked already; {} or [] count as absent."""
    return structure(params, name) or None
