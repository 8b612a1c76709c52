"""Filters for captions: `text` and `regex` (filters.py) do not match captions."""

from typing import Final

from telegram.botapi.shortcuts import part
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.filters.builtin import Extract, text


def _caption_of(ctx: Context) -> str | None:
    found = part(ctx.event, "caption")
    return found if isinstance(found, str) and found and not ctx.is_command else None


def _either(ctx: Context) -> str | None:
    if ctx.text:
        return ctx.text if text(ctx) else None
    return _caption_of(ctx)


caption: Final[Extract[str]] = Extract(str, _caption_of, "caption")
"""The caption of a photo, a video, a document, ... that is not a command."""

text_or_caption: Final[Extract[str]] = Extract(str, _either, "text or caption")
"""A text or a caption that is not a command."""
