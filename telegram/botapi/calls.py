"""The encoding of a call in the outbox: the method's name, a newline, its params as compact JSON in UTF-8.

A call with files has a second column in its first line, after a tab: JSON with the path of each file in the params, and its
reference. The params are null there, so no user's text can be taken for a file. A call with names of messages has a third
column (telegram/botapi/named.py), and null for each id that is filled in when it is sent. A fourth column has flags; unknown ones are ignored.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from telegram.botapi.files import InputFile
from telegram.botapi.kept_files import ON_ONE_MACHINE, KeptFiles
from telegram.botapi.named import FORGET, NO_FILES, PLAIN, NamedId, flagged, written_naming
from telegram.botapi.objects import TelegramObject

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# JSONEncoder.encode creates this function for each value, which takes two thirds of its time.
_MAKE: Final[Any] = getattr(json.encoder, "c_make_encoder", None)
_FAST: Final[Any] = _MAKE and _MAKE(
    None, _ENCODER.default, json.encoder.encode_basestring, None, ":", ",",
    _ENCODER.sort_keys, _ENCODER.skipkeys, _ENCODER.allow_nan,
)  # fmt: skip


_QUERY_MAX: Final = 128  # characters; Telegram's ids of queries are shorter


class Placed(NamedTuple):
    """A file and its path in the params (keys and indices)."""

    at: tuple[str | int, ...]
    file: InputFile


Files = tuple[Placed, ...]

_Found = list[tuple[tuple[str | int, ...], InputFile | NamedId]]
"""Files and ids of named messages, with their paths in the params."""


def encode_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8. ValueError or TypeError for what these lack: NaN, lone surrogates, objects."""
    try:
        text = "".join(_FAST(value, 0)) if _FAST else _ENCODER.encode(value)
    except RecursionError:
        raise ValueError("nested too deep, or contains itself") from None
    return text.encode()


def encode_params(params: Mapping[str, Any]) -> tuple[bytes, Files]:
    """Return params as JSON, with Telegram's objects, and the files in them. ValueError or TypeError as encode_json."""
    encoded, found = _encoded(params)
    files = tuple(Placed(at, each) for at, each in found if isinstance(each, InputFile))
    if len(files) < len(found):
        raise TypeError("the id of a named message is known only when a collected call is sent")
    return encoded, files


def _encoded(params: Mapping[str, Any]) -> tuple[bytes, _Found]:
    for value in params.values():  # a loop: all() with a generator takes twice as long
        if type(value) not in _PLAIN:
            break
    else:
        return encode_json(params), []
    found: _Found = []
    return encode_json(_plain(params, (), found)), found


def encode_call(
    method: str,
    params: Mapping[str, Any],
    name: str | None = None,
    *,
    plain: bool = False,
    kept: KeptFiles = ON_ONE_MACHINE,
) -> bytes:
    """Return the body of a call; `name` is given to the message that it sends, `kept` is where its files are.

    `plain`: its texts are sent without their parse modes if they cannot be parsed (telegram/service/plain.py).
    ValueError or TypeError for values JSON lacks, and for files that cannot be stored; OSError for those that cannot be read.
    """
    if not (method.isascii() and method.isalnum()):
        raise ValueError(f"not a Bot API method: {method!r}")
    try:
        encoded, found = _encoded(params)
    except (TypeError, ValueError) as error:
        raise _named(error, method, params) from None
    has_line = found or name is not None
    body = (_first_line(method, found, name, kept) if has_line else method.encode() + b"\n") + encoded
    return flagged(body, PLAIN) if plain and b'parse_mode":' in encoded else body


def _first_line(method: str, found: _Found, name: str | None, kept: KeptFiles) -> bytes:
    """Return the line of a call with files or names."""
    placed = [(at, each) for at, each in found if isinstance(each, InputFile)]
    try:
        references = kept.references(each for _, each in placed)
    except ValueError as error:
        raise ValueError(f"{method}: {error}") from None
    files = [[at, reference] for (at, _), reference in zip(placed, references, strict=True)]
    ids = [(at, each.name) for at, each in found if isinstance(each, NamedId)]
    line = b"%b\t%b" % (method.encode(), encode_json(files))
    if ids or name is not None:
        line += b"\t" + encode_json(written_naming(name, ids))
    return line + b"\n"


def encode_forget(name: str) -> bytes:
    """Return the body of a stored call after which no message has this name; it is not sent."""
    return b"%b\t[]\t%b\n{}" % (FORGET.encode(), encode_json(written_naming(name, [])))


def _named(error: Exception, method: str, params: Mapping[str, Any]) -> Exception:
    """Return the error with the name of the parameter that caused it."""
    for name, value in params.items():
        try:
            _encoded({name: value})
        except UnicodeEncodeError as found:
            found.reason = f"{found.reason}, in {name} of {method}"
            return found
        except (TypeError, ValueError) as found:
            return type(error)(f"{name} of {method}: {found}")
    return error


def query_of(params: Mapping[str, Any]) -> str | None:
    """Return the id of the query that a call answers; None for any other call.

    Telegram waits 10 s for the answer to a payment, and shows a pressed button as busy until the answer comes (Telegram
    Bot API, answerPreCheckoutQuery and CallbackQuery), so it must not wait for the chat's messages, or its 429.
    """
    for name, value in params.items():
        if name[-8:] == "query_id":
            return str(value)
    return None


def query_lane(query: str) -> str:
    """Return the outbox lane of the answer to a query: a lane per query."""
    return f"query:{query[:_QUERY_MAX]}".encode("ascii", "backslashreplace").decode()


def decode_call(body: bytes) -> tuple[str, bytes]:
    """Return the method's name, and its params as JSON. ValueError if `body` is not a call."""
    first, newline, params = body.partition(b"\n")
    if not newline:
        raise ValueError("the body of a call needs a line with the method and one with the params")
    return first.partition(b"\t")[0].decode(), params


def files_of(body: bytes, kept: KeptFiles = ON_ONE_MACHINE) -> Files:
    """Return the files of a call, with their paths in the params. ValueError for a body that encode_call did not write."""
    if b"\t" not in body:  # JSON never contains one: a fast path for calls without files
        return ()
    columns = body.partition(b"\n")[0].split(b"\t")
    if len(columns) < 2 or columns[1] == NO_FILES:
        return ()
    try:
        return tuple(Placed(tuple(at), kept.file(reference)) for at, reference in json.loads(columns[1]))
    except (LookupError, TypeError):
        raise ValueError("the references to the files of a call are broken") from None


_PLAIN: Final = frozenset((str, int, bool, float, type(None)))


def _plain(value: Any, at: tuple[str | int, ...], found: _Found) -> Any:
    """Return `value` with objects as dicts and None in the place of files and named ids, which are appended to `found`."""
    if isinstance(value, InputFile | NamedId):
        found.append((at, value))
        return None
    if isinstance(value, TelegramObject):
        names = type(value).__pydantic_fields__
        value = {
            names[name].alias or name if name in names else name: item
            for name, item in value
            if item is not None
        }
    if isinstance(value, Mapping):
        return {key: _plain(item, (*at, str(key)), found) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*at, index), found) for index, item in enumerate(value)]
    return value
