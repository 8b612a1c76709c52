"""From an update's bytes to its typed object: what cannot be read is cut out, as little as possible.

Telegram's own updates break its own documentation now and then (a required field that is missing, an object that
should not be empty), and anyone can make a client that provokes it. So a broken part is lost and told of
(`Update.lost`), and the update lives; only when its very event is broken is it Unreadable.
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
_MENDED_BYTES_MAX: Final = 2**17
# As Telegram names its fields. Anything else may quote anybody, also the token.
_NAME: Final = re.compile(r"[a-z_]{1,64}")


def decode(body: bytes) -> Update:
    """Read one update; raises Unreadable, also for a kind that this version does not know."""
    if len(body) > UPDATE_BYTES_MAX:
        raise Unreadable(f"longer than {UPDATE_BYTES_MAX} bytes")
    usual_update = usual.read(body)
    if usual_update is not None:
        return usual_update
    try:
        update = Update.model_validate_json(body)
    except ValidationError as error:
        reason = _reason(body, error)
        mended = _mended(body)
        if mended is not None and mended.kind in _KNOWN:
            return _of_one_kind(mended)
    else:
        kind = update.kind
        if kind is None or kind in _KNOWN:
            return _of_one_kind(update)
        reason = f"unknown kind of update: {kind if _NAME.fullmatch(kind) else 'not a name'}"
    # Raised out here: as a context, pydantic's error would carry the user's words along.
    raise Unreadable(reason)


def _of_one_kind(update: Update) -> Update:
    """Return the update, unless it has several kinds (Telegram Bot API, Update: at most one): it has the lane of only one."""
    fields = update.__dict__
    if sum(fields[kind] is not None for kind in KINDS) + sum("." not in lost for lost in update.lost) > 1:
        raise Unreadable("more than one kind of update")
    return update


def warm_up() -> None:
    """Build the readers of updates, which takes a tenth of a second: the first update would make all others wait."""
    for body in (b'{"update_id":1}', b'{"update_id":1,"later":{}}'):
        with suppress(Unreadable):
            decode(body)


_KNOWN: Final = frozenset(KINDS)


def _mended(body: bytes) -> Update | None:
    """Read what can be read of valid JSON; None if nothing can, or it is too long to be read again and again."""
    if len(body) > _MENDED_BYTES_MAX:
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
    """Take out the innermost part of `data` that `location` leads to; return its path, "" if that is everything.

    What is missing cannot be taken out, so its owner is; a name in `location` that is no key is the tag of a union.
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
    """Say what is wrong by field names only: the values belong to users."""
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
