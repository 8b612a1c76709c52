"""Files in calls (uploads, file_ids, URLs, paths) and their fields in messages."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from telegram.fake.protocol.answers import ApiError, Json, bad_request
from telegram.fake.protocol.params import Params, Upload, boolean, integer, text

from .chat_state import ChatState
from .files import FILE_BYTES_MAX, StoredFile

KINDS: Final = (
    *("photo", "live_photo", "audio", "document", "video"),
    *("animation", "voice", "video_note", "sticker"),
)
_BEFORE_DOCUMENT: Final = tuple(
    kind for kind in KINDS if kind != "document"
)  # an animation is also sent as a document
PHOTO_BYTES_MAX: Final = 10 << 20  # Telegram Bot API, sendPhoto
_WIDTH, _HEIGHT = 800, 600  # of all pictures: their content is not read


def stored(world: ChatState, params: Params, value: Any, kind: str) -> StoredFile:
    """Return the file that `value` refers to; a new one is stored. ApiError with the server's text."""
    if isinstance(value, str) and value.startswith("attach://"):
        value = params.get(value.removeprefix("attach://"))
    if isinstance(value, Upload):
        return _uploaded(world, value, kind)
    name = value if isinstance(value, str) else ""
    if name.startswith(("http://", "https://")):
        return world.files.add(kind, name.encode(), name=urlsplit(name).path)  # it is not downloaded
    if name.startswith("file:") and world.files.local:
        return _from_disk(world, name, kind)
    found = world.files.find(name)
    if found is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if found.kind != kind:
        what, other = (each.replace("_", " ").title().replace(" ", "") for each in (found.kind, kind))
        raise bad_request(f"can't use file of type {what} as {other}")
    return found


def store_files(world: ChatState, message: Json) -> None:
    """Store the files of a user's message: the bot may send them again by file_id (Telegram Bot API, Sending files).

    Their content is unknown; the file_id stands for it.
    """
    for kind in (*_BEFORE_DOCUMENT, "document"):
        found = message.get(kind)
        for each in found if isinstance(found, list) else (found,):
            if isinstance(each, dict) and isinstance(each.get("file_id"), str):
                world.files.add_known(kind, each)


def described(kind: str, file: StoredFile, given: Json) -> Any:
    """Return the file's field in a message: a PhotoSize list, Audio, Document, ...; `given`: the call's parameters."""
    found = file.identity()
    size = {"width": integer(given, "width") or _WIDTH, "height": integer(given, "height") or _HEIGHT}
    typed = {"mime_type": file.mime_type}
    named = typed | ({"file_name": file.name} if file.name else {})
    lasting = {"duration": integer(given, "duration")}
    match kind:
        case "photo":
            return [found | {"width": _WIDTH, "height": _HEIGHT}]
        case "live_photo":
            return found | size | lasting | typed
        case "audio":
            spoken = {name: text(given, name) for name in ("performer", "title") if text(given, name)}
            return found | lasting | spoken | named
        case "voice":
            return found | lasting | typed
        case "video_note":
            return found | lasting | {"length": integer(given, "length") or 240}
        case "sticker":
            return found | sticker_fields(given)
        case "video" | "animation":
            return found | size | lasting | named
    return found | named


def sticker_fields(given: Json) -> Json:
    """Return the fields of a `Sticker` without those of its file."""
    formatted = text(given, "format") or "static"
    fields: Json = {"type": "regular", "width": 512, "height": 512}
    fields |= {"is_animated": formatted == "animated", "is_video": formatted == "video"}
    return fields | ({"emoji": text(given, "emoji")} if text(given, "emoji") else {})


def media(world: ChatState, params: Params, kind: str, value: Any, given: Json) -> Json:
    """Return the fields of a message with this file."""
    file = stored(world, params, value, kind)
    thing = described(kind, file, given)
    if kind not in ("photo", "voice", "sticker"):
        thing |= _thumbnail(world, params, given.get("thumbnail"))
    content: Json = {kind: thing}
    if kind == "animation":  # Telegram Bot API, Message: "the document field will also be set"
        content["document"] = described("document", file, given)
    if boolean(given, "has_spoiler"):
        content["has_media_spoiler"] = True
    return content


def _thumbnail(world: ChatState, params: Params, value: Any) -> Json:
    """Return the thumbnail, if it is an upload; other values are ignored (Telegram Bot API, sendDocument)."""
    if isinstance(value, str) and value.startswith("attach://"):
        value = params.get(value.removeprefix("attach://"))
    if not isinstance(value, Upload):
        return {}
    return {"thumbnail": _uploaded(world, value, "photo").identity() | {"width": 320, "height": 240}}


def _uploaded(world: ChatState, upload: Upload, kind: str) -> StoredFile:
    _check_size(world, len(upload.content), kind)
    return world.files.add(
        kind, upload.content, name=str(upload["file_name"]), mime_type=_mime(upload.mime_type)
    )


def _from_disk(world: ChatState, url: str, kind: str) -> StoredFile:
    path = Path(unquote(urlsplit(url).path))
    if not path.is_absolute() or not path.is_file():
        raise bad_request("invalid file HTTP URL specified: File not found")
    content = path.read_bytes()
    _check_size(world, len(content), kind)
    return world.files.add(kind, content, name=path.name)


def _check_size(world: ChatState, size: int, kind: str) -> None:
    if not size:
        raise bad_request("file must be non-empty")
    if not world.files.local and size > FILE_BYTES_MAX:
        raise ApiError(413, "Request Entity Too Large")
    if kind == "photo" and size > PHOTO_BYTES_MAX:
        raise bad_request("too big for a photo")


def _mime(given: str) -> str:
    """Return the type; "" for the default that clients send for an unknown one."""
    return "" if given == "application/octet-stream" else given
