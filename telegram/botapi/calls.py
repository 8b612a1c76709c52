"""A call as it lies in the outbox: the method's name, a newline, its params as compact JSON in UTF-8.

A call with files has a second word in its first line, after a tab: where in the params each file belongs, and its
reference, again as JSON. The params hold null there, so nothing that a user writes can be taken for a file.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from telegram.botapi.files import InputFile
from telegram.botapi.objects import TelegramObject

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# JSONEncoder.encode makes such a function for each value, which costs as much as two thirds of the work.
_MAKE: Final[Any] = getattr(json.encoder, "c_make_encoder", None)
_FAST: Final[Any] = _MAKE and _MAKE(
    None, _ENCODER.default, json.encoder.encode_basestring, None, ":", ",",
    _ENCODER.sort_keys, _ENCODER.skipkeys, _ENCODER.allow_nan,
)  # fmt: skip


_QUERY_MAX: Final = 128  # characters; Telegram's ids of queries are shorter


class Placed(NamedTuple):
    """A file and where it belongs: the keys and indices that lead to it through the params."""

    at: tuple[str | int, ...]
    file: InputFile


Files = tuple[Placed, ...]


def encode_json(value: Any) -> bytes:
    """Compact JSON in UTF-8. ValueError or TypeError for what JSON or UTF-8 cannot hold: NaN, lone surrogates, objects."""
    try:
        text = "".join(_FAST(value, 0)) if _FAST else _ENCODER.encode(value)
    except RecursionError:
        raise ValueError("nested too deep, or holds itself") from None
    return text.encode()


def encode_params(params: Mapping[str, Any]) -> tuple[bytes, Files]:
    """Params as JSON, Telegram's objects included, and the files in them. ValueError or TypeError as encode_json."""
    for value in params.values():  # all() of a generator costs as much again
        if type(value) not in _PLAIN:
            break
    else:
        return encode_json(params), ()
    files: list[Placed] = []
    return encode_json(_plain(params, (), files)), tuple(files)


def encode_call(method: str, params: Mapping[str, Any]) -> bytes:
    """The body of a call. ValueError or TypeError for what Telegram could not read, and for files that cannot wait."""
    if not (method.isascii() and method.isalnum()):
        raise ValueError(f"not a Bot API method: {method!r}")
    try:
        encoded, files = encode_params(params)
    except (TypeError, ValueError) as error:
        raise _named(error, method, params) from None
    if files:
        references = encode_json([[placed.at, placed.file.reference()] for placed in files])
        return b"%b\t%b\n%b" % (method.encode(), references, encoded)
    return method.encode() + b"\n" + encoded


def _named(error: Exception, method: str, params: Mapping[str, Any]) -> Exception:
    """Return the error with the name of the parameter that it is about."""
    for name, value in params.items():
        try:
            encode_params({name: value})
        except UnicodeEncodeError as found:
            found.reason = f"{found.reason}, in {name} of {method}"
            return found
        except (TypeError, ValueError) as found:
            return type(error)(f"{name} of {method}: {found}")
    return error


def query_of(params: Mapping[str, Any]) -> str | None:
    """Return the id of the query that a call answers; None for any other call.

    Telegram waits 10 s for the answer to a payment, and shows a pressed button as busy until the answer comes (Telegram
    Bot API, answerPreCheckoutQuery and CallbackQuery), so it must not stand behind a chat's messages, or its 429.
    """
    for name, value in params.items():
        if name[-8:] == "query_id":
            return str(value)
    return None


def query_lane(query: str) -> str:
    """Name the outbox's lane of an answer: one of its own."""
    return f"query:{query[:_QUERY_MAX]}".encode("ascii", "backslashreplace").decode()


def decode_call(body: bytes) -> tuple[str, bytes]:
    """The method's name, and its params still as JSON. ValueError if `body` is no call."""
    first, newline, params = body.partition(b"\n")
    if not newline:
        raise ValueError("the body of a call needs a line with the method and one with the params")
    return first.partition(b"\t")[0].decode(), params


def files_of(body: bytes) -> Files:
    """The files of a call, where they belong in its params. ValueError for what encode_call did not write."""
    if b"\t" not in body:  # which JSON never has: the usual call costs one look
        return ()
    first = body.partition(b"\n")[0]
    if b"\t" not in first:
        return ()
    try:
        return tuple(
            Placed(tuple(at), InputFile.of(reference))
            for at, reference in json.loads(first.partition(b"\t")[2])
        )
    except (LookupError, TypeError):
        raise ValueError("the references to the files of a call are broken") from None


_PLAIN: Final = frozenset((str, int, bool, float, type(None)))


def _plain(value: Any, at: tuple[str | int, ...], files: list[Placed]) -> Any:
    """Return `value` without Telegram's objects, with None in the place of files; these are added to `files`."""
    if isinstance(value, InputFile):
        files.append(Placed(at, value))
        return None
    if isinstance(value, TelegramObject):
        names = type(value).__pydantic_fields__
        value = {
            names[name].alias or name if name in names else name: item
            for name, item in value
            if item is not None
        }
    if isinstance(value, Mapping):
        return {key: _plain(item, (*at, str(key)), files) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*at, index), files) for index, item in enumerate(value)]
    return value
