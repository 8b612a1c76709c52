"""Methods for invite links and requests to join."""

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, boolean, integer, text
from telegram.fake.world import World
from telegram.fake.world.people import Chat

from .chats import group_of

NAME_MAX = 32  # Telegram Bot API, createChatInviteLink


def export_chat_invite_link(world: World, params: Params) -> str:
    """Return a new primary link; the old one is revoked."""
    chat = group_of(world, params, "can_invite_users")
    for url, link in chat.about.links.items():
        if link["is_primary"]:
            chat.about.links[url] = link | {"is_revoked": True}
    link = _new(world, chat, {"is_primary": True})
    chat.about.full["invite_link"] = link["invite_link"]
    return str(link["invite_link"])


def create_chat_invite_link(world: World, params: Params) -> Json:
    """Create a link; a member limit together with join requests is refused."""
    chat = group_of(world, params, "can_invite_users")
    return _new(world, chat, _wanted(params))


def edit_chat_invite_link(world: World, params: Params) -> Json:
    """Edit a link; absent parameters are reset."""
    chat, link = _known(world, params)
    kept = ("invite_link", "creator", "is_primary", "is_revoked", "subscription_period", "subscription_price")
    edited: Json = {name: link[name] for name in kept if name in link}
    return _keep(chat, edited | _wanted(params))


def create_chat_subscription_invite_link(world: World, params: Params) -> Json:
    """Create a subscription link; its period must be 30 days."""
    chat = group_of(world, params, "can_invite_users")
    if integer(params, "subscription_period") != 30 * 86_400:  # Telegram Bot API
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    price = {name: integer(params, name) for name in ("subscription_period", "subscription_price")}
    return _new(world, chat, _wanted(params) | price)


def revoke_chat_invite_link(world: World, params: Params) -> Json:
    """Revoke a link; it remains listed as revoked."""
    chat, link = _known(world, params)
    return _keep(chat, link | {"is_revoked": True})


def approve_chat_join_request(world: World, params: Params) -> bool:
    """Approve a request to join: the user becomes a member."""
    chat, user = _asking(world, params)
    chat.about.join_requests.discard(user["id"])
    world.set_member(chat, user, {"status": "member"}, by=world.bot)
    return True


def decline_chat_join_request(world: World, params: Params) -> bool:
    """Decline a request to join."""
    chat, user = _asking(world, params)
    chat.about.join_requests.discard(user["id"])
    return True


def _new(world: World, chat: Chat, wanted: Json) -> Json:
    url = f"https://t.me/+fake{world.number():012d}"
    plain = {"creates_join_request": False, "is_primary": False, "is_revoked": False}
    return _keep(chat, {"invite_link": url, "creator": world.bot} | plain | wanted)


def _wanted(params: Params) -> Json:
    name = text(params, "name")
    if len(name) > NAME_MAX:
        raise bad_request("invite link name is too long")
    wanted: Json = {"creates_join_request": boolean(params, "creates_join_request")}
    for field in ("expire_date", "member_limit"):
        if integer(params, field):
            wanted[field] = integer(params, field)
    if wanted["creates_join_request"] and "member_limit" in wanted:
        raise bad_request("member limit can't be specified for links requiring administrator approval")
    return wanted | ({"name": name} if name else {})


def _known(world: World, params: Params) -> tuple[Chat, Json]:
    chat = group_of(world, params, "can_invite_users")
    link = chat.about.links.get(text(params, "invite_link"))
    if link is None:
        raise bad_request("INVITE_HASH_EXPIRED")
    return chat, link


def _keep(chat: Chat, link: Json) -> Json:
    chat.about.links[link["invite_link"]] = link
    return link


def _asking(world: World, params: Params) -> tuple[Chat, Json]:
    chat = group_of(world, params, "can_invite_users")
    user = world.user(params)
    if user["id"] not in chat.about.join_requests:
        inside = world.member(chat, user)["status"] not in ("left", "kicked")
        raise bad_request("USER_ALREADY_PARTICIPANT" if inside else "HIDE_REQUESTER_MISSING")
    return chat, user
