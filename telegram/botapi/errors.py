"""Errors of calls to Telegram, by what the engine does about them.

Every text is one short line without the token; no error keeps a library's error or a response object.
"""
# ruff: noqa: N818 - the names say what to do, as in engine.errors

import json
import re
from math import ceil
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

RETRY_AFTER_DEFAULT_S: Final = 5.0
RETRY_AFTER_MAX_S: Final = 86_400.0
"""Telegram's longest flood waits are about a day (tucnak/telebot#517: 42,371 s); after a day a call is tried again."""
TEXT_MAX: Final = 300
_ERROR_BYTES_MAX: Final = 2**16  # of an error answer; Telegram's have some hundred bytes

# Telegram Bot API tokens in plain, percent-encoded and `/bot<token>` form; timestamps and ports do not match.
_ANY_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:bot)?([1-9]\d{4,17})(?::|%3A)[A-Za-z0-9_-]{20,80}", re.IGNORECASE
)
# Shorter secrets exist only in tests, and would be found in ordinary words.
_SECRET_MIN = 8
_WORD = re.compile(r"[A-Za-z0-9_%-]{8,}")
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_INT32_MAX = 2**31 - 1
_RETRY_AFTER = re.compile(r"retry after ([0-9]{1,9})$", re.IGNORECASE)
_NO_PART_OF_A_SECRET = re.compile(r"[^A-Za-z0-9_-]+")
_UNREACHABLE = (
    "bot was blocked by the user",
    "user is deactivated",
    "bot was kicked from the",
    "bot is not a member of the",
    "the group chat was deleted",
    "bot can't initiate conversation with",
)

# tdlib/td, SynchronousRequests.cpp (parseTextEntities): "Can't parse entities: ...", which telegram-bot-api, Client.cpp,
# get_formatted_text passes on. Older servers: "in message text", "in message caption" (TelegramBotAPI/errors#2), and
# irazasyed/telegram-bot-sdk#113.
_UNPARSABLE = ("can't parse entities", "can't parse message text")


class TelegramError(Exception):
    """Base of the errors of calls, updates and files."""


class Unreadable(TelegramError):
    """An update cannot be parsed, and a retry would not help: give it up. `reason` has no user's data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSent(TelegramError):
    """The request was not sent: it was not executed, and a retry is safe."""

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(method, reason)
        self.method = method
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.method}: not sent, {self.reason}"


class OutcomeUnknown(TelegramError):
    """Sent, but no complete answer came back: it may have been executed, and a retry may repeat it."""

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(method, reason)
        self.method = method
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.method}: outcome unknown, {self.reason}"


class UploadCut(NotSent):
    """The connection broke before the whole body was sent: not executed. (A retry may break at the same point.)"""

    def __str__(self) -> str:
        return f"{self.method}: not executed, {self.reason}"


class DownloadCut(TelegramError):
    """The rest of a file did not arrive. The received part is kept: another download resumes there."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"download: {self.reason}"


class FileTooBig(TelegramError):
    """A file is bigger than the caller's limit; it is not saved."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"download: the file has more than {self.limit_bytes} bytes"


class FileUnusable(TelegramError):
    """A file of this machine is missing, or cannot be read to its end: the call that needs it was not executed."""

    def __init__(self, reason: str) -> None:
        self.reason = one_line(reason)  # a local server's paths contain the token
        super().__init__(self.reason)

    def __str__(self) -> str:
        return f"file {self.reason}"


class ApiError(TelegramError):
    """An error answer of the server. `parameters` has the integers of Telegram's ResponseParameters."""

    def __init__(
        self, method: str, code: int, description: str, parameters: dict[str, int] | None = None
    ) -> None:
        super().__init__(method, code, description)
        self.method = method
        self.code = code
        self.description = description
        self.parameters = parameters or {}

    def __str__(self) -> str:
        return f"{self.method}: {self.code} {self.description}"


class Unauthorized(ApiError):
    """The server does not accept this token (revoked, malformed, logged out, wrong shard): stop the bot."""


class Conflict(ApiError):
    """A webhook is set, or another getUpdates is running (Telegram Bot API, 409)."""


class RetryAfter(ApiError):
    """Flood control (429): not executed; do not call for `retry_after_s` seconds."""

    @property
    def retry_after_s(self) -> float:
        """Seconds to wait, from Telegram's answer; RETRY_AFTER_DEFAULT_S if it has none."""
        return self.parameters.get("retry_after", RETRY_AFTER_DEFAULT_S)


class Refused(ApiError):
    """Not executed, and the same call will be refused again."""

    @property
    def migrate_to_chat_id(self) -> int | None:
        """The supergroup's id, when the call went to a group that was upgraded."""
        return self.parameters.get("migrate_to_chat_id")

    def says(self, beginnings: tuple[str, ...]) -> bool:
        """Return whether Telegram's description begins with one of these (in lower case)."""
        return _said(self.description).startswith(beginnings)

    @property
    def passing(self) -> bool:
        """Whether the refusal may be temporary: Telegram's text is the same for a wrong file_id and an unavailable file."""
        return self.says(("wrong file_id or the file is temporarily unavailable",))

    @property
    def unreachable(self) -> bool:
        """Whether the bot cannot reach the chat until a person there changes that (blocked, kicked, never started, ...)."""
        return self.code == 403 and self.says(_UNREACHABLE)

    @property
    def unparsable(self) -> bool:
        """Whether a text's markup cannot be parsed."""
        return self.says(_UNPARSABLE)


class ServerTrouble(ApiError):
    """The server or a proxy failed, or its answer is invalid: the outcome is unknown."""


def api_error(
    method: str, status: int, body: bytes, retry_after: str | None = None, *, token: str = ""
) -> ApiError:
    """Map an answer that is not a success to its exception; `retry_after` is the HTTP header of that name.

    Proxies answer with HTML, so the HTTP status counts unless Telegram's JSON has an error_code.
    """
    answer = parse(body) if len(body) <= _ERROR_BYTES_MAX else ...
    code = status
    if isinstance(answer, dict) and answer.get("ok") is False and _is_int(answer.get("error_code")):
        code = answer["error_code"]
    description = _description(answer, status, token)
    kind = _kind(method, code, description)
    return kind(method, code, description, _parameters(answer, retry_after, description))


def parse(body: bytes) -> Any:
    """Parse an answer's JSON, replacing invalid UTF-8; return `...` if it is not JSON."""
    try:
        return json.loads(body.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return ...


def redact(text: str, token: str = "") -> str:
    """Replace `token`, its secret part, words with a piece of that, and anything that looks like a token by ***."""
    bot_id, _, secret = token.partition(":")
    if secret:
        text = text.replace(token, f"{bot_id}:***")
    if len(secret) >= _SECRET_MIN:
        text = text.replace(secret, "***")
    text = _ANY_TOKEN.sub(r"\1:***", text)
    if _has_piece(text, secret):  # libraries truncate what they quote, proxies re-encode it
        text = _WORD.sub(lambda word: "***" if _has_piece(word[0], secret) else word[0], text)
    return text


def one_line(text: str, token: str = "") -> str:
    """Return `text` for logs and dead letters: one printable, redacted line of at most TEXT_MAX characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in redact(text, token))
    line = " ".join(printable.split())
    # A token interrupted by other characters is not matched above: drop the whole line.
    if _has_piece(_NO_PART_OF_A_SECRET.sub("", unquote(line)), token.partition(":")[2]):
        return "*** (it quoted the token)"
    return line[:TEXT_MAX]


def _has_piece(text: str, secret: str) -> bool:
    """Return whether `text` has _SECRET_MIN characters of the secret in a row, in any case or percent-encoding."""
    text, secret = unquote(text).lower(), secret.lower()
    return any(secret[at : at + _SECRET_MIN] in text for at in range(len(secret) - _SECRET_MIN + 1))


def _kind(method: str, code: int, description: str) -> type[ApiError]:
    if code in {401, 421} or (code == 404 and method.lower() == "getme"):
        return Unauthorized
    if code == 400 and _said(description) == "logged out":
        return Unauthorized
    if code == 409:
        return Conflict
    if code in {420, 429}:
        return RetryAfter
    # 408: a proxy gave up waiting for the request; the same call may succeed next time.
    return Refused if 400 <= code < 500 and code != 408 else ServerTrouble


def _said(description: str) -> str:
    """Return the description without its prefix, for comparison from its start: the rest may quote a user."""
    return description.lower().removeprefix("bad request: ").removeprefix("forbidden: ")


def _description(answer: Any, status: int, token: str) -> str:
    if answer is ...:
        return f"HTTP {status}, not JSON"
    text = answer.get("description") if isinstance(answer, dict) else None
    if isinstance(text, str) and text:
        return one_line(text, token)
    return f"HTTP {status}, not an answer of the Bot API"


def _parameters(answer: Any, retry_after: str | None, description: str) -> dict[str, int]:
    """Return the integers of ResponseParameters; `retry_after` from the answer, else its description, else the header.

    Some servers and proxies omit `parameters`, or give the number as text or float; the description ends in the same number
    (telegram-bot-api, Client.cpp, fail_query_flood_limit_exceeded).
    """
    given = answer.get("parameters") if isinstance(answer, dict) else None
    given = given if isinstance(given, dict) else {}
    words = _RETRY_AFTER.search(description)
    found: dict[str, int] = {}
    for wait in (given.get("retry_after"), words and words[1], retry_after):
        if wait_s := _whole_seconds(wait):
            found["retry_after"] = wait_s
            break
    if _is_int(given.get("migrate_to_chat_id")):
        found["migrate_to_chat_id"] = given["migrate_to_chat_id"]
    return found


def _whole_seconds(wait: object) -> int:
    """Return whole seconds, rounded up, at most RETRY_AFTER_MAX_S; 0 for an invalid value."""
    if isinstance(wait, str):
        wait = float(wait) if _SECONDS.fullmatch(wait) else 0
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 < wait <= _INT32_MAX:
        return 0
    return ceil(min(wait, RETRY_AFTER_MAX_S))


def _is_int(value: object) -> TypeGuard[int]:
    return type(value) is int
