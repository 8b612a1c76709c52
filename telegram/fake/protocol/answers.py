"""The JSON of the Bot API's answers, and the exception for refused calls."""

import json
from typing import Any, NamedTuple

Json = dict[str, Any]

encode = json.JSONEncoder(separators=(",", ":")).encode
"""Value -> compact JSON text, ASCII only (like the real server)."""


class ApiError(Exception):
    """The call is refused: answered with HTTP status `code` and `{"ok": false, ...}`, and not executed."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


class Described(NamedTuple):
    """A result that the real server sends together with a `description`."""

    result: object
    description: str


def bad_request(reason: str) -> ApiError:
    """Return an ApiError 400."""
    return ApiError(400, f"Bad Request: {reason}")


def forbidden(reason: str) -> ApiError:
    """Return an ApiError 403."""
    return ApiError(403, f"Forbidden: {reason}")


def accepted(result: object) -> bytes:
    """Return the response body for a method's result."""
    if isinstance(result, Described):
        body = {"ok": True, "result": result.result, "description": result.description}
        return encode(body).encode()
    return f'{{"ok":true,"result":{encode(result)}}}'.encode()


def refused(error: ApiError) -> bytes:
    """Return the response body for an error."""
    body: Json = {"ok": False, "error_code": error.code, "description": error.description}
    if error.parameters:
        body["parameters"] = error.parameters
    return encode(body).encode()
