"""Formatted text: build it without escaping, render it as markup, split it. Pure: no network, no state.

- build: `Text("Hello ", bold(name))` -> `.text` and `.entities`, the parameters of the Bot API's methods
- markup: rendering as HTML or MarkdownV2 (parse_mode), and escaping for both
- split: splits a long text into messages of a length that Telegram accepts
- units: lengths and offsets in UTF-16 code units, as Telegram counts

An entity is a plain dict as in the Bot API's MessageEntity; its offset and length count UTF-16 code units.
"""

from telegram.text.build import (
    Text,
    bold,
    code,
    custom_emoji,
    italic,
    link,
    mention,
    pre,
    quote,
    spoiler,
    strike,
    underline,
)
from telegram.text.markup import escape_html, escape_markdown, to_html, to_markdown
from telegram.text.split import TEXT_MAX, split
from telegram.text.units import Entity, utf16_len, utf16_slice

__all__ = [
    "TEXT_MAX",
    "Entity",
    "Text",
    "bold",
    "code",
    "custom_emoji",
    "escape_html",
    "escape_markdown",
    "italic",
    "link",
    "mention",
    "pre",
    "quote",
    "split",
    "spoiler",
    "strike",
    "to_html",
    "to_markdown",
    "underline",
    "utf16_len",
    "utf16_slice",
]
