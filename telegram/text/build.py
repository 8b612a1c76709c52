"""Formatted text, put together from strings and formatted text. Nothing is parsed, so nothing needs escaping.

What Telegram allows to be nested (Telegram Bot API, Formatting options): bold, italic, underline, strike and spoiler
in each other and in all but code and pre; a quotation holds everything but quotations; link, mention, code, pre and
custom emoji do not hold each other. Of what is nested otherwise, Telegram keeps the outer entity.

White space stays where the author put it, also at the ends of an entity: Telegram trims the ends of the whole message
and shortens the entities with it.
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
    """The entities, to be read only."""

    def __init__(self, *parts: "Part") -> None:
        """The parts one after another."""
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
        """A text that has its entities already, such as a received one."""
        made = cls(text)
        object.__setattr__(made, "marks", tuple(dict(entity) for entity in entities))
        return made

    @property
    def entities(self) -> list[Entity]:
        """For the `entities` (or `caption_entities`) of a call; offsets and lengths in UTF-16 code units."""
        return [dict(mark) for mark in self.marks]


Part = Text | str | int


def bold(*parts: Part) -> Text:
    """In bold."""
    return _marked("bold", parts)


def italic(*parts: Part) -> Text:
    """In italics."""
    return _marked("italic", parts)


def underline(*parts: Part) -> Text:
    """Underlined."""
    return _marked("underline", parts)


def strike(*parts: Part) -> Text:
    """Struck through."""
    return _marked("strikethrough", parts)


def spoiler(*parts: Part) -> Text:
    """Hidden until touched."""
    return _marked("spoiler", parts)


def quote(*parts: Part, expandable: bool = False) -> Text:
    """A block quotation; an expandable one shows its first lines until touched."""
    return _marked("expandable_blockquote" if expandable else "blockquote", parts)


def code(text: str) -> Text:
    """Monospaced, inside a line."""
    return _marked("code", [text])


def pre(text: str, language: str = "") -> Text:
    """A block of code, highlighted if its language is known."""
    return _marked("pre", [text], **({"language": language} if language else {}))


def link(label: Part, url: str) -> Text:
    """A label that opens an address."""
    return _marked("text_link", [label], url=url)


def mention(user_id: int, name: Part) -> Text:
    """Mention a user who may have no username (text_mention); works for users the bot has met."""
    label = Text(name)
    return _marked("text_mention", [label], user={"id": user_id, "is_bot": False, "first_name": label.text})


def custom_emoji(emoji: str, custom_emoji_id: str) -> Text:
    """A custom emoji; `emoji` is the plain one that is shown where the custom one cannot be."""
    return _marked("custom_emoji", [emoji], custom_emoji_id=custom_emoji_id)


def _marked(kind: str, parts: Iterable[Part], **more: Any) -> Text:
    inner = Text(*parts)
    length = utf16_len(inner.text)
    if not length:  # Telegram knows no empty entities
        return inner
    return Text.of(inner.text, [{"type": kind, "offset": 0, "length": length, **more}, *inner.marks])
