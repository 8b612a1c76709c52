"""UTF-16 code units: what Telegram's offsets, lengths and limits count (Telegram Bot API, MessageEntity)."""

import re
from array import array
from bisect import bisect_left
from typing import Any

Entity = dict[str, Any]
"""A MessageEntity as JSON: type, offset, length and what its type needs."""

_WIDE = re.compile("[\U00010000-\U0010ffff]")


class Units:
    """The two ways to count in one text: indices of `str` and offsets in UTF-16 units. O(log n) a question."""

    def __init__(self, text: str) -> None:
        self._end = len(text)
        self._wide = array("q", (found.start() for found in _WIDE.finditer(text)))
        self._wide_offsets = array("q", (index + before for before, index in enumerate(self._wide)))

    def offset(self, index: int) -> int:
        """The offset of the character at `index`."""
        return index + bisect_left(self._wide, index)

    def index(self, offset: int) -> int:
        """The character at `offset`, at the most the text's end; the middle of a surrogate pair is its begin."""
        return min(offset - bisect_left(self._wide_offsets, offset), self._end)


def utf16_len(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf16_slice(text: str, offset: int, length: int) -> str:
    """What an entity marks: `length` UTF-16 code units from `offset`."""
    units = Units(text)
    return text[units.index(offset) : units.index(offset + length)]
