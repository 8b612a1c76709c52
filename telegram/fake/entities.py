"""What the server finds in a text: commands, and the entities behind parse_mode=HTML.

Offsets and lengths count UTF-16 units (Telegram Bot API, MessageEntity).
"""

import re
from typing import NamedTuple

from .answers import Json, bad_request

_COMMAND = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>@])")
_MARKUP = re.compile(r"<(?P<end>/?)(?P<tag>[a-zA-Z-]*)(?P<attributes>[^>]*)>|&(?P<reference>#?\w+);|<")
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
            text += _dereferenced(found)
        elif found["end"]:
            _close(tag, where, stack, utf16_length(text), entities)
        elif tag in _TAGS:
            stack.append(_Open(tag, utf16_length(text), _opened(tag, found["attributes"])))
        else:
            raise _unparsable(f'Unsupported start tag "{tag}" at byte offset {where}')
    if stack:
        raise _unparsable(f'Can\'t find end tag corresponding to start tag "{stack[-1].tag}"')
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text + source[position:], entities


def _opened(tag: str, attributes: str) -> Json:
    values = {name.lower(): value.strip("\"'") for name, value in _ATTRIBUTE.findall(attributes)}
    entity: Json = {"type": _TAGS[tag]}
    if tag == "a":
        entity["url"] = values.get("href", "")
    elif tag == "code" and values.get("class", "").startswith("language-"):
        entity["language"] = values["class"].removeprefix("language-")
    elif tag == "blockquote" and "expandable" in attributes:
        entity["type"] = "expandable_blockquote"
    return entity


def _close(tag: str, where: int, stack: list[_Open], end: int, entities: list[Json]) -> None:
    if not stack:
        raise _unparsable(f"Unexpected end tag at byte offset {where}")
    opened = stack.pop()
    if tag not in ("", opened.tag):
        raise _unparsable(
            f'Unmatched end tag at byte offset {where}, expected "</{opened.tag}>", found "</{tag}>"'
        )
    entity = {"offset": opened.offset, "length": end - opened.offset, **opened.entity}
    if entity["length"] and entity.get("url") != "":
        entities.append(entity)


def _dereferenced(found: re.Match[str]) -> str:
    name = found["reference"]
    if name.startswith("#"):
        digits, base = (name[2:], 16) if name[1:2] in ("x", "X") else (name[1:], 10)
        try:
            return chr(int(digits, base))
        except (ValueError, OverflowError):
            return found[0]
    return _REFERENCES.get(name, found[0])


def _unparsable(reason: str) -> Exception:
    return bad_request(f"can't parse entities: {reason}")
