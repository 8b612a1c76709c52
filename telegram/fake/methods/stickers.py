"""Methods for the bot's sticker sets."""

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, boolean, integer, text
from telegram.fake.world import World
from telegram.fake.world.attachments import described, stored
from telegram.fake.world.messages import object_of

STICKERS_MAX = 120  # Telegram Bot API, addStickerToSet
_FORMATS = ("static", "animated", "video")


def upload_sticker_file(world: World, params: Params) -> Json:
    """Store a file for later use in a set; return a `File`."""
    world.user(params)
    if text(params, "sticker_format") not in _FORMATS:
        raise bad_request("invalid sticker format specified")
    return stored(world, params, params["sticker"], "sticker").identity()


def create_new_sticker_set(world: World, params: Params) -> bool:
    """Create a set. Refused: a name that exists, or does not end in _by_<bot_username>."""
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
    """Return a set; an unknown name is refused."""
    return _set(world, params)


def add_sticker_to_set(world: World, params: Params) -> bool:
    """Append a sticker to a set."""
    found = _set(world, params)
    if len(found["stickers"]) >= STICKERS_MAX:
        raise bad_request("STICKERS_TOO_MUCH")
    found["stickers"].append(_sticker(world, params, object_of(params, "sticker"), found))
    return True


def replace_sticker_in_set(world: World, params: Params) -> bool:
    """Replace a sticker at its position."""
    found, n = _place(world, text(params, "old_sticker"))
    found["stickers"][n] = _sticker(world, params, object_of(params, "sticker"), found)
    return True


def set_sticker_position_in_set(world: World, params: Params) -> bool:
    """Move a sticker to a position, counted from 0."""
    found, n = _place(world, text(params, "sticker"))
    found["stickers"].insert(integer(params, "position"), found["stickers"].pop(n))
    return True


def delete_sticker_from_set(world: World, params: Params) -> bool:
    """Delete a sticker from its set."""
    found, n = _place(world, text(params, "sticker"))
    del found["stickers"][n]
    return True


def set_sticker_emoji_list(world: World, params: Params) -> bool:
    """Set the emoji of a sticker; only the first is part of a `Sticker`."""
    found, n = _place(world, text(params, "sticker"))
    emojis = object_of(params, "emoji_list") or []
    if not 1 <= len(emojis) <= 20:
        raise bad_request("there must be 1 to 20 emoji")
    found["stickers"][n] = found["stickers"][n] | {"emoji": emojis[0]}
    return True


def set_sticker_keywords(world: World, params: Params) -> bool:
    """Check that the sticker exists; keywords are not stored, since no method reads them."""
    _place(world, text(params, "sticker"))
    return True


def set_sticker_mask_position(world: World, params: Params) -> bool:
    """Set the mask position of a sticker; an absent one removes it."""
    found, n = _place(world, text(params, "sticker"))
    position = object_of(params, "mask_position")
    kept = {name: value for name, value in found["stickers"][n].items() if name != "mask_position"}
    found["stickers"][n] = kept | ({"mask_position": position} if position else {})
    return True


def set_sticker_set_title(world: World, params: Params) -> bool:
    """Set the title of a set."""
    _set(world, params)["title"] = text(params, "title")
    return True


def set_sticker_set_thumbnail(world: World, params: Params) -> bool:
    """Set the thumbnail of a set; an absent one removes it."""
    found = _set(world, params)
    found.pop("thumbnail", None)
    if params.get("thumbnail"):
        file = stored(world, params, params["thumbnail"], "sticker")
        found["thumbnail"] = file.identity() | {"width": 100, "height": 100}
    return True


def set_custom_emoji_sticker_set_thumbnail(world: World, params: Params) -> bool:
    """Check that the set is one of custom emoji; the thumbnail is not stored."""
    if _set(world, params)["sticker_type"] != "custom_emoji":
        raise bad_request("STICKERSET_INVALID")
    return True


def delete_sticker_set(world: World, params: Params) -> bool:
    """Delete a set; its name can be used again."""
    del world.sticker_sets[_set(world, params)["name"]]
    return True


def get_custom_emoji_stickers(world: World, params: Params) -> list[Json]:
    """Return the custom emoji of the bot's sets; unknown ids are skipped."""
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
