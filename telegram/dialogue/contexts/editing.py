"""Which call edits a message: of its text, its caption or its media."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from telegram.botapi.constants import FallbackStr, ParseModeStr
from telegram.botapi.shortcuts import part
from telegram.botapi.types import InlineKeyboardMarkup, LinkPreviewOptions, MessageEntity

_CAPTIONED: Final = ("photo", "video", "animation", "document", "audio", "voice", "paid_media", "live_photo")
"""Fields of a message whose text is a caption (Telegram Bot API, Message: caption)."""

_OF_TEXT: Final = ("link_preview_options",)
_OF_CAPTION: Final = ("show_caption_above_media",)


class EditParams(TypedDict, total=False):
    """Optional parameters of `ctx.edit`; of those that concern only a text or only a caption, the others are left out."""

    parse_mode: ParseModeStr | None
    fallback: FallbackStr | None
    entities: Sequence[MessageEntity | dict[str, Any]] | None
    link_preview_options: LinkPreviewOptions | None
    show_caption_above_media: bool | None
    reply_markup: InlineKeyboardMarkup | None


def edit_of(message: Any, new: Any, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method and the params that replace what `message` shows by `new`: a text, or an InputMedia."""
    if not isinstance(new, str):
        return "editMessageMedia", {**params, "media": new}
    if message is None or part(message, "text") or not is_captioned(message):
        return "editMessageText", {"text": new, **_without(params, _OF_CAPTION)}
    return edit_of_caption(new, params)


def edit_of_caption(caption: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method and the params that replace a caption; `params` as for a text."""
    params = _without(params, _OF_TEXT)
    if "entities" in params:
        params["caption_entities"] = params.pop("entities")
    return "editMessageCaption", {"caption": caption, **params}


def is_captioned(message: Any) -> bool:
    """Return whether the text of a message, typed or as JSON, is a caption."""
    return any(part(message, each) for each in _CAPTIONED)


def _without(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in names}
