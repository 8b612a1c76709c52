"""Names of sent messages in the stored form of calls: the name that a call gives, and ids to be filled in when it is sent."""

import json
from typing import Any, Final, NamedTuple, Self

NAME_MAX: Final = 64
"""Maximum length of a message's name, in characters."""

FORGET: Final = "~forget"
"""The method of a stored call that is not sent: from here on, no message has its name."""

_QUIET: Final = b"quiet"
NO_FILES: Final = b"[]"
_NO_NAMES: Final = b"[null,[]]"
_UPDATE: Final = b"update="
PLAIN: Final = b"plain"
"""The flag of a call whose texts are sent as plain text if they cannot be parsed."""


class NamedId(int):
    """Stands in the params of a collected call for the id of the message `name`, which is known only when it is sent."""

    name: str

    def __new__(cls, name: str) -> Self:
        """Return the id of the message with this name."""
        made = super().__new__(cls, 0)
        made.name = name
        return made

    def __repr__(self) -> str:
        return f"<the id of the message {self.name!r}>"


class Naming(NamedTuple):
    """The names in a call: the one that it gives to the message that it sends, and (path in the params, name) of each id."""

    name: str | None
    ids: tuple[tuple[tuple[str | int, ...], str], ...] = ()


def message_name(name: object) -> str:
    """Return the name of a message; TypeError or ValueError unless it is a text of 1 to NAME_MAX characters."""
    if not isinstance(name, str):
        raise TypeError(f"a message's name is a text: name='menu', not {name!r:.60}")
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError(f"a message's name has 1 to {NAME_MAX} characters, not {len(name)}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a message's name cannot be written as UTF-8: {error}") from None
    return str(name)


def naming_of(body: bytes) -> Naming | None:
    """Return the names in a stored call (telegram.botapi.calls), None if there are none. ValueError for a broken body."""
    if b"\t" not in body:  # JSON never contains one: a fast path for most calls
        return None
    columns = body.partition(b"\n")[0].split(b"\t")
    if len(columns) < 3 or columns[2] == _NO_NAMES:
        return None
    try:
        name, ids = json.loads(columns[2])
        found = Naming(name, tuple((tuple(at), str(of)) for at, of in ids))
    except (LookupError, TypeError, ValueError):
        raise ValueError("the names in a call are broken") from None
    return found if name is not None or ids else None


def quiet(body: bytes) -> bytes:
    """Return a stored call whose refusal is not reported to a handler."""
    return flagged(body, _QUIET)


def is_quiet(body: bytes) -> bool:
    """Return whether `quiet` made the stored call."""
    return has_flag(body, _QUIET)


def flagged(body: bytes, flag: bytes) -> bytes:
    """Return a stored call with a flag: in its fourth column, between commas."""
    first, newline, params = body.partition(b"\n")
    columns = first.split(b"\t")
    columns += (NO_FILES, _NO_NAMES, b"")[len(columns) - 1 :]
    columns[3] += b",%b" % flag if columns[3] else flag
    return b"\t".join(columns) + newline + params


def has_flag(body: bytes, flag: bytes) -> bool:
    """Return whether `flagged` gave this flag to the stored call."""
    columns = body.partition(b"\n")[0].split(b"\t")
    return len(columns) > 3 and flag in columns[3].split(b",")


def with_update(body: bytes, update_id: int) -> bytes:
    """Return a stored call that knows the update, or timer, from which it comes: a flag, which earlier versions ignore."""
    return flagged(body, b"%b%d" % (_UPDATE, update_id))


def update_of(body: bytes) -> int | None:
    """Return the id that `with_update` gave to the stored call; None if it has none."""
    if b"\t" not in body:
        return None
    end = body.find(b"\n")
    if body.count(b"\t", 0, end) < 3:
        return None
    for flag in body[body.rfind(b"\t", 0, end) + 1 : end].split(b","):
        if flag.startswith(_UPDATE) and (number := flag[len(_UPDATE) :]).isdigit():
            return int(number)
    return None


def written_naming(name: str | None, ids: list[tuple[tuple[str | int, ...], str]]) -> Any:
    """Return what `naming_of` reads, as JSON types."""
    return [name, ids]
