"""Every method that this server knows, by its name in lower case; the others are 404.

getUpdates is not here: it waits, so the server treats it apart.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from .answers import ApiError, Described, Json, bad_request, encode
from .messages import (
    copy_message,
    delete_message,
    edit_message_reply_markup,
    edit_message_text,
    forward_message,
    send_message,
)
from .params import Params, boolean, integer, structure, text
from .queue import DEFAULT_KINDS
from .world import World

CHAT_ACTIONS = frozenset(
    {
        *("typing", "choose_sticker", "find_location", "record_video_note", "upload_video_note"),
        *("record_video", "upload_video", "record_voice", "upload_voice", "upload_photo", "upload_document"),
    }
)
CALLBACK_TEXT_MAX = 200
COMMANDS_MAX = 100
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")


class Method(NamedTuple):
    """A method's proper name, and what it does."""

    name: str
    run: Callable[[World, Params], object]


def get_me(world: World, _params: Params) -> Json:
    """The bot's `User`, with what only getMe tells."""
    return world.bot | {
        "can_join_groups": True,
        "can_read_all_group_messages": True,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


def answer_callback_query(world: World, params: Params) -> bool:
    """Refused: a query that is unknown or answered already."""
    note = text(params, "text")
    if len(note) > CALLBACK_TEXT_MAX:
        raise bad_request("MESSAGE_TOO_LONG")
    query = world.take_callback(text(params, "callback_query_id"))
    if query is None:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    world.emit(
        "answer",
        callback_query_id=query["id"],
        user_id=query.get("from", {}).get("id"),
        text=note,
        show_alert=boolean(params, "show_alert"),
    )
    return True


def send_chat_action(world: World, params: Params) -> bool:
    """Refused: an unknown action."""
    action = text(params, "action").lower()
    if action not in CHAT_ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat = world.chat_for_bot(params)
    world.emit("chat_action", chat_id=chat.id, action=action)
    return True


def get_chat(world: World, params: Params) -> Json:
    """ChatFullInfo, with its required fields."""
    chat = world.chat_for_bot(params)
    gifts = (
        "unlimited_gifts",
        "limited_gifts",
        "unique_gifts",
        "premium_subscription",
        "gifts_from_channels",
    )
    return chat.chat() | {
        "accent_color_id": 0,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(gifts, False),
    }


def get_chat_member(world: World, params: Params) -> Json:
    """Member or left; refused: a user whom nobody has seen."""
    chat = world.chat_for_bot(params)
    user_id = integer(params, "user_id")
    if user_id <= 0:
        raise bad_request("invalid user_id specified")
    if user_id == world.bot["id"]:
        return {"status": "member", "user": world.bot}
    person = world.known_person(user_id)
    if person is None:
        raise bad_request("user not found")
    inside = user_id == chat.id if chat.members is None else user_id in chat.members
    return {"status": "member" if inside else "left", "user": person.user()}


def set_my_commands(world: World, params: Params) -> bool:
    """One list per scope and language."""
    try:
        commands = structure(params, "commands") or []
    except ValueError:
        raise bad_request("can't parse commands JSON object") from None
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    if len(commands) > COMMANDS_MAX:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    world.commands[_scope(params)] = [_command(command) for command in commands]
    return True


def get_my_commands(world: World, params: Params) -> list[Json]:
    """[] where nothing is set."""
    return world.commands.get(_scope(params), [])


def delete_my_commands(world: World, params: Params) -> bool:
    """True, set or not."""
    world.commands.pop(_scope(params), None)
    return True


def _command(value: object) -> Json:
    if not isinstance(value, dict):
        raise bad_request("can't parse BotCommand: expected an Object")
    name = text(value, "command").removeprefix("/")
    description = text(value, "description")
    if not _COMMAND.fullmatch(name):
        raise bad_request("BOT_COMMAND_INVALID")
    if not 0 < len(description) <= 256:
        raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": name, "description": description}


def _scope(params: Params) -> tuple[str, str]:
    try:
        scope = structure(params, "scope") or {"type": "default"}
    except ValueError:
        raise bad_request("can't parse BotCommandScope JSON object") from None
    return encode(scope), text(params, "language_code")


def set_webhook(world: World, params: Params) -> Described:
    """Refused unless the url is empty, which means deleteWebhook."""
    if text(params, "url"):
        raise bad_request("webhooks are not supported by this server")
    return delete_webhook(world, params)


def delete_webhook(world: World, params: Params) -> Described:
    """Says in its description whether there was one; may drop what waits."""
    queue = world.queue
    was_set = bool(queue.webhook_url)
    queue.webhook_url = ""
    if boolean(params, "drop_pending_updates"):
        queue.clear()
    return Described(True, "Webhook was deleted" if was_set else "Webhook is already deleted")


def get_webhook_info(world: World, _params: Params) -> Json:
    """WebhookInfo; allowed_updates only when they are not the default."""
    queue = world.queue
    info: Json = {
        "url": queue.webhook_url,
        "has_custom_certificate": False,
        "pending_update_count": queue.pending,
    }
    if queue.allowed != DEFAULT_KINDS:
        info["allowed_updates"] = sorted(queue.allowed)
    return info


def log_out(world: World, _params: Params) -> bool:
    """From now on every call is refused."""
    world.logged_out = True
    return True


def close(_world: World, _params: Params) -> bool:
    """Nothing to close: the fake has one bot and keeps it."""
    return True


METHODS = {
    name.lower(): Method(name, run)
    for name, run in {
        "getMe": get_me,
        "sendMessage": send_message,
        "editMessageText": edit_message_text,
        "editMessageReplyMarkup": edit_message_reply_markup,
        "deleteMessage": delete_message,
        "forwardMessage": forward_message,
        "copyMessage": copy_message,
        "answerCallbackQuery": answer_callback_query,
        "sendChatAction": send_chat_action,
        "getChat": get_chat,
        "getChatMember": get_chat_member,
        "setMyCommands": set_my_commands,
        "getMyCommands": get_my_commands,
        "deleteMyCommands": delete_my_commands,
        "setWebhook": set_webhook,
        "deleteWebhook": delete_webhook,
        "getWebhookInfo": get_webhook_info,
        "logOut": log_out,
        "close": close,
    }.items()
}


def run(world: World, method: str, params: Params) -> Any:
    """The result of a method (name in lower case); ApiError when it is refused."""
    if world.logged_out:
        raise ApiError(400, "Logged out")
    found = METHODS.get(method)
    if found is None:
        raise ApiError(404, "Not Found: method not found")
    return found.run(world, params)
