"""Methods that edit and delete messages, and set reactions."""

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.markup import reply_markup
from telegram.fake.protocol.params import Params, integer, text
from telegram.fake.world import World
from telegram.fake.world.members import status_of
from telegram.fake.world.messages import (
    Editable,
    caption_content,
    check_length,
    editable,
    inline,
    is_own,
    message_in,
    object_of,
    replace,
    text_content,
    without,
)
from telegram.fake.world.people import Chat

from .sending import checklist, rich_message
from .sending import location as location_of

_DELETABLE_S = 48 * 3600  # Telegram Bot API, deleteMessage
_CAPTIONED = frozenset(
    {"photo", "live_photo", "audio", "document", "video", "animation", "voice", "paid_media"}
)


def edit_message_text(world: World, params: Params) -> Json | bool:
    """Edit a text. Refused: no change, a message of another user, a message that is not stored."""
    is_rich = "rich_message" in params and not text(params, "text")
    content = {"rich_message": rich_message(params)} if is_rich else text_content(params)
    markup = reply_markup(params)
    found = editable(world, params)
    if not found.has("text", "rich_message"):
        raise bad_request("there is no text in the message to edit")
    if not is_rich:
        check_length(content)
    kept = without(found.message, "text", "entities", "rich_message", "reply_markup")
    return replace(world, found, kept | content | inline(markup))


def edit_message_caption(world: World, params: Params) -> Json | bool:
    """Edit a caption; an absent one removes it."""
    content = caption_content(params)
    markup = reply_markup(params)
    found = editable(world, params)
    if not found.has(*_CAPTIONED):
        raise bad_request("there is no caption in the message to edit")
    kept = without(found.message, "caption", "caption_entities", "show_caption_above_media", "reply_markup")
    return replace(world, found, kept | content | inline(markup))


def edit_message_reply_markup(world: World, params: Params) -> Json | bool:
    """Change the inline keyboard, an absent one removes it; refused like editMessageText."""
    markup = reply_markup(params)
    found = editable(world, params)
    return replace(world, found, without(found.message, "reply_markup") | inline(markup))


def edit_message_live_location(world: World, params: Params) -> Json | bool:
    """Move a live location; refused if it is not live (any more)."""
    markup = reply_markup(params)
    found = editable(world, params)
    live = _live(found)
    kept = without(found.message, "location", "reply_markup")
    moved = {"location": {"live_period": live["live_period"]} | location_of(params)}
    return replace(world, found, kept | moved | inline(markup))


def stop_message_live_location(world: World, params: Params) -> Json | bool:
    """Stop a live location at its current position."""
    markup = reply_markup(params)
    found = editable(world, params)
    stopped = {"location": without(_live(found), "live_period", "heading", "proximity_alert_radius")}
    return replace(world, found, without(found.message, "reply_markup") | stopped | inline(markup))


def edit_message_checklist(world: World, params: Params) -> Json | bool:
    """Replace a checklist; refused like editMessageText."""
    found = editable(world, params)
    if not found.has("checklist"):
        raise bad_request("there is no checklist in the message to edit")
    kept = without(found.message, "reply_markup") | {"checklist": checklist(params)}
    return replace(world, found, kept | inline(reply_markup(params)))


def _live(found: Editable) -> Json:
    location: Json = found.message.get("location", {})
    if not location.get("live_period"):
        raise bad_request("message can't be edited")
    return location


# -- deleting ------------------------------------------------------------------------------------------------------


def delete_message(world: World, params: Params) -> bool:
    """Delete a message. Refused if it is not stored, or not deletable.

    Deletable (Telegram Bot API, deleteMessage): in private chats any message of the last 48 hours; elsewhere the bot's
    own ones of the last 48 hours, and all with the right can_delete_messages.
    """
    if not text(params, "chat_id"):
        raise bad_request("chat identifier is not specified")
    if not integer(params, "message_id"):
        raise bad_request("message identifier is not specified")
    chat, message = message_in(world, params, "message to delete not found")
    if not _deletable(world, chat, message):
        raise bad_request("message can't be deleted")
    world.delete(chat, message["message_id"])
    return True


def delete_messages(world: World, params: Params) -> bool:
    """Delete messages; those that are not stored are skipped."""
    ids = object_of(params, "message_ids") or []
    if not 1 <= len(ids) <= 100:
        raise bad_request("message identifiers are not specified")
    chat = world.chat_for_bot(params)
    found = [message for message_id in ids if (message := chat.find(int(message_id)))]
    if not all(_deletable(world, chat, message) for message in found):
        raise bad_request("message can't be deleted")
    for message in found:
        world.delete(chat, message["message_id"])
    return True


def _deletable(world: World, chat: Chat, message: Json) -> bool:
    if chat.kind == "private":
        return bool(world.now() - message["date"] <= _DELETABLE_S)
    may = status_of(chat, world.bot["id"], world.bot["id"], world.now()).get("can_delete_messages")
    return bool(may or (is_own(world, message) and world.now() - message["date"] <= _DELETABLE_S))


# -- reactions -------------------------------------------------------------------------------------------------------


def set_message_reaction(world: World, params: Params) -> bool:
    """Set the bot's reaction; listeners get an event, no method of the Bot API reads it."""
    chat, message = message_in(world, params, "message to react not found")
    reactions = object_of(params, "reaction") or []
    if len(reactions) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    world.set_reaction(chat, message["message_id"], world.bot["id"], reactions)
    return True


def delete_message_reaction(world: World, params: Params) -> bool:
    """Remove the bot's reaction; listeners get an event."""
    chat, message = message_in(world, params, "message to react not found")
    world.set_reaction(chat, message["message_id"], world.bot["id"], [])
    return True
