"""Formatted text, composed of strings and formatted text. Nothing is parsed, so nothing needs escaping.

Nesting (Telegram Bot API, Formatting options): bold, italic, underline, strike and spoiler may be nested in each other
and in every entity but code and pre; a quotation may contain everything but quotations; link, mention, code, pre and
custom emoji may not contain each other. Of entities that are nested otherwise, Telegram keeps the outer one.

White space is kept, also at the ends of an entity: Telegram trims the ends of the whole message and shortens the
entities accordingly.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from telegram.text.units import Entity, utf16_len


@dataclass(frozen=True, slots=True, init=False)
class Text:
    """A text and its entities. Immutable: a part can be used in many texts."""

    text: str
    marks: tuple[Mapping[str, Any], ...]
    """The entities; do not change them."""

    def __init__(self, *parts: "Part") -> None:
        """Concatenate strings, numbers and formatted texts."""
        texts: list[str] = []
        marks: list[Mapping[str, Any]] = []
        end = 0
        for part in parts:
            if isinstance(part, Text):
                marks += ({**mark, "offset": mark["offset"] + end} for mark in part.marks)
            texts.append(part.text if isinstance(part, Text) else str(part))
            end += utf16_len(texts[-1])
        object.__setattr__(self, "text", "".join(texts))
        object.__setattr__(self, "marks", tuple(marks))

    @classmethod
    def of(cls, text: str, entities: Iterable[Mapping[str, Any]] = ()) -> "Text":
        """Return a Text with the given entities (offsets in UTF-16 code units), such as those of a received message."""
        made = cls(text)
        object.__setattr__(made, "marks", tuple(dict(entity) for entity in entities))
        return made

    @property
    def entities(self) -> list[Entity]:
        """A copy for `entities` or `caption_entities` of a call; offsets and lengths in UTF-16 code units."""
        return [dict(mark) for mark in self.marks]


Part = Text | str | int


def bold(*parts: Part) -> Text:
    """Return bold text."""
    return _marked("bold", parts)


def italic(*parts: Part) -> Text:
    """Return italic text."""
    return _marked("italic", parts)


def underline(*parts: Part) -> Text:
    """Return underlined text."""
    return _marked("underline", parts)


def strike(*parts: Part) -> Text:
    """Return struck-through text."""
    return _marked("strikethrough", parts)


def spoiler(*parts: Part) -> Text:
    """Return text that is hidden until the reader taps it."""
    return _marked("spoiler", parts)


def quote(*parts: Part, expandable: bool = False) -> Text:
    """Return a block quotation; an expandable one shows only its first lines until the reader taps it."""
    return _marked("expandable_blockquote" if expandable else "blockquote", parts)


def code(text: str) -> Text:
    """Return inline monospaced text."""
    return _marked("code", [text])


def pre(text: str, language: str = "") -> Text:
    """Return a code block; apps highlight its syntax if they know `language`."""
    return _marked("pre", [text], **({"language": language} if language else {}))


def link(label: Part, url: str) -> Text:
    """Return a label that opens `url`."""
    return _marked("text_link", [label], url=url)


def mention(user_id: int, name: Part) -> Text:
    """Return a mention of a user by id (text_mention), also without a username; only for users whom the bot has met."""
    label = Text(name)
    return _marked("text_mention", [label], user={"id": user_id, "is_bot": False, "first_name": label.text})


def custom_emoji(emoji: str, custom_emoji_id: str) -> Text:
    """Return a custom emoji; `emoji` is shown where the custom one cannot be."""
    return _marked("custom_emoji", [emoji], custom_emoji_id=custom_emoji_id)


def _marked(kind: str, parts: Iterable[Part], **more: Any) -> Text:
    inner = Text(*parts)
    length = utf16_len(inner.text)
    if not length:  # Telegram has no empty entities
        return inner
    return Text.of(inner.text, [{"type": kind, "offset": 0, "length": length, **more}, *inner.marks])
