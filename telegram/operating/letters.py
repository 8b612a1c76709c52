"""Dead letters for display, without the token. The hash of a letter's body goes with its number into each action."""

import hashlib
import json
from typing import Any, Final

from engine import DeadLetter, Queue
from telegram.botapi.calls import decode_call
from telegram.botapi.errors import redact

Json = dict[str, Any]

HASH_LENGTH: Final = 16
_REASON_MAX: Final = 1000
_BODY_MAX: Final = 100_000  # bytes that are shown
_START_MAX: Final = 10_000


def hash_of(body: bytes) -> str:
    """Return the beginning of the body's SHA-256, in hex."""
    return hashlib.sha256(body).hexdigest()[:HASH_LENGTH]


def summary(letter: DeadLetter, token: str) -> Json:
    """Return what a list shows: no text of a message, except what the reason quotes."""
    envelope = letter.envelope
    return {
        "number": letter.number,
        "hash": hash_of(envelope.body),
        "queue": letter.queue.value,
        "key": envelope.key,
        "id": envelope.id,
        "what": "timer"
        if envelope.is_timer
        else _method(envelope.body)
        if letter.queue is Queue.OUTBOX
        else "update",
        "attempts": letter.attempts,
        "at": letter.at,
        "reason": redact(letter.reason[:_REASON_MAX], token),
        "bytes": len(envelope.body),
        "has_trace": bool(letter.trace),
    }


def with_start(letter: DeadLetter, token: str) -> Json:
    """Return what a list shows, and the beginning of the body as it is."""
    start = letter.envelope.body[:_START_MAX].decode("utf-8", "replace")
    return {**summary(letter, token), "start": redact(start, token)}


def whole(letter: DeadLetter, token: str) -> Json:
    """Return all of a letter: its traceback, and its body as text."""
    body = letter.envelope.body
    return {
        **summary(letter, token),
        "trace": redact(letter.trace, token),
        "body": redact(_readable(body[:_BODY_MAX]), token),
        "is_cut": len(body) > _BODY_MAX,
    }


def _readable(body: bytes) -> str:
    """Return JSON indented, anything else as it is; a call has its method in the line before."""
    text = body.decode("utf-8", "backslashreplace")
    head, newline, rest = ("", "", text) if text[:1] in {"{", "["} else text.partition("\n")
    try:
        return head + newline + json.dumps(json.loads(rest), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def _method(body: bytes) -> str:
    try:
        return decode_call(body)[0][:64]
    except ValueError:
        return "call"
