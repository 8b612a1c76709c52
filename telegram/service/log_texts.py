"""Texts of users in the log: replaced, unless LOG_TEXTS says otherwise.

What a handler raises or logs often quotes the message: "invalid literal for int(): 'my secret'". A line of the log that is
written while an update or a call is handled, or about one, contains none of its texts: neither a whole text nor a word of
four or more characters of it. Shorter parts, and texts that were changed before, cannot be found.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

HIDDEN: Final = "[...]"
_WORD: Final = re.compile(r"\w{4,}")
_WHOLE_MIN: Final = 3
_TECHNICAL: Final = frozenset({
    "type", "language_code", "file_id", "file_unique_id", "mime_type", "status", "chat_instance", "id", "parse_mode",
    "inline_message_id", "business_connection_id", "currency", "callback_query_id", "inline_query_id", "query_id",
})  # fmt: skip
"""Fields of the Bot API whose strings are not what people write."""


def texts_of(body: bytes) -> list[str]:
    """Return the strings that people wrote in an update or a call (telegram/botapi/calls.py); all of it if it is unreadable."""
    text = body.decode("utf-8", "replace")
    if not text.startswith("{"):  # a call: the method's name, a newline, the params
        text = text.partition("\n")[2] or text
    try:
        return [*_strings(json.loads(text))]
    except (ValueError, RecursionError):
        return [text]


def hidden(line: str, texts: list[str]) -> str:
    """Return the line without the texts and their words."""
    parts = {text for text in texts if len(text) >= _WHOLE_MIN}
    parts |= {word for text in texts for word in _WORD.findall(text)}
    if not parts or not line:
        return line
    return re.sub("|".join(map(re.escape, sorted(parts, key=len, reverse=True))), HIDDEN, line)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in _TECHNICAL or not isinstance(each, str):
                yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
