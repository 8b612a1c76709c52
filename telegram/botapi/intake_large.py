"""Splits a getUpdates reply that is too large for the event loop, in a thread, into the same updates as `intake.split`.

A call into C holds the interpreter lock and thereby blocks the event loop, so no call reads more than _STEP or
UPDATE_BYTES_MAX characters. It needs about three times the reply's memory: a parsed update, thirty times its bytes, is
reduced to the fields that determine its lane.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from telegram.botapi.intake import (
    REPLY_END,
    UPDATE_BYTES_MAX,
    UPDATES_MAX,
    HardReply,
    RawUpdate,
    fill,
    scan,
    split,
    start_of_updates,
    update_id_of,
)

SPLIT_HERE_MAX: Final = 2**18
"""Maximum size of a reply that is split on the event loop, in bytes, if all of it parses: five times a full usual reply."""

HARD_HERE_MAX: Final = 2**15
"""The same for a reply with an update that does not parse: finding its end takes a hundred times as long."""

_STEP: Final = 2**16
_NODES_MAX: Final = 300  # of one update: chats, users and the numbers in them
_DEPTH_MAX: Final = 8
_TEXT_MAX: Final = 256  # of an id

_NEXT_UPDATE = re.compile(r',\s{0,8}\{\s{0,8}"update_id"\s{0,8}:')
_NEXT_UPDATE_MAX: Final = 40
_AFTER_UPDATE = re.compile(r"[ \t\n\r]{0,1000}(,|\]|\Z)[ \t\n\r]{0,1000}")
# A whole string or one mark. A single quote mark begins a string that ends beyond the searched text.
_TOKEN = re.compile(r'"(?:[^"\\]*+(?:\\.[^"\\]*+)*+")?|[\[\]{},]', re.DOTALL)
_IN_STRING = re.compile(r'"|(?:\\.)++', re.DOTALL)


class _Item(NamedTuple):
    start: int
    end: int
    value: Any


async def split_off_loop(reply: bytes, *, offset: int = 0, limit: int = UPDATES_MAX) -> list[RawUpdate]:
    """Split any reply: in some milliseconds on the event loop, or else in a thread. Raises BrokenReply."""
    if len(reply) <= SPLIT_HERE_MAX:
        with suppress(HardReply):
            return split(reply, offset=offset, limit=limit, is_patient=len(reply) <= HARD_HERE_MAX)
    return await asyncio.to_thread(split_large, reply, offset=offset, limit=limit)


def split_large(reply: bytes, *, offset: int = 0, limit: int = UPDATES_MAX) -> list[RawUpdate]:
    """Like `intake.split`, but an update's `fields` have no lists and no long texts. Raises BrokenReply."""
    text = reply.decode("latin-1")  # one character per byte: the same positions, and no more memory
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
    """Yield each item of the list at `at`; its value is None if it does not parse, or is too long."""
    if text.startswith("]", at):
        return
    next_update = -1
    failed = 0  # characters read without success
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
    """Return the position of the comma before the first update that begins after `at`; the text's end if none."""
    for start in range(at, len(text), _STEP):
        if found := _NEXT_UPDATE.search(text, start, start + _STEP + _NEXT_UPDATE_MAX):
            return found.start()
    return len(text)


def _parsed(text: str, at: int, stop: int) -> tuple[_Item | None, int]:
    """Return the item at `at`, or None; and the position where it ends or stops parsing."""
    try:
        value, end = scan(text[at:stop], 0)
    except (ValueError, RecursionError) as error:
        return None, at + max(0, getattr(error, "pos", 0))
    return _Item(at, at + end, value), at + end


def _end_by_marks(text: str, at: int, limit: int, failed_at: int) -> int:
    """Return the end of the item at `at`, by its brackets; -1 if the reply is truncated there.

    `limit` is where the next update begins, or the text's end.
    """
    is_last = limit == len(text)
    objects = lists = 0  # that are open
    position = at
    while position < limit:
        stop = min(limit, position + _STEP)
        for token in _TOKEN.finditer(text, position, stop):
            mark = token[0]
            if mark == '"':  # the string ends beyond `stop`
                position = _end_of_string(text, token.end(), limit)
                break
            if mark == "[":
                lists += 1
            elif mark == "{":
                objects += 1
            elif mark == "]":
                if not lists and is_last:  # the list's own
                    return token.start()
                lists -= lists > 0
            elif mark == "}":
                objects -= objects > 0
            elif mark == "," and not lists and not objects:
                return token.start()
        else:
            position = stop
    if not is_last:
        return limit
    # Unbalanced brackets in a complete reply: without an end the update would be fetched again for ever.
    is_cut = failed_at >= at + UPDATE_BYTES_MAX or not text[failed_at : failed_at + _STEP].strip()
    if not is_cut:
        reply_end = REPLY_END.search(text, max(at, len(text) - _STEP))
        return reply_end.start() if reply_end else -1
    return -1


def _end_of_string(text: str, position: int, limit: int) -> int:
    """Return the position after the string that `position` is in."""
    while position < limit:
        stop = min(limit, position + _STEP)
        found = _IN_STRING.search(text, position, stop)
        if found is None:
            position = stop - (text[stop - 1] == "\\" and stop < limit)  # do not split an escape
        elif found[0] == '"':
            return found.end()
        else:
            position = found.end()
    return limit


def _lean(value: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an update that can determine its lane: objects, numbers and short texts."""
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
