"""The bot's default parse mode and link previews: applied to collected calls that state neither a mode nor entities.

Telegram parses each text by its own parameter: of a call (`parse_mode`, `question_parse_mode`, ...), of the media of an album,
of the results of an inline query, of a poll's options and a checklist's tasks. A quote (ReplyParameters) is left alone: it is
the text of another message. `parse_mode=None` in a call states that there is none.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from telegram.botapi.collecting import WrongCall
from telegram.botapi.objects import TelegramObject
from telegram.botapi.parameters import spec_of
from telegram.botapi.types import LinkPreviewOptions


class _Text(NamedTuple):
    """A text, and what states how it is parsed: Telegram ignores entities beside a parse mode (Client::get_formatted_text)."""

    text: str
    mode: str
    entities: str
    preview: str = ""


_CAPTION: Final = _Text("caption", "parse_mode", "caption_entities")
_INSIDE: Final = {
    "media": _CAPTION,
    "explanation_media": _CAPTION,
    "results": _CAPTION,
    "result": _CAPTION,
    "input_message_content": _Text("message_text", "parse_mode", "entities", "link_preview_options"),
    "options": _Text("text", "text_parse_mode", "text_entities"),
    "checklist": _Text("title", "parse_mode", "title_entities"),
    "tasks": _Text("text", "parse_mode", "text_entities"),
}
"""The texts of objects, by the parameter or field that holds one or a list of them (Telegram Bot API 10.3)."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Of one bot. None: Telegram's own."""

    parse_mode: str | None = None
    link_preview: LinkPreviewOptions | None = None
    plain: bool = False
    """Whether texts that Telegram cannot parse are sent as plain text."""

    def applied(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the params of a call with the defaults where it states nothing else."""
        found = {
            name: self._inside(value, _INSIDE[name]) if name in _INSIDE else value
            for name, value in params.items()
        }
        return {**found, **self.added(method, found)}

    def added(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the params that are added to those of a call, without its objects."""
        return {
            name: value
            for each in _texts_of(method)
            for name, value in self._missing(params, each, params.keys()).items()
        }

    def _inside(self, value: Any, text: _Text) -> Any:
        if isinstance(value, list | tuple):
            return [self._inside(item, text) for item in value]
        if isinstance(value, str) and text.mode == "text_parse_mode" and self.parse_mode is not None:
            value = {"text": value}  # an option of a poll
        if not isinstance(value, Mapping | TelegramObject):
            return value
        fields = dict(value)
        stated = value.model_fields_set if isinstance(value, TelegramObject) else {*value}
        found = (
            self._missing(fields, text, stated) if text.mode in fields or isinstance(value, Mapping) else {}
        )
        for name in _INSIDE.keys() & fields.keys():
            if isinstance(fields[name], dict | list | tuple | TelegramObject):
                found[name] = self._inside(fields[name], _INSIDE[name])
        if isinstance(value, TelegramObject):
            return value.model_copy(update=found) if found else value
        return {**fields, **found}

    def _missing(self, fields: Mapping[str, Any], text: _Text, stated: Collection[str]) -> dict[str, Any]:
        """Return the defaults for a text, if there is one, and nothing else is stated."""
        found: dict[str, Any] = {}
        if not fields.get(text.text):
            return found
        if self.parse_mode is not None and text.mode not in stated and text.entities not in stated:
            found[text.mode] = self.parse_mode
        if text.preview and self.link_preview is not None and text.preview not in stated:
            found[text.preview] = self.link_preview
        return found


def takes_fallback(method: str, params: dict[str, Any], defaults: Defaults | None = None) -> bool:
    """Remove `fallback` from the params of a call, and return whether its texts are sent plain if they cannot be parsed.

    WrongCall for another value than "plain" or None, and for a method without a text that Telegram parses.
    """
    if "fallback" not in params:
        return defaults is not None and defaults.plain
    fallback = params.pop("fallback")
    if fallback is None:
        return False
    if fallback != "plain":
        raise WrongCall(f"fallback of {method} is 'plain' or None, not {fallback!r:.60}")
    spec = spec_of(method)
    if spec is not None and not _texts_of(method) and not _INSIDE.keys() & spec.shapes.keys():
        raise WrongCall(f"{method} has no text with a parse mode, so it has no fallback")
    return True


@cache
def _texts_of(method: str) -> tuple[_Text, ...]:
    """Return the texts among the parameters of a method; none for one of a newer version."""
    spec = spec_of(method)
    found = []
    for mode in () if spec is None else spec.shapes:
        if mode.endswith("parse_mode") and spec is not None:
            prefix = mode.removesuffix("parse_mode")
            text = prefix.rstrip("_") or ("text" if "text" in spec.shapes else "caption")
            entities = f"{prefix}entities" if f"{prefix}entities" in spec.shapes else f"{text}_entities"
            preview = "link_preview_options" if "link_preview_options" in spec.shapes else ""
            found.append(_Text(text, mode, entities, preview))
    return tuple(found)
