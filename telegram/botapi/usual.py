"""A fast validator for common updates: the same types and rules, but only their usual fields.

A field costs a look-up and a default even if it is absent, and a text message has 6 of Message's 120. So a subset of
Update's own schema is tried first. It rejects any other field; then the whole schema decides (telegram/botapi/decoding.py).
Its result equals that of the whole schema.
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
"""Fields of a message that the fast validator accepts."""

_FIELDS_OF_ONE_KIND: Final = 2  # update_id, and the kind


def read(body: bytes) -> Update | None:
    """Parse one update; None for one that is invalid, or has other fields."""
    try:
        update: Update = _reader().validate_json(body)
    except ValidationError:
        return None
    if len(update.__pydantic_fields_set__) != _FIELDS_OF_ONE_KIND:
        return None  # no kind, or several
    fields = update.__dict__  # set here: the first use of the cached property would take a microsecond
    for kind in _KINDS:
        if fields[kind] is not None:
            fields["kind"] = kind
            break
    fields["lost"] = ()
    return update


@cache
def _reader() -> SchemaValidator:
    """Build the validator of the subset, at its first use."""
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
    # Else a class's own validator, if already built, would be used instead of the subset.
    return SchemaValidator(schema, _use_prebuilt=False)


def _update(schema: _Schema) -> _Schema:
    """Return Update's schema, which accepts only null for the other kinds."""
    fields = {
        name: field if name in {"update_id", *_KINDS} else {**field, "schema": _NOTHING}
        for name, field in schema["schema"]["fields"].items()
    }
    return _closed(schema, fields)


def _message(schema: _Schema) -> _Schema:
    """Return Message's schema without the other fields, whose defaults are added afterwards, which is faster."""
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
    """Yield the names of the definitions that a schema refers to."""
    if isinstance(schema, dict):
        if schema.get("type") == "definition-ref":
            yield schema["schema_ref"]
        for key, value in schema.items():
            if key != "metadata":
                yield from _references(value)


def _complete(message: Message) -> Message:
    """Add the defaults of the left-out fields."""
    object.__setattr__(message, "__dict__", _defaults() | message.__dict__)
    return message


@cache
def _defaults() -> dict[str, Any]:
    """Return the defaults of all fields of a message, in order; required ones are None, and overwritten."""
    fields = Message.__pydantic_fields__.items()
    return {name: None if field.is_required() else field.default for name, field in fields}
