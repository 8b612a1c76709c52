"""The JSON around every answer of the Bot API, and the error that becomes one."""

import json
from typing import Any, NamedTuple

Json = dict[str, Any]

encode = json.JSONEncoder(separators=(",", ":")).encode
"""Value -> compact JSON text, pure ASCII (as the real server writes it)."""


class ApiError(Exception):
    """The call is refused: answered with HTTP status `code` and `{"ok": false, ...}`, and not executed."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


class Described(NamedTuple):
    """A result that the real server sends with a `description` beside it."""

    result: object
    description: str


def bad_request(reason: str) -> ApiError:
    """A 400."""
    return ApiError(400, f"Bad Request: {reason}")


def forbidden(reason: str) -> ApiError:
    """A 403."""
    return ApiError(403, f"Forbidden: {reason}")


def accepted(result: object) -> bytes:
    """The body that carries a method's result."""
    if isinstance(result, Described):
        body = {"ok": True, "result": result.result, "description": result.description}
        return encode(body).encode()
    return f'{{"ok":true,"result":{encode(result)}}}'.encode()


def refused(error: ApiError) -> bytes:
    """The body that carries an error."""
    body: Json = {"ok": False, "error_code": error.code, "description": error.description}
    if error.parameters:
        body["parameters"] = error.parameters
    return encode(body).encode()
