"""Membership and rights: Telegram's ChatMember, stored for users with more than the default status."""

from functools import cache
from typing import Final

from telegram.fake.protocol.answers import ApiError, Json, bad_request, forbidden
from telegram.fake.protocol.shapes import schema

from .people import Chat

NOT_ENOUGH: Final = {
    "can_restrict_members": "not enough rights to restrict/unrestrict chat member",
    "can_promote_members": "not enough rights",
    "can_change_info": "not enough rights to change chat info",
    "can_invite_users": "not enough rights to manage chat invite link",
    "can_pin_messages": "not enough rights to manage pinned messages in the chat",
    "can_manage_topics": "not enough rights to manage topics",
    "can_delete_messages": "message can't be deleted",
}
"""Error texts of the server for a missing right."""


@cache
def flags(type_name: str) -> tuple[str, ...]:
    """Return the names of the Boolean fields of a type."""
    return tuple(field.name for field in schema().types[type_name].fields if field.types == ("Boolean",))


def administrator(rights: Json, *, can_be_edited: bool = False) -> Json:
    """Return the status of an administrator with the rights that are true in `rights`."""
    names = flags("ChatMemberAdministrator")
    status: Json = {"status": "administrator"} | {name: rights.get(name) is True for name in names}
    return status | {"can_manage_chat": True, "can_be_edited": can_be_edited}


def full_administrator() -> Json:
    """Return the status of an administrator with all rights, not anonymous."""
    return administrator(dict.fromkeys(flags("ChatMemberAdministrator"), True) | {"is_anonymous": False})


def restricted(permissions: Json, *, until_date: int, is_member: bool) -> Json:
    """Return the status of a restricted user with the permissions that are true in `permissions`."""
    names = flags("ChatPermissions")
    allowed = {name: permissions.get(name) is True for name in names}
    return {"status": "restricted", **allowed, "is_member": is_member, "until_date": until_date}


def status_of(chat: Chat, user_id: int, bot_id: int, now: float) -> Json:
    """Return a ChatMember without its user; a status whose `until_date` has passed no longer counts."""
    plain = (
        user_id in (chat.id, bot_id) if chat.members is None else user_id in chat.members or user_id == bot_id
    )
    found = None if chat.is_plain else chat.about.statuses.get(user_id)
    if found is None or 0 < found.get("until_date", 0) <= now:
        is_back = found is None or found["status"] != "kicked"
        return {"status": "member" if plain and is_back else "left"}
    return found


def check_access(chat: Chat, bot_id: int, now: float) -> None:
    """Raise ApiError with the server's text if the bot is no longer in the chat, or the chat no longer exists."""
    about = chat.about
    if about.migrated_to:
        raise ApiError(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            migrate_to_chat_id=about.migrated_to,
        )
    if about.deleted:
        raise forbidden("the group chat was deleted")
    name = "channel" if chat.kind == "channel" else chat.kind
    match status_of(chat, bot_id, bot_id, now)["status"]:
        case "kicked":
            raise forbidden(f"bot was kicked from the {name} chat")
        case "left":
            raise forbidden(f"bot is not a member of the {name} chat")


def check_may_send(chat: Chat, bot_id: int, now: float, permission: str = "can_send_messages") -> None:
    """Raise ApiError if the bot has no permission to send."""
    if chat.kind == "private" or chat.is_plain:
        return
    status = status_of(chat, bot_id, bot_id, now)
    if chat.kind == "channel":
        if not status.get("can_post_messages"):
            raise bad_request("need administrator rights in the channel chat")
        return
    allowed = status if status["status"] == "restricted" else chat.about.full.get("permissions", {})
    if status["status"] in ("restricted", "member") and allowed.get(permission) is False:
        what = "text messages" if permission == "can_send_messages" else permission.removeprefix("can_send_")
        raise bad_request(f"not enough rights to send {what.replace('_', ' ')} to the chat")


def check_right(chat: Chat, bot_id: int, now: float, right: str) -> None:
    """Raise ApiError unless the bot is an administrator with this right."""
    status = status_of(chat, bot_id, bot_id, now)
    if not status.get(right) and status["status"] != "creator":
        raise bad_request(NOT_ENOUGH.get(right, "not enough rights"))
