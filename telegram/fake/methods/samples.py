"""Sample values for all types of the schema: minimal, valid, and always the same.

They are the answers of methods without state, and the parameters of calls in tests.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from telegram.botapi.schema import Field
from telegram.fake.protocol.shapes import schema

DATE: Final = 1_700_000_000
_TEXTS: Final = {
    "type": "private",  # of a Chat; everywhere else it is a constant or listed below
    "url": "https://example.org/",
    "emoji": "👍",
    "currency": "XTR",
    "sticker_type": "regular",
    "sticker_format": "static",
    "format": "static",
    "command": "start",
    "action": "typing",
    "first_name": "Ada",
    "title": "Title",
    "invite_link": "https://t.me/+sample",
    "result": "approve",
    "country_code": "DE",
    "state": "approved",
}
_TYPES: Final = {
    "Sticker": "regular",
    "Poll": "regular",
    "EncryptedPassportElement": "email",
    "MessageEntity": "bold",
}
_INTEGERS: Final = {"date": DATE, "message_id": 1, "offset": 0, "month_count": 3, "active_period": 86400}
_URL: Final = re.compile(r"(.*_)?url")


class Samples:
    """Generates values; `known` has values for fields by name, in all types."""

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self._known = dict(known or {})

    def of(self, written: Iterable[str], name: str = "") -> Any:
        """Return a value of the first of these types, for a field of this name."""
        return self._value(next(iter(written)), name, "")

    def fields(self, fields: Iterable[Field], owner: str = "") -> dict[str, Any]:
        """Return values for the required ones of these fields."""
        return {field.name: self._field(field, owner) for field in fields if field.required}

    def _field(self, field: Field, owner: str) -> Any:
        if field.const is not None:
            return field.const
        if field.name in self._known:
            return self._known[field.name]
        return self._value(field.types[0], field.name, owner)

    def _value(self, written: str, name: str, owner: str) -> Any:
        if written.startswith("Array of "):
            return [self._value(written.removeprefix("Array of "), name, owner)]
        if "|" in written:
            return self._value(written.partition("|")[0], name, owner)
        match written:
            case "Integer":
                return _INTEGERS.get(name, 1)
            case "Float":
                return 1.5
            case "Boolean":
                return False
            case "True":
                return True
            case "String":
                return _text(name, owner)
        each = schema().types[written]
        return (
            self._value(each.subtypes[0], name, owner) if each.subtypes else self.fields(each.fields, written)
        )


def _text(name: str, owner: str) -> str:
    if name == "type":
        return _TYPES.get(owner, _TEXTS["type"])
    if _URL.fullmatch(name):
        return _TEXTS["url"]
    return _TEXTS.get(name, f"sample {name.replace('_', ' ')}".strip())
