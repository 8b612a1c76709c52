"""Parses an update's bytes into its typed object; invalid parts are removed, as little as possible.

Telegram's updates sometimes violate its own documentation (a required field is missing, an object is empty), and a
modified client can provoke that. So an invalid part is removed and listed in `Update.lost`, and the rest is used; only an
update whose event itself is invalid is Unreadable.
"""

import re
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from telegram.botapi import usual
from telegram.botapi.errors import Unreadable, one_line
from telegram.botapi.intake import UPDATE_BYTES_MAX
from telegram.botapi.types import KINDS, Update

_CUTS_MAX: Final = 32
_REPAIRED_BYTES_MAX: Final = 2**17
# The form of Telegram's field names. Any other text may be a user's, or contain the token.
_NAME: Final = re.compile(r"[a-z_]{1,64}")


def decode(body: bytes) -> Update:
    """Parse one update; raises Unreadable, also for a kind that this version does not know."""
    if len(body) > UPDATE_BYTES_MAX:
        raise Unreadable(f"longer than {UPDATE_BYTES_MAX} bytes")
    usual_update = usual.read(body)
    if usual_update is not None:
        return usual_update
    try:
        update = Update.model_validate_json(body)
    except ValidationError as error:
        reason = _reason(body, error)
        repaired = _repaired(body)
        if repaired is not None and repaired.kind in _KNOWN:
            return _of_one_kind(repaired)
    else:
        kind = update.kind
        if kind is None or kind in _KNOWN:
            return _of_one_kind(update)
        reason = f"unknown kind of update: {kind if _NAME.fullmatch(kind) else 'not a name'}"
    # Raised outside of `except`: pydantic's error, as its context, would contain the user's text.
    raise Unreadable(reason)


def _of_one_kind(update: Update) -> Update:
    """Return the update; Unreadable if it has several kinds (Telegram Bot API, Update: at most one): its lane is of one."""
    fields = update.__dict__
    if sum(fields[kind] is not None for kind in KINDS) + sum("." not in lost for lost in update.lost) > 1:
        raise Unreadable("more than one kind of update")
    return update


def warm_up() -> None:
    """Build the validators of updates at the start: it takes a tenth of a second, for which all lanes would wait."""
    for body in (b'{"update_id":1}', b'{"update_id":1,"later":{}}'):
        with suppress(Unreadable):
            decode(body)


_KNOWN: Final = frozenset(KINDS)


def _repaired(body: bytes) -> Update | None:
    """Parse valid JSON without its invalid parts; None if that fails, or it is too long to be parsed repeatedly."""
    if len(body) > _REPAIRED_BYTES_MAX:
        return None
    try:
        data = from_json(body)
    except ValueError:
        return None
    lost: list[str] = []
    while len(lost) <= _CUTS_MAX:
        try:
            update = Update.model_validate(data)
        except ValidationError as error:
            lost.append(_cut(data, _first(error)["loc"]))
            if not lost[-1]:
                return None
        else:
            update.__dict__["lost"] = tuple(lost)
            return update
    return None


def _cut(data: Any, location: tuple[int | str, ...]) -> str:
    """Remove the innermost part of `data` at `location`; return its path, "" if that would be all of it.

    For a missing part its parent is removed; a name in `location` that is not a key is the tag of a union.
    """
    owner: Any = None
    key: int | str = 0
    path: list[str] = []
    for part in location:
        is_there = (
            part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        )
        if is_there:
            owner, key, data = data, part, data[part]
            path.append(str(part))
    if owner is None:
        return ""
    del owner[key]
    return ".".join(path)


def _reason(body: bytes, error: ValidationError) -> str:
    """Describe the error by field names only: the values are users' data."""
    first = _first(error)
    if first["type"] != "json_invalid":
        return one_line(f"{'.'.join(map(str, first['loc'])) or 'update'}: {first['type']}")
    try:
        body.decode()
    except UnicodeDecodeError:
        return "invalid UTF-8"
    return "lone surrogate" if "hex escape" in first["msg"] else "broken JSON"


def _first(error: ValidationError) -> ErrorDetails:
    return error.errors(include_url=False, include_context=False, include_input=False)[0]
