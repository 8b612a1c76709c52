"""UTF-16 code units, the unit of Telegram's offsets, lengths and limits (Telegram Bot API, MessageEntity)."""

import re
from array import array
from bisect import bisect_left
from typing import Any

Entity = dict[str, Any]
"""A MessageEntity as JSON: type, offset, length, and the fields of its type."""

_WIDE = re.compile("[\U00010000-\U0010ffff]")


class Units:
    """Converts between indices of a `str` and offsets in UTF-16 code units, in O(log n) each."""

    def __init__(self, text: str) -> None:
        self._end = len(text)
        self._wide = array("q", (found.start() for found in _WIDE.finditer(text)))
        self._wide_offsets = array("q", (index + before for before, index in enumerate(self._wide)))

    def offset(self, index: int) -> int:
        """Return the offset of the character at `index`."""
        return index + bisect_left(self._wide, index)

    def index(self, offset: int) -> int:
        """Return the index of the character at `offset`, at most the text's end; the middle of a surrogate pair counts as its start."""
        return min(offset - bisect_left(self._wide_offsets, offset), self._end)


def utf16_len(text: str) -> int:
    """Return the length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf16_slice(text: str, offset: int, length: int) -> str:
    """Return `length` UTF-16 code units from `offset`: the text of an entity."""
    units = Units(text)
    return text[units.index(offset) : units.index(offset + length)]
