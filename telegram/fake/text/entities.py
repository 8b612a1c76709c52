"""Entities: detection of commands, their order, and users in mentions.

Offsets and lengths are in UTF-16 code units (Telegram Bot API, MessageEntity).
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from telegram.fake.protocol.answers import Json

_COMMAND = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>@])")

_FIRST: Final = (
    "blockquote",
    "expandable_blockquote",
    "pre",
    "code",
    "date_time",
    "text_link",
    "text_mention",
)
_LAST: Final = ("bold", "italic", "underline", "strikethrough", "spoiler", "custom_emoji")
RANKS: Final = {kind: rank for rank, kind in enumerate(_FIRST)} | {
    kind: 50 + rank for rank, kind in enumerate(_LAST)
}
"""Order of entities with the same offset and length (tdlib/td, MessageEntity.cpp, get_type_priority)."""


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def commands(text: str) -> list[Json]:
    """Return the bot_command entities of a text."""
    if "/" not in text:
        return []
    return [
        {
            "type": "bot_command",
            "offset": utf16_length(text[: found.start()]),
            "length": utf16_length(found[0]),
        }
        for found in _COMMAND.finditer(text)
    ]


def in_order(entities: Iterable[Json]) -> list[Json]:
    """Sort entities as the server does: by offset, longer ones first."""
    return sorted(entities, key=lambda each: (each["offset"], -each["length"], RANKS.get(each["type"], 40)))


def with_users(content: Json, user_of: Callable[[int], Json | None]) -> Json:
    """Return the content with complete `User`s in its mentions; a mention of an unknown user is removed."""
    for name in content.keys() & {"entities", "caption_entities"}:
        entities = [found for entity in content[name] if (found := _with_user(entity, user_of))]
        content = {**content, name: entities}
        if not entities:
            del content[name]
    return content


def _with_user(entity: Json, user_of: Callable[[int], Json | None]) -> Json | None:
    if entity["type"] != "text_mention":
        return entity
    named = entity.get("user")
    user_id = named.get("id") if isinstance(named, dict) else None
    user = user_of(user_id) if isinstance(user_id, int) else None
    return {**entity, "user": user} if user else None
