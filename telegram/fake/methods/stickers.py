"""The methods about sticker sets: those that the bot made, and what is in them."""

from telegram.fake.answers import Json, bad_request
from telegram.fake.attachments import described, stored
from telegram.fake.messages import object_of
from telegram.fake.params import Params, boolean, integer, text
from telegram.fake.world import World

STICKERS_MAX = 120  # Telegram Bot API, addStickerToSet
_FORMATS = ("static", "animated", "video")


def upload_sticker_file(world: World, params: Params) -> Json:
    """A file for later use in a set."""
    world.user(params)
    if text(params, "sticker_format") not in _FORMATS:
        raise bad_request("invalid sticker format specified")
    return stored(world, params, params["sticker"], "sticker").identity()


def create_new_sticker_set(world: World, params: Params) -> bool:
    """Refused: a name that is taken, or does not end in _by_<bot_username>."""
    world.user(params)
    name = text(params, "name")
    if not name.lower().endswith(f"_by_{world.bot['username'].lower()}"):
        raise bad_request("invalid sticker set name is specified")
    if name in world.sticker_sets:
        raise bad_request("sticker set name is already occupied")
    kind = text(params, "sticker_type") or "regular"
    made = {"name": name, "title": text(params, "title"), "sticker_type": kind}
    stickers = [_sticker(world, params, given, made) for given in object_of(params, "stickers") or []]
    if not stickers:
        raise bad_request("STICKERS_EMPTY")
    world.sticker_sets[name] = made | {"stickers": stickers}
    return True


def get_sticker_set(world: World, params: Params) -> Json:
    """Refused: a name that nobody has made."""
    return _set(world, params)


def add_sticker_to_set(world: World, params: Params) -> bool:
    """At the end."""
    found = _set(world, params)
    if len(found["stickers"]) >= STICKERS_MAX:
        raise bad_request("STICKERS_TOO_MUCH")
    found["stickers"].append(_sticker(world, params, object_of(params, "sticker"), found))
    return True


def replace_sticker_in_set(world: World, params: Params) -> bool:
    """In the place of the old one."""
    found, n = _place(world, text(params, "old_sticker"))
    found["stickers"][n] = _sticker(world, params, object_of(params, "sticker"), found)
    return True


def set_sticker_position_in_set(world: World, params: Params) -> bool:
    """From 0."""
    found, n = _place(world, text(params, "sticker"))
    found["stickers"].insert(integer(params, "position"), found["stickers"].pop(n))
    return True


def delete_sticker_from_set(world: World, params: Params) -> bool:
    """The others move up."""
    found, n = _place(world, text(params, "sticker"))
    del found["stickers"][n]
    return True


def set_sticker_emoji_list(world: World, params: Params) -> bool:
    """A Sticker shows the first one."""
    found, n = _place(world, text(params, "sticker"))
    emojis = object_of(params, "emoji_list") or []
    if not 1 <= len(emojis) <= 20:
        raise bad_request("there must be 1 to 20 emoji")
    found["stickers"][n] = found["stickers"][n] | {"emoji": emojis[0]}
    return True


def set_sticker_keywords(world: World, params: Params) -> bool:
    """No method of the Bot API reads them."""
    _place(world, text(params, "sticker"))
    return True


def set_sticker_mask_position(world: World, params: Params) -> bool:
    """None takes it away."""
    found, n = _place(world, text(params, "sticker"))
    position = object_of(params, "mask_position")
    kept = {name: value for name, value in found["stickers"][n].items() if name != "mask_position"}
    found["stickers"][n] = kept | ({"mask_position": position} if position else {})
    return True


def set_sticker_set_title(world: World, params: Params) -> bool:
    """At once."""
    _set(world, params)["title"] = text(params, "title")
    return True


def set_sticker_set_thumbnail(world: World, params: Params) -> bool:
    """None takes it away."""
    found = _set(world, params)
    found.pop("thumbnail", None)
    if params.get("thumbnail"):
        file = stored(world, params, params["thumbnail"], "sticker")
        found["thumbnail"] = file.identity() | {"width": 100, "height": 100}
    return True


def set_custom_emoji_sticker_set_thumbnail(world: World, params: Params) -> bool:
    """For sets of custom emoji."""
    if _set(world, params)["sticker_type"] != "custom_emoji":
        raise bad_request("STICKERSET_INVALID")
    return True


def delete_sticker_set(world: World, params: Params) -> bool:
    """Its name is free again."""
    del world.sticker_sets[_set(world, params)["name"]]
    return True


def get_custom_emoji_stickers(world: World, params: Params) -> list[Json]:
    """Those of the bot's sets; unknown ids are passed over."""
    wanted = object_of(params, "custom_emoji_ids") or []
    known = [sticker for each in world.sticker_sets.values() for sticker in each["stickers"]]
    return [sticker for sticker in known if sticker.get("custom_emoji_id") in wanted]


def _set(world: World, params: Params) -> Json:
    found = world.sticker_sets.get(text(params, "name"))
    if found is None:
        raise bad_request("STICKERSET_INVALID")
    return found


def _place(world: World, file_id: str) -> tuple[Json, int]:
    for found in world.sticker_sets.values():
        for n, sticker in enumerate(found["stickers"]):
            if sticker["file_id"] == file_id:
                return found, n
    raise bad_request("STICKER_INVALID")


def _sticker(world: World, params: Params, given: Json, made: Json) -> Json:
    if given["format"] not in _FORMATS:
        raise bad_request("invalid sticker format specified")
    file = stored(world, params, given["sticker"], "sticker")
    sticker: Json = described("sticker", file, given | {"emoji": next(iter(given["emoji_list"]), "")})
    sticker |= {"type": made["sticker_type"], "set_name": made["name"]}
    if made["sticker_type"] == "custom_emoji":
        sticker["custom_emoji_id"] = str(6_000_000_000_000_000_000 + world.number())
    if given.get("mask_position"):
        sticker["mask_position"] = given["mask_position"]
    return sticker | ({"needs_repainting": True} if boolean(params, "needs_repainting") else {})
