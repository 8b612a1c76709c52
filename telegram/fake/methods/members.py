"""Methods for members: status, bans, restrictions, administrators, tags."""

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, boolean, integer, text
from telegram.fake.world import World
from telegram.fake.world.members import administrator, check_right, flags, restricted
from telegram.fake.world.messages import object_of
from telegram.fake.world.people import Chat

from .chats import group_of

TITLE_MAX = 16  # Telegram Bot API, setChatAdministratorCustomTitle and setChatMemberTag
_SHORTEST_S, _LONGEST_S = 30, 366 * 86_400  # Telegram Bot API, banChatMember: otherwise permanent


def get_chat_member(world: World, params: Params) -> Json:
    """Return a ChatMember; an unknown user is refused."""
    chat = world.chat_for_bot(params)
    return world.member(chat, world.user(params))


def get_chat_administrators(world: World, params: Params) -> list[Json]:
    """Return the administrators; `return_bots` has no effect, since there are no other bots."""
    chat = world.chat_for_bot(params)
    if chat.kind == "private":
        raise bad_request("there are no administrators in the private chat")
    if chat.is_plain:
        return []
    found = [world.member(chat, world.user({"user_id": user_id})) for user_id in chat.about.statuses]
    return [member for member in found if member["status"] in ("creator", "administrator")]


def ban_chat_member(world: World, params: Params) -> bool:
    """Ban a user. Refused: in private chats, without the right, and for administrators that the bot has not appointed."""
    chat, user = _target(world, params, "can_restrict_members")
    banned = {"status": "kicked", "until_date": _until(world, params)}
    world.set_member(chat, user, banned, by=world.bot)
    return True


def unban_chat_member(world: World, params: Params) -> bool:
    """Unban a user; a member who is not banned is removed, unless `only_if_banned`."""
    chat, user = _target(world, params, "can_restrict_members")
    is_banned = world.member(chat, user)["status"] == "kicked"
    if is_banned or not boolean(params, "only_if_banned"):
        world.set_member(chat, user, {"status": "left"}, by=world.bot)
    return True


def restrict_chat_member(world: World, params: Params) -> bool:
    """Restrict a member of a supergroup; with all given permissions true the restrictions are lifted."""
    chat, user = _target(world, params, "can_restrict_members")
    if chat.kind != "supergroup":
        raise bad_request("method is available only for supergroups")
    permissions = object_of(params, "permissions") or {}
    is_member = world.member(chat, user)["status"] not in ("left", "kicked")
    new = restricted(permissions, until_date=_until(world, params), is_member=is_member)
    if all(new[name] for name in flags("ChatPermissions") if name in permissions) and len(permissions) > 1:
        new = {"status": "member"} if is_member else {"status": "left"}
    world.set_member(chat, user, new, by=world.bot)
    return True


def promote_chat_member(world: World, params: Params) -> bool:
    """Set an administrator's rights; without any right the user becomes a plain member."""
    chat = group_of(world, params, "can_promote_members")
    user = world.user(params)
    if user["id"] == world.bot["id"]:
        raise bad_request("can't promote self")
    rights = {name: boolean(params, name) for name in flags("ChatMemberAdministrator")}
    new = administrator(rights, can_be_edited=True) if any(rights.values()) else {"status": "member"}
    world.set_member(chat, user, new, by=world.bot)
    return True


def set_chat_administrator_custom_title(world: World, params: Params) -> bool:
    """Set the title of an administrator whom the bot has appointed."""
    chat = group_of(world, params, "can_promote_members")
    title = text(params, "custom_title")
    user = world.user(params)
    member = world.member(chat, user)
    if member["status"] != "administrator" or not member["can_be_edited"]:
        raise bad_request("user is not an administrator that the bot may edit")
    if len(title) > TITLE_MAX:
        raise bad_request("ADMIN_RANK_INVALID")
    chat.about.statuses[user["id"]] = chat.about.statuses[user["id"]] | {"custom_title": title}
    return True


def set_chat_member_tag(world: World, params: Params) -> bool:
    """Set the tag of a plain or restricted member; an empty one removes it."""
    chat = group_of(world, params, "can_manage_tags")
    user, tag = world.user(params), text(params, "tag")
    member = world.member(chat, user)
    if member["status"] not in ("member", "restricted"):
        raise bad_request("USER_NOT_PARTICIPANT")
    if len(tag) > TITLE_MAX:
        raise bad_request("TAG_INVALID")
    new = {name: value for name, value in member.items() if name not in ("user", "tag")}
    chat.about.statuses[user["id"]] = new | ({"tag": tag} if tag else {})
    return True


def ban_chat_sender_chat(world: World, params: Params) -> bool:
    """Check the right only: the bans of sender chats are not stored (also for unbanChatSenderChat)."""
    group_of(world, params, "can_restrict_members")
    return True


def _target(world: World, params: Params, right: str) -> tuple[Chat, Json]:
    chat = world.chat_for_bot(params)
    if chat.kind == "private":
        raise bad_request("can't restrict members of private chats")
    user = world.user(params)
    check_right(chat, world.bot["id"], world.now(), right)
    if user["id"] == world.bot["id"]:
        raise bad_request("can't restrict self")
    status = world.member(chat, user)
    if status["status"] == "creator" or (status["status"] == "administrator" and not status["can_be_edited"]):
        raise bad_request("user is an administrator of the chat")
    return chat, user


def _until(world: World, params: Params) -> int:
    """Return the Unix time of the end; 0 for a permanent one."""
    until = integer(params, "until_date")
    return until if _SHORTEST_S <= until - world.now() <= _LONGEST_S else 0
