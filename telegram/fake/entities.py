"""What the server finds in a text: commands, and the entities behind parse_mode=HTML.

Offsets and lengths count UTF-16 units (Telegram Bot API, MessageEntity).
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from .answers import Json, bad_request

_COMMAND = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>@])")
_MARKUP = re.compile(r"<(?P<end>/?)(?P<tag>[a-zA-Z-]*)(?P<attributes>[^>]*)>|&(?P<reference>#?\w+);|<")
_REFERENCE = re.compile(r"&(#?\w+);")
_USER = re.compile(r"tg:(?://)?user\?id=([1-9][0-9]{0,15})", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([a-z-]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""", re.IGNORECASE)
_REFERENCES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_TAGS = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    **dict.fromkeys(("tg-spoiler", "span"), "spoiler"),
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
    "tg-time": "date_time",
}


def utf16_length(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def commands(text: str) -> list[Json]:
    """The bot_command entities of a text."""
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


class _Open(NamedTuple):
    tag: str
    offset: int
    entity: Json


def parse_html(source: str) -> tuple[str, list[Json]]:
    """Split parse_mode=HTML into text and entities; ApiError "can't parse entities" as the server words it."""
    text = ""
    entities: list[Json] = []
    stack: list[_Open] = []
    position = 0
    for found in _MARKUP.finditer(source):
        text += source[position : found.start()]
        position = found.end()
        where = len(source[: found.start()].encode(errors="surrogatepass"))
        tag = (found["tag"] or "").lower()
        if found["reference"]:
            text += _dereferenced(found[0], found["reference"])
        elif found["end"]:
            _close(tag, where, stack, utf16_length(text), entities)
        elif tag in _TAGS:
            stack.append(_Open(tag, utf16_length(text), _opened(tag, found["attributes"])))
        else:
            raise _unparsable(f'Unsupported start tag "{tag}" at byte offset {where}')
    if stack:
        raise _unparsable(f'Can\'t find end tag corresponding to start tag "{stack[-1].tag}"')
    for entity in entities:
        if entity["type"] == "code":
            entity.pop("language", None)  # only a block has one
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text + source[position:], entities


def _opened(tag: str, attributes: str) -> Json:
    values = {name.lower(): _value(quoted) for name, quoted in _ATTRIBUTE.findall(attributes)}
    entity: Json = {"type": _TAGS[tag]}
    match tag:
        case "a":
            address = values.get("href", "")
            if user := _USER.fullmatch(address):
                return {"type": "text_mention", "user": {"id": int(user[1])}}
            entity["url"] = address
        case "code" if values.get("class", "").startswith("language-"):
            entity["language"] = values["class"].removeprefix("language-")
        case "blockquote" if "expandable" in attributes:
            entity["type"] = "expandable_blockquote"
        case "tg-emoji":
            emoji = values.get("emoji-id", "")
            if not (emoji.isdecimal() and 0 < int(emoji) < 2**63):
                raise _unparsable("Invalid custom emoji identifier specified")
            entity["custom_emoji_id"] = emoji
        case "tg-time":
            unix = values.get("unix", "")
            if not (unix.isdecimal() and 0 < int(unix) < 2**31):
                raise _unparsable("Invalid Unix time specified")
            entity["unix_time"] = int(unix)
            if values.get("format"):
                entity["date_time_format"] = values["format"]
    return entity


def _value(quoted: str) -> str:
    """An attribute's value, without its quotes and references."""
    plain = quoted[1:-1] if quoted[0] in "\"'" else quoted
    return _REFERENCE.sub(lambda found: _dereferenced(found[0], found[1]), plain)


def _close(tag: str, where: int, stack: list[_Open], end: int, entities: list[Json]) -> None:
    if not stack:
        raise _unparsable(f"Unexpected end tag at byte offset {where}")
    opened = stack.pop()
    if tag not in ("", opened.tag):
        raise _unparsable(
            f'Unmatched end tag at byte offset {where}, expected "</{opened.tag}>", found "</{tag}>"'
        )
    entity = {"offset": opened.offset, "length": end - opened.offset, **opened.entity}
    if not entity["length"] or entity.get("url") == "":
        return
    last = entities[-1] if entities else {}
    if {entity["type"], last.get("type")} == {"pre", "code"} and _covers_the_same(entity, last):
        entities[-1] = {
            **last,
            **entity,
            "type": "pre",
        }  # the language stands in the <code>, inside or outside
    else:
        entities.append(entity)


def _covers_the_same(one: Json, other: Json) -> bool:
    has_language = "language" in one or "language" in other
    return has_language and all(one[name] == other[name] for name in ("offset", "length"))


def with_users(content: Json, user_of: Callable[[int], Json | None]) -> Json:
    """The content with whole `User`s in its mentions; a mention of somebody unknown is plain text."""
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


def _dereferenced(whole: str, name: str) -> str:
    if name.startswith("#"):
        digits, base = (name[2:], 16) if name[1:2] in ("x", "X") else (name[1:], 10)
        try:
            return chr(int(digits, base))
        except (ValueError, OverflowError):
            return whole
    return _REFERENCES.get(name, whole)


def _unparsable(reason: str) -> Exception:
    return bad_request(f"can't parse entities: {reason}")
