"""Typed callback data of buttons, packed into a text; over Telegram's 64 bytes see long.py.

class Vote(CallbackData, prefix="vote"):
    poll: int
    up: bool = True

inline([("Good", Vote(poll=7)), ("Bad", Vote(poll=7, up=False))])       # vote:7:1 and vote:7:0
"""

import json
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict

from telegram.dialogue.state.kept import NotKept, check_read, fields_of, read_fields

DATA_MAX: Final = 1024
"""Maximum size of the data of a button of a collected call, in bytes of UTF-8 (telegram/dialogue/buttons/long.py)."""

CALLBACK_BYTES_MAX: Final = 64
"""Maximum size of callback data, in bytes of UTF-8 (Telegram Bot API, InlineKeyboardButton)."""

_SEPARATOR: Final = ":"
_ESCAPES: Final = {"[": "%5B", "{": "%7B"}
"""Escapes of characters with which JSON begins, at the start of a str value."""


class CallbackData(BaseModel):
    """Base of typed callback data. Each subclass has its own prefix, which identifies it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: ClassVar[str] = ""

    def __init_subclass__(cls, *, prefix: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not prefix or _SEPARATOR in prefix or len(prefix.encode()) > CALLBACK_BYTES_MAX // 2:
            raise ValueError(
                f"{cls.__name__}: write class {cls.__name__}(CallbackData, prefix=...), "
                f"short, not empty and without {_SEPARATOR!r}, not {prefix!r}"
            )
        cls.prefix = prefix

    def pack(self) -> str:
        """Return the callback data. ValueError if it exceeds DATA_MAX bytes of UTF-8.

        NotKept for a value that `unpack` would return as another one.
        """
        values = fields_of(self, mode="json")
        packed = _SEPARATOR.join([self.prefix, *(_packed(value) for value in values.values())])
        size = len(packed.encode())
        if size > DATA_MAX:
            raise ValueError(
                f"a button's data has at most {DATA_MAX} bytes in UTF-8, this has {size}: {packed!r}"
            )
        if (read := self.unpack(packed)) is None:
            raise NotKept(f"{packed!r} would not be read as {type(self).__name__} again")
        check_read(self, read, type(self).__name__)
        return packed

    @classmethod
    def unpack(cls, data: str) -> Self | None:
        """Parse callback data. None for another prefix, and for invalid data (of an older version, or forged)."""
        prefix, *packed = data.split(_SEPARATOR)
        if prefix != cls.prefix:
            return None
        try:
            fields = {name: _unpacked(text) for name, text in zip(cls.model_fields, packed, strict=True)}
            return read_fields(
                cls, fields
            )  # not strict: callback data is text, which a strict int does not accept
        except (ValueError, RecursionError):  # a ValidationError is a ValueError
            return None


def _packed(value: Any) -> str:
    """Return a str with special characters escaped; "" for None; 1 or 0 for a bool; JSON for other values."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    escaped = text.replace("%", "%25").replace(_SEPARATOR, "%3A")
    if isinstance(value, str) and escaped[:1] in _ESCAPES:  # else it would be read as JSON
        escaped = _ESCAPES[escaped[0]] + escaped[1:]
    return escaped or "%"


def _unpacked(text: str) -> Any:
    if not text:
        return None
    if text == "%":
        return ""
    is_json = text[0] in _ESCAPES
    for mark, escape in (*_ESCAPES.items(), (_SEPARATOR, "%3A"), ("%", "%25")):
        text = text.replace(escape, mark)
    return json.loads(text) if is_json else text
