"""Splits a reply of getUpdates that is too large for the event loop, into the same updates as `intake.split`.

For a thread. A call into C holds the interpreter's lock, and with it the event loop, so none of them reads more than
_STEP or UPDATE_BYTES_MAX characters. The memory is about three times the reply: what is parsed of an update, thirty times
its bytes while it is read, is kept without what names no lane.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from telegram.intake import (
    REPLY_END,
    UPDATE_BYTES_MAX,
    UPDATES_MAX,
    RawUpdate,
    fill,
    scan,
    start_of_updates,
    update_id_of,
)

_STEP: Final = 2**16
_NODES_MAX: Final = 300  # of one update: chats, users and the numbers in them
_DEPTH_MAX: Final = 8
_TEXT_MAX: Final = 256  # of an id

_NEXT_UPDATE = re.compile(r',\s{0,8}\{\s{0,8}"update_id"\s{0,8}:')
_NEXT_UPDATE_MAX: Final = 40
_AFTER_UPDATE = re.compile(r"[ \t\n\r]{0,1000}(,|\]|\Z)[ \t\n\r]{0,1000}")
_MARK = re.compile(r'["\[\]{},]')
_IN_STRING = re.compile(r'["\\]')
_OPENS: Final = {"}": "{", "]": "["}


class _Item(NamedTuple):
    start: int
    end: int
    value: Any


def split_large(reply: bytes, *, offset: int = 0, limit: int = UPDATES_MAX) -> list[RawUpdate]:
    """Do as `intake.split`; `fields` of an update are without lists and long texts. Raises BrokenReply."""
    text = reply.decode("latin-1")  # a byte a character: positions are the same, and it takes no more memory
    ids: list[int | None] = []
    raws: list[tuple[bytes, dict[str, Any] | None]] = []
    for start, end, value in islice(_items(text, start_of_updates(text[:_STEP])), limit):
        body = reply[start:end]
        fields = None
        if type(value) is dict:
            fields = _lean(value if body.isascii() else scan(body.decode("utf-8", "surrogateescape"), 0)[0])
        ids.append(update_id_of(fields, text[start : min(end, start + _STEP)]))
        raws.append((body, fields))
    known = fill(ids, max(offset, 0))
    return [RawUpdate(id_, *raw) for id_, raw in zip(known, raws, strict=True)]


def _items(text: str, at: int) -> Iterator[_Item]:
    """Yield each item of the list that begins at `at`; its value is None if it does not parse, or is too long."""
    if text.startswith("]", at):
        return
    next_update = -1
    failed = 0  # characters that were read in vain
    while True:
        if next_update < at:
            next_update = _next_update(text, at)
        stop = len(text) if failed <= len(text) else next_update
        item, failed_at = _parsed(text, at, min(stop, at + UPDATE_BYTES_MAX))
        after = None if item is None else _AFTER_UPDATE.match(text, item.end)
        if item is None or after is None:
            failed += failed_at - at + 1
            end = _end_by_marks(text, at, next_update, failed_at)
            if end < 0:
                return
            item, after = _Item(at, end, None), _AFTER_UPDATE.match(text, end)
        yield item
        if after is None or after[1] != ",":
            return
        at = after.end()


def _next_update(text: str, at: int) -> int:
    """Return the position of the comma before the first update that begins behind `at`; the text's end if none."""
    for start in range(at, len(text), _STEP):
        if found := _NEXT_UPDATE.search(text, start, start + _STEP + _NEXT_UPDATE_MAX):
            return found.start()
    return len(text)


def _parsed(text: str, at: int, stop: int) -> tuple[_Item | None, int]:
    """Return the item at `at`, or None; and the position at which it ended or became unreadable."""
    try:
        value, end = scan(text[at:stop], 0)
    except (ValueError, RecursionError) as error:
        return None, at + max(0, getattr(error, "pos", 0))
    return _Item(at, at + end, value), at + end


def _end_by_marks(text: str, at: int, limit: int, failed_at: int) -> int:
    """Find the end of the item at `at` by its brackets; -1 when the reply was cut there.

    `limit` is where the next update begins, or the text's end.
    """
    is_last = limit == len(text)
    open_ = {"{": 0, "[": 0}
    position, in_string = at, False
    while position < limit:
        pattern = _IN_STRING if in_string else _MARK
        found = pattern.search(text, position, min(limit, position + _STEP))
        if found is None:
            position += _STEP
            continue
        mark, position = found[0], found.end()
        if mark == '"':
            in_string = not in_string
        elif mark == "\\":
            position += 1
        elif (mark == "," and not any(open_.values())) or (mark == "]" and not open_["["] and is_last):
            return found.start()
        elif mark in open_:
            open_[mark] += 1
        elif mark in _OPENS and open_[_OPENS[mark]]:
            open_[_OPENS[mark]] -= 1
    if not is_last:
        return limit
    # Its brackets do not add up, yet the reply is whole: without an end it would be fetched again for ever.
    is_cut = failed_at >= at + UPDATE_BYTES_MAX or not text[failed_at : failed_at + _STEP].strip()
    if not is_cut:
        reply_end = REPLY_END.search(text, max(at, len(text) - _STEP))
        return reply_end.start() if reply_end else -1
    return -1


def _lean(value: dict[str, Any]) -> dict[str, Any]:
    """Return what of an update can name its lane: objects, numbers and short texts."""
    left = _NODES_MAX

    def lean(inner: dict[str, Any], depth: int) -> dict[str, Any]:
        nonlocal left
        kept: dict[str, Any] = {}
        for name, each in inner.items():
            left -= 1
            if left < 0:
                break
            if type(each) is dict:
                kept[name] = lean(each, depth + 1) if depth < _DEPTH_MAX else {}
            elif type(each) is not list and (type(each) is not str or len(each) <= _TEXT_MAX):
                kept[name] = each
        return kept

    return lean(value, 0)
