"""The methods about messages: send, edit, delete, forward, copy. Each takes the world and the call's parameters."""

from .answers import Json, bad_request
from .entities import commands, parse_html, utf16_length
from .markup import is_inline, reply_markup
from .params import Params, boolean, integer, structure, text
from .people import Chat
from .world import World

TEXT_MAX = 4096  # UTF-16 units, after the parsing of entities

_ABOUT_THE_COPY_ONLY = frozenset(
    {
        *("message_id", "message_thread_id", "from", "sender_chat", "chat", "date", "edit_date"),
        *("reply_to_message", "reply_markup", "forward_origin"),
    }
)


def send_message(world: World, params: Params) -> Json:
    """Refused: empty or too long text, an unparsable markup, a chat that is unknown or has blocked the bot."""
    content = _text_content(params)
    markup = reply_markup(params)
    chat = world.chat_for_bot(params)
    _check_length(content)
    return _post(world, chat, content, markup, params)


def forward_message(world: World, params: Params) -> Json:
    """The copy names its origin."""
    chat = world.chat_for_bot(params)
    original = _source(world, params, "message to forward")
    origin = original.get("forward_origin") or {
        "type": "user",
        "sender_user": original["from"],
        "date": original["date"],
    }
    return _post(world, chat, _content_of(original) | {"forward_origin": origin}, None, params)


def copy_message(world: World, params: Params) -> Json:
    """The copy does not name its origin; returns a MessageId."""
    markup = reply_markup(params)
    chat = world.chat_for_bot(params)
    original = _source(world, params, "message to copy")
    message = _post(world, chat, _content_of(original), markup, params)
    return {"message_id": message["message_id"]}


def edit_message_text(world: World, params: Params) -> Json:
    """Refused: an edit that changes nothing, somebody else's message, a message that is not remembered."""
    content = _text_content(params)
    markup = reply_markup(params)
    chat, message = _editable(world, params)
    if "text" not in message:
        raise bad_request("there is no text in the message to edit")
    _check_length(content)
    kept = {
        name: value for name, value in message.items() if name not in ("text", "entities", "reply_markup")
    }
    return _replace(world, chat, message, kept | content | _inline(markup))


def edit_message_reply_markup(world: World, params: Params) -> Json:
    """Refused as editMessageText; no markup takes the keyboard away."""
    markup = reply_markup(params)
    chat, message = _editable(world, params)
    kept = {name: value for name, value in message.items() if name != "reply_markup"}
    return _replace(world, chat, message, kept | _inline(markup))


def delete_message(world: World, params: Params) -> bool:
    """Refused: a message that is not remembered."""
    if not text(params, "chat_id"):
        raise bad_request("chat identifier is not specified")
    if not integer(params, "message_id"):
        raise bad_request("message identifier is not specified")
    chat = world.chat_for_bot(params)
    if not world.delete(chat, integer(params, "message_id")):
        raise bad_request("message to delete not found")
    return True


def _text_content(params: Params) -> Json:
    """`text` and `entities` of the message that the call describes."""
    source = text(params, "text")
    if not source:
        raise bad_request("message text is empty")
    mode = text(params, "parse_mode").lower()
    if mode == "html":
        body, entities = parse_html(source)
    elif mode:
        raise bad_request(f"unsupported parse_mode (this server knows HTML only, not {mode})")
    else:
        body, entities = source, _given_entities(params)
    trimmed = body.strip()
    if not trimmed:
        raise bad_request("text must be non-empty")
    if entities:
        entities = _moved(entities, utf16_length(body[: body.index(trimmed)]), utf16_length(trimmed))
    else:
        entities = commands(trimmed)
    return {"text": trimmed, "entities": entities} if entities else {"text": trimmed}


def _given_entities(params: Params) -> list[Json]:
    try:
        given = structure(params, "entities")
    except ValueError:
        return []
    return [
        entity
        for entity in (given if isinstance(given, list) else [])
        if isinstance(entity, dict)
        and isinstance(entity.get("offset"), int)
        and isinstance(entity.get("length"), int)
    ]


def _moved(entities: list[Json], trimmed_before: int, length: int) -> list[Json]:
    """The entities of a text that lost blanks at its ends."""
    moved = []
    for entity in entities:
        start = max(entity["offset"] - trimmed_before, 0)
        end = min(entity["offset"] - trimmed_before + entity["length"], length)
        if start < end:
            moved.append({**entity, "offset": start, "length": end - start})
    return moved


def _check_length(content: Json) -> None:
    if utf16_length(content["text"]) > TEXT_MAX:
        raise bad_request("message is too long")


def _post(world: World, chat: Chat, content: Json, markup: Json | None, params: Params) -> Json:
    content |= _inline(markup)
    if thread_id := integer(params, "message_thread_id"):
        content["message_thread_id"] = thread_id
    if quoted := _quoted(chat, params):
        content["reply_to_message"] = quoted
    return world.post(chat, content, None if is_inline(markup) else markup)


def _quoted(chat: Chat, params: Params) -> Json | None:
    """The message that the call replies to; None for no reply, or to a message older than what is remembered."""
    try:
        reply = structure(params, "reply_parameters") or {}
    except ValueError:
        raise bad_request("can't parse reply parameters JSON object") from None
    if not isinstance(reply, dict):
        raise bad_request("object expected as reply parameters")
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


def _editable(world: World, params: Params) -> tuple[Chat, Json]:
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
    if message["from"]["id"] != world.bot["id"]:
        raise bad_request("message can't be edited")
    return chat, message


def _replace(world: World, chat: Chat, message: Json, edited: Json) -> Json:
    if edited == message:
        raise bad_request(
            "message is not modified: specified new message content and reply markup are exactly the same"
            " as a current content and reply markup of the message"
        )
    return world.replace(chat, edited)


def _inline(markup: Json | None) -> Json:
    """The part of a markup that belongs to the message itself."""
    return {"reply_markup": markup} if is_inline(markup) else {}


def _source(world: World, params: Params, what: str) -> Json:
    chat = world.chat_for_bot(params, "from_chat_id")
    message = chat.find(integer(params, "message_id"))
    if message is None:
        raise bad_request(f"{what} not found")
    return message


def _content_of(message: Json) -> Json:
    return {name: value for name, value in message.items() if name not in _ABOUT_THE_COPY_ONLY}
