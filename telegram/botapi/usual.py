"""A reader for the updates that come all day long: the whole API's types and rules, but only the fields that these have.

A field costs a look and a default also where nothing is sent for it, and a text message has 6 of Message's 120. So a
small cut of Update's own schema reads first. It refuses whatever has a field beyond it; then the whole schema decides
(telegram/botapi/decoding.py). What it reads is just what the whole schema would have read.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import SchemaValidator

from telegram.botapi.types import Message, Update

_Schema = dict[str, Any]
_NOTHING: Final[_Schema] = {"type": "default", "schema": {"type": "none"}, "default": None}

_KINDS: Final = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_message",
    "callback_query",
)
_FIELDS: Final = (
    "message_id",
    "date",
    "chat",
    "message_thread_id",
    "from_",
    "sender_chat",
    "business_connection_id",
    "forward_origin",
    "is_topic_message",
    "is_automatic_forward",
    "reply_to_message",
    "quote",
    "edit_date",
    "has_protected_content",
    "media_group_id",
    "author_signature",
    "text",
    "entities",
    "link_preview_options",
    "document",
    "photo",
    "sticker",
    "video",
    "voice",
    "caption",
    "caption_entities",
    "reply_markup",
)
"""What a usual message may have."""

_FIELDS_OF_ONE_KIND: Final = 2  # update_id, and the kind


def read(body: bytes) -> Update | None:
    """Read one update with its kind; None for one that is broken, or not usual."""
    try:
        update: Update = _reader().validate_json(body)
    except ValidationError:
        return None
    if len(update.__pydantic_fields_set__) != _FIELDS_OF_ONE_KIND:
        return None  # of no kind, or of several
    fields = update.__dict__  # a cached property costs a microsecond when it is first asked
    for kind in _KINDS:
        if fields[kind] is not None:
            fields["kind"] = kind
            break
    fields["lost"] = ()
    return update


@cache
def _reader() -> SchemaValidator:
    """Cut the schema at its first use."""
    Update.model_rebuild()
    whole: Any = Update.__pydantic_core_schema__
    known = {each["ref"]: each for each in whole["definitions"]}
    update = _update(whole["schema"])
    used: dict[str, _Schema] = {}
    waiting = list(_references(update))
    while waiting:
        if (name := waiting.pop()) not in used:
            each = known[name]
            used[name] = each = _message(each) if each.get("cls") is Message else each
            waiting += _references(each)
    schema: Any = {"type": "definitions", "schema": update, "definitions": list(used.values())}
    # A class's own validator, where it is built already, would be taken in place of the cut.
    return SchemaValidator(schema, _use_prebuilt=False)


def _update(schema: _Schema) -> _Schema:
    """Return Update's schema, which takes nothing but null for an unusual kind."""
    fields = {
        name: field if name in {"update_id", *_KINDS} else {**field, "schema": _NOTHING}
        for name, field in schema["schema"]["fields"].items()
    }
    return _closed(schema, fields)


def _message(schema: _Schema) -> _Schema:
    """Return Message's schema without the unusual fields, which are completed afterwards: that is cheaper here."""
    cut = _closed(schema, {name: schema["schema"]["fields"][name] for name in _FIELDS})
    return {
        "type": "function-after",
        "function": {"type": "no-info", "function": _complete},
        "schema": cut,
        "ref": cut.pop("ref"),
    }


def _closed(schema: _Schema, fields: _Schema) -> _Schema:
    """Return the schema of a class with these fields and no others."""
    config = {**schema["config"], "extra_fields_behavior": "forbid"}
    return {**schema, "config": config, "schema": {**schema["schema"], "fields": fields}}


def _references(schema: Any) -> Iterator[str]:
    """Give the names of what a schema refers to."""
    if isinstance(schema, dict):
        if schema.get("type") == "definition-ref":
            yield schema["schema_ref"]
        for key, value in schema.items():
            if key != "metadata":
                yield from _references(value)


def _complete(message: Message) -> Message:
    """Put in the defaults of what was cut away."""
    object.__setattr__(message, "__dict__", _defaults() | message.__dict__)
    return message


@cache
def _defaults() -> dict[str, Any]:
    """Give all fields of a message, in their order; what has no default is overwritten."""
    fields = Message.__pydantic_fields__.items()
    return {name: None if field.is_required() else field.default for name, field in fields}
