"""Verifies data that Telegram signs with the bot's token: a Mini App's init data, and the login widget's data.

Both are HMAC-SHA-256 over "key=value" lines, sorted by key, with different secrets
(https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app,
https://core.telegram.org/widgets/login#checking-authorization). Nothing is parsed as JSON before the hash is verified.

The lines do not say where a field ends: without the checks of `_checked` a sender could join two signed fields to one, or
split one into two, under the same hash. The `signature` field is for services without the bot's token; it is covered by
the hash like any other field, and not checked itself.
"""

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Json, ValidationError

AGE_MAX_S: Final = 86_400.0
"""Default of the maximum age in seconds: a page that stays open for a day is opened again."""

_CHARACTERS_MAX: Final = 16_384  # real ones are below 2,000; more is not worth hashing
_FIELDS_MAX: Final = 64
_AHEAD_MAX_S: Final = 300.0
_KEY: Final = re.compile(r"[a-z][a-z0-9_]*")

M = TypeVar("M", bound=BaseModel)


class Unverified(ValueError):  # noqa: N818 - what is known about the data
    """The data is not signed by Telegram for this bot: malformed, changed, or of another bot. The text names no secret."""


class Expired(Unverified):
    """The data is authentic, and older than allowed: the user has to open the page, or to log in, again."""


class _Signed(BaseModel):
    """Frozen; fields that Telegram adds later are kept in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)


class WebAppUser(_Signed):
    """A user of a Mini App (https://core.telegram.org/bots/webapps#webappuser)."""

    id: int
    first_name: str
    last_name: str | None = None
    username: str | None = None
    language_code: str | None = None
    is_bot: bool = False
    is_premium: bool = False
    added_to_attachment_menu: bool = False
    allows_write_to_pm: bool = False
    photo_url: str | None = None


class WebAppChat(_Signed):
    """The chat of a Mini App that was opened by the attachment menu (https://core.telegram.org/bots/webapps#webappchat)."""

    id: int
    type: str
    title: str
    username: str | None = None
    photo_url: str | None = None


class InitData(_Signed):
    """A Mini App's init data (https://core.telegram.org/bots/webapps#webappinitdata). `auth_date` is in UTC."""

    auth_date: datetime
    query_id: str | None = None
    user: Annotated[WebAppUser, Json] | None = None
    receiver: Annotated[WebAppUser, Json] | None = None
    chat: Annotated[WebAppChat, Json] | None = None
    chat_type: str | None = None
    chat_instance: str | None = None
    start_param: str | None = None
    """The payload of a link ?startapp=... or ?startattach=..."""
    can_send_after: int | None = None


class LoginData(_Signed):
    """The data of the login widget, or of a button with a LoginUrl. `auth_date` is in UTC."""

    id: int
    first_name: str
    auth_date: datetime
    last_name: str | None = None
    username: str | None = None
    photo_url: str | None = None


def check_init_data(
    text: str, token: str, *, max_age_s: float | None = AGE_MAX_S, now: float | None = None
) -> InitData:
    """Verify `Telegram.WebApp.initData`, the query string as the page got it, with the bot's token.

    Unverified if it is not Telegram's for this bot; Expired if `auth_date` is more than `max_age_s` seconds ago (None: any
    age, so that a stolen text is valid forever). `now` is Unix time; None: this machine's clock.
    """
    secret = hmac.digest(b"WebAppData", _token(token), "sha256")
    return _verified(InitData, _pairs(text), secret, max_age_s, now)


def check_login(
    given: str | Mapping[str, Any],
    token: str,
    *,
    max_age_s: float | None = AGE_MAX_S,
    now: float | None = None,
) -> LoginData:
    """Verify what the login widget returns: the query string of its redirect, or the object given to its callback.

    Parameters of your own have to be removed before. Errors and arguments as of `check_init_data`.
    """
    pairs = _pairs(given) if isinstance(given, str) else _items(given)
    return _verified(LoginData, pairs, sha256(_token(token)).digest(), max_age_s, now)


def _token(token: str) -> bytes:
    if not isinstance(token, str) or ":" not in token or token.split() != [token]:
        raise ValueError("the bot's token is empty, or not of the form 123456789:AbC...")
    return token.encode()


def _pairs(text: str) -> list[tuple[str, str]]:
    if not isinstance(text, str):
        raise TypeError(f"the signed data is a query string of type str, not {type(text).__name__}")
    if len(text) > _CHARACTERS_MAX:
        raise Unverified(f"the data has more than {_CHARACTERS_MAX} characters")
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_FIELDS_MAX
        )
    except ValueError:  # its text would repeat the data
        raise Unverified("the data is not a query string in UTF-8") from None


def _items(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not isinstance(given, Mapping):
        raise TypeError(f"the signed data is a query string or a mapping, not {type(given).__name__}")
    if len(given) > _FIELDS_MAX:
        raise Unverified(f"the data has more than {_FIELDS_MAX} fields")
    found = []
    for key, value in given.items():
        if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, str | int):
            raise Unverified("a field of the data is not a text or an integer")
        if isinstance(value, int) and value.bit_length() > 64:
            raise Unverified("a number in the data has more than 64 bits")
        found.append((key, str(value)))
    if sum(len(key) + len(value) for key, value in found) > _CHARACTERS_MAX:
        raise Unverified(f"the data has more than {_CHARACTERS_MAX} characters")
    return found


def _checked(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the fields by key. Unverified if two ways to write them could have the same lines."""
    fields: dict[str, str] = {}
    for key, value in pairs:
        if key in fields:
            raise Unverified("a field of the data is there twice")
        if _KEY.fullmatch(key) is None or "\n" in value:
            raise Unverified("a field of the data has a name or a line break that Telegram does not send")
        fields[key] = value
    return fields


def _verified(
    model: type[M],
    pairs: Iterable[tuple[str, str]],
    secret: bytes,
    max_age_s: float | None,
    now: float | None,
) -> M:
    if max_age_s is not None and not 0 < max_age_s < float("inf"):
        raise ValueError(f"max_age_s is a number of seconds above 0, or None, not {max_age_s}")
    fields = _checked(pairs)
    given = fields.pop("hash", "")
    lines = "\n".join(f"{key}={fields[key]}" for key in sorted(fields))
    try:
        right = hmac.new(secret, lines.encode(), "sha256").hexdigest()
        is_right = hmac.compare_digest(right.encode(), given.encode())
    except UnicodeEncodeError:  # a lone surrogate, in a mapping
        is_right = False
    if not is_right:
        raise Unverified("the hash does not fit the data: it was changed, or is for another bot's token")
    _check_age(fields.get("auth_date", ""), max_age_s, time.time() if now is None else now)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
        raise Unverified(
            f"the data is signed, and its field {where} is not what Telegram documents"
        ) from None


def _check_age(auth_date: str, max_age_s: float | None, now: float) -> None:
    if re.fullmatch(r"[0-9]{1,12}", auth_date) is None:
        raise Unverified("the data is signed, and has no auth_date")
    age_s = now - int(auth_date)
    if age_s < -_AHEAD_MAX_S:
        raise Unverified(f"the data was signed {-age_s:.0f} s in the future: this machine's clock is wrong")
    if max_age_s is not None and age_s > max_age_s:
        raise Expired(f"the data was signed {age_s:.0f} s ago, and may be {max_age_s:.0f} s old")
