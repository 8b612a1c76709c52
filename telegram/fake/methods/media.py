"""Methods that send files, and editMessageMedia."""

from collections.abc import Callable
from typing import Final

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.markup import reply_markup
from telegram.fake.protocol.params import Params, integer, text
from telegram.fake.world import World
from telegram.fake.world.attachments import described, media, stored
from telegram.fake.world.messages import (
    caption_content,
    editable,
    inline,
    object_of,
    post,
    replace,
    without,
)

from .sending import send

ALBUM: Final = range(2, 11)
"""Telegram Bot API, sendMediaGroup: 2-10 items."""
PERMISSIONS: Final = {
    "photo": "can_send_photos",
    "live_photo": "can_send_photos",
    "audio": "can_send_audios",
    "document": "can_send_documents",
    "video": "can_send_videos",
    "voice": "can_send_voice_notes",
    "video_note": "can_send_video_notes",
}
_CAPTIONLESS = frozenset({"sticker", "video_note"})
_SHOWN = frozenset(
    {
        *PERMISSIONS,
        *("animation", "sticker", "caption", "caption_entities", "show_caption_above_media"),
        *("has_media_spoiler", "text", "entities", "reply_markup"),
    }
)


def sender(kind: str) -> Callable[[World, Params], Json]:
    """Return the method that sends a file of this kind."""

    def send_media(world: World, params: Params) -> Json:
        content = {} if kind in _CAPTIONLESS else caption_content(params)
        world.chat_for_bot(params)  # checked first: no file is stored for an unknown chat
        content |= media(world, params, kind, params[kind], params)
        return send(world, params, content, PERMISSIONS.get(kind, "can_send_other_messages"))

    return send_media


def send_paid_media(world: World, params: Params) -> Json:
    """Send paid media; the message shows them as bought."""
    content = caption_content(params)
    world.chat_for_bot(params)
    items = object_of(params, "media") or []
    if not 1 <= len(items) <= ALBUM[-1]:
        raise bad_request("wrong number of paid media specified")
    shown = []
    for item in items:
        kind = item["type"]
        thing = described(kind, stored(world, params, item["media"], kind), item)
        shown.append({"type": kind, kind: thing})
    paid = {"star_count": integer(params, "star_count"), "paid_media": shown}
    return send(world, params, content | {"paid_media": paid})


def send_media_group(world: World, params: Params) -> list[Json]:
    """Send an album: messages with the same media_group_id."""
    chat = world.chat_for_bot(params)
    items = object_of(params, "media") or []
    if len(items) not in ALBUM:
        raise bad_request("there must be 2 to 10 items in an album")
    kinds = {item["type"] for item in items}
    if len(kinds) > 1 and kinds & {"audio", "document"}:
        raise bad_request("audio and document can't be mixed with other media types")
    contents = [_content(world, params, item) for item in items]
    group = {"media_group_id": str(13_000_000_000_000_000 + world.number())}
    return [post(world, chat, content | group, None, params, PERMISSIONS[item["type"]])
            for content, item in zip(contents, items, strict=True)]  # fmt: skip


def edit_message_media(world: World, params: Params) -> Json | bool:
    """Replace file and caption. Uploads are refused for a message sent via the bot (Telegram Bot API)."""
    markup = reply_markup(params)
    found = editable(world, params)
    item = object_of(params, "media")
    if found.chat is None and text(item, "media").startswith("attach://"):
        raise bad_request("can't upload a new file for a message sent via the bot")
    content = _content(world, params, item)
    return replace(world, found, without(found.message, *_SHOWN) | content | inline(markup))


def _content(world: World, params: Params, item: Json) -> Json:
    if item["type"] not in PERMISSIONS and item["type"] != "animation":
        raise bad_request(f"can't use the media of the specified type {text(item, 'type')}")
    return media(world, params, item["type"], item["media"], item) | caption_content(item)
