"""Parameters of a call: decodes all encodings that the server accepts, and converts values to the type of a method.

Values are stored as received: from JSON with their types, from a query string or a form as text; an uploaded file is
an `Upload`. A null counts as absent.
"""

import json
import re
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web

from .answers import ApiError, Json, bad_request

Params = dict[str, Any]

FORM_BYTES_MAX = 51 << 20
"""A file has at most 50 MB (Telegram Bot API, sendDocument); the rest is for the other fields."""
FORM_BYTES_MAX_LOCAL = 2001 << 20


_FILE_NAME: Final = re.compile(r';\s*filename\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^;"]*))', re.IGNORECASE)


class Upload(dict[str, Any]):
    """An uploaded file: `{"file_name": ..., "size": ...}` in the log; `content` is kept until the call is executed."""

    def __init__(self, file_name: str, content: bytes, mime_type: str = "") -> None:
        super().__init__(file_name=file_name, size=len(content))
        self.content = content
        self.mime_type = mime_type


def forget_contents(params: Params) -> None:
    """Drop the uploaded bytes, since the log keeps calls for hours."""
    for value in params.values():
        if isinstance(value, Upload):
            value.content = b""


async def read_parameters(request: web.BaseRequest, form_bytes_max: int = FORM_BYTES_MAX) -> Params:
    """Read query string and body; the query string takes precedence, as in the real server. ApiError 400 or 413."""
    params = await _read_body(request, form_bytes_max) if request.body_exists else {}
    if "?" in request.raw_path:
        params |= request.query
    return params


def params_of(content_type: str, body: bytes) -> Params:
    """Return the parameters in the body of an answer to a webhook, JSON or a form; {} if there are none."""
    try:
        if "application/json" in content_type.lower():
            return _from_json(body)
        if "application/x-www-form-urlencoded" in content_type.lower():
            return dict(parse_qsl(body.decode()))
    except (ApiError, UnicodeDecodeError):
        pass
    return {}


async def _read_body(request: web.BaseRequest, form_bytes_max: int) -> Params:
    content_type = request.headers.get("Content-Type", "").lower()
    try:
        if content_type.startswith("application/json"):
            return _from_json(await request.read())
        if content_type.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
            # the real server reads the body of a GET, too; aiohttp's `post` does not
            form = await request.clone(method="POST", client_max_size=form_bytes_max).post()
            decoded = _percent_decoded if content_type.startswith("multipart/") else str
            return {decoded(name): _form_value(value) for name, value in form.items()}
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, "Request Entity Too Large") from None
    except UnicodeDecodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return {}


def _from_json(body: bytes) -> Params:
    if not body:
        return {}
    try:
        params = json.loads(body)
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):
        raise bad_request("can't parse parameters: JSON object expected") from None
    if not isinstance(params, dict):
        raise bad_request("JSON object expected")
    return {name: value for name, value in params.items() if value is not None}


def _form_value(value: object) -> str | Json:
    if isinstance(value, str):
        return value
    if isinstance(value, web.FileField):
        with value.file as file:
            name, content = _file_name(value.headers.get("Content-Disposition", "")), file.read()
        return content.decode() if name is None else Upload(name, content, value.content_type)
    return Upload("", bytes(value) if isinstance(value, bytes | bytearray) else b"")


def _file_name(disposition: str) -> str | None:
    """Return the file name of a form part; None without one, then it is not a file.

    tdlib/td, HttpReader.cpp: the name is percent-decoded, and `filename*` is ignored, so clients that send only that
    upload nothing.
    """
    found = _FILE_NAME.search(disposition)
    if found is None:
        return None
    return _percent_decoded(found[2].strip() if found[1] is None else re.sub(r"\\(.)", r"\1", found[1]))


def _percent_decoded(text: str) -> str:
    """Percent-decode as tdlib does (misc.cpp, url_decode): invalid escapes are kept, and "+" is not a space."""
    return unquote_to_bytes(text).decode("utf-8", "replace")


def text(params: Params, name: str) -> str:
    """Return a string, "" if absent; other JSON values as JSON text."""
    value = params.get(name, "")
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else json.dumps(value)


def integer(params: Params, name: str, default: int = 0) -> int:
    """Return an integer, `default` if absent or empty, 0 for an invalid value."""
    value = params.get(name)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def boolean(params: Params, name: str) -> bool:
    """Return True for true, 1, "true", "yes" and "1", in upper or lower case."""
    return text(params, name).strip().lower() in ("true", "yes", "1")


def structure(params: Params, name: str) -> Any:
    """Return an object or array, given as such or as JSON text; None if absent. ValueError for invalid JSON."""
    value = params.get(name)
    if isinstance(value, str):
        try:
            return json.loads(value) if value else None
        except RecursionError:
            raise ValueError("too deep") from None
    return value
