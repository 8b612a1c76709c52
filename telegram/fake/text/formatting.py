"""Parses and cleans formatted text as the server does (tdlib/td, MessageEntity.cpp, fix_formatted_text).

Control characters are replaced by blanks or removed, blanks at the ends are removed, and so are entities that are not
allowed where they are. Simplified: Telegram also splits bold, italic and the like where other entities begin or end.
"""

import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

from telegram.fake.protocol.answers import ApiError, Json, bad_request
from telegram.fake.protocol.params import integer

from .entities import RANKS, commands, in_order, utf16_length
from .parse_html import parse_html
from .parse_markdown import parse_markdown, parse_markdown_v2

_PARSERS: Final = {"html": parse_html, "markdown": parse_markdown, "markdownv2": parse_markdown_v2}
_SOURCE_BYTES_MAX: Final = 1 << 15  # telegram-bot-api, Client.cpp, get_formatted_text

_BLANKED: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f]")
_DROPPED: Final = re.compile("[\r\u2028-\u202e\u0333\u033f\u030a]")
_EMPTY: Final = re.compile(
    "[ \n\xa0\u1680\u180e\u2000-\u200f\u202e\u202f\u205f\u2800\u3000\ufeff\ufffc\U000e0000-\U000e007f]*"
)

_CODES: Final = frozenset({"code", "pre", "date_time"})
_QUOTES: Final = frozenset({"blockquote", "expandable_blockquote"})
_STYLES: Final = frozenset({"bold", "italic", "underline", "strikethrough", "spoiler"})
_FOUND_BY_ITSELF: Final = frozenset({
    "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bank_card_number",
})  # fmt: skip
_FIELDS: Final = {"offset": (int, "Number"), "length": (int, "Number"), "type": (str, "String")}
_NEEDS: Final = {
    "text_link": "url",
    "text_mention": "user",
    "custom_emoji": "custom_emoji_id",
    "date_time": "unix_time",
}
_PLACE_MAX: Final = 1_000_000


def formatted(source: str, mode: str, given: list[Json]) -> tuple[str, list[Json]]:
    """Return the text without markup, and its entities; `given` is used without a `mode`. ApiError with the server's text."""
    if not mode and not given and source.isascii() and source.isprintable() and _is_usual(source):
        return source, commands(source)  # a fast path: load tests send millions of these
    if len(source.encode(errors="surrogatepass")) > _SOURCE_BYTES_MAX:
        raise bad_request("text is too long")
    mode = mode.lower()
    if source and mode and mode != "none":
        if mode not in _PARSERS:
            raise bad_request("unsupported parse_mode")
        text, entities = _PARSERS[mode](source)
    else:
        text, entities = source, _checked(source, given)
    text, entities = _cleaned(text, _fixed(entities))
    text, entities = _trimmed(text, entities)
    if _EMPTY.fullmatch(text):
        return "", []
    firm = [entity for entity in entities if entity["type"] not in _STYLES | _QUOTES]
    found = [entity for entity in commands(text) if not any(_overlap(entity, other) for other in firm)]
    return text, in_order([*entities, *found]) if found else entities


def _is_usual(source: str) -> bool:
    """Whether a text of printable ASCII needs no cleaning: no blanks at the ends, not too long."""
    return 0 < len(source) <= _SOURCE_BYTES_MAX and source[0] != " " and source[-1] != " "


def usable(given: list[Any]) -> list[Json]:
    """Return the entities of a call without those that the server detects itself; ApiError for an invalid entity.

    telegram-bot-api, Client.cpp, get_text_entity.
    """
    for entity in given:
        if not isinstance(entity, dict):
            raise _no_entity("expected an Object")
        for name, (type_, words) in _FIELDS.items():
            if name not in entity:
                raise _no_entity(f'Can\'t find field "{name}"')
            if not isinstance(entity[name], str | type_) or isinstance(entity[name], bool):
                raise _no_entity(f'Field "{name}" must be of type {words}')
        if entity["type"] not in RANKS.keys() | _FOUND_BY_ITSELF:
            raise _no_entity("Unsupported type specified")
        if entity["type"] in _NEEDS and _NEEDS[entity["type"]] not in entity:
            raise _no_entity(f'Can\'t find field "{_NEEDS[entity["type"]]}"')
    return [
        {**entity, "offset": integer(entity, "offset"), "length": integer(entity, "length")}
        for entity in given
        if entity["type"] not in _FOUND_BY_ITSELF
    ]


def _no_entity(reason: str) -> ApiError:
    return bad_request(f"can't parse MessageEntity: {reason}")


def _checked(text: str, given: list[Json]) -> list[Json]:
    """Return the entities; ApiError if one is outside the text."""
    length = utf16_length(text)
    for entity in given:
        for name in ("offset", "length"):
            if not 0 <= entity[name] <= _PLACE_MAX:
                raise bad_request(f"receive an entity with incorrect {name} {entity[name]}")
    for entity in in_order(entity for entity in given if entity["length"]):
        offset, end = entity["offset"], entity["offset"] + entity["length"]
        if offset > length:
            raise bad_request(f"entity begins after the end of the text at UTF-16 offset {offset}")
        if end > length:
            what = f"entity beginning at UTF-16 offset {offset}"
            raise bad_request(f"{what} ends after the end of the text at UTF-16 offset {end}")
    return given


def _fixed(entities: list[Json]) -> list[Json]:
    """Return the allowed entities: no styles in code, no overlap of two links or two quotations."""
    entities = in_order(entity for entity in entities if entity["length"])
    quotes = _without_overlaps(entity for entity in entities if entity["type"] in _QUOTES)
    firm = _without_overlaps(entity for entity in entities if entity["type"] not in _QUOTES | _STYLES)
    firm = [entity for entity in firm if not any(_splits(quote, entity) for quote in quotes)]
    codes = [entity for entity in firm if entity["type"] in _CODES]
    styles = [
        {"type": kind, "offset": begin, "length": end - begin}
        for kind in _STYLES
        for begin, end in _outside(codes, _merged(entity for entity in entities if entity["type"] == kind))
    ]
    return in_order([*quotes, *firm, *styles])


def _without_overlaps(entities: Iterable[Json]) -> list[Json]:
    """Return the entities without those that overlap an earlier one."""
    kept: list[Json] = []
    for entity in entities:
        if not kept or entity["offset"] >= _end(kept[-1]):
            kept.append(entity)
    return kept


def _merged(entities: Iterable[Json]) -> list[tuple[int, int]]:
    """Return start and end of each span of a style; touching ones are merged."""
    spans: list[tuple[int, int]] = []
    for entity in entities:
        if spans and entity["offset"] <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], _end(entity))
        else:
            spans.append((entity["offset"], _end(entity)))
    return spans


def _outside(codes: list[Json], spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    for code in codes:
        spans = [
            (begin, end)
            for first, last in spans
            for begin, end in ((first, min(last, code["offset"])), (max(first, _end(code)), last))
            if begin < end
        ]
    return spans


def _splits(quote: Json, entity: Json) -> bool:
    """Whether the quotation starts or ends inside the entity."""
    return bool(
        entity["offset"] < quote["offset"] < _end(entity) or entity["offset"] < _end(quote) < _end(entity)
    )


def _end(entity: Json) -> int:
    end: int = entity["offset"] + entity["length"]
    return end


def _cleaned(text: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Replace control characters by blanks and drop some others (tdlib/td, misc.cpp, clean_input_string)."""
    text = _BLANKED.sub(" ", text)
    if not entities or not _DROPPED.search(text):
        return _DROPPED.sub("", text), entities
    widths = (2 if letter > "\uffff" else 1 for letter in text)
    offsets = dict(zip(accumulate(widths, initial=0), range(len(text) + 1), strict=True))
    kept = []
    for entity in entities:
        begin = offsets.get(entity["offset"], 0)
        end = offsets.get(entity["offset"] + entity["length"], len(text))
        before, inside = _DROPPED.sub("", text[:begin]), _DROPPED.sub("", text[begin:end])
        kept.append({**entity, "offset": utf16_length(before), "length": utf16_length(inside)})
    return _DROPPED.sub("", text), [entity for entity in kept if entity["length"]]


def _trimmed(text: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Remove blanks at the end, and at the start up to the first entity."""
    text = text.rstrip(" \n")
    length = utf16_length(text)
    first = min((entity["offset"] for entity in entities), default=length)
    skipped = min(len(text) - len(text.lstrip(" \n")), first)
    moved = []
    for entity in entities:
        end = min(entity["offset"] + entity["length"], length)
        if entity["offset"] < end:
            moved.append({**entity, "offset": entity["offset"] - skipped, "length": end - entity["offset"]})
    return text[skipped:], moved


def _overlap(one: Json, other: Json) -> bool:
    return bool(one["offset"] < _end(other) and other["offset"] < _end(one))
