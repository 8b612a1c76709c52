"""Sends a text that Telegram cannot parse once more without its parse mode, for calls with `fallback="plain"`."""

import json
from collections.abc import Iterator
from typing import Any, Final

import structlog

from telegram.botapi.calls import encode_json
from telegram.botapi.errors import Refused
from telegram.text import TEXT_MAX, utf16_len
from telegram.text.plain import plain

log = structlog.get_logger(__name__)

CAPTION_MAX: Final = 1024
"""Length of a caption (Telegram Bot API, sendPhoto: caption)."""

_MODE: Final = "parse_mode"
_TEXTS: Final = ("text", "caption", "message_text")
"""What a mode without a prefix is about; `question_parse_mode` is that of `question`, and a checklist's that of its `title`."""


def without_markup(error: Refused, params: bytes, lane: str) -> bytes | None:
    """Return the params with all their texts plain, if the call was refused because one cannot be parsed; else None."""
    if not error.unparsable:
        return None
    fields = json.loads(params)
    parsed = [each for each in _objects(fields) if any(name.endswith(_MODE) for name in each)]
    if not parsed:
        return None
    for each in parsed:
        for name in [name for name in each if name.endswith(_MODE)]:
            _make_plain(each, name.removesuffix(_MODE).rstrip("_"), each.pop(name))
    log.warning("a text cannot be parsed: it is sent as plain text", reason=str(error), lane=lane)
    return encode_json(fields)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in the params, of an album's media as of the call itself."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(each)


def _make_plain(fields: dict[str, Any], about: str, mode: Any) -> None:
    texts = ("title",) if "tasks" in fields else _TEXTS
    for name in (about,) if about else texts:
        if isinstance(text := fields.get(name), str) and isinstance(mode, str):
            most = CAPTION_MAX if name == "caption" else TEXT_MAX
            made = plain(text, mode)
            if utf16_len(made) > most:
                made = plain(text, mode, links=False)
            fields[name] = made if made.strip() else text  # Telegram refuses an empty text
