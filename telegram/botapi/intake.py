"""Splits a raw getUpdates reply into its updates, each with its exact bytes.

One update that is not valid JSON does not affect the others: users can put bytes into an update that a strict parser
rejects. An update that does not parse is skipped to its end. The work is linear in the reply's length for any bytes: each
part is read a bounded number of times, and no more than `limit` updates are returned.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

UPDATES_MAX: Final = 100
"""Maximum updates per reply (Telegram Bot API, getUpdates: limit). If a server sends more, the rest comes again."""

UPDATE_BYTES_MAX: Final = 2**19
"""A longer update is not parsed: it gets a lane of its own, and becomes a dead letter. Telegram's have up to some 10 KB."""

UPDATE_ID_MAX: Final = 2**52 - 1
"""Telegram's ids are positive int32; ids above this are reserved for the engine's timers."""

# strict=False: accept control characters inside strings, so that the update keeps its chat's lane.
scan = json.JSONDecoder(strict=False).raw_decode
_OPENING = re.compile(r"\ufeff?[ \t\n\r]*\{[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_LIST = re.compile(r"\[[ \t\n\r]*")
_AFTER_UPDATE = re.compile(r"[ \t\n\r]*(,|\]|\Z)[ \t\n\r]*")
# Unescaped quotes cannot be inside a JSON string, so a match is where the next update begins.
_NEXT_UPDATE = re.compile(r',\s*\{\s*"update_id"\s*:')
# A whole string (an unclosed one runs to the end) or one bracket or comma. Possessive: linear on any input.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_OPENS = {"}": "{", "]": "["}
REPLY_END = re.compile(r'\]\s*(?:,\s*"ok"\s*:\s*true\s*)?\}\s*\Z')
_UPDATE_ID = re.compile(r'"update_id"\s*:\s*([0-9]{1,16})(?![0-9.eE])')


class RawUpdate(NamedTuple):
    """One update: its id, its exact bytes, and its JSON object (None if it does not parse to one)."""

    update_id: int
    body: bytes
    fields: dict[str, Any] | None


class HardReply(Exception):  # noqa: N818 - a property of the reply
    """An update does not parse, and finding its end takes long: split the reply in a thread."""


class BrokenReply(Exception):  # noqa: N818 - a property of the reply
    """The reply is not a JSON object with a list named "result"."""


def split(
    reply: bytes, *, offset: int = 0, limit: int = UPDATES_MAX, is_patient: bool = True
) -> list[RawUpdate]:
    """Return the first `limit` updates of a reply in order; of a truncated reply, its readable prefix.

    An update without a valid update_id gets one that fits between its neighbours', or else `offset`. Raises BrokenReply
    if there is no list of updates, HardReply for an update that does not parse unless `is_patient`, and nothing else
    for any input.
    """
    # surrogateescape decodes any byte, and encodes it back unchanged.
    text = reply.decode("utf-8", "surrogateescape")
    ids: list[int | None] = []
    bodies: list[bytes] = []
    objects: list[dict[str, Any] | None] = []
    for piece, value in islice(_walk(text, start_of_updates(text), is_patient), limit):
        fields = value if type(value) is dict else None
        ids.append(update_id_of(fields, piece))
        bodies.append(piece.encode("utf-8", "surrogateescape"))
        objects.append(fields)
    known = fill(ids, max(offset, 0)) if None in ids else ids
    return list(map(RawUpdate, known, bodies, objects))  # type: ignore[arg-type] # no None left


def start_of_updates(text: str) -> int:
    """Return where the first item of "result" begins, whatever the order of the keys; BrokenReply if there is none."""
    at = _past(_OPENING, text, 0)
    try:
        while True:
            key, at = scan(text, at)
            at = _past(_COLON, text, at)
            if key == "result":
                return _past(_LIST, text, at)
            _, at = scan(text, at)
            at = _past(_COMMA, text, at)
    except (ValueError, RecursionError):
        raise BrokenReply from None


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    if found is None:
        raise BrokenReply
    return found.end()


def _walk(text: str, at: int, is_patient: bool) -> Iterator[tuple[str, Any]]:
    """Yield the text and value of each item of the list at `at`; the value is None if it does not parse."""
    if text.startswith("]", at):
        return
    updates = _Beginnings(text)
    failed = 0  # characters scanned without success
    while at < len(text):
        # A broken item may be scanned up to the reply's end. After one such scan in total, an item is scanned only up to
        # where the next update seems to begin: else a reply of n broken items would be scanned n times.
        end = at
        try:
            if failed <= len(text):
                value, end = scan(text, at)
            else:
                value, end = scan(text[at : updates.after(at)], 0)
                end += at
            after = _AFTER_UPDATE.match(text, end)
        except (ValueError, RecursionError) as error:  # also for 5,000 digits, or 100,000 nested brackets
            after, end = None, max(at, getattr(error, "pos", at))
        if after is None:
            if not is_patient:
                raise HardReply
            failed += end - at + 1
            value, end = None, _end_of_broken(text, at, end, updates.after(at))
            if end < 0:
                return
            after = _AFTER_UPDATE.match(text, end)
        yield text[at:end], value
        if after is None or after[1] != ",":
            return
        at = after.end()


class _Beginnings:
    """Finds where the next update seems to begin. Called with ascending positions, so the text is searched once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = -1

    def after(self, at: int) -> int:
        """Return the position of the comma before the first update that begins after `at`; the text's end if none."""
        if self._next < at:
            found = _NEXT_UPDATE.search(self._text, at)
            self._next = found.start() if found else len(self._text)
        return self._next


def _end_of_broken(text: str, at: int, failed_at: int, limit: int) -> int:
    """Return the end of the item at `at`, which does not parse from `failed_at` on; -1 if the reply is truncated there.

    `limit` is where the next update begins, or the text's end.
    """
    is_last = limit == len(text)
    open_ = {"{": 0, "[": 0}
    for token in _TOKEN.finditer(text, at, limit):
        mark = token[0]
        if mark == "," and not any(open_.values()):
            return token.start()
        if mark == "]" and not open_["["] and is_last:  # the list's own
            return token.start()
        if mark in open_:
            open_[mark] += 1
        elif mark in _OPENS and open_[_OPENS[mark]]:
            open_[_OPENS[mark]] -= 1
    if not is_last:
        return limit
    # Unbalanced brackets in a complete reply: without an end the update would be fetched again for ever.
    reply_end = REPLY_END.search(text, at) if text[failed_at:].strip() else None
    return reply_end.start() if reply_end else -1


def update_id_of(fields: dict[str, Any] | None, piece: str) -> int | None:
    """Return the id of an update from its fields, or by a search in the text of one that does not parse; None if invalid."""
    if fields is not None:
        value = fields.get("update_id")
        return value if type(value) is int and 0 <= value <= UPDATE_ID_MAX else None
    found = _UPDATE_ID.search(piece)
    return int(found[1]) if found and int(found[1]) <= UPDATE_ID_MAX else None


def fill(ids: list[int | None], offset: int) -> list[int]:
    """Replace each None by the id after its predecessor's, but at most one below its successor's."""
    ceilings: list[int | None] = []
    ceiling: int | None = None
    for value in reversed(ids):
        ceiling = value if value is not None else ceiling and ceiling - 1
        ceilings.append(ceiling)
    filled: list[int] = []
    for value, highest in zip(ids, reversed(ceilings), strict=True):
        if value is None:
            guess = filled[-1] + 1 if filled else offset if highest is None else highest
            value = guess if highest is None else min(guess, highest)  # noqa: PLW2901
        filled.append(value)
    return filled
