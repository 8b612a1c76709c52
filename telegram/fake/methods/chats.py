"""Methods for chats: title, description, photo, permissions, pinned messages, chat actions."""

from collections.abc import Callable

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, integer, text
from telegram.fake.world import World
from telegram.fake.world.attachments import described, stored
from telegram.fake.world.members import check_right, flags
from telegram.fake.world.messages import message_in, object_of, topic_of
from telegram.fake.world.people import Chat

CHAT_ACTIONS = frozenset(
    {
        *("typing", "choose_sticker", "find_location", "record_video_note", "upload_video_note"),
        *("record_video", "upload_video", "record_voice", "upload_voice", "upload_photo", "upload_document"),
    }
)
TITLE_MAX, DESCRIPTION_MAX = 128, 255  # Telegram Bot API, setChatTitle and setChatDescription


def get_chat(world: World, params: Params) -> Json:
    """Return the ChatFullInfo: the required fields, and those that were set."""
    chat = world.chat_for_bot(params)
    full: Json = chat.chat() | {
        "accent_color_id": 0,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(flags("AcceptedGiftTypes"), False),
    }
    if chat.is_plain:
        return full
    pinned = chat.find(chat.about.pinned[-1]) if chat.about.pinned else None
    return full | chat.about.full | ({"pinned_message": pinned} if pinned else {})


def send_chat_action(world: World, params: Params) -> bool:
    """Emit a chat action; an unknown one is refused."""
    action = text(params, "action").lower()
    if action not in CHAT_ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat = world.chat_for_bot(params)
    if not text(params, "business_connection_id"):
        topic_of(world, chat, integer(params, "message_thread_id"))
    world.emit("chat_action", chat_id=chat.id, action=action)
    return True


def set_chat_title(world: World, params: Params) -> bool:
    """Change the title and send a service message."""
    chat = group_of(world, params, "can_change_info")
    title = text(params, "title").strip()
    if not 0 < len(title) <= TITLE_MAX:
        raise bad_request("title must be non-empty" if not title else "CHAT_TITLE_TOO_LONG")
    if title == chat.title:
        raise bad_request("chat title is not modified")
    chat.title = title
    world.announce(chat, {"new_chat_title": title})
    return True


def set_chat_description(world: World, params: Params) -> bool:
    """Change the description; an empty one removes it."""
    chat = group_of(world, params, "can_change_info")
    description = text(params, "description")
    if len(description) > DESCRIPTION_MAX:
        raise bad_request("CHAT_ABOUT_TOO_LONG")
    if description == chat.about.full.get("description", ""):
        raise bad_request("chat description is not modified")
    _set(chat, "description", description)
    return True


def set_chat_photo(world: World, params: Params) -> bool:
    """Change the photo and send a service message."""
    chat = group_of(world, params, "can_change_info")
    photo = stored(world, params, params["photo"], "photo")
    chat.about.full["photo"] = {
        f"{size}_{name}": value
        for size in ("small", "big")
        for name, value in photo.identity().items()
        if name != "file_size"
    }
    world.announce(chat, {"new_chat_photo": described("photo", photo, {})})
    return True


def delete_chat_photo(world: World, params: Params) -> bool:
    """Remove the photo and send a service message."""
    chat = group_of(world, params, "can_change_info")
    if not chat.about.full.pop("photo", None):
        raise bad_request("CHAT_NOT_MODIFIED")
    world.announce(chat, {"delete_chat_photo": True})
    return True


def set_chat_permissions(world: World, params: Params) -> bool:
    """Set the permissions of members, which also apply to the bot as a member."""
    chat = group_of(world, params, "can_restrict_members")
    given = object_of(params, "permissions") or {}
    chat.about.full["permissions"] = {name: given.get(name) is True for name in flags("ChatPermissions")}
    return True


def set_chat_sticker_set(world: World, params: Params) -> bool:
    """Set the group's sticker set."""
    chat = group_of(world, params, "can_change_info")
    _set(chat, "sticker_set_name", text(params, "sticker_set_name"))
    return True


def delete_chat_sticker_set(world: World, params: Params) -> bool:
    """Remove the group's sticker set; True also if there was none."""
    _set(group_of(world, params, "can_change_info"), "sticker_set_name", "")
    return True


def leave_chat(world: World, params: Params) -> bool:
    """Leave the chat; later calls for it are refused with 403."""
    chat = group_of(world, params, "")
    world.set_member(chat, world.bot, {"status": "left"}, by=world.bot)
    return True


def get_chat_member_count(world: World, params: Params) -> int:
    """Return the number of members, including the bot."""
    chat = world.chat_for_bot(params)
    return 2 if chat.members is None else len(chat.members) + 1


# -- pins ------------------------------------------------------------------------------------------------------------


def pin_chat_message(world: World, params: Params) -> bool:
    """Pin a message and send a service message, unless it is already the latest pinned one."""
    chat, message = message_in(world, params, "message to pin not found")
    _check_may_pin(world, chat)
    message_id = message["message_id"]
    if chat.about.pinned[-1:] != [message_id]:
        chat.about.pinned = [*(n for n in chat.about.pinned if n != message_id), message_id]
        world.announce(chat, {"pinned_message": message})
    return True


def unpin_chat_message(world: World, params: Params) -> bool:
    """Unpin a message, by default the latest pinned one."""
    chat = world.chat_for_bot(params)
    _check_may_pin(world, chat)
    message_id = integer(params, "message_id") or (chat.about.pinned[-1] if chat.about.pinned else 0)
    if message_id not in chat.about.pinned:
        raise bad_request("message to unpin not found")
    chat.about.pinned.remove(message_id)
    return True


def unpin_all(thread: Callable[[Params], int | None]) -> Callable[[World, Params], bool]:
    """Return a method that unpins all messages of a topic; `thread` returns its id, or None for the whole chat."""

    def unpin(world: World, params: Params) -> bool:
        chat = world.chat_for_bot(params)
        _check_may_pin(world, chat)
        thread_id = thread(params)
        chat.about.pinned = [
            n
            for n in chat.about.pinned
            if thread_id is not None and (chat.find(n) or {}).get("message_thread_id", 0) != thread_id
        ]
        return True

    return unpin


def _check_may_pin(world: World, chat: Chat) -> None:
    if chat.kind != "private":
        right = "can_edit_messages" if chat.kind == "channel" else "can_pin_messages"
        check_right(chat, world.bot["id"], world.now(), right)


# -- for the other modules -----------------------------------------------------------------------------------------


def group_of(world: World, params: Params, right: str) -> Chat:
    """Return the group or channel of a call; ApiError if the bot lacks `right` ("": no check)."""
    chat = world.chat_for_bot(params)
    if chat.kind == "private":
        raise bad_request("method is available only for groups and channels")
    if right:
        check_right(chat, world.bot["id"], world.now(), right)
    return chat


def _set(chat: Chat, name: str, value: str) -> None:
    if value:
        chat.about.full[name] = value
    else:
        chat.about.full.pop(name, None)
