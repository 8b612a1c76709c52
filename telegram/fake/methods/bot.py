"""Methods for the bot itself: profile, commands, menu button, logging out."""

import re
from collections.abc import Callable

from telegram.fake.protocol.answers import Json, bad_request, encode
from telegram.fake.protocol.params import Params, boolean, integer, structure, text
from telegram.fake.world import World
from telegram.fake.world.attachments import described, stored
from telegram.fake.world.members import flags
from telegram.fake.world.messages import object_of

COMMANDS_MAX = 100
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_LONGEST = {"name": 64, "description": 512, "short_description": 120}  # Telegram Bot API, setMyName, ...


def get_me(world: World, _params: Params) -> Json:
    """Return the bot's `User`, with the fields that only getMe returns."""
    return world.bot | {
        "can_join_groups": True,
        "can_read_all_group_messages": True,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


# -- profile: one text per language -------------------------------------------------------------------------------


def profile_setter(name: str) -> Callable[[World, Params], bool]:
    """Return the method that sets the bot's name, description or short description; an empty text removes it."""

    def set_text(world: World, params: Params) -> bool:
        value, language = text(params, name), text(params, "language_code")
        if len(value) > _LONGEST[name]:
            raise bad_request(f"{name.replace('_', ' ')} is too long")
        if value:
            world.settings[name, language] = value
        else:
            world.settings.pop((name, language), None)
        if name == "name" and value and not language:
            world.bot = world.bot | {"first_name": value}
        return True

    return set_text


def profile_getter(name: str) -> Callable[[World, Params], Json]:
    """Return the method that reads the text for a language, else that for all languages."""

    def get_text(world: World, params: Params) -> Json:
        default = world.settings.get((name, ""), world.bot["first_name"] if name == "name" else "")
        return {name: world.settings.get((name, text(params, "language_code")), default)}

    return get_text


def set_my_profile_photo(world: World, params: Params) -> bool:
    """Add a profile photo; getUserProfilePhotos returns it if it is static."""
    given = object_of(params, "photo")
    kind = "photo" if given["type"] == "static" else "animation"
    file = stored(world, params, given[kind], kind)
    if kind == "photo":
        photos = world.settings.get(("photos", ""), [])
        world.settings["photos", ""] = [described("photo", file, {}), *photos]
    return True


def remove_my_profile_photo(world: World, _params: Params) -> bool:
    """Remove the latest profile photo."""
    world.settings["photos", ""] = world.settings.get(("photos", ""), [])[1:]
    return True


def get_user_profile_photos(world: World, params: Params) -> Json:
    """Return the bot's own photos; users have none here."""
    user = world.user(params)
    photos = world.settings.get(("photos", ""), []) if user["id"] == world.bot["id"] else []
    offset, limit = integer(params, "offset"), integer(params, "limit", 100)
    return {"total_count": len(photos), "photos": photos[offset : offset + limit]}


# -- menu button and rights ----------------------------------------------------------------------------------------


def set_chat_menu_button(world: World, params: Params) -> bool:
    """Set the menu button of one private chat, or of all."""
    button = object_of(params, "menu_button") or {"type": "default"}
    world.settings["menu", _private_chat(world, params)] = button
    return True


def get_chat_menu_button(world: World, params: Params) -> Json:
    """Return the menu button of the chat, else that of all chats."""
    default = world.settings.get(("menu", ""), {"type": "commands"})
    button: Json = world.settings.get(("menu", _private_chat(world, params)), {"type": "default"})
    return default if button["type"] == "default" else button


def _private_chat(world: World, params: Params) -> str:
    if not integer(params, "chat_id"):
        return ""
    chat = world.chat_for_bot(params)
    if chat.kind != "private":
        raise bad_request("chat_id must be that of a private chat")
    return str(chat.id)


def set_my_default_administrator_rights(world: World, params: Params) -> bool:
    """Set the default rights for groups or channels; an absent value removes all."""
    rights = object_of(params, "rights") or {}
    names = flags("ChatAdministratorRights")
    world.settings["rights", _where(params)] = {name: rights.get(name) is True for name in names}
    return True


def get_my_default_administrator_rights(world: World, params: Params) -> Json:
    """Return the default rights; all are False unless set."""
    none = dict.fromkeys(flags("ChatAdministratorRights"), False)
    rights: Json = world.settings.get(("rights", _where(params)), none)
    return rights


def _where(params: Params) -> str:
    return "channels" if boolean(params, "for_channels") else "groups"


# -- commands ------------------------------------------------------------------------------------------------------


def set_my_commands(world: World, params: Params) -> bool:
    """Set the commands for a scope and language."""
    try:
        commands = structure(params, "commands") or []
    except ValueError:
        raise bad_request("can't parse commands JSON object") from None
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    if len(commands) > COMMANDS_MAX:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    world.commands[_scope(params)] = [_command(command) for command in commands]
    world.emit("commands")
    return True


def get_my_commands(world: World, params: Params) -> list[Json]:
    """Return the commands for a scope and language; [] unless set."""
    return world.commands.get(_scope(params), [])


def delete_my_commands(world: World, params: Params) -> bool:
    """Remove the commands for a scope and language; True also if there were none."""
    world.commands.pop(_scope(params), None)
    world.emit("commands")
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


# -- log out -------------------------------------------------------------------------------------------------------


def log_out(world: World, _params: Params) -> bool:
    """Refuse all calls from now on with 400."""
    world.logged_out = True
    return True


def close(_world: World, _params: Params) -> bool:
    """Do nothing: the fake always serves its one bot."""
    return True
