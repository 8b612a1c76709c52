"""A call as it lies in the outbox: the method's name, a newline, its params as compact JSON in UTF-8."""

import json
from collections.abc import Mapping
from typing import Any, Final

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_json(value: Any) -> bytes:
    """Compact JSON in UTF-8. ValueError or TypeError for what JSON or UTF-8 cannot hold: NaN, lone surrogates, objects."""
    return _ENCODER.encode(value).encode()


def encode_call(method: str, params: Mapping[str, Any]) -> bytes:
    """The body of a call. ValueError or TypeError for what Telegram could not read."""
    if not (method.isascii() and method.isalnum()):
        raise ValueError(f"not a Bot API method: {method!r}")
    return method.encode() + b"\n" + encode_json(params)


def decode_call(body: bytes) -> tuple[str, bytes]:
    """The method's name, and its params still as JSON. ValueError if `body` is no call."""
    method, newline, params = body.partition(b"\n")
    if not newline:
        raise ValueError("the body of a call needs a line with the method and one with the params")
    return method.decode(), params
